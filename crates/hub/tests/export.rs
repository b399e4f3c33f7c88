//! Models written out and read again: the same bits where the way of storing stays, the same tokens, the same template.

use std::path::Path;

use artifact::{Progress, Seed};
use hub::Storage;
use hub::export::{to_folder, to_gguf};
use hub::weights::{HostTensor, Weights, parameters};
use models::InitialWeights;
use models::decoder::{Config, Decoder};
use tensor::quantised::Format;
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};

const ODD: [&str; 8] = [
    "",
    " ",
    "The reef, at 12  m:  18 °C",
    "\n\n  7\t\tfish don't   ",
    "हिन्दी cafe\u{301} naïve",
    "\u{1F420}\u{200D}\u{1F30A} \u{0}\u{7F}",
    "<|im_start|>user\nx<|im_end|>",
    "a\r\n\r\n12345 67,89 !!!???",
];

/// Rows of 256 and of 96: some matrices have whole K blocks, the others fall back.
fn config() -> Config {
    Config {
        num_attention_heads: 3,
        num_key_value_heads: 1,
        head_dim: 32,
        hidden_size: 256,
        intermediate_size: 96,
        ..Config::from_depth(2, 300, 64)
    }
}

fn tokenizer() -> Tokenizer {
    let text = "The reef is deep and the reef is wide, 12 fish swim in the reef. ".repeat(40);
    let config = TrainConfig {
        vocab_size: 280,
        min_frequency: 2,
    };
    Tokenizer::train([text].into_iter(), &config, &Progress::silent()).expect("it trains")
}

fn saved(folder: &Path) -> Decoder {
    let (weights, seed) = (InitialWeights::Normal, Seed(5));
    let decoder = Decoder::init(&config(), weights, Precision::F32, seed, &Device::flex());
    hub::save(folder, &decoder, &tokenizer()).expect("it is saved");
    decoder
}

fn bits(decoder: &Decoder) -> Vec<Vec<u32>> {
    let all = parameters(decoder).into_iter();
    all.map(|(_, values)| values.iter().map(|value| value.to_bits()).collect())
        .collect()
}

fn load(path: &Path) -> hub::LoadedModel {
    hub::load(path, "model", &Device::flex()).expect("it loads")
}

fn assert_same_tokenizer(read: &Tokenizer) {
    let trained = tokenizer();
    for text in ODD {
        let ids = trained.encode(text).expect("it encodes");
        assert_eq!(read.encode(text).expect("it encodes"), ids, "{text:?}");
        assert_eq!(read.decode(&ids).ok(), trained.decode(&ids).ok());
        let marked = trained.encode_special(text).expect("it encodes");
        assert_eq!(read.encode_special(text).expect("it encodes"), marked);
    }
    let (read_as, trained_as) = (read.chat_template(), trained.chat_template());
    assert_eq!(read_as.source(), trained_as.source());
    assert_eq!(read.end_of_turn(), trained.end_of_turn());
    assert_eq!(read.end_of_text(), trained.end_of_text());
}

#[test]
fn floats_keep_their_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let decoder = saved(folder.path());
    let silent = Progress::silent();
    let out = folder.path().join("out");
    let told = to_folder(folder.path(), &out, Storage::F32, &silent).expect("it is written");
    assert_eq!(told.parameters, config().parameters());
    let read = load(&out);
    assert_eq!(bits(&read.decoder), bits(&decoder));
    assert_same_tokenizer(&read.tokenizer);

    let file = folder.path().join("model.gguf");
    to_gguf(folder.path(), "model", &file, Storage::F32, &silent).expect("it is written");
    let read = load(&file);
    assert_eq!(bits(&read.decoder), bits(&decoder));
    assert_same_tokenizer(&read.tokenizer);

    let again = folder.path().join("again.gguf");
    to_gguf(&file, "model", &again, Storage::F32, &silent).expect("it is written");
    assert_eq!(bits(&load(&again).decoder), bits(&decoder));
    let back = folder.path().join("back");
    to_folder(&file, &back, Storage::F32, &silent).expect("it is written");
    assert_eq!(bits(&load(&back).decoder), bits(&decoder));
}

#[test]
fn values_that_bf16_can_tell_come_back_through_it() {
    let folder = tempfile::tempdir().expect("a folder");
    saved(folder.path());
    let silent = Progress::silent();
    let [first, second, file] = ["first", "second", "model.gguf"].map(|n| folder.path().join(n));
    to_folder(folder.path(), &first, Storage::Bf16, &silent).expect("it is written");
    let rounded = bits(&load(&first).decoder);
    assert!(rounded.iter().flatten().all(|bits| bits & 0xffff == 0));
    to_folder(&first, &second, Storage::Bf16, &silent).expect("it is written");
    assert_eq!(bits(&load(&second).decoder), rounded);
    to_gguf(&first, "model", &file, Storage::Bf16, &silent).expect("it is written");
    assert_eq!(bits(&load(&file).decoder), rounded);
}

