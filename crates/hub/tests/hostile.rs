//! Broken and hostile files: always one error that names the file, never a panic, never memory out of proportion.
//!
//! Fixed cases, then random damage to good files for a bounded time; `fuzz/` has the same readers for libFuzzer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use artifact::Seed;
use rand::RngExt;
use tensor::Device;

/// How long each kind of file is damaged at random.
const TIME: Duration = Duration::from_secs(4);
/// Damaged files of a kind, at most.
const MOST: usize = 4000;
/// What reading files of some tens of kilobytes may need, the test itself included.
const MEMORY: u64 = 600 << 20;

fn family(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/families").join(name)
}

/// A folder with a copy of a family's files.
fn copy(name: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(family(name).join(file), home.path().join(file)).unwrap();
    }
    home
}

/// The error of a file that cannot be used, which must name it.
fn refused(path: &Path) -> String {
    let message = hub::load_decoder(path, &Device::flex())
        .expect_err("a broken file is refused")
        .to_string();
    let named = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(message.contains(&named), "{message}");
    message
}

fn with_header(home: &Path, header: &str, data: usize) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(home.join("model.safetensors"), bytes).unwrap();
}

#[test]
fn lying_safetensors() {
    let home = copy("qwen3");
    let cases = [
        // Beyond the end; backwards; one over the other; more elements than bytes; dimensions that overflow.
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,800]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}}"#,
        r#"{"a":{"dtype":"X9","shape":[2],"data_offsets":[0,8]}}"#,
        r#"{"a":"#,
        "",
        "[]",
    ];
    for header in cases {
        with_header(home.path(), header, 12);
        let message = hub::load_decoder(home.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(message.contains("model.safetensors"), "{header}: {message}");
    }
    for length in [0_u64, 1, 100_000_000, u64::MAX, u64::MAX - 7] {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([b'{'; 40]);
        fs::write(home.path().join("model.safetensors"), bytes).unwrap();
        let message = hub::load_decoder(home.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(message.contains("model.safetensors"), "{length}: {message}");
    }
}

#[test]
fn truncated_files() {
    let home = copy("qwen3");
    let whole = fs::read(home.path().join("model.safetensors")).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 50) {
        fs::write(home.path().join("model.safetensors"), &whole[..length]).unwrap();
        assert!(hub::load_decoder(home.path(), &Device::flex()).is_err());
    }
    let whole = fs::read(family("qwen3").join("model.gguf")).unwrap();
    let path = home.path().join("short.gguf");
    for length in (0..whole.len()).step_by(whole.len() / 200) {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path);
    }
}

#[test]
fn impossible_configs() {
    let text = fs::read_to_string(family("qwen3").join("config.json")).unwrap();
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    let home = copy("qwen3");
    let values = [
        serde_json::json!(0),
        serde_json::json!(-1),
        serde_json::json!(u64::MAX),
        serde_json::json!(16_777_216),
        serde_json::json!(1e300),
        serde_json::json!("x"),
        serde_json::json!([[]]),
        serde_json::json!({"rope_type": "llama3"}),
        serde_json::Value::Null,
    ];
    for field in config.keys() {
        for value in &values {
            let mut changed = config.clone();
            changed.insert(field.clone(), value.clone());
            let text = serde_json::to_string(&changed).unwrap();
            fs::write(home.path().join("config.json"), text).unwrap();
            // Many fields are not ours to judge; those that are must be refused by name, and nothing may panic.
            if let Err(error) = hub::load_decoder(home.path(), &Device::flex()) {
                let message = error.to_string();
                let names = ["config.json", "model.safetensors"];
                assert!(names.iter().any(|name| message.contains(name)), "{message}");
            }
        }
    }
    fs::write(home.path().join("config.json"), "[".repeat(100_000)).unwrap();
    assert!(hub::load_decoder(home.path(), &Device::flex()).is_err());
}

/// Flips, cuts, repeats and overwrites, a few at a time.
fn damaged(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = Seed(seed).rng();
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..5) {
        if bytes.len() < 16 {
            break;
        }
        // Heads are short, and what lies in them matters most.
        let reach = if rng.random_range(0..4) == 0 {
            bytes.len()
        } else {
            bytes.len().min(3000)
        };
        let at = rng.random_range(0..reach - 8);
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at..at + 8].copy_from_slice(&[0xff; 8]),
            2 => bytes[at..at + 8].copy_from_slice(&rng.random::<u64>().to_le_bytes()),
            3 => bytes.truncate(at),
            _ => {
                let part = bytes[at..at + 8].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// Damages a good file again and again and hands each to `read`.
fn random_damage(good: &Path, read: impl Fn(&[u8])) {
    let whole = fs::read(good).unwrap();
    let begun = Instant::now();
    for seed in 0..MOST as u64 {
        if begun.elapsed() > TIME {
            break;
        }
        read(&damaged(&whole, seed));
    }
    let peak = artifact::peak_rss_bytes().unwrap_or(0);
    assert!(peak < MEMORY, "reading took {peak} bytes");
}

#[test]
fn damaged_gguf() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("damaged.gguf");
    for name in ["llama", "phi3-long", "gemma3-six"] {
        random_damage(&family(name).join("model.gguf"), |bytes| {
            fs::write(&path, bytes).unwrap();
            for error in [
                hub::load_decoder(&path, &Device::flex()).err(),
                hub::tokenizer(&path).err(),
            ]
            .into_iter()
            .flatten()
            {
                let message = error.to_string();
                // What the tokenizers' library refuses carries its own words.
                assert!(
                    message.contains("damaged.gguf") || message.contains("tokenizer"),
                    "{message}"
                );
            }
        });
    }
}

