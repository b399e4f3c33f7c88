//! Curation from a mixed folder to a corpus: the funnel, the splits, and the same artifact every time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::support::{Desk, bare, gzipped, paragraph};
use artifact::{Artifact, Progress, Store, lineage};
use data::{Error, Split, corpus, curate};

/// A folder with every format and one of every defect.
fn mixed() -> Desk {
    let desk = Desk::new();
    let rows = |from: usize, to: usize| {
        (from..to)
            .map(|n| {
                format!(
                    "{}\n",
                    serde_json::json!({"id": format!("row-{n}"), "text": paragraph(n)})
                )
            })
            .collect::<String>()
    };
    desk.file("a.jsonl", rows(0, 400));
    desk.file("b.jsonl.gz", gzipped(rows(400, 800).as_bytes()));
    desk.file(
        "c.jsonl.zst",
        zstd::encode_all(rows(800, 1200).as_bytes(), 1).unwrap(),
    );
    desk.file("duplicate.txt", paragraph(7).to_uppercase());
    desk.file("near.txt", format!("{} Updated.", paragraph(9)));
    desk.file("short.txt", "too short");
    desk.file(
        "mail.txt",
        format!(
            "{} Write to a.b@example.org or call +49 171 2345678.",
            paragraph(5000)
        ),
    );
    desk.file(
        "menu.txt",
        format!(
            "Home | Shop | Contact\n{}\nAll rights reserved.",
            paragraph(5001)
        ),
    );
    desk.file(
        "noise.txt",
        "q%X7#f k^J\\2 *Z;=~ +/a:! 9#_~ @@^; XX&*% ??=+ \\_:; a~~! %%;K",
    );
    desk.file("again.txt", "Buy now!\n".repeat(30));
    desk.file("binary.txt", [0u8; 100]);
    desk.file("picture.jpg", [1u8; 100]);
    desk
}

fn steps(corpus: &Artifact) -> BTreeMap<String, (u64, u64, u64)> {
    let steps = corpus.manifest.metric("steps").unwrap().as_array().unwrap();
    let count = |step: &serde_json::Value, name: &str| step[name].as_u64().unwrap();
    let one = |step: &serde_json::Value| {
        (
            count(step, "kept"),
            count(step, "dropped"),
            count(step, "edited"),
        )
    };
    steps
        .iter()
        .map(|step| (step["step"].as_str().unwrap().to_owned(), one(step)))
        .collect()
}

#[test]
fn the_funnel_adds_up() {
    let desk = mixed();
    let corpus = desk.curate(&curate::Config::default()).unwrap();
    let steps = steps(&corpus);
    let dropped = |name: &str| steps[name].1;
    assert_eq!(corpus.manifest.metric("documents_in").unwrap(), 1207);
    assert_eq!(
        (
            dropped("length"),
            dropped("repetition"),
            dropped("gibberish")
        ),
        (1, 1, 1)
    );
    assert_eq!(
        (dropped("exact_duplicates"), dropped("near_duplicates")),
        (1, 1)
    );
    assert_eq!((steps["redact"].2, steps["boilerplate"].2), (1, 1));
    assert_eq!(corpus.manifest.metric("documents_out").unwrap(), 1202);
    assert_eq!(steps["near_duplicates"].0, 1202);
    let reading = corpus.manifest.metric("reading").unwrap();
    assert_eq!(reading["skipped"].as_array().unwrap().len(), 2);
    assert!(corpus.manifest.metric("seconds").unwrap().as_f64().unwrap() > 0.0);
    corpus.verify().unwrap();

    let rows: Vec<_> = corpus::documents(&corpus)
        .unwrap()
        .collect::<data::Result<_>>()
        .unwrap();
    assert_eq!(rows.len(), 1202);
    let text = |source: &str| {
        rows.iter()
            .find(|(one, _)| one.source.starts_with(source))
            .unwrap()
            .0
            .text
            .clone()
    };
    assert!(text("mail.txt").ends_with("Write to [email] or call [phone]."));
    assert_eq!(text("menu.txt"), paragraph(5001));
    let held_out = rows
        .iter()
        .filter(|(_, split)| *split == Split::Validation)
        .count() as u64;
    assert_eq!(
        corpus.manifest.metric("validation_documents").unwrap(),
        held_out
    );
    assert!((8..50).contains(&held_out), "{held_out}");
    assert!(
        lineage::trace(&desk.store, &corpus.id)
            .unwrap()
            .to_string()
            .contains("near_duplicates: kept 1202, dropped 1")
    );
}

