//! Broken and hostile folders of encoders: always one error that names the file and the field, never a panic, never
//! memory out of proportion.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use artifact::Seed;
use rand::RngExt;
use serde_json::{Value, json};
use tensor::Device;

/// How long each file is damaged at random.
const TIME: Duration = Duration::from_secs(2);
/// What reading files of some tens of kilobytes may need, the test itself included.
const MEMORY: u64 = 600 << 20;

fn fixture(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/encoders").join(name)
}

/// A folder with a copy of an encoder's files.
fn copy(name: &str) -> tempfile::TempDir {
    fn all(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let place = to.join(entry.file_name());
            if entry.path().is_dir() {
                all(&entry.path(), &place);
            } else {
                fs::copy(entry.path(), place).unwrap();
            }
        }
    }
    let home = tempfile::tempdir().unwrap();
    all(&fixture(name), home.path());
    home
}

fn load(folder: &Path) -> Result<hub::LoadedEncoder, String> {
    hub::load_encoder(folder, "broken", &Device::flex()).map_err(|error| error.to_string())
}

/// The error of a folder in which `file` was changed, which must name that file.
fn refused(folder: &Path, file: &str) -> String {
    let message = load(folder).expect_err("a broken folder is refused");
    let name = Path::new(file).file_name().unwrap().to_string_lossy();
    assert!(message.contains(&*name), "{file}: {message}");
    message
}