#[test]
fn blocks_are_close_and_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let decoder = saved(folder.path());
    let silent = Progress::silent();
    let exact = parameters(&decoder);
    for (name, most) in [
        ("q8_0", 0.006),
        ("q6_k", 0.02),
        ("q5_k", 0.04),
        ("q5_1", 0.04),
        ("q5_0", 0.05),
        ("q4_k", 0.08),
        ("q4_1", 0.08),
        ("q4_0", 0.10),
    ] {
        let storage = Storage::named(name).expect("a name");
        let [file, again, back] =
            ["a.gguf", "b.gguf", name].map(|inside| folder.path().join(inside));
        let told = to_gguf(folder.path(), "model", &file, storage, &silent).expect("written");
        // The table serves as head, and `down_proj` and `o_proj` have rows of 96.
        let falls = matches!(name, "q4_k" | "q5_k" | "q6_k");
        let others = told.notes.iter().filter(|note| note.contains("rows of 96"));
        assert_eq!(others.count(), usize::from(falls), "{:?}", told.notes);
        to_gguf(&file, "model", &again, storage, &silent).expect("written");
        let bytes = [&file, &again].map(|path| std::fs::read(path).expect("it is there"));
        assert!(bytes[0] == bytes[1], "{name} does not keep its bits");

        to_folder(&file, &back, Storage::F32, &silent).expect("written");
        let read = parameters(&load(&back).decoder);
        for ((_, exact), (_, read)) in exact.iter().zip(&read) {
            let squares = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|x| f64::from(x) * f64::from(x)).sum::<f64>()
            };
            let off = squares(&mut exact.iter().zip(read).map(|(a, b)| a - b));
            let whole = squares(&mut exact.iter().copied());
            assert!(
                off.sqrt() < most * whole.sqrt(),
                "{name}: {}",
                (off / whole).sqrt()
            );
        }
    }
}

#[test]
fn what_cannot_be_stored_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let decoder = saved(folder.path());
    let names = config().tensors().into_iter().map(|(name, _)| name);
    let tensors = names
        .zip(parameters(&decoder))
        .map(|(name, (shape, values))| HostTensor {
            name,
            shape,
            values,
        });
    let mut tensors: Vec<HostTensor> = tensors.collect();
    tensors[3].values[7] = 1e6;
    let weights = folder.path().join("model.safetensors");
    hub::weights::write(&weights, &tensors, &[("format", "pt".to_owned())]).expect("written");
    assert!(Weights::open(&weights).is_ok());
    let silent = Progress::silent();
    for storage in [Storage::F16, Storage::Blocks(Format::Q4K)] {
        let file = folder.path().join("model.gguf");
        let error = to_gguf(folder.path(), "model", &file, storage, &silent);
        let told = error.expect_err("too large a value").to_string();
        assert!(
            told.contains("k_proj") && told.contains("export it as f32"),
            "{told}"
        );
        assert!(!file.exists());
    }
}

/// A tokenizer of forty tokens: a model of a fixture's size has no room for more.
fn of_forty(folder: &Path) {
    let mut vocab = serde_json::Map::new();
    let marks = ["<pad>", "<s>", "</s>"].map(str::to_owned);
    let letters = ('a'..='z').chain('A'..='K').map(String::from);
    for (id, token) in marks.iter().cloned().chain(letters).enumerate() {
        vocab.insert(token, id.into());
    }
    let added: Vec<serde_json::Value> = marks
        .iter()
        .enumerate()
        .map(|(id, token)| {
            serde_json::json!({ "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
        })
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": [] },
    });
    std::fs::write(folder.join("tokenizer.json"), json.to_string()).expect("written");
    let config = serde_json::json!({ "eos_token": "</s>", "bos_token": "<s>" });
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).expect("written");
}

/// A fixture of `transformers` with that tokenizer.
fn family(name: &str, to: &Path) {
    let from = Path::new("../../peers/fixtures/families").join(name);
    for entry in std::fs::read_dir(from).expect("the fixture") {
        let path = entry.expect("an entry").path();
        let file_name = path.file_name().expect("a name");
        if path.is_file() {
            std::fs::copy(&path, to.join(file_name)).expect("copied");
        }
    }
    of_forty(to);
}

#[test]
fn every_family_keeps_its_bits_and_its_config() {
    let silent = Progress::silent();
    for name in [
        "llama",
        "llama3",
        "mistral",
        "qwen2",
        "qwen2-window",
        "qwen3",
        "phi3",
        "phi3-long",
        "gemma3",
        "gpt2",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        family(name, folder.path());
        let out = folder.path().join("out");
        to_folder(folder.path(), &out, Storage::F32, &silent).expect("it is written");
        let [first, second] =
            [folder.path(), &out].map(|path| hub::load_decoder(path, &Device::flex()));
        assert_eq!(
            bits(&first.expect("read")),
            bits(&second.expect("read")),
            "{name}"
        );
        let read = |path: &Path| -> serde_json::Value {
            let text = std::fs::read_to_string(path.join("config.json")).expect("there");
            serde_json::from_str(&text).expect("JSON")
        };
        let (mut before, mut after) = (read(folder.path()), read(&out));
        for config in [&mut before, &mut after] {
            for field in ["torch_dtype", "dtype", "precision"] {
                config.as_object_mut().expect("an object").remove(field);
            }
        }
        assert_eq!(before, after, "{name}");
    }
}

#[test]
fn families_with_an_architecture_in_llama_cpp_are_written_for_it() {
    let silent = Progress::silent();
    for (name, fits) in [
        ("qwen2", true),
        ("qwen3", true),
        ("gpt2", false),
        ("qwen2-window", false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        family(name, folder.path());
        let file = folder.path().join("model.gguf");
        let written = to_gguf(folder.path(), name, &file, Storage::F32, &silent);
        if !fits {
            let refused = written.expect_err("refused").to_string();
            assert!(refused.contains("safetensors instead"), "{refused}");
            continue;
        }
        written.expect("it is written");
        let [first, second] = [folder.path(), &file]
            .map(|path| hub::load_decoder(path, &Device::flex()).expect("read"));
        assert_eq!(bits(&first), bits(&second), "{name}");
        let (first, second) = (first.config(), second.config());
        assert_eq!(first.rope_theta, second.rope_theta);
        assert_eq!(first.head_dim, second.head_dim);
    }
}
