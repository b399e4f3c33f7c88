//! Log-probabilities as responses carry them: chat lists objects a token, text completions list columns.

use serde_json::{Map, Value, json};
use tokenizer::Tokenizer;

use super::generation::Token;

/// The lowest log-probability that is written; JSON has no infinity.
const LEAST: f32 = -9999.0;

/// `choices[].logprobs.content[]` of a chat completion.
pub(crate) fn chat_entry(tokenizer: &Tokenizer, token: &Token) -> Value {
    let top: Vec<Value> = token
        .top
        .iter()
        .map(|&(id, logprob)| described(tokenizer, id, logprob))
        .collect();
    let mut entry = described(tokenizer, token.id, token.logprob);
    entry["top_logprobs"] = Value::Array(top);
    entry
}

fn described(tokenizer: &Tokenizer, id: u32, logprob: f32) -> Value {
    let bytes = token_bytes(tokenizer, id);
    json!({"token": String::from_utf8_lossy(&bytes), "logprob": written(logprob), "bytes": bytes})
}

#[derive(Clone)]
/// One row of a text completion's `logprobs`.
pub(crate) struct Row {
    pub(crate) id: u32,
    /// `None` for a prompt's first token, which nothing comes before.
    pub(crate) logprob: Option<f32>,
    /// The likeliest tokens; `None` where they are not known.
    pub(crate) top: Option<Vec<(u32, f32)>>,
    /// Where the token's text begins, in characters.
    pub(crate) offset: usize,
}

/// `choices[].logprobs` of a text completion.
pub(crate) fn columns(tokenizer: &Tokenizer, rows: &[Row]) -> Value {
    let text = |id| String::from_utf8_lossy(&token_bytes(tokenizer, id)).into_owned();
    let top = |row: &Row| {
        row.top.as_ref().map_or(Value::Null, |top| {
            let mut by_token = Map::new();
            for &(id, logprob) in top {
                // Ids that read alike share a key; the likeliest, which comes first, keeps it.
                by_token
                    .entry(text(id))
                    .or_insert_with(|| json!(written(logprob)));
            }
            Value::Object(by_token)
        })
    };
    json!({
        "tokens": rows.iter().map(|row| text(row.id)).collect::<Vec<_>>(),
        "token_logprobs": rows.iter().map(|row| row.logprob.map(written)).collect::<Vec<_>>(),
        "top_logprobs": rows.iter().map(top).collect::<Vec<_>>(),
        "text_offset": rows.iter().map(|row| row.offset).collect::<Vec<_>>(),
    })
}

fn written(logprob: f32) -> f32 {
    if logprob.is_nan() {
        LEAST
    } else {
        logprob.max(LEAST)
    }
}

/// The bytes a token stands for. Byte-level vocabularies write each byte as one character (as GPT-2 does); other
/// vocabularies are decoded.
fn token_bytes(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let written = tokenizer.token(id).unwrap_or_default();
    let bytes: Option<Vec<u8>> = written.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| tokenizer.decode(&[id]).unwrap_or(written).into_bytes())
}

/// The byte that GPT-2's table writes as `character`: printable Latin-1 as itself, the other bytes, in order, from
/// U+0100 on.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) if printable(&byte) => Some(byte),
        Ok(_) => None,
        Err(_) => {
            let position = usize::try_from(code - 256).ok()?;
            (0..=255).filter(|byte| !printable(byte)).nth(position)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_table_is_gpt2s() {
        for (character, byte) in [
            ('Ġ', Some(b' ')),
            ('Ċ', Some(b'\n')),
            ('a', Some(b'a')),
            ('Ã', Some(0xC3)),
            ('Ń', Some(0xAD)),
            ('▁', None),
            (' ', None),
        ] {
            assert_eq!(byte_of(character), byte, "{character:?}");
        }
    }

    #[test]
    fn infinity_is_written_as_a_number() {
        assert_eq!(written(f32::NEG_INFINITY), LEAST);
        assert_eq!(written(-1.5), -1.5);
    }
}
