//! Sources: every format and every refusal.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::sync::Arc;

use crate::support::{Desk, gzipped};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use artifact::Progress;
use data::{Document, Error, Result, source};
use parquet::arrow::ArrowWriter;

fn read(desk: &Desk, config: &source::Config) -> Result<(Vec<Document>, source::Counts)> {
    let listing = source::list(&[desk.input()])?;
    let mut reader = source::Reader::new(listing.files, config)?;
    let documents = reader.by_ref().collect::<Result<Vec<_>>>()?;
    Ok((documents, reader.counts().clone()))
}

fn texts(desk: &Desk) -> Vec<String> {
    read(desk, &source::Config::default())
        .unwrap()
        .0
        .into_iter()
        .map(|document| document.text)
        .collect()
}

fn failure(desk: &Desk) -> String {
    read(desk, &source::Config::default())
        .unwrap_err()
        .to_string()
}

fn parquet_file(desk: &Desk, name: &str, column: &str, texts: Vec<Option<&str>>) {
    let array: ArrayRef = Arc::new(StringArray::from(texts));
    let batch = RecordBatch::try_from_iter([(column, array)]).unwrap();
    let file = File::create(desk.input().join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn every_format_in_sorted_order() {
    let desk = Desk::new();
    desk.file("a.txt", "one");
    desk.file("b/c.md", "two");
    desk.file(
        "b/d.jsonl",
        "{\"text\":\"three\",\"id\":\"x\",\"source\":\"s\"}\n\n{\"content\":\"four\"}",
    );
    desk.file(
        "e.jsonl.gz",
        [
            gzipped(b"{\"text\":\"five\"}\n"),
            gzipped(b"{\"text\":\"six\"}\n"),
        ]
        .concat(),
    );
    desk.file("f.txt.zst", zstd::encode_all(&b"seven"[..], 1).unwrap());
    desk.file("g.csv", "id,text\n1,\"eight,\nnine\"\n2,ten\n");
    parquet_file(&desk, "h.parquet", "text", vec![Some("eleven")]);
    desk.file(".hidden.txt", "no");
    desk.file(".git/x.txt", "no");
    assert_eq!(
        texts(&desk),
        [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight,\nnine",
            "ten",
            "eleven"
        ]
    );
    let (documents, counts) = read(&desk, &source::Config::default()).unwrap();
    assert_eq!(
        (documents[2].id.as_str(), documents[2].source.as_str()),
        ("x", "s")
    );
    assert_eq!(
        (documents[3].id.len(), documents[3].source.as_str()),
        (32, "b/d.jsonl:3")
    );
    assert_eq!(
        (counts.files, counts.documents, counts.bad_rows),
        (7, 10, 0)
    );
}

#[test]
fn nothing_to_read() {
    let desk = Desk::new();
    let error = failure(&desk);
    assert!(
        error.contains("no documents in") && error.contains(".parquet"),
        "{error}"
    );
    desk.file("photo.jpg", "x");
    let error = failure(&desk);
    assert!(error.contains("photo.jpg: unknown ending"), "{error}");
    let error = source::list(&[desk.input().join("gone.txt")])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("gone.txt") && error.contains("spelled"),
        "{error}"
    );
}

#[test]
fn files_that_are_not_text() {
    let desk = Desk::new();
    desk.file("a.txt", [b"PK\0\0".as_slice(), &[7; 5000]].concat());
    desk.file("b.txt", [0xFF, 0xFE, b'h', 0, b'i', 0]);
    desk.file("c.txt", [0xC3; 100]);
    desk.file(
        "d.txt",
        [b"good text and one bad byte ".as_slice(), &[0xFF]].concat(),
    );
    let (documents, counts) = read(&desk, &source::Config::default()).unwrap();
    assert_eq!(documents.len(), 1);
    assert!(documents[0].text.ends_with('\u{FFFD}'));
    assert_eq!((counts.repaired, counts.files), (1, 1));
    let reasons: Vec<_> = counts
        .skipped
        .iter()
        .map(|one| one.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "binary, it has NUL bytes",
            "UTF-16, convert it to UTF-8",
            "not UTF-8"
        ]
    );
}

#[test]
fn long_texts_are_cut_and_lose_nothing() {
    let desk = Desk::new();
    let lines: String = (0..60_000)
        .map(|n| {
            format!(
                "Line {n} of a long file.\n{}",
                if n % 50 == 0 { "\n" } else { "" }
            )
        })
        .collect();
    desk.file("a.txt", &lines);
    let single = "é".repeat(700_000);
    desk.file("b.txt", &single);
    desk.file(
        "c.jsonl",
        format!("{{\"id\":\"big\",\"text\":\"{single}\"}}"),
    );
    let (documents, _) = read(&desk, &source::Config::default()).unwrap();
    let of = |name: &str| -> Vec<&Document> {
        documents
            .iter()
            .filter(|one| one.source.starts_with(name))
            .collect()
    };
    let join = |some: &[&Document]| some.iter().map(|one| one.text.as_str()).collect::<String>();
    assert!(documents.iter().all(|one| one.text.len() <= 16 << 10));
    assert_eq!(join(&of("a.txt")), lines);
    assert!(
        of("a.txt")
            .iter()
            .rev()
            .skip(1)
            .all(|one| one.text.ends_with("\n\n"))
    );
    assert_eq!(join(&of("b.txt")), single);
    assert_eq!(join(&of("c.jsonl")), single);
    assert_eq!(of("c.jsonl")[1].id, "big/1");
    let mut ids: Vec<_> = documents.iter().map(|one| &one.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), documents.len());
}

