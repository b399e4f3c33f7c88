//! Every decoder family against Hugging Face's `transformers`, on tiny checkpoints as it writes them (made by
//! `cargo xtask fixtures`), and against itself: cached decoding is the full forward, to the bit.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use models::decoder::Decoder;
use models::kv_cache::{SlotCache, TensorCache};
use models::{KvCache, Rows};
use serde::Deserialize;
use tensor::{Device, Int, SlotRow, Tensor, TensorData, to_vec};

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<Vec<i32>>,
    logits: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/families").join(name)
}

fn ids(tokens: &[i32], batch: usize) -> Tensor<2, Int> {
    let shape = [batch, tokens.len() / batch];
    Tensor::from_data(TensorData::new(tokens.to_vec(), shape), &Device::flex())
}

fn bits(hidden: Tensor<3>) -> Vec<u32> {
    to_vec(hidden).into_iter().map(f32::to_bits).collect()
}

fn decoder(name: &str) -> (Decoder, Expected) {
    let folder = folder(name);
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let decoder = hub::load_decoder(&folder, &Device::flex()).unwrap();
    (decoder, serde_json::from_str(&text).unwrap())
}

/// Whether the logits are those of `transformers`.
fn logits_agree(name: &str, decoder: &Decoder, expected: &Expected) {
    let (batch, seq) = (expected.tokens.len(), expected.tokens[0].len());
    let tokens = expected.tokens.concat();
    let hidden = decoder.forward(ids(&tokens, batch), &Rows::causal(batch, seq), None); // [batch, seq, hidden]
    let logits = to_vec(decoder.logits(hidden)); // [batch, seq, vocab]
    assert_eq!(logits.len(), expected.logits.len());
    let pairs = logits.iter().zip(&expected.logits);
    let worst = pairs.fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-4, "{name}: logits differ by {worst}");
}

fn agrees(name: &str) {
    let (decoder, expected) = decoder(name);
    logits_agree(name, &decoder, &expected);
    let row = &expected.tokens[0];
    let seq = row.len();
    let whole = bits(decoder.forward(ids(row, 1), &Rows::causal(1, seq), None));
    for chunk in [1, 7, seq] {
        let layers = decoder.config().num_hidden_layers;
        let (mut slots, mut growing) = (SlotCache::new(layers, 2, 64), TensorCache::default());
        let (mut paged, mut dense) = (Vec::new(), Vec::new());
        for (part, start) in row.chunks(chunk).zip((0..).step_by(chunk)) {
            let rows = Rows::continued(&[start], part.len());
            let cache: &mut dyn KvCache = slots.at(vec![SlotRow { slot: 1, start }]);
            paged.extend(bits(decoder.forward(ids(part, 1), &rows, Some(cache))));
            dense.extend(bits(decoder.forward(
                ids(part, 1),
                &rows,
                Some(&mut growing),
            )));
        }
        assert_eq!(paged, whole, "{name}: paged, chunks of {chunk}");
        assert_eq!(dense, whole, "{name}: dense, chunks of {chunk}");
    }
}

macro_rules! families {
    ($($test:ident $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                agrees($name);
            }
        )*
    };
}

families! {
    llama_with_biases_in_several_files "llama"
    llama_3_with_stretched_positions "llama3"
    mistral_with_a_window "mistral"
    qwen_2 "qwen2"
    qwen_2_with_a_window_in_some_layers "qwen2-window"
    qwen_3 "qwen3"
    phi_3 "phi3"
    phi_3_with_long_positions "phi3-long"
    gemma_3 "gemma3"
    gemma_3_with_the_usual_layers "gemma3-six"
    gpt_2 "gpt2"
}

/// By llama.cpp's own converter.
#[test]
fn gguf_files_give_the_same_logits() {
    let names = [
        "llama",
        "llama3",
        "qwen2",
        "qwen3",
        "phi3",
        "phi3-long",
        "gemma3-six",
        "gpt2",
    ];
    for name in names {
        let (_, expected) = decoder(name);
        let file = folder(name).join("model.gguf");
        let decoder = hub::load_decoder(&file, &Device::flex()).unwrap();
        logits_agree(&format!("{name}, GGUF"), &decoder, &expected);
    }
}

#[test]
fn what_is_not_computed_is_refused() {
    let text = std::fs::read_to_string(folder("gemma3").join("config.json")).unwrap();
    let capped = text.replace(
        "\"final_logit_softcapping\": null",
        "\"final_logit_softcapping\": 30.0",
    );
    let other = text.replace("gemma3_text", "mamba");
    for (text, field) in [(capped, "final_logit_softcapping"), (other, "model_type")] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.json"), text).unwrap();
        let message = hub::read_config(home.path()).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
        assert!(message.contains("config.json"), "{message}");
    }
}

#[test]
fn a_pickle_is_refused_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let config = folder("qwen2").join("config.json");
    std::fs::copy(config, home.path().join("config.json")).unwrap();
    std::fs::write(home.path().join("pytorch_model.bin"), b"\x80\x02").unwrap();
    let message = hub::load_decoder(home.path(), &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(message.contains("safe_serialization"), "{message}");
}

#[test]
fn an_index_cannot_name_files_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let config = folder("qwen2").join("config.json");
    std::fs::copy(config, home.path().join("config.json")).unwrap();
    for name in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        "",
    ] {
        let index = serde_json::json!({"weight_map": {"model.norm.weight": name}});
        let path = home.path().join("model.safetensors.index.json");
        std::fs::write(path, index.to_string()).unwrap();
        let message = hub::load_decoder(home.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no safetensors file of this folder"),
            "{message}"
        );
    }
}
