//! Vectors of texts against sentence-transformers, on tiny models as it writes them (made by `cargo xtask fixtures`),
//! and against themselves: a vector depends on its text alone.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use knowledge::{Embedder, Error, cosine};
use serde::Deserialize;
use tensor::Device;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<Text>,
    prompted: BTreeMap<String, Vec<Vec<f32>>>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    embedding: Vec<f32>,
}

const NAMES: [&str; 3] = ["bert", "roberta", "xlm-roberta"];

fn folder(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/encoders").join(name)
}

fn embedder(name: &str) -> (Embedder, Expected) {
    let text = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
    let loaded = hub::load_encoder(&folder(name), name, &Device::flex()).unwrap();
    (Embedder::new(loaded), serde_json::from_str(&text).unwrap())
}

fn close(ours: &[f32], theirs: &[f32], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let pairs = ours.iter().zip(theirs);
    let worst = pairs.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-5, "{what}: off by {worst}");
    let cosine = cosine(ours, theirs);
    assert!(cosine > 0.999_99, "{what}: cosine {cosine}");
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    for name in NAMES {
        let (embedder, expected) = embedder(name);
        let texts: Vec<&str> = expected.texts.iter().map(|one| one.text.as_str()).collect();
        let found = embedder.embed(&texts, None).unwrap();
        assert_eq!(found.dimensions, embedder.dimensions());
        assert_eq!(found.rows().len(), texts.len());
        let tokens: usize = expected.texts.iter().map(|one| one.ids.len()).sum();
        assert_eq!(found.tokens, tokens, "{name}");
        assert!(found.truncated > 0, "{name}");
        for (ours, theirs) in found.rows().zip(&expected.texts) {
            close(
                ours,
                &theirs.embedding,
                &format!("{name} {:?}", theirs.text),
            );
        }
        for (prompt, theirs) in &expected.prompted {
            let found = embedder.embed(&texts, Some(prompt)).unwrap();
            for ((ours, theirs), text) in found.rows().zip(theirs).zip(&texts) {
                close(ours, theirs, &format!("{name} {prompt} {text:?}"));
            }
        }
    }
}

#[test]
fn a_vector_depends_on_its_text_alone() {
    for name in NAMES {
        let (embedder, expected) = embedder(name);
        // Several batches' worth, in another order.
        let texts: Vec<&str> = expected.texts.iter().map(|one| one.text.as_str()).collect();
        let many: Vec<&str> = texts.iter().rev().copied().cycle().take(250).collect();
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let found = embedder.embed(&many, None).unwrap();
        let alone: BTreeMap<&str, Vec<u32>> = texts
            .iter()
            .map(|text| (*text, bits(&embedder.embed(&[*text], None).unwrap().values)))
            .collect();
        for (text, vector) in many.iter().zip(found.rows()) {
            assert_eq!(bits(vector), alone[text], "{name} {text:?}");
        }
    }
}

#[test]
fn no_text_gives_no_vector() {
    let (embedder, _) = embedder("bert");
    let found = embedder.embed(&[], None).unwrap();
    assert_eq!(found.rows().len(), 0);
}

#[test]
fn a_prompt_that_is_not_there_is_refused_by_name() {
    let (roberta, _) = embedder("roberta");
    let error = roberta.embed(&["one"], Some("questions")).unwrap_err();
    assert!(matches!(error, Error::Prompt { .. }));
    let message = error.to_string();
    assert!(message.contains("document, passage, query"), "{message}");
    let (bert, _) = embedder("bert");
    let message = bert.embed(&["one"], Some("query")).unwrap_err().to_string();
    assert!(message.contains("without prompts"), "{message}");
}
