//! Instructions: conversations whose last message is the answer to learn.

use std::collections::BTreeMap;
use std::path::Path;

use artifact::{Artifact, Progress, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokenizer::Message;

use crate::error::Result;
use crate::rows::{self, Row};

pub use crate::rows::Config;

/// One conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The row's own id, or a hash of it.
    pub id: String,
    /// The conversation; the last message is the assistant's and is not empty.
    pub messages: Vec<Message>,
    /// Whether the question can be answered from what is given; refusing is right otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answerable: Option<bool>,
    /// What kind of question it is, for reports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<String>,
    /// How an answer is compared: `exact`, `contains`, `fields`, `choice`. In JSON `match`.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none", default)]
    pub matching: Option<String>,
    /// The row's other fields, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Row for Example {
    const KIND: &'static str = "instructions";
    const PLURAL: &'static str = "examples";

    /// `messages`, or `prompt` (a string or messages) with `completion` (a string).
    fn parse(mut value: Map<String, Value>) -> std::result::Result<Self, String> {
        let id = rows::take_id(&mut value);
        let messages = match (
            value.remove("messages"),
            value.remove("prompt"),
            value.remove("completion"),
        ) {
            (Some(list), None, None) => rows::messages(&list, "messages")?,
            (None, Some(prompt), Some(Value::String(answer))) => {
                let mut messages = rows::messages(&prompt, "prompt")?;
                messages.push(Message::new("assistant", answer.trim_start()));
                messages
            }
            (None, Some(_), Some(_)) => {
                return Err("field \"completion\" is not a string".to_owned());
            }
            _ => {
                return Err(
                    "expected either \"messages\" or \"prompt\" and \"completion\"".to_owned(),
                );
            }
        };
        match messages.last() {
            Some(last) if !last.is_assistant() => Err(format!(
                "the last message is by {:?}, expected \"assistant\"",
                last.role
            )),
            Some(last) if last.content.trim().is_empty() => Err("the answer is empty".to_owned()),
            _ if messages.len() < 2 => Err("there is an answer and no question".to_owned()),
            _ => {
                let answerable = take(&mut value, "answerable", Value::as_bool)?;
                let kind = take(&mut value, "kind", |value| {
                    value.as_str().map(str::to_owned)
                })?;
                let matching = take(&mut value, "match", |value| {
                    value.as_str().map(str::to_owned)
                })?;
                value.remove("id");
                Ok(Self {
                    id,
                    messages,
                    answerable,
                    kind,
                    matching,
                    other: value,
                })
            }
        }
    }

    fn question(&self) -> &[Message] {
        self.messages.split_last().map_or(&[], |(_, before)| before)
    }

    fn metrics(train: &[Self]) -> Map<String, Value> {
        let mut kinds = BTreeMap::<&str, u64>::new();
        for example in train {
            *kinds
                .entry(example.kind.as_deref().unwrap_or("other"))
                .or_default() += 1;
        }
        Map::from_iter([("kinds".to_owned(), json!(kinds))])
    }
}

/// Takes an optional field; an error when it has another type.
fn take<T>(
    value: &mut Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> std::result::Result<Option<T>, String> {
    match value.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(found) => read(&found)
            .map(Some)
            .ok_or_else(|| format!("field {name:?} cannot be {found}")),
    }
}

/// Reads, checks and splits instructions into an artifact of kind `instructions`: `train.jsonl`, `held_out.jsonl`.
/// Without a held-out file some questions are held out by the hash of what is asked. Metrics: `train_examples`,
/// `held_out_examples`, `bad_rows`, `kinds`.
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
    rows::run::<Example>(config, files, store, progress)
}

/// Reads a file of an `instructions` artifact.
///
/// # Errors
/// [`artifact::Error::Io`], [`Error::Format`] naming the line.
pub fn read(path: &Path) -> Result<Vec<Example>> {
    rows::read_own(path)
}
