//! A model as a GGUF file that llama.cpp reads.

use std::io::{self, Write};

use models::decoder::Config;
use serde_json::Value;
use tensor::quantised::Format;
use tokenizer::Tokenizer;

use super::storage::Storage;
use super::tokenizer as vocabulary;

/// Where tensors begin.
const ALIGNMENT: usize = 32;

/// The head of a file, in the making.
#[derive(Default)]
pub(crate) struct Head {
    entries: Vec<u8>,
    count: u64,
}

impl Head {
    fn raw_text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn key(&mut self, key: &str, kind: u32) {
        Self::raw_text(&mut self.entries, key);
        self.entries.extend(kind.to_le_bytes());
        self.count += 1;
    }

    fn count(&mut self, key: &str, value: usize) {
        self.key(key, 4);
        self.entries.extend((value as u32).to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.entries.extend(value.to_le_bytes());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.entries.push(value.into());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        Self::raw_text(&mut self.entries, value);
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, 9);
        self.entries.extend(kind.to_le_bytes());
        self.entries.extend((length as u64).to_le_bytes());
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        self.list(key, 8, values.len());
        for value in values {
            Self::raw_text(&mut self.entries, value);
        }
    }

    fn signed(&mut self, key: &str, values: &[i32]) {
        self.list(key, 5, values.len());
        self.entries
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// The architecture.
    pub(crate) fn architecture(&mut self, kind: &str, name: &str, config: &Config, file: Storage) {
        self.text("general.architecture", kind);
        self.text("general.name", name);
        self.count("general.file_type", file.file_number() as usize);
        self.count("general.quantization_version", 2);
        self.count("general.alignment", ALIGNMENT);
        for (key, value) in [
            ("vocab_size", config.vocab_size),
            ("context_length", config.max_position_embeddings),
            ("embedding_length", config.hidden_size),
            ("block_count", config.num_hidden_layers),
            ("feed_forward_length", config.intermediate_size),
            ("rope.dimension_count", config.head_dim),
            ("attention.head_count", config.num_attention_heads),
            ("attention.head_count_kv", config.num_key_value_heads),
            ("attention.key_length", config.head_dim),
            ("attention.value_length", config.head_dim),
        ] {
            self.count(&format!("{kind}.{key}"), value);
        }
        let epsilon = format!("{kind}.attention.layer_norm_rms_epsilon");
        self.float(&epsilon, config.rms_norm_eps);
        self.float(&format!("{kind}.rope.freq_base"), config.rope_theta);
    }

    /// The tokenizer; what is to be said about it, or why it cannot be written.
    pub(crate) fn tokenizer(
        &mut self,
        tokenizer: &Tokenizer,
        config: &Config,
    ) -> Result<Vec<String>, String> {
        let json = tokenizer.to_json().map_err(|error| error.to_string())?;
        let json: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        let mut notes = Vec::new();
        let (pre, same) = vocabulary::name_of_cutting(&json["pre_tokenizer"]).ok_or(
            "it cuts text in a way that llama.cpp has no name for; export as safetensors instead",
        )?;
        if !same {
            notes.push(format!(
                "llama.cpp will cut text as {pre}, its nearest to this tokenizer: runs of spaces before a digit, and marks apart from their letter, may become other tokens"
            ));
        }
        let model = &json["model"];
        let fitting = model["type"] == "BPE" && model["byte_fallback"] != true;
        let normalizer = &json["normalizer"];
        if normalizer["type"] == "NFC" {
            notes.push("llama.cpp takes characters as they are written, this tokenizer composes them (NFC) first".to_owned());
        }
        if !fitting || !(normalizer.is_null() || normalizer["type"] == "NFC") {
            return Err("it is no plain byte-level BPE, which is what is written; export as safetensors instead".to_owned());
        }
        let vocabulary = Vocabulary::new(&json, config.vocab_size);
        self.text("tokenizer.ggml.model", "gpt2");
        self.text("tokenizer.ggml.pre", pre);
        if !same {
            let cutting = json["pre_tokenizer"].to_string();
            self.text(vocabulary::OWN_CUTTING, &cutting);
        }
        self.texts("tokenizer.ggml.tokens", &vocabulary.tokens);
        self.signed("tokenizer.ggml.token_type", &vocabulary.kinds);
        self.texts("tokenizer.ggml.merges", &vocabulary.merges);
        let named = |name: &str| {
            let token = &tokenizer.config()[name];
            let token = token.as_str().or_else(|| token["content"].as_str())?;
            tokenizer.id_of(token)
        };
        for (name, id) in [
            ("bos", Some(config.bos_token_id)),
            ("eos", Some(config.eos_token_id)),
            ("eot", Some(tokenizer.end_of_turn())),
            ("unknown", named("unk_token")),
            ("padding", named("pad_token")),
        ] {
            if let Some(id) = id.filter(|id| (*id as usize) < config.vocab_size) {
                self.count(&format!("tokenizer.ggml.{name}_token_id"), id as usize);
            }
        }
        // Nothing is set before a text here, in training as in generation.
        self.flag("tokenizer.ggml.add_bos_token", false);
        self.flag("tokenizer.ggml.add_eos_token", false);
        self.flag("tokenizer.ggml.add_space_prefix", false);
        let template = tokenizer.chat_template().source();
        self.text("tokenizer.chat_template", template);
        Ok(notes)
    }

    /// Writes everything that comes before the first tensor's bytes: tensors by name, shape, storage and length.
    pub(crate) fn write(
        &self,
        tensors: &[(String, Vec<usize>, Storage, usize)],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut head = b"GGUF".to_vec();
        head.extend(3_u32.to_le_bytes());
        head.extend((tensors.len() as u64).to_le_bytes());
        head.extend(self.count.to_le_bytes());
        head.extend(&self.entries);
        let mut offset = 0_u64;
        for (name, shape, storage, length) in tensors {
            Self::raw_text(&mut head, name);
            head.extend((shape.len() as u32).to_le_bytes());
            for size in shape.iter().rev() {
                head.extend((*size as u64).to_le_bytes());
            }
            head.extend(storage.number().to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += length.next_multiple_of(ALIGNMENT) as u64;
        }
        padded(&head, out)
    }
}

/// Writes bytes, and zeros up to where the next may begin.
pub(crate) fn padded(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(bytes)?;
    let missing = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
    out.write_all(&[0; ALIGNMENT][..missing])
}

/// How a tensor is stored in a file asked for in `asked`, as llama.cpp decides it: vectors stay in f32, the head (and a
/// table that serves as head) gets more bits, and rows that are no whole blocks of 256 go to blocks of 32.
pub(crate) fn choice(asked: Storage, shape: &[usize], head: bool) -> Storage {
    let Storage::Blocks(format) = asked else {
        return if shape.len() < 2 { Storage::F32 } else { asked };
    };
    let (Some(&cols), 2) = (shape.last(), shape.len()) else {
        return Storage::F32;
    };
    let whole = |format: Format| cols.is_multiple_of(format.weights());
    let wanted = match format {
        _ if head && !whole(format) => Format::Q8_0,
        Format::Q8_0 => Format::Q8_0,
        _ if head => Format::Q6K,
        other => other,
    };
    let fallback = match wanted {
        Format::Q4K => Format::Q5_0,
        Format::Q5K => Format::Q5_1,
        Format::Q6K => Format::Q8_0,
        other => other,
    };
    match [wanted, fallback].into_iter().find(|format| whole(*format)) {
        Some(format) => Storage::Blocks(format),
        None => Storage::F16,
    }
}

/// Tokens in the order of their ids.
struct Vocabulary {
    tokens: Vec<String>,
    kinds: Vec<i32>,
    merges: Vec<String>,
}

impl Vocabulary {
    /// Rows of the embedding table without a token get a name and the kind "unused".
    fn new(json: &Value, rows: usize) -> Self {
        let mut tokens: Vec<String> = (0..rows).map(|id| format!("[PAD{id}]")).collect();
        let mut kinds = vec![vocabulary::UNUSED as i32; rows];
        let mut set = |id: Option<u64>, token: &str, kind: i64| {
            let id = id.and_then(|id| usize::try_from(id).ok());
            if let Some(id) = id.filter(|id| *id < rows) {
                token.clone_into(&mut tokens[id]);
                kinds[id] = kind as i32;
            }
        };
        for (token, id) in json["model"]["vocab"].as_object().into_iter().flatten() {
            set(id.as_u64(), token, vocabulary::NORMAL);
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let kind = if added["special"] == true {
                vocabulary::CONTROL
            } else {
                vocabulary::USER_DEFINED
            };
            let content = added["content"].as_str().unwrap_or_default();
            set(added["id"].as_u64(), content, kind);
        }
        let merges = json["model"]["merges"].as_array().into_iter().flatten();
        let merges = merges.filter_map(|merge| {
            let pair = || Some(format!("{} {}", merge[0].as_str()?, merge[1].as_str()?));
            merge.as_str().map(str::to_owned).or_else(pair)
        });
        Self {
            merges: merges.collect(),
            tokens,
            kinds,
        }
    }
}
