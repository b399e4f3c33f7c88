//! Preferences: for one prompt, the answer that was chosen and the one that was rejected.

use std::path::Path;
use std::time::Instant;

use artifact::{Artifact, Progress, Seed, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokenizer::Message;

use crate::error::{Error, Result};
use crate::origin;
use crate::rows::{self, Limits, MIN_ERRORS, Row};
use crate::source::fraction;

/// How preferences are read and split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The share of prompts held out when there is no file of held-out ones.
    pub held_out_fraction: f64,
    /// The share of rows that may be bad.
    pub max_error_fraction: f64,
    /// Decides which prompts are held out.
    pub seed: Seed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            held_out_fraction: 0.1,
            max_error_fraction: 0.01,
            seed: Seed(1),
        }
    }
}

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
    let start = Instant::now();
    fraction("held_out_fraction", config.held_out_fraction)?;
    fraction("max_error_fraction", config.max_error_fraction)?;
    let files: Vec<_> = [("train", Some(train_file)), ("held_out", held_out_file)]
        .into_iter()
        .filter_map(|(role, file)| file.map(|file| (role, file)))
        .collect();
    let key = origin::key_of_files("preferences", json!(config), &files, store)?
        .seed("held_out", config.seed);
    if let Some(found) = store.find(&key)? {
        return Ok(found);
    }
    let mut draft = store.begin(key)?;
    draft.restart()?;
    let limits = Limits {
        max_error_fraction: config.max_error_fraction,
        min_errors: MIN_ERRORS,
    };
    let (all, mut bad) = load(train_file, limits, progress)?;
    let (train, held_out) = match held_out_file {
        Some(file) => {
            let (held_out, bad_too) = load(file, limits, progress)?;
            bad += bad_too;
            (all, held_out)
        }
        None => rows::hold_out(all, config.held_out_fraction, config.seed),
    };
    rows::write(&draft.path().join("train.jsonl"), &train)?;
    rows::write(&draft.path().join("held_out.jsonl"), &held_out)?;
    let metrics =
        json!({"train_pairs": train.len(), "held_out_pairs": held_out.len(), "bad_rows": bad});
    Ok(draft.commit(metrics, json!({"seconds": start.elapsed().as_secs_f64()}))?)
}

fn load(path: &Path, limits: Limits, progress: &Progress) -> Result<(Vec<Pair>, u64)> {
    let mut all = Vec::new();
    let push = |pair| {
        all.push(pair);
        Ok(())
    };
    let bad = rows::read(path, limits, progress, push)?.bad;
    if all.is_empty() {
        return Err(Error::NoText {
            paths: vec![path.to_owned()],
            skipped: String::new(),
        });
    }
    Ok((all, bad))
}

/// Reads a file of a `preferences` artifact.
///
/// # Errors
/// [`artifact::Error::Io`], [`Error::Format`] naming the line.
pub fn read(path: &Path) -> Result<Vec<Pair>> {
    rows::read_own(path)
}
