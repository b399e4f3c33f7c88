//! The assistant's turn in a conversation: what the model reads before it, which form it must have, and how calls are
//! read out of it. Chats and responses share it.

use infer::{Engine, Grammar};
use serde_json::{Value, json};
use tokenizer::Tokenizer;

use super::ApiError;
use super::conversation::Conversation;
use super::generation::Whole;
use super::structured::Form;
use super::tools::{Dialect, Piece, Reader, Tools};
use crate::identifier;

/// One turn, ready to be generated.
pub(crate) struct Turn {
    /// What the model reads.
    pub(crate) prompt: Vec<u32>,
    /// The form of what it says.
    pub(crate) grammar: Option<Grammar>,
    /// The field that asked for that form.
    pub(crate) param: Option<String>,
    tools: Option<Tools>,
    dialect: Dialect,
    /// What the prompt says of the answer already.
    said: &'static str,
}

impl Turn {
    /// Prepares the turn that follows `conversation`; `param` is the field that is refused with it.
    pub(crate) fn prepare(
        engine: &Engine,
        conversation: &Conversation,
        tools: Option<Tools>,
        form: Option<&Form>,
        param: &str,
    ) -> Result<Turn, ApiError> {
        let tokenizer = engine.tokenizer();
        let dialect = Dialect::of(tokenizer.chat_template());
        let mut prompt = conversation.encode(tokenizer, tools.as_ref(), param)?;
        let (grammar, begun, said) = match &tools {
            Some(tools) => tools.grammar(dialect, tokenizer, form)?,
            None => (form.map(|form| form.grammar.clone()), Vec::new(), ""),
        };
        prompt.extend(begun);
        let param = match (&tools, form) {
            (Some(tools), _) if tools.forced() => Some("tools".to_owned()),
            (_, form) => form.map(|form| form.param.clone()),
        };
        Ok(Turn {
            prompt,
            grammar,
            param,
            tools,
            dialect,
            said,
        })
    }

    /// What reads one answer.
    pub(crate) fn reader(&self) -> Reader {
        match &self.tools {
            Some(tools) => tools.reader(self.dialect, self.said),
            None => Reader::of_text(),
        }
    }

    /// A name for a call, as the model's template wants it.
    pub(crate) fn call_id(&self) -> String {
        match self.dialect {
            // Mistral's template takes nine letters and digits only.
            Dialect::Mistral => format!("{:09x}", identifier::random_bits() >> 28),
            Dialect::Hermes | Dialect::Llama => identifier::random("call_"),
        }
    }

    /// The parts of an answer.
    pub(crate) fn pieces(&self, whole: &Whole, tokenizer: &Tokenizer) -> Vec<Piece> {
        let mut reader = self.reader();
        let mut pieces = Vec::new();
        let mut heard = 0;
        for token in &whole.tokens {
            heard += token.text.len();
            pieces.extend(reader.token(tokenizer, token.id, &token.text));
        }
        // Text that was held back has no token of its own.
        pieces.extend(reader.push(whole.text.get(heard..).unwrap_or_default()));
        pieces.extend(reader.finish());
        pieces
    }

    /// An answer taken apart.
    pub(crate) fn spoken(&self, whole: &Whole, tokenizer: &Tokenizer) -> Spoken {
        let mut spoken = Spoken::default();
        spoken.take(self.pieces(whole, tokenizer), self);
        spoken
    }
}

/// What was said: text, and calls.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    pub(crate) text: String,
    pub(crate) calls: Vec<Call>,
}

/// A call that the model made.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// JSON.
    pub(crate) arguments: String,
}

impl Spoken {
    fn take(&mut self, pieces: Vec<Piece>, turn: &Turn) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.text.push_str(&text),
                Piece::Call { name, .. } => self.calls.push(Call {
                    id: turn.call_id(),
                    name,
                    arguments: String::new(),
                }),
                Piece::Arguments { fragment, .. } => {
                    if let Some(call) = self.calls.last_mut() {
                        call.arguments.push_str(&fragment);
                    }
                }
            }
        }
    }

    /// The message of a chat completion.
    pub(crate) fn message(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.text, "refusal": null});
        if !self.calls.is_empty() {
            if self.text.is_empty() {
                message["content"] = Value::Null;
            }
            message["tool_calls"] = self
                .calls
                .iter()
                .map(|call| {
                    json!({
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    })
                })
                .collect();
        }
        message
    }
}

/// Why an answer ended that made so many calls.
pub(crate) fn finish_reason(reason: &'static str, calls: usize) -> &'static str {
    if reason == "stop" && calls > 0 {
        "tool_calls"
    } else {
        reason
    }
}
