//! Rows of conversations in JSONL files: read with a tally of bad ones, split by hash, written as clean JSONL.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use artifact::{Artifact, Progress, Seed, Store, write_atomic_with};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokenizer::Message;

use crate::error::{Error, Result};
use crate::origin;
use crate::source::jsonl::{self, Lines};
use crate::source::{Bytes, Compression, Format, SourceFile, fraction};

/// How rows are read and split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The share of questions held out when there is no file of held-out ones.
    pub held_out_fraction: f64,
    /// The share of rows that may be bad.
    pub max_error_fraction: f64,
    /// Decides which questions are held out.
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

/// A row that stands for itself: it has an id, and a question by which it is put into a split.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// The kind of the artifact that holds such rows.
    const KIND: &'static str;
    /// What metrics call them.
    const PLURAL: &'static str;
    /// Reads a row as users write it; the reason when it cannot be used.
    fn parse(value: Map<String, Value>) -> std::result::Result<Self, String>;
    /// What is asked. Rows that ask the same go into the same split.
    fn question(&self) -> &[Message];
    /// What else an artifact should tell of the rows to learn from.
    fn metrics(_train: &[Self]) -> Map<String, Value> {
        Map::new()
    }
}

/// Fewer bad rows than this never fail a file.
const MIN_ERRORS: u64 = 3;

/// Reads, checks and splits the rows of a file to learn from, and of one held out if there is one, into an artifact:
/// `train.jsonl`, `held_out.jsonl`.
pub(crate) fn run<R: Row>(
    config: &Config,
    (train_file, held_out_file): (&Path, Option<&Path>),
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
    let key =
        origin::key_of_files(R::KIND, json!(config), &files, store)?.seed("held_out", config.seed);
    if let Some(found) = store.find(&key)? {
        return Ok(found);
    }
    let mut draft = store.begin(key)?;
    draft.restart()?;
    let (all, mut bad) = read::<R>(train_file, config.max_error_fraction, progress)?;
    let (train, held_out) = match held_out_file {
        Some(file) => {
            let (held_out, bad_too) = read(file, config.max_error_fraction, progress)?;
            bad += bad_too;
            (all, held_out)
        }
        None => hold_out(all, config.held_out_fraction, config.seed),
    };
    write(&draft.path().join("train.jsonl"), &train)?;
    write(&draft.path().join("held_out.jsonl"), &held_out)?;
    let mut metrics = R::metrics(&train);
    metrics.insert(format!("train_{}", R::PLURAL), json!(train.len()));
    metrics.insert(format!("held_out_{}", R::PLURAL), json!(held_out.len()));
    metrics.insert("bad_rows".to_owned(), json!(bad));
    let measured = json!({"seconds": start.elapsed().as_secs_f64()});
    Ok(draft.commit(Value::Object(metrics), measured)?)
}

/// The good rows of a `.jsonl` file (`.gz`, `.zst` too), at least one, and the number of bad ones.
fn read<R: Row>(
    path: &Path,
    max_error_fraction: f64,
    progress: &Progress,
) -> Result<(Vec<R>, u64)> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let compression = match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Compression::Gzip,
        Some("zst" | "zstd") => Compression::Zstd,
        _ => Compression::None,
    };
    let file = SourceFile {
        path: path.to_owned(),
        name,
        format: Format::Jsonl,
        compression,
        bytes: 0,
    };
    let (mut rows, mut bad, mut good) = (0_u64, 0_u64, Vec::new());
    let mut first_bad: Option<(u64, String)> = None;
    for line in Lines::new(Bytes::open(&file, &Arc::default())?) {
        let Some(parsed) = jsonl::value(line?, 0.0) else {
            continue;
        };
        rows += 1;
        if rows.is_multiple_of(4096) {
            progress.tick(rows, None, "rows");
            progress.check()?;
        }
        let row = match parsed {
            Ok((line, Value::Object(object), _)) => {
                R::parse(object).map_err(|reason| (line, reason))
            }
            Ok((line, ..)) => Err((line, "expected an object {…}".to_owned())),
            Err(bad) => Err(bad),
        };
        match row {
            Ok(row) => good.push(row),
            Err(reason) => {
                bad += 1;
                first_bad.get_or_insert(reason);
            }
        }
    }
    let allowed = (max_error_fraction * rows as f64) as u64;
    match first_bad {
        Some((line, reason)) if good.is_empty() || (bad > allowed && bad >= MIN_ERRORS) => {
            Err(Error::BadRows {
                path: path.to_owned(),
                line,
                reason,
                bad,
                rows,
                allowed,
            })
        }
        _ if good.is_empty() => Err(Error::NoText {
            paths: vec![path.to_owned()],
            skipped: String::new(),
        }),
        _ => Ok((good, bad)),
    }
}

