//! GGUF files: the same logits as from the weights they were made of, and refusals of broken ones.

use std::path::Path;

use artifact::Seed;
use hub::weights::parameters;
use models::decoder::{Config, Decoder};
use models::{InitialWeights, Rows};
use tensor::{Device, Precision, Tensor, TensorData, to_vec};

fn config() -> Config {
    Config {
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 32,
        intermediate_size: 96,
        ..Config::from_depth(1, 260, 64)
    }
}

/// Writes what the file's head consists of.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: &str) {
        self.0.extend((text.len() as u64).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.text(key);
        self.0.extend(4_u32.to_le_bytes());
        self.0.extend(value.to_le_bytes());
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.text(key);
        self.0.extend(6_u32.to_le_bytes());
        self.0.extend(value.to_le_bytes());
    }

    fn string(&mut self, key: &str, value: &str) {
        self.text(key);
        self.0.extend(8_u32.to_le_bytes());
        self.text(value);
    }

    fn strings(&mut self, key: &str, values: &[String]) {
        self.text(key);
        self.0.extend(9_u32.to_le_bytes());
        self.0.extend(8_u32.to_le_bytes());
        self.0.extend((values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| self.text(value));
    }
}

/// The file's name of each tensor, and whether it is one of rotated rows.
fn names(config: &Config) -> Vec<(String, bool)> {
    let mut names = vec![("token_embd.weight".to_owned(), false)];
    for layer in 0..config.num_hidden_layers {
        for part in [
            "attn_norm",
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_norm",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        ] {
            let rotated = part == "attn_q" || part == "attn_k";
            names.push((format!("blk.{layer}.{part}.weight"), rotated));
        }
    }
    names.push(("output_norm.weight".to_owned(), false));
    names
}

/// A GGUF file of the model in f32, its queries and keys in the file's order: feature i of the first half of a head
/// beside feature i of the second.
fn file(config: &Config, decoder: &Decoder) -> Vec<u8> {
    let tensors: Vec<_> = names(config).into_iter().zip(parameters(decoder)).collect();
    // The printable bytes stand for themselves in byte-level BPE; the others only fill the vocabulary here.
    let mut tokens: Vec<String> = (33..=126_u8).map(|b| char::from(b).to_string()).collect();
    tokens.push("Ġ".to_owned());
    tokens.extend((tokens.len()..config.vocab_size - 1).map(|i| format!("<unused {i}>")));
    tokens.push("<|endoftext|>".to_owned());
    let mut w = Writer::default();
    w.0.extend(b"GGUF");
    w.0.extend(3_u32.to_le_bytes());
    w.0.extend((tensors.len() as u64).to_le_bytes());
    w.0.extend(12_u64.to_le_bytes());
    w.string("general.architecture", "llama");
    w.u32("llama.embedding_length", config.hidden_size as u32);
    w.u32("llama.block_count", config.num_hidden_layers as u32);
    w.u32("llama.feed_forward_length", config.intermediate_size as u32);
    w.u32(
        "llama.attention.head_count",
        config.num_attention_heads as u32,
    );
    w.u32(
        "llama.attention.head_count_kv",
        config.num_key_value_heads as u32,
    );
    w.u32(
        "llama.context_length",
        config.max_position_embeddings as u32,
    );
    w.f32(
        "llama.attention.layer_norm_rms_epsilon",
        config.rms_norm_eps,
    );
    w.u32("llama.attention.key_length", config.head_dim as u32);
    w.string("tokenizer.ggml.model", "gpt2");
    w.strings("tokenizer.ggml.tokens", &tokens);
    w.strings("tokenizer.ggml.merges", &[]);
    let (mut data, half) = (Vec::new(), config.head_dim / 2);
    for ((name, rotated), (shape, values)) in &tensors {
        w.text(name);
        w.0.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            w.0.extend((*size as u64).to_le_bytes());
        }
        w.0.extend(0_u32.to_le_bytes());
        w.0.extend((data.len() as u64).to_le_bytes());
        let cols = *shape.last().expect("a tensor has a dimension");
        for row in 0..values.len() / cols {
            let (head, at) = (row / config.head_dim, row % config.head_dim);
            let from = if *rotated {
                head * config.head_dim + at / 2 + at % 2 * half
            } else {
                row
            };
            for value in &values[from * cols..][..cols] {
                data.extend(value.to_le_bytes());
            }
        }
        data.resize(data.len().next_multiple_of(32), 0);
    }
    w.0.resize(w.0.len().next_multiple_of(32), 0);
    w.0.extend(data);
    w.0
}

fn logits(decoder: &Decoder) -> Vec<f32> {
    let tokens = TensorData::new(vec![5, 17, 2, 40, 40, 1], [1, 6]);
    let tokens = Tensor::from_data(tokens, &Device::flex());
    to_vec(decoder.logits(decoder.forward(tokens, &Rows::causal(1, 6), None)))
}

fn write(folder: &Path, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join("model.gguf");
    std::fs::write(&path, bytes).expect("a temporary folder can be written");
    path
}

fn decoder(config: &Config, device: &Device) -> Decoder {
    let (weights, seed) = (InitialWeights::Normal, Seed(1));
    Decoder::init(config, weights, Precision::F32, seed, device)
}

#[test]
fn a_file_gives_the_same_logits_as_its_weights() {
    let config = config();
    let device = Device::flex();
    let decoder = decoder(&config, &device);
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &file(&config, &decoder));
    let loaded = hub::load(&path, "model", &device).unwrap();
    assert_eq!(logits(&loaded.decoder), logits(&decoder));
    assert_eq!(loaded.tokenizer.encode("a b").unwrap(), [64, 94, 65]);
    assert_eq!(loaded.tokenizer.decode(&[64, 94, 65]).unwrap(), "a b");
    let read = hub::read_config(&path).unwrap().decoder;
    assert_eq!(read.head_dim, config.head_dim);
    assert!(read.tie_word_embeddings);
}

#[test]
fn broken_files_are_refused() {
    let config = config();
    let device = Device::flex();
    let decoder = decoder(&config, &device);
    let folder = tempfile::tempdir().unwrap();
    let whole = file(&config, &decoder);
    let refused = |bytes: &[u8]| {
        let path = write(folder.path(), bytes);
        hub::load(&path, "model", &device).unwrap_err().to_string()
    };
    for length in (0..whole.len() - 4).step_by(997) {
        let told = refused(&whole[..length]);
        assert!(told.contains("model.gguf"), "{told}");
    }
    assert!(refused(b"<html>no such file</html>").contains("does not begin as a GGUF file"));
    let mut other = whole.clone();
    let at = whole.windows(5).position(|w| w == b"llama").unwrap();
    other[at..at + 5].copy_from_slice(b"gemma");
    assert!(refused(&other).contains("`general.architecture` is gemma: llama, qwen2"));
    // A count in the head beyond all bounds must not be believed.
    let mut other = whole;
    other[16..24].fill(0xff);
    assert!(refused(&other).contains("ends too early"));
}