#[test]
fn damaged_safetensors() {
    let home = copy("qwen3");
    random_damage(&family("qwen3").join("model.safetensors"), |bytes| {
        fs::write(home.path().join("model.safetensors"), bytes).unwrap();
        if let Err(error) = hub::load_decoder(home.path(), &Device::flex()) {
            assert!(error.to_string().contains("model.safetensors"), "{error}");
        }
    });
}

#[test]
fn damaged_tokenizers() {
    let home = tempfile::tempdir().unwrap();
    let texts = [
        "the reef is deep and the reef is wide",
        "a wreck of 30 metres, two euros",
    ];
    let config = tokenizer::TrainConfig {
        vocab_size: 265,
        ..tokenizer::TrainConfig::default()
    };
    let texts = texts.iter().map(|text| (*text).to_owned());
    let good = tokenizer::Tokenizer::train(texts, &config, &artifact::Progress::silent());
    good.unwrap().save(home.path()).unwrap();
    let path = home.path().join("tokenizer.json");
    let whole = home.path().join("whole.json");
    fs::rename(&path, &whole).unwrap();
    random_damage(&whole, |bytes| {
        fs::write(&path, bytes).unwrap();
        if let Ok(tokenizer) = tokenizer::Tokenizer::load(home.path()) {
            let _ = tokenizer.encode("the reef");
        }
    });
    let text = fs::read_to_string(&whole).unwrap();
    // A token far behind all others.
    let far = text
        .replacen(": 264", ": 4294967295", 1)
        .replacen(":264", ":4294967295", 1);
    fs::write(&path, far).unwrap();
    let _ = tokenizer::Tokenizer::load(home.path());
    let peak = artifact::peak_rss_bytes().unwrap_or(0);
    assert!(peak < MEMORY, "reading took {peak} bytes");
}

/// The place of the offset in what a GGUF file's head tells of a tensor.
fn offset_place(bytes: &[u8], name: &str) -> usize {
    let name = [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
    let at = bytes.windows(name.len()).position(|part| part == name);
    let at = at.unwrap() + name.len();
    let dimensions = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    at + 4 + 8 * dimensions + 4
}

#[test]
fn gguf_tensors_in_wrong_places() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("placed.gguf");
    let whole = fs::read(family("llama").join("model.gguf")).unwrap();
    let place = offset_place(&whole, "blk.0.attn_q.weight");
    let other = offset_place(&whole, "blk.0.attn_output.weight");
    let offset = u64::from_le_bytes(whole[other..other + 8].try_into().unwrap());
    for (offset, expected) in [
        // One upon the other, half within, behind the end, past what can be counted.
        (offset, "within tensor"),
        (offset + 32, "within tensor"),
        (whole.len() as u64, "begins"),
        (u64::MAX, "begins"),
        (u64::MAX - 31, "begins"),
    ] {
        let mut bytes = whole.clone();
        bytes[place..place + 8].copy_from_slice(&offset.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let message = refused(&path);
        assert!(
            message.contains(expected) && message.contains("attn_"),
            "{message}"
        );
    }
    // Dimensions whose product overflows, and one tensor twice.
    let mut bytes = whole.clone();
    let (first, second) = (place - 4 - 16, place - 4 - 8);
    bytes[first..first + 8].copy_from_slice(&(1_u64 << 32).to_le_bytes());
    bytes[second..second + 8].copy_from_slice(&(1_u64 << 32).to_le_bytes());
    fs::write(&path, bytes).unwrap();
    refused(&path);
    let mut bytes = whole;
    let from = b"blk.0.attn_k.weight";
    let at = bytes.windows(from.len()).position(|part| part == from);
    bytes[at.unwrap()..][..from.len()].copy_from_slice(b"blk.0.attn_v.weight");
    fs::write(&path, bytes).unwrap();
    assert!(refused(&path).contains("twice"));
}

#[test]
fn a_zip_is_not_even_opened() {
    // A few hundred bytes that would unpack to gigabytes; what is in it does not matter, as nothing reads it.
    let home = tempfile::tempdir().unwrap();
    fs::copy(
        family("qwen3").join("config.json"),
        home.path().join("config.json"),
    )
    .unwrap();
    for name in ["pytorch_model.bin", "model.pt"] {
        let path = home.path().join(name);
        fs::write(&path, b"PK\x03\x04\x14\x00\x00\x00\x08\x00").unwrap();
        let message = hub::load_decoder(home.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(name) && message.contains("safe_serialization"),
            "{message}"
        );
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn adapters_that_go_in_circles() {
    let home = tempfile::tempdir().unwrap();
    let adapter = |name: &str, base: &str| {
        let folder = home.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        let config = serde_json::json!({
            "peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base,
        });
        fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
        folder
    };
    let folders = [
        adapter("one", "two"),
        adapter("two", "one"),
        adapter("self", "."),
        adapter("outside", "../outside"),
        adapter("nothing", ""),
    ];
    // A model inside makes none of them a base of itself.
    fs::copy(
        family("llama").join("model.gguf"),
        folders[2].join("model.gguf"),
    )
    .unwrap();
    for folder in folders {
        let message = hub::load_decoder(&folder, &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(message.contains("adapter_config.json"), "{message}");
    }
}
