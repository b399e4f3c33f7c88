//! The readers of untrusted files, each given bytes in the place of the file that it reads. Used by the fuzz targets and
//! by the test `fuzz_corpus` of `crates/hub`.

use std::fs;
use std::path::{Path, PathBuf};

use tensor::Device;

/// A small model's config; the tensors of no other file need to fit it.
const CONFIG: &str = r#"{
    "model_type": "qwen3", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2
}"#;

/// The folders that the readers are pointed at.
pub(crate) struct Bench {
    home: tempfile::TempDir,
}

impl Bench {
    /// Folders with everything but the file that is fuzzed.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let bench = Self { home };
        for name in ["safetensors", "index", "adapter_config/base"] {
            let folder = bench.folder(name);
            fs::write(folder.join("config.json"), CONFIG).expect("a file");
        }
        // What an index may name: a whole file without tensors.
        let header = b"{}      ";
        let mut empty = (header.len() as u64).to_le_bytes().to_vec();
        empty.extend(header);
        for (folder, name) in [
            ("index", "model-00001-of-00001.safetensors"),
            ("adapter_config", "adapter_model.safetensors"),
        ] {
            fs::write(bench.folder(folder).join(name), &empty).expect("a file");
        }
        bench
    }

    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.home.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Reads the bytes by the reader of this name and returns how it refused them, if it did.
    ///
    /// # Panics
    /// When the reader does, or refuses without naming the file.
    pub(crate) fn check(&self, reader: &str, bytes: &[u8]) -> Vec<String> {
        let folder = self.folder(reader);
        let (file, errors) = match reader {
            "gguf" => {
                let path = folder.join("file.gguf");
                fs::write(&path, bytes).expect("a file");
                ("file.gguf", gguf(&path))
            }
            "safetensors" => {
                fs::write(folder.join("model.safetensors"), bytes).expect("a file");
                ("model.safetensors", weights(&folder))
            }
            "index" => {
                fs::write(folder.join("model.safetensors.index.json"), bytes).expect("a file");
                ("safetensors", weights(&folder))
            }
            "tokenizer" => {
                fs::write(folder.join("tokenizer.json"), bytes).expect("a file");
                ("tokenizer", tokenizer(&folder))
            }
            "adapter_config" => {
                fs::write(folder.join("adapter_config.json"), bytes).expect("a file");
                ("adapter_", adapter(&folder))
            }
            other => panic!("no reader is called {other}"),
        };
        for error in &errors {
            // What the tokenizers' library refuses carries its own words.
            let named = error.contains(file) || error.contains("tokenizer");
            assert!(named, "{reader}: the error names no file: {error}");
        }
        errors
    }
}

/// The errors among results.
fn told<T, E: ToString>(result: Result<T, E>) -> Option<String> {
    result.err().map(|error| error.to_string())
}

fn gguf(path: &Path) -> Vec<String> {
    let errors = [
        told(hub::load_decoder(path, &Device::flex())),
        told(hub::tokenizer(path)),
        told(hub::about::tensors(path)),
        told(hub::about::licence(path)),
        told(hub::memory::plan(path)),
    ];
    errors.into_iter().flatten().collect()
}

fn weights(folder: &Path) -> Vec<String> {
    let errors = [
        told(hub::load_decoder(folder, &Device::flex())),
        told(hub::about::tensors(folder)),
    ];
    errors.into_iter().flatten().collect()
}

fn tokenizer(folder: &Path) -> Vec<String> {
    match tokenizer::Tokenizer::load(folder) {
        Ok(tokenizer) => {
            // What it makes of a text is its own affair; that it comes back is ours.
            if let Ok(ids) = tokenizer.encode("the reef is 12 m deep, ça va 🐠") {
                let _ = tokenizer.decode(&ids);
            }
            Vec::new()
        }
        Err(error) => vec![error.to_string()],
    }
}

fn adapter(folder: &Path) -> Vec<String> {
    let config = hub::read_config(&folder.join("base")).expect("the base's config is whole");
    let errors = [
        told(hub::read_adapter_config(folder)),
        told(hub::base_of(folder)),
        told(hub::read_adapter(folder, &config.decoder)),
        told(hub::load_decoder(folder, &Device::flex())),
    ];
    errors.into_iter().flatten().collect()
}
