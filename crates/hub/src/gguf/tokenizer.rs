//! The tokenizer inside a GGUF file, byte-level BPE or SentencePiece's, told in the terms of a `tokenizer.json`.

use serde_json::{Map, Value, json};
use tokenizer::Tokenizer;

use super::file::{Entry, File};
use super::sentence_piece;
use crate::Result;

/// Kinds of tokens that are never cut out of ordinary text: control tokens, and those a user added.
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
/// The other kinds: ordinary tokens, and names for rows of the table that stand for nothing.
pub(super) const NORMAL: i64 = 1;
pub(super) const UNUSED: i64 = 5;

/// Where our own files keep a way of cutting that llama.cpp has no name for.
pub(super) const OWN_CUTTING: &str = "ontogeny.tokenizer.pre_tokenizer";

/// How text is cut before merging, in tiktoken's way of saying it.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(crate) fn tokenizer(file: &File) -> Result<Tokenizer> {
    let model = file.text("tokenizer.ggml.model")?;
    let tokens = file.texts("tokenizer.ggml.tokens")?;
    let kinds = file.list("tokenizer.ggml.token_type").unwrap_or_default();
    let added: Vec<Value> = tokens
        .iter()
        .zip(kinds)
        .enumerate()
        .filter_map(|(id, (content, kind))| {
            let special = match kind {
                Entry::Signed(kind) if *kind == CONTROL => true,
                Entry::Signed(kind) if *kind == USER_DEFINED => false,
                _ => return None,
            };
            Some(json!({
                "id": id, "content": content, "special": special,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }))
        })
        .collect();
    // Names that stand for rows of the table without a token, as converters and `write` make them, are no tokens.
    let unused = |id: usize, token: &str| {
        kinds.get(id) == Some(&Entry::Signed(UNUSED)) && *token == format!("[PAD{id}]")
    };
    let vocab: Map<String, Value> = tokens
        .iter()
        .enumerate()
        .filter(|(id, token)| !unused(*id, token))
        .map(|(id, token)| ((*token).to_owned(), id.into()))
        .collect();
    let described = match model {
        "gpt2" => byte_level_bpe(file, vocab)?,
        "llama" => sentence_piece::described(file, &tokens, vocab)?,
        other => {
            return Err(file.wrong(format!(
                "`tokenizer.ggml.model` is {other}: gpt2 (byte-level BPE) and llama (SentencePiece) are read"
            )));
        }
    };
    let mut description =
        json!({ "version": "1.0", "added_tokens": added, "post_processor": null });
    for (name, part) in described {
        description[name] = part;
    }
    let mut config = Map::new();
    for name in ["bos", "eos", "unknown", "padding"] {
        let id = file.count(&format!("tokenizer.ggml.{name}_token_id"));
        if let Some(token) = id.ok().and_then(|id| tokens.get(id)) {
            let name = match name {
                "unknown" => "unk",
                "padding" => "pad",
                other => other,
            };
            config.insert(format!("{name}_token"), (*token).into());
        }
    }
    if let Ok(template) = file.text("tokenizer.chat_template") {
        config.insert("chat_template".to_owned(), template.into());
    }
    Ok(Tokenizer::from_json(
        description.to_string().as_bytes(),
        config.into(),
    )?)
}

/// The parts of a `tokenizer.json` by name.
pub(super) type Described = [(&'static str, Value); 4];

fn byte_level_bpe(file: &File, vocab: Map<String, Value>) -> Result<Described> {
    let merges = file.texts("tokenizer.ggml.merges")?;
    // Llama 3 takes a word that is a token for that token, whatever merges would make of it.
    let whole_words = matches!(
        file.text("tokenizer.ggml.pre"),
        Ok("llama3" | "llama-v3" | "llama-bpe")
    );
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole_words,
        "vocab": vocab, "merges": merges,
    });
    Ok([
        ("normalizer", Value::Null),
        ("pre_tokenizer", cutting(file)?),
        ("decoder", byte_level(false)),
        ("model", model),
    ])
}

fn byte_level(cuts: bool) -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": cuts })
}

/// A Split by a pattern, then bytes.
fn by(pattern: &str) -> Value {
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
        byte_level(false),
    ]})
}

fn digits_apart() -> Value {
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Digits", "individual_digits": true },
        byte_level(true),
    ]})
}

/// llama.cpp's name for a way of cutting, and whether it cuts the same everywhere.
pub(super) fn name_of_cutting(pre_tokenizer: &Value) -> Option<(&'static str, bool)> {
    // Offsets are not in the file, and where they begin changes no token.
    let plain = |value: &Value| {
        let mut value = value.clone();
        if let Some(steps) = value["pretokenizers"].as_array_mut() {
            for step in steps {
                strip(step);
            }
        } else {
            strip(&mut value);
        }
        value
    };
    let asked = plain(pre_tokenizer);
    let known = [
        ("gpt-2", byte_level(true), true),
        ("smollm", digits_apart(), true),
        ("llama-bpe", by(LLAMA_3), true),
        ("qwen2", by(QWEN_2), true),
        // Ours keeps marks with their letters, and takes a digit's space from the run before it.
        ("smollm", by(tokenizer::PATTERN), false),
    ];
    let mut known = known.into_iter();
    known
        .find(|(_, cutting, _)| plain(cutting) == asked)
        .map(|(name, _, same)| (name, same))
}

fn strip(step: &mut Value) {
    if let Some(fields) = step.as_object_mut() {
        fields.remove("trim_offsets");
    }
}

/// The way of cutting that the file names.
fn cutting(file: &File) -> Result<Value> {
    if let Ok(own) = file.text(OWN_CUTTING) {
        return serde_json::from_str(own)
            .map_err(|error| file.wrong(format!("`{OWN_CUTTING}` is no JSON: {error}")));
    }
    let name = file.text("tokenizer.ggml.pre").unwrap_or("gpt-2");
    Ok(match name {
        "default" | "gpt-2" => byte_level(true),
        "smollm" | "starcoder" | "refact" | "command-r" => digits_apart(),
        "llama3" | "llama-v3" | "llama-bpe" => by(LLAMA_3),
        "qwen2" => by(QWEN_2),
        other => {
            return Err(file.wrong(format!(
                "`tokenizer.ggml.pre` is {other}: gpt-2, smollm, llama-bpe and qwen2 are read"
            )));
        }
    })
}
