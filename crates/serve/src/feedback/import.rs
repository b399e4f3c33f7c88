//! Ratings made elsewhere, from a file of JSON lines.
//!
//! A line is one of three shapes: a rating of a stored answer (`answer_id`, `rating`, and optionally `choice`,
//! `correction`, `comment`); a rated answer of another system (`messages` or `prompt`, `answer`, `rating`, and
//! optionally `correction`, `comment`, `model`); or a preference pair (`prompt` or `messages`, `chosen`, `rejected`).
//! Reading a file twice adds nothing the second time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::error::{Error, Result, during};
use super::record::{Answer, Prompt, Rating, Verdict};
use super::store::{Store, current_rating, insert_answer, insert_rating};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 4 << 20;

/// How an import treats what it cannot use.
#[derive(Clone, Debug)]
pub struct ImportConfig {
    /// The largest share of lines that may be unusable; above it nothing is imported.
    pub max_error_fraction: f64,
}

impl Default for ImportConfig {
    fn default() -> ImportConfig {
        ImportConfig {
            max_error_fraction: 0.01,
        }
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// Lines that are not blank.
    pub rows: usize,
    /// Ratings added.
    pub imported: usize,
    /// Ratings that were stored already.
    pub known: usize,
    /// Lines that could not be used: their number in the file, and why.
    pub broken: Vec<(usize, String)>,
}

/// A line, before it is known which shape it has.
#[derive(Deserialize)]
struct Line {
    answer_id: Option<String>,
    #[serde(default)]
    choice: usize,
    rating: Option<Verdict>,
    correction: Option<String>,
    comment: Option<String>,
    messages: Option<Prompt>,
    prompt: Option<Prompt>,
    answer: Option<String>,
    chosen: Option<String>,
    rejected: Option<String>,
    model: Option<String>,
}

/// Adds the ratings of `path` to the store, all or, when too many lines are broken, none.
///
/// # Errors
/// When the file cannot be read, too many lines cannot be used, or the store cannot be written.
pub fn import(store: &Store, path: &Path, config: &ImportConfig) -> Result<Imported> {
    let unreadable = |source: std::io::Error| Error::File {
        operation: "read",
        path: path.to_owned(),
        source: source.into(),
    };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    store.transact("import ratings", |transaction| {
        let mut report = Imported::default();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = reader
                .by_ref()
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
                .map_err(unreadable)?;
            if length == 0 {
                break;
            }
            if line.last() != Some(&b'\n') && length as u64 == LONGEST_LINE {
                report.rows += 1;
                report
                    .broken
                    .push((number, format!("it is longer than {LONGEST_LINE} bytes")));
                skip_line(&mut reader).map_err(unreadable)?;
                continue;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            report.rows += 1;
            match add(transaction, &line, now)? {
                Ok(true) => report.imported += 1,
                Ok(false) => report.known += 1,
                Err(reason) => report.broken.push((number, reason)),
            }
        }
        let allowed = config.max_error_fraction;
        match report.broken.first() {
            Some((line, reason)) if report.broken.len() as f64 > allowed * report.rows as f64 => {
                Err(Error::TooManyBroken {
                    path: path.to_owned(),
                    rows: report.rows,
                    broken: report.broken.len(),
                    allowed,
                    line: *line,
                    reason: reason.clone(),
                })
            }
            _ => Ok(report),
        }
    })
}

fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        let last = end.is_some() || buffer.is_empty();
        reader.consume(used);
        if last {
            return Ok(());
        }
    }
}

/// Adds one line: whether it was new, or why it cannot be used.
fn add(
    connection: &Connection,
    line: &[u8],
    now: u64,
) -> Result<std::result::Result<bool, String>> {
    let (answer, rating) = match serde_json::from_slice::<Line>(line)
        .map_err(|error| error.to_string())
        .and_then(|line| read(line, now))
    {
        Ok(row) => row,
        Err(reason) => return Ok(Err(reason)),
    };
    match &answer {
        Some(answer) => {
            insert_answer(connection, answer).map_err(during("import an answer"))?;
        }
        None => {
            let known = connection
                .query_row(
                    "SELECT 1 FROM answers WHERE id = ?1 AND choice = ?2",
                    rusqlite::params![rating.answer_id, rating.choice as i64],
                    |_| Ok(()),
                )
                .optional()
                .map_err(during("find an answer"))?;
            if known.is_none() {
                return Ok(Err(format!(
                    "no answer `{}` (choice {}) is stored",
                    rating.answer_id, rating.choice
                )));
            }
        }
    }
    let current = current_rating(connection, &rating.answer_id, rating.choice)
        .map_err(during("read a rating"))?;
    let same = current.is_some_and(|current| {
        Rating {
            created_unix: rating.created_unix,
            ..current
        } == rating
    });
    if !same {
        insert_rating(connection, &rating).map_err(during("import a rating"))?;
    }
    Ok(Ok(!same))
}

/// The rating of a line, with its answer where the line brings one.
fn read(line: Line, now: u64) -> std::result::Result<(Option<Answer>, Rating), String> {
    let rating = |answer_id: String, verdict, correction| Rating {
        answer_id,
        choice: line.choice,
        rating: verdict,
        correction,
        comment: line.comment.clone(),
        created_unix: now,
    };
    if let Some(id) = line.answer_id {
        let verdict = line
            .rating
            .ok_or("`rating` is missing (\"up\" or \"down\")")?;
        return Ok((None, rating(id, verdict, line.correction)));
    }
    let prompt = line.messages.or(line.prompt);
    let prompt = prompt.ok_or("it has neither `answer_id` nor `messages` nor `prompt`")?;
    let (text, verdict, correction) = match (line.answer, line.chosen, line.rejected) {
        (Some(answer), ..) => (
            answer,
            line.rating
                .ok_or("`rating` is missing (\"up\" or \"down\")")?,
            line.correction,
        ),
        (None, Some(chosen), Some(rejected)) => (rejected, Verdict::Down, Some(chosen)),
        _ => {
            return Err(
                "it has neither `answer` with `rating`, nor `chosen` with `rejected`".to_owned(),
            );
        }
    };
    let model = line.model.unwrap_or_else(|| "imported".to_owned());
    let id = imported_id(&prompt, &text, &model)?;
    let answer = Answer {
        id: id.clone(),
        choice: line.choice,
        model,
        created_unix: now,
        prompt: Some(prompt),
        text: Some(text),
        sampling: serde_json::json!({}),
        finish_reason: "imported".to_owned(),
        prompt_tokens: 0,
        completion_tokens: 0,
    };
    Ok((Some(answer), rating(id, verdict, correction)))
}

/// Names an answer of another system by what it says, so that importing it again finds it.
fn imported_id(prompt: &Prompt, text: &str, model: &str) -> std::result::Result<String, String> {
    let bytes = serde_json::to_vec(&(prompt, text, model)).map_err(|error| error.to_string())?;
    Ok(format!(
        "import-{}",
        &blake3::hash(&bytes).to_hex().as_str()[..32]
    ))
}