/// Changes fields of a JSON file.
fn change(folder: &Path, file: &str, with: impl FnOnce(&mut Value)) {
    let path = folder.join(file);
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    with(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[test]
fn fields_at_fault_are_named() {
    let cases: [(&str, &str, Value); 22] = [
        ("config.json", "hidden_size", json!("many")),
        ("config.json", "hidden_size", json!(17)),
        ("config.json", "num_hidden_layers", json!(16_777_216)),
        ("config.json", "layer_norm_eps", json!(-1.0)),
        ("config.json", "pad_token_id", json!(u64::MAX)),
        ("config.json", "hidden_act", json!("swish")),
        ("config.json", "is_decoder", json!(true)),
        (
            "config.json",
            "position_embedding_type",
            json!("relative_key"),
        ),
        ("sentence_bert_config.json", "max_seq_length", json!(0)),
        ("sentence_bert_config.json", "max_seq_length", json!(-4)),
        ("sentence_bert_config.json", "do_lower_case", json!("yes")),
        ("config_sentence_transformers.json", "prompts", json!(3)),
        (
            "config_sentence_transformers.json",
            "prompts.query",
            json!([]),
        ),
        (
            "config_sentence_transformers.json",
            "default_prompt_name",
            json!("none"),
        ),
        ("1_Pooling/config.json", "embedding_dimension", json!(15)),
        ("1_Pooling/config.json", "pooling_mode", json!("median")),
        ("1_Pooling/config.json", "pooling_mode", json!([])),
        ("1_Pooling/config.json", "include_prompt", json!(1)),
        ("2_Dense/config.json", "in_features", json!(95)),
        ("2_Dense/config.json", "out_features", json!(0)),
        (
            "2_Dense/config.json",
            "activation_function",
            json!("os.system"),
        ),
        (
            "3_Normalize/config.json",
            "module_input_name",
            json!("token_embeddings"),
        ),
    ];
    for (file, field, value) in cases {
        let home = copy("roberta");
        change(home.path(), file, |config| match field.split_once('.') {
            Some((outer, inner)) => config[outer][inner] = value.clone(),
            None => config[field] = value.clone(),
        });
        let message = refused(home.path(), file);
        assert!(message.contains(field), "{message}");
    }
}

#[test]
fn special_tokens_alone_do_not_fit() {
    let home = copy("bert");
    let file = "sentence_bert_config.json";
    change(home.path(), file, |config| {
        config["max_seq_length"] = json!(2);
    });
    let message = refused(home.path(), file);
    assert!(message.contains("special tokens"), "{message}");
}

#[test]
fn modules_stay_within_their_folder() {
    for path in [
        "../bert",
        "/etc",
        "1_Pooling/..",
        "..",
        "a/b",
        "1_Pooling/../../x",
        "~/../..",
    ] {
        let home = copy("roberta");
        change(home.path(), "modules.json", |modules| {
            modules[1]["path"] = json!(path);
        });
        let message = refused(home.path(), "modules.json");
        assert!(message.contains("[1].path"), "{path}: {message}");
    }
}

#[test]
fn modules_that_are_not_known_or_not_in_order() {
    for (number, class) in [
        (3, json!("sentence_transformers.models.LSTM")),
        (3, json!("my_package.Normalize")),
        (3, json!(7)),
        (1, json!("sentence_transformers.models.Normalize")),
        (0, json!("sentence_transformers.models.Pooling")),
        (2, json!("sentence_transformers.models.Transformer")),
    ] {
        let home = copy("roberta");
        change(home.path(), "modules.json", |modules| {
            modules[number]["type"] = class.clone();
        });
        let message = refused(home.path(), "modules.json");
        assert!(message.contains("type"), "{message}");
    }
    for text in ["[]", "{}", "[", "", "null", &"[".repeat(100_000)] {
        let home = copy("roberta");
        fs::write(home.path().join("modules.json"), text).unwrap();
        refused(home.path(), "modules.json");
    }
}

#[test]
fn a_dense_module_in_a_pickle_is_refused_with_the_way_out() {
    let home = copy("roberta");
    let dense = home.path().join("2_Dense");
    fs::remove_file(dense.join("model.safetensors")).unwrap();
    fs::write(dense.join("pytorch_model.bin"), b"\x80\x02").unwrap();
    let message = refused(home.path(), "2_Dense/pytorch_model.bin");
    assert!(message.contains("pickle"), "{message}");
}

#[test]
fn files_that_are_missing_are_named() {
    for file in [
        "config.json",
        "tokenizer.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
    ] {
        let home = copy("roberta");
        fs::remove_file(home.path().join(file)).unwrap();
        refused(home.path(), file);
    }
}

#[test]
fn a_tokenizer_of_another_model() {
    let home = copy("xlm-roberta");
    fs::copy(
        fixture("roberta").join("tokenizer.json"),
        home.path().join("tokenizer.json"),
    )
    .unwrap();
    let message = load(home.path()).unwrap_err();
    assert!(message.contains("embedding table"), "{message}");
    // One whose post-processor makes a token that no table has.
    let home = copy("bert");
    change(home.path(), "tokenizer.json", |tokenizer| {
        tokenizer["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([4_000_000]);
    });
    let read = load(home.path()).and_then(|loaded| {
        let read = loaded.reader.read(&["a"]);
        read.map_err(|error| error.to_string())
    });
    assert!(read.is_err_and(|message| message.contains("4000000")));
    // One whose post-processor names a token that it does not tell of.
    let home = copy("bert");
    change(home.path(), "tokenizer.json", |tokenizer| {
        tokenizer["post_processor"]["special_tokens"] = json!({});
    });
    refused(home.path(), "tokenizer.json");
}

#[test]
fn impossible_configs() {
    let values = [
        json!(0),
        json!(-1),
        json!(u64::MAX),
        json!(16_777_216),
        json!(1e300),
        json!("x"),
        json!([[]]),
        Value::Null,
    ];
    let text = fs::read_to_string(fixture("bert").join("config.json")).unwrap();
    let config: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let home = copy("bert");
    for field in config.keys() {
        for value in &values {
            let mut changed = config.clone();
            changed.insert(field.clone(), value.clone());
            fs::write(home.path().join("config.json"), json!(changed).to_string()).unwrap();
            // Many fields are not ours to judge; those that are must be refused by name, and nothing may panic.
            if let Err(message) = load(home.path())
                && !message.contains("no encoder")
            {
                let names = [
                    field.as_str(),
                    "model.safetensors",
                    "1_Pooling",
                    "embedding table",
                ];
                assert!(
                    names.iter().any(|name| message.contains(name)),
                    "{field}: {message}"
                );
            }
        }
    }
    let peak = artifact::peak_rss_bytes().unwrap_or(0);
    assert!(peak < MEMORY, "reading took {peak} bytes");
}

/// Flips, cuts and overwrites, a few at a time.
fn damaged(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = Seed(seed).rng();
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.len() < 16 {
            break;
        }
        let at = rng.random_range(0..bytes.len().min(3000) - 8);
        match rng.random_range(0..4) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at..at + 4].copy_from_slice(b"9999"),
            2 => bytes.truncate(at),
            _ => {
                let part = bytes[at..at + 8].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

#[test]
fn random_damage() {
    let home = copy("roberta");
    for file in [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "config_sentence_transformers.json",
        "tokenizer_config.json",
    ] {
        let path = home.path().join(file);
        let whole = fs::read(&path).unwrap();
        let begun = Instant::now();
        for seed in 0..500 {
            if begun.elapsed() > TIME {
                break;
            }
            fs::write(&path, damaged(&whole, seed)).unwrap();
            if let Ok(loaded) = load(home.path()) {
                let _ = loaded.model.forward(&[&[0, 5, 2]], 1);
            }
        }
        fs::write(&path, whole).unwrap();
    }
    let peak = artifact::peak_rss_bytes().unwrap_or(0);
    assert!(peak < MEMORY, "reading took {peak} bytes");
}
