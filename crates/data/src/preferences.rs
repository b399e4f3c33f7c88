//! Preferences: for one prompt, the answer that was chosen and the one that was rejected.

use std::path::Path;

use artifact::{Artifact, Progress, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenizer::Message;

use crate::error::Result;
use crate::rows::{self, Row};

pub use crate::rows::Config;

/// One pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The row's own id, or a hash of it.
    pub id: String,
    /// What was asked.
    pub prompt: Vec<Message>,
    /// The better answer.
    pub chosen: String,
    /// The worse answer, another text.
    pub rejected: String,
    /// The row's other fields, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Row for Pair {
    const KIND: &'static str = "preferences";
    const PLURAL: &'static str = "pairs";

    /// `prompt` (a string or messages), `chosen` and `rejected` (strings, or messages that end with the assistant's;
    /// the messages before it are the prompt where there is no `prompt`).
    fn parse(mut value: Map<String, Value>) -> std::result::Result<Self, String> {
        let id = rows::take_id(&mut value);
        value.remove("id");
        let (before, chosen) = answer(value.remove("chosen"), "chosen")?;
        let (_, rejected) = answer(value.remove("rejected"), "rejected")?;
        let prompt = match value.remove("prompt") {
            Some(prompt) => rows::messages(&prompt, "prompt")?,
            None if before.is_empty() => return Err("no field \"prompt\"".to_owned()),
            None => before,
        };
        if prompt.last().is_some_and(Message::is_assistant) {
            return Err("the prompt ends with the assistant's words".to_owned());
        }
        if chosen == rejected {
            return Err("chosen and rejected are the same".to_owned());
        }
        Ok(Self {
            id,
            prompt,
            chosen,
            rejected,
            other: value,
        })
    }

    fn question(&self) -> &[Message] {
        &self.prompt
    }
}

/// An answer, and the messages before it where it came as a conversation.
fn answer(
    value: Option<Value>,
    field: &str,
) -> std::result::Result<(Vec<Message>, String), String> {
    let (before, text) = match value {
        None => return Err(format!("no field {field:?}")),
        Some(Value::String(text)) => (Vec::new(), text),
        Some(list) => {
            let mut messages = rows::messages(&list, field)?;
            match messages.pop() {
                Some(last) if last.is_assistant() => (messages, last.content),
                _ => {
                    return Err(format!(
                        "field {field:?} does not end with the assistant's message"
                    ));
                }
            }
        }
    };
    if text.trim().is_empty() {
        Err(format!("field {field:?} is empty"))
    } else {
        Ok((before, text))
    }
}

/// Reads, checks and splits preferences into an artifact of kind `preferences`: `train.jsonl`, `held_out.jsonl`.
/// Without a held-out file some prompts are held out by their hash. Metrics: `train_pairs`, `held_out_pairs`,
/// `bad_rows`.
///
/// # Errors
/// [`Error::BadRows`] naming the first bad line when there are too many, [`Error::NoText`] when there is none left.
pub fn run(
    config: &Config,
    train_file: &Path,
    held_out_file: Option<&Path>,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let files = (train_file, held_out_file);
    rows::run::<Pair>(config, files, store, progress)
}

/// Reads a file of a `preferences` artifact.
///
/// # Errors
/// [`artifact::Error::Io`], [`Error::Format`] naming the line.
pub fn read(path: &Path) -> Result<Vec<Pair>> {
    rows::read_own(path)
}
