//! From a corpus to a tokenizer and token shards, and back to the text.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use crate::support::{Desk, bare, paragraph};
use artifact::{Artifact, Progress};
use data::{Error, Shards, Split, corpus, shards, train_tokenizer};
use tokenizer::{Tokenizer, TrainConfig};

fn desk(documents: usize) -> (Desk, Artifact) {
    let desk = Desk::new();
    let rows = (0..documents).map(|n| format!("{}\n", serde_json::json!({"text": paragraph(n)})));
    desk.file("a.jsonl", rows.collect::<String>());
    let mut config = bare();
    config.validation_fraction = 0.1;
    let corpus = desk.curate(&config).unwrap();
    (desk, corpus)
}

fn vocabulary(desk: &Desk, corpus: &Artifact, size: usize) -> Artifact {
    let config = TrainConfig {
        vocab_size: size,
        min_frequency: 1,
    };
    train_tokenizer(&config, corpus, &desk.store, &Progress::silent()).unwrap()
}

#[test]
fn every_document_comes_back() {
    let (desk, corpus) = desk(300);
    let vocabulary = vocabulary(&desk, &corpus, 300);
    let tokenizer = Tokenizer::load(&vocabulary.path).unwrap();
    for tokens_per_file in [100, 1 << 20] {
        let config = shards::Config { tokens_per_file };
        let made = shards::run(
            &config,
            &corpus,
            &vocabulary,
            &desk.store,
            &Progress::silent(),
        )
        .unwrap();
        made.verify().unwrap();
        assert_eq!(
            shards::run(
                &config,
                &corpus,
                &vocabulary,
                &desk.store,
                &Progress::silent()
            )
            .unwrap(),
            made
        );
        let opened = Shards::open(&made.path).unwrap();
        assert_eq!(opened.vocab_size(), 300);
        for split in Split::ALL {
            let rows = corpus::documents(&corpus)
                .unwrap()
                .map(Result::unwrap)
                .filter(|(_, own)| *own == split);
            let texts: Vec<_> = rows.map(|(document, _)| document.text).collect();
            let tokens = opened.split(split);
            assert_eq!(tokens.documents(), texts.len() as u64);
            assert_eq!(
                tokens.bytes(),
                texts.iter().map(|text| text.len() as u64).sum::<u64>()
            );
            for (index, text) in texts.iter().enumerate() {
                let ids = tokens.document(index);
                assert_eq!(ids.last(), Some(&tokenizer.end_of_text()));
                assert_eq!(tokenizer.decode(&ids).unwrap(), *text);
                let start = if index == 0 {
                    0
                } else {
                    tokens.ends()[index - 1]
                };
                assert_eq!(tokens.document_of(start), index);
                assert_eq!(tokens.document_of(tokens.ends()[index] - 1), index);
            }
            let mut all = Vec::new();
            tokens.read(0..u64::MAX, &mut all);
            assert_eq!(all.len() as u64, tokens.tokens());
            assert_eq!(
                all.iter()
                    .filter(|id| **id == tokenizer.end_of_text())
                    .count(),
                texts.len()
            );
            let mut some = Vec::new();
            tokens.read(95..205, &mut some);
            assert_eq!(some, all[95..205]);
            assert_eq!(
                tokens.document_of(tokens.tokens()) as u64,
                tokens.documents()
            );
        }
        let metric = |name: &str| made.manifest.metric(name).unwrap().as_u64().unwrap();
        assert_eq!(metric("train_tokens"), opened.split(Split::Train).tokens());
        assert_eq!(
            metric("validation_bytes"),
            opened.split(Split::Validation).bytes()
        );
    }
}

#[test]
fn a_corpus_without_validation_has_an_empty_split() {
    let desk = Desk::new();
    desk.file("a.txt", paragraph(1));
    let corpus = desk.curate(&bare()).unwrap();
    let vocabulary = vocabulary(&desk, &corpus, 280);
    let made = shards::run(
        &shards::Config::default(),
        &corpus,
        &vocabulary,
        &desk.store,
        &Progress::silent(),
    )
    .unwrap();
    let opened = Shards::open(&made.path).unwrap();
    assert_eq!(opened.split(Split::Validation).documents(), 0);
    assert_eq!(opened.split(Split::Train).documents(), 1);
}

#[test]
fn damage_is_told() {
    let (desk, corpus) = desk(40);
    let vocabulary = vocabulary(&desk, &corpus, 280);
    let made = shards::run(
        &shards::Config::default(),
        &corpus,
        &vocabulary,
        &desk.store,
        &Progress::silent(),
    )
    .unwrap();
    let copy = tempfile::tempdir().unwrap();
    let fresh = |broken: &str, bytes: &[u8]| {
        for name in made.manifest.files.keys() {
            fs::copy(made.file(name), copy.path().join(name)).unwrap();
        }
        fs::write(copy.path().join(broken), bytes).unwrap();
        Shards::open(copy.path()).unwrap_err().to_string()
    };
    for (name, bytes) in [
        ("train-00000.bin", &b"12"[..]),
        ("train.ends", b"1234567"),
        ("shards.json", b"{}"),
    ] {
        let error = fresh(name, bytes);
        assert!(error.contains(name) && error.contains("damaged"), "{error}");
    }
    assert!(
        Shards::open(&desk.input())
            .unwrap_err()
            .to_string()
            .contains("shards.json")
    );
}

#[test]
fn artifacts_of_another_kind_are_refused() {
    let (desk, corpus) = desk(40);
    let vocabulary = vocabulary(&desk, &corpus, 280);
    let silent = Progress::silent();
    let config = shards::Config::default();
    assert!(matches!(
        shards::run(&config, &vocabulary, &vocabulary, &desk.store, &silent),
        Err(Error::Kind { .. })
    ));
    assert!(matches!(
        shards::run(&config, &corpus, &corpus, &desk.store, &silent),
        Err(Error::Kind { .. })
    ));
    assert!(matches!(
        train_tokenizer(&TrainConfig::default(), &vocabulary, &desk.store, &silent),
        Err(Error::Kind { .. })
    ));
}

#[test]
fn a_vocabulary_too_large_names_the_largest() {
    let (desk, corpus) = desk(40);
    let config = TrainConfig {
        vocab_size: 60_000,
        min_frequency: 2,
    };
    let error = train_tokenizer(&config, &corpus, &desk.store, &Progress::silent())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("larger than this text supports") && error.contains("or less"),
        "{error}"
    );
}
