//! Prompts of text completions: texts, token ids, lists of either, and texts with a gap to fill.

use serde_json::Value;
use tokenizer::Tokenizer;

use super::{ApiError, Fields};

type Result<T> = std::result::Result<T, ApiError>;

/// What stands before, between and behind the two sides of a gap, in the vocabularies we know.
const FILL_IN: [[&str; 3]; 3] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<PRE>", "<SUF>", "<MID>"],
];

/// A prompt as the model reads it and as it was written.
pub(crate) struct PromptIds {
    pub(crate) ids: Vec<u32>,
    pub(crate) text: String,
}

/// Makes of each prompt a text whose gap before `suffix` the model is to fill (Bavarian et al., "Efficient Training of
/// Language Models to Fill in the Middle", 2022).
pub(crate) fn before_suffix(
    tokenizer: &Tokenizer,
    prompts: &mut [PromptIds],
    suffix: &str,
) -> Result<()> {
    let known = FILL_IN.iter().find_map(|[before, between, behind]| {
        Some((
            tokenizer.id_of(before)?,
            tokenizer.id_of(between)?,
            tokenizer.id_of(behind)?,
        ))
    });
    let Some((before, between, behind)) = known else {
        return Err(ApiError::unsupported(
            "suffix",
            "'suffix' is not supported with this model, whose vocabulary has no tokens for filling in",
        ));
    };
    let suffix = tokenizer.encode(suffix).map_err(|error| {
        ApiError::field(
            "suffix",
            "invalid_value",
            format!("Invalid 'suffix': {error}."),
        )
    })?;
    for prompt in prompts {
        let mut ids = vec![before];
        ids.append(&mut prompt.ids);
        ids.push(between);
        ids.extend(&suffix);
        ids.push(behind);
        prompt.ids = ids;
    }
    Ok(())
}

/// `prompt`: a text, texts, token ids, or lists of token ids.
pub(crate) fn prompts(fields: &Fields, tokenizer: &Tokenizer) -> Result<Vec<PromptIds>> {
    let value = fields
        .get("prompt")
        .ok_or_else(|| ApiError::missing("prompt"))?;
    let prompts: Vec<PromptIds> = match value {
        Value::String(text) => vec![text_prompt(tokenizer, text)?],
        Value::Array(items) if items.first().is_some_and(Value::is_number) => {
            vec![id_prompt(tokenizer, value)?]
        }
        Value::Array(items) if !items.is_empty() => items
            .iter()
            .map(|item| match item {
                Value::String(text) => text_prompt(tokenizer, text),
                other => id_prompt(tokenizer, other),
            })
            .collect::<Result<_>>()?,
        Value::Array(_) => {
            return Err(ApiError::field(
                "prompt",
                "empty_array",
                "Invalid 'prompt': empty array.",
            ));
        }
        other => {
            return Err(ApiError::wrong_type(
                "prompt",
                "a string, or an array of strings or token ids",
                other,
            ));
        }
    };
    if prompts.iter().any(|prompt| prompt.ids.is_empty()) {
        let message = "Invalid 'prompt': a prompt must hold at least one token.";
        return Err(ApiError::field("prompt", "invalid_value", message));
    }
    Ok(prompts)
}

fn text_prompt(tokenizer: &Tokenizer, text: &str) -> Result<PromptIds> {
    let refused = |error| {
        ApiError::field(
            "prompt",
            "invalid_value",
            format!("Invalid 'prompt': {error}."),
        )
    };
    let mut ids = tokenizer.encode(text).map_err(refused)?;
    if ids.is_empty() {
        // Nothing to continue means the beginning of a new document.
        ids.push(tokenizer.end_of_text());
    }
    Ok(PromptIds {
        ids,
        text: text.to_owned(),
    })
}

fn id_prompt(tokenizer: &Tokenizer, value: &Value) -> Result<PromptIds> {
    let refuse = |message: String| {
        ApiError::field(
            "prompt",
            "invalid_value",
            format!("Invalid 'prompt': {message}."),
        )
    };
    let items = value
        .as_array()
        .ok_or_else(|| ApiError::wrong_type("prompt", "an array of token ids", value))?;
    let vocabulary = tokenizer.vocab_size();
    let id = |item: &Value| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        let known = id.filter(|&id| usize::try_from(id).is_ok_and(|id| id < vocabulary));
        known.ok_or_else(|| {
            refuse(format!(
                "{item} is not a token id of this model (0 to {})",
                vocabulary - 1
            ))
        })
    };
    let ids: Vec<u32> = items.iter().map(id).collect::<Result<_>>()?;
    let text = tokenizer
        .decode(&ids)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(PromptIds { ids, text })
}