/// Reads a file that this room wrote, strictly.
pub(crate) fn read_own<R: Row>(path: &Path) -> Result<Vec<R>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| Error::Format {
            path: path.to_owned(),
            format: "JSON lines",
            problem: format!("line {}: {error}", index + 1),
        })
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(parse)
        .collect()
}

/// Writes rows as JSONL.
fn write<R: Serialize>(path: &Path, rows: &[R]) -> Result<()> {
    write_atomic_with(path, |out| {
        for row in rows {
            serde_json::to_writer(&mut *out, row)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Splits rows into those to learn from and those held out: of the distinct questions, the share `fraction` with the
/// lowest hashes, at least one where there are two and the share is not 0.
fn hold_out<R: Row>(rows: Vec<R>, fraction: f64, seed: Seed) -> (Vec<R>, Vec<R>) {
    let seed = seed.derive("held out");
    let draw = |row: &R| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.0.to_le_bytes());
        for message in row.question() {
            hasher
                .update(message.role.as_bytes())
                .update(&[0])
                .update(message.content.as_bytes())
                .update(&[0]);
        }
        *hasher.finalize().as_bytes()
    };
    let draws: Vec<_> = rows.iter().map(draw).collect();
    let questions: BTreeMap<_, ()> = draws.iter().map(|draw| (*draw, ())).collect();
    let mut count = (questions.len() as f64 * fraction).round() as usize;
    if fraction > 0.0 && questions.len() > 1 {
        count = count.clamp(1, questions.len() - 1);
    }
    let limit = questions.keys().nth(count).copied();
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for (row, draw) in rows.into_iter().zip(draws) {
        // Without a limit the count is all of them.
        if limit.is_none_or(|limit| draw < limit) {
            held_out.push(row);
        } else {
            train.push(row);
        }
    }
    (train, held_out)
}

/// An id for a row without one: the first 32 hex characters of the BLAKE3 of its JSON.
pub(crate) fn id_of(value: &Map<String, Value>) -> String {
    let json = artifact::canonical_json(&Value::Object(value.clone()));
    blake3::hash(json.as_bytes()).to_hex()[..32].to_owned()
}

/// Takes the row's own id, or makes one.
pub(crate) fn take_id(value: &mut Map<String, Value>) -> String {
    match value.get("id") {
        Some(Value::String(id)) if !id.is_empty() => id.clone(),
        Some(Value::Number(id)) => id.to_string(),
        _ => id_of(value),
    }
}

/// Messages from a list of `{role, content}`, or from a string as one user's message.
pub(crate) fn messages(value: &Value, field: &str) -> std::result::Result<Vec<Message>, String> {
    let messages: Vec<Message> = match value {
        Value::String(text) => vec![Message::new("user", text.as_str())],
        Value::Array(_) => serde_json::from_value(value.clone())
            .map_err(|error| format!("field {field:?} is no list of {{role, content}}: {error}"))?,
        _ => {
            return Err(format!(
                "field {field:?} is neither a string nor a list of messages"
            ));
        }
    };
    match messages
        .iter()
        .find(|message| message.role.trim().is_empty())
    {
        Some(_) => Err(format!("field {field:?} has a message without a role")),
        None if messages.is_empty() => Err(format!("field {field:?} is empty")),
        None => Ok(messages),
    }
}
