//! An answer, and what somebody thought of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokenizer::Message;

/// What was asked: a conversation, or a text to continue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// The messages before the answer.
    Messages(Vec<Message>),
    /// The text before the continuation.
    Text(String),
}

/// One served answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The response's id.
    pub id: String,
    /// Which of the response's choices.
    pub choice: usize,
    /// The id of the model artifact that answered.
    pub model: String,
    /// When, in seconds since 1970.
    pub created_unix: u64,
    /// What was asked; `None` where text is not kept.
    pub prompt: Option<Prompt>,
    /// What was answered; `None` where text is not kept.
    pub text: Option<String>,
    /// Temperature, seed and the rest.
    pub sampling: Value,
    /// `stop`, `length`, or `cancelled` when the client went away.
    pub finish_reason: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the answer.
    pub completion_tokens: usize,
}

/// A judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A good answer.
    Up,
    /// A bad answer.
    Down,
}

impl Verdict {
    /// `up` or `down`.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Up => "up",
            Verdict::Down => "down",
        }
    }

    /// The verdict called `name`.
    pub fn from_name(name: &str) -> Option<Verdict> {
        [Verdict::Up, Verdict::Down]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// A judgement of one answer. A later one of the same answer replaces it; both stay in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// The answer's id.
    pub answer_id: String,
    /// Which of its choices.
    pub choice: usize,
    /// Good or bad.
    pub rating: Verdict,
    /// What the answer should have been.
    pub correction: Option<String>,
    /// A remark for people.
    pub comment: Option<String>,
    /// When, in seconds since 1970.
    pub created_unix: u64,
}