#[test]
fn the_same_artifact_whatever_the_thread_count_and_place() {
    let desk = mixed();
    let config = curate::Config::default();
    let run = |threads: usize, input: &Path| {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| curate::run(&config, &[input.to_owned()], &store, &Progress::silent()))
            .unwrap()
            .id
    };
    let elsewhere = mixed();
    let first = run(1, &desk.input());
    assert_eq!(first, run(2, &desk.input()));
    assert_eq!(first, run(5, &elsewhere.input()));
}

#[test]
fn a_second_run_is_found_and_changed_files_are_not() {
    let desk = Desk::new();
    desk.file("a.txt", paragraph(1));
    desk.file("b.txt", paragraph(2));
    let first = desk.curate(&bare()).unwrap();
    assert_eq!(desk.curate(&bare()).unwrap(), first);
    desk.file("b.txt", paragraph(3));
    assert_ne!(desk.curate(&bare()).unwrap().id, first.id);
    let other = curate::Config {
        seed: artifact::Seed(2),
        ..bare()
    };
    assert_ne!(
        desk.curate(&other).unwrap().manifest.key,
        first.manifest.key
    );
}

#[test]
fn small_corpora_have_both_splits() {
    for documents in 2..12 {
        let desk = Desk::new();
        for n in 0..documents {
            desk.file(&format!("{n}.txt"), paragraph(n));
        }
        for fraction in [0.001, 0.999] {
            let corpus = desk
                .curate(&curate::Config {
                    validation_fraction: fraction,
                    ..bare()
                })
                .unwrap();
            assert!(corpus.manifest.metric("train_documents").unwrap().as_u64() > Some(0));
            assert!(
                corpus
                    .manifest
                    .metric("validation_documents")
                    .unwrap()
                    .as_u64()
                    > Some(0)
            );
        }
        let none = desk
            .curate(&curate::Config {
                validation_fraction: 0.0,
                ..bare()
            })
            .unwrap();
        assert_eq!(none.manifest.metric("validation_documents").unwrap(), 0);
    }
}

#[test]
fn dropped_documents_keep_their_reason() {
    let desk = mixed();
    let corpus = desk.curate(&curate::Config::default()).unwrap();
    let file = std::fs::File::open(corpus.file("dropped/part-00000.parquet")).unwrap();
    let batches = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let mut reasons = BTreeMap::new();
    for batch in batches.map(Result::unwrap) {
        let column = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            arrow_array::cast::as_string_array(column)
                .iter()
                .map(|cell| cell.unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        reasons.extend(column("step").into_iter().zip(column("reason")));
    }
    assert_eq!(reasons["exact_duplicates"], "the same text as row-7");
    assert!(
        reasons["near_duplicates"].ends_with("like row-9"),
        "{reasons:?}"
    );
    assert_eq!(reasons["length"], "9 characters, fewer than 16");
}

#[test]
fn what_cannot_be_curated() {
    let desk = Desk::new();
    assert!(matches!(desk.curate(&bare()), Err(Error::NoFiles { .. })));
    desk.file("a.txt", "");
    desk.file("b.txt", [0u8; 9]);
    let error = desk.curate(&bare()).unwrap_err().to_string();
    assert!(
        error.contains("no text in") && error.contains("b.txt: binary"),
        "{error}"
    );
    desk.file("c.txt", "tiny");
    let error = desk
        .curate(&curate::Config::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("none of 1 documents was kept") && error.contains("`length`"),
        "{error}"
    );
    let mut config = bare();
    config.language.expected = vec!["xx".to_owned()];
    assert!(matches!(
        desk.curate(&config),
        Err(Error::Config {
            field: "language.expected",
            ..
        })
    ));
    assert!(desk.store.list().unwrap().is_empty());
}

#[test]
fn an_interrupt_ends_curation() {
    let desk = mixed();
    let progress = Progress::silent();
    progress.interrupt_flag().store(true, Ordering::Relaxed);
    let error = curate::run(&bare(), &[desk.input()], &desk.store, &progress).unwrap_err();
    assert!(error.is_interrupted(), "{error}");
    desk.curate(&bare()).unwrap();
}

#[test]
fn files_of_an_artifact_are_its_children() {
    let desk = Desk::new();
    let draft = desk.store.begin(artifact::Key::new("world", &())).unwrap();
    std::fs::write(draft.path().join("a.txt"), paragraph(1)).unwrap();
    let world = draft
        .commit(serde_json::Value::Null, serde_json::Value::Null)
        .unwrap();
    let corpus = curate::run(
        &bare(),
        &[world.file("a.txt")],
        &desk.store,
        &Progress::silent(),
    )
    .unwrap();
    assert_eq!(corpus.manifest.inputs[0].id, world.id);
}
