//! Every encoder family against Hugging Face's `transformers`, on tiny checkpoints as it writes them (made by
//! `cargo xtask fixtures`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use hub::Architecture;
use serde::Deserialize;
use tensor::Device;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    hidden: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/encoders").join(name)
}

fn agrees(name: &str) {
    let text = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_str(&text).unwrap();
    let loaded = hub::load_encoder(&folder(name), name, &Device::flex()).unwrap();
    for one in &expected.texts {
        let readings = loaded.reader.read(&[&one.text]).unwrap();
        assert_eq!(readings[0].ids, one.ids, "{name} {:?}", one.text);
    }
    let ids: Vec<&[u32]> = expected
        .texts
        .iter()
        .map(|one| one.ids.as_slice())
        .collect();
    let states = loaded.model.encoder.states(&ids); // [tokens, hidden]
    let theirs = expected.texts.iter().flat_map(|one| &one.hidden);
    assert_eq!(states.len(), theirs.clone().count());
    let pairs = states.iter().zip(theirs);
    let worst = pairs.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-4, "{name}: hidden states differ by {worst}");
}

#[test]
fn bert_under_the_names_of_a_model_with_a_head() {
    agrees("bert");
}

#[test]
fn roberta_in_several_files() {
    agrees("roberta");
}

#[test]
fn xlm_roberta_in_16_bits() {
    agrees("xlm-roberta");
}

#[test]
fn each_kind_of_model_is_told_from_the_other() {
    let encoder = folder("bert");
    let Architecture::Encoder(config) = hub::read_architecture(&encoder).unwrap() else {
        panic!("BERT is an encoder");
    };
    assert_eq!(config.hidden_size, 16);
    for message in [
        hub::load(&encoder, "bert", &Device::flex())
            .unwrap_err()
            .to_string(),
        hub::load_decoder(&encoder, &Device::flex())
            .unwrap_err()
            .to_string(),
        hub::read_config(&encoder).unwrap_err().to_string(),
    ] {
        assert!(message.contains("encoder"), "{message}");
        assert!(message.contains("ontogeny embed"), "{message}");
    }
    let families = Path::new("../../peers/fixtures/families");
    for path in [families.join("qwen3"), families.join("qwen3/model.gguf")] {
        assert!(matches!(
            hub::read_architecture(&path),
            Ok(Architecture::Decoder(_))
        ));
        let message = hub::load_encoder(&path, "qwen3", &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(message.contains("no encoder"), "{message}");
    }
}