#[test]
fn a_few_bad_lines_are_counted_and_many_fail() {
    let desk = Desk::new();
    let good: String = (0..500)
        .map(|n| format!("{{\"text\":\"row {n}\"}}\n"))
        .collect();
    let bad = "not json\n[1]\n{\"text\":5}\n{\"other\":\"x\"}\n";
    desk.file("a.jsonl", format!("{good}{bad}"));
    let (documents, counts) = read(&desk, &source::Config::default()).unwrap();
    assert_eq!((documents.len(), counts.bad_rows), (500, 4));

    desk.file("a.jsonl", format!("{{\"text\":\"x\"}}\n{bad}"));
    let error = failure(&desk);
    assert!(
        error.contains("a.jsonl:2: not JSON") && error.contains("4 of 5 rows"),
        "{error}"
    );
    assert!(error.contains("max_error_fraction"), "{error}");
    let lenient = source::Config {
        max_error_fraction: 1.0,
        ..source::Config::default()
    };
    assert_eq!(read(&desk, &lenient).unwrap().1.bad_rows, 4);
}

#[test]
fn truncated_files_are_named_with_the_offset() {
    let text = (0..90_000)
        .map(|n| format!("{{\"text\":\"row {} {n}\"}}\n", n * 7919 % 1_000_003))
        .collect::<String>();
    let gz = gzipped(text.as_bytes());
    let zst = zstd::encode_all(text.as_bytes(), 1).unwrap();
    for (name, whole) in [("a.jsonl.gz", gz), ("a.jsonl.zst", zst)] {
        let desk = Desk::new();
        desk.file(name, &whole[..whole.len() / 2]);
        let error = read(&desk, &source::Config::default()).unwrap_err();
        assert!(
            matches!(&error, Error::Truncated { offset, .. } if *offset == whole.len() as u64 / 2),
            "{error}"
        );
        assert!(
            error.to_string().contains(name) && error.to_string().contains("keep_read"),
            "{error}"
        );
        let keep = source::Config {
            on_truncated: source::OnTruncated::KeepRead,
            ..source::Config::default()
        };
        let (documents, counts) = read(&desk, &keep).unwrap();
        assert!(
            documents.len() > 1000 && counts.skipped[0].reason.contains("cut short"),
            "{name}: {} documents, {:?}",
            documents.len(),
            counts.skipped
        );
    }
}

#[test]
fn tables_without_text() {
    let desk = Desk::new();
    desk.file("a.csv", "name,price\nfins,20\n");
    let error = failure(&desk);
    assert!(
        error.contains("no column text or content; it has: name, price"),
        "{error}"
    );
    let named = source::Config {
        text_fields: vec!["name".to_owned()],
        ..source::Config::default()
    };
    assert_eq!(read(&desk, &named).unwrap().0[0].text, "fins");

    let desk = Desk::new();
    parquet_file(&desk, "a.parquet", "body", vec![Some("x")]);
    assert!(failure(&desk).contains("it has: body"));
    parquet_file(&desk, "a.parquet", "content", vec![Some("x"), None]);
    assert_eq!(texts(&desk), ["x"]);
    desk.file("a.parquet", "not parquet at all");
    assert!(failure(&desk).contains("cannot be read as Parquet"));
}

#[test]
fn configs_that_cannot_be() {
    for config in [
        source::Config {
            text_fields: vec![],
            ..source::Config::default()
        },
        source::Config {
            max_document_bytes: 10,
            ..source::Config::default()
        },
        source::Config {
            max_error_fraction: 2.0,
            ..source::Config::default()
        },
        source::Config {
            max_invalid_fraction: f64::NAN,
            ..source::Config::default()
        },
    ] {
        assert!(matches!(
            source::Reader::new(Vec::new(), &config),
            Err(Error::Config { .. })
        ));
    }
}

#[test]
fn inspection_forgives_and_counts() {
    let desk = Desk::new();
    let english =
        "The boat leaves at ten and will be back before the night, if the wind is with us.";
    let german =
        "Das Boot fährt um zehn Uhr ab und kommt vor der Nacht zurück, wenn der Wind mit uns ist.";
    desk.file(
        "a.jsonl",
        format!("{{\"text\":\"{english}\"}}\nbad\nbad\nbad\nbad\n{{\"text\":\"{german}\"}}\n"),
    );
    desk.file("b.xyz", "x");
    let summary = data::inspect(&[desk.input()], &Progress::silent()).unwrap();
    assert_eq!(
        (summary.documents, summary.bad_rows, summary.skipped.len()),
        (2, 4, 1)
    );
    assert_eq!(summary.languages.keys().collect::<Vec<_>>(), ["de", "en"]);
    assert_eq!(summary.samples.len(), 2);
    assert_eq!(summary.lengths.max, german.len() as u64);
    serde_json::to_value(&summary).unwrap();
}
