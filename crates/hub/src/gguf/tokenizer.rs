//! The tokenizer inside a GGUF file, byte-level BPE or SentencePiece's, told in the terms of a `tokenizer.json`.

use serde_json::{Map, Value, json};
use tokenizer::Tokenizer;

use super::file::{Entry, File};
use super::sentence_piece;
use crate::Result;

/// Kinds of tokens that are never cut out of ordinary text: control tokens, and those a user added.
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// How text is cut before merging, in tiktoken's way of saying it.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn tokenizer(file: &File) -> Result<Tokenizer> {
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
    let vocab: Map<String, Value> = tokens
        .iter()
        .enumerate()
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

/// The way of cutting that the file names.
fn cutting(file: &File) -> Result<Value> {
    let by = |pattern: &str| {
        json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            byte_level(false),
        ]})
    };
    let name = file.text("tokenizer.ggml.pre").unwrap_or("gpt-2");
    Ok(match name {
        "default" | "gpt-2" => byte_level(true),
        "smollm" | "starcoder" | "refact" | "command-r" => {
            json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Digits", "individual_digits": true },
                byte_level(true),
            ]})
        }
        "llama3" | "llama-v3" | "llama-bpe" => by(LLAMA_3),
        "qwen2" => by(QWEN_2),
        other => {
            return Err(file.wrong(format!(
                "`tokenizer.ggml.pre` is {other}: gpt-2, smollm, llama-bpe and qwen2 are read"
            )));
        }
    })
}
