//! Held-out questions as the evaluation reads them: one JSON object a line, the last message the reference answer.

use std::io::BufRead;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenizer::Message;

use crate::error::{Error, Result};

/// How an answer is compared with its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// Equal after normalisation.
    Exact,
    /// The reference stands in the answer as whole words.
    Contains,
    /// The same `name: value` pairs, in any order.
    Fields,
    /// The answer opens with the reference label.
    Choice,
}

/// One held-out question with what decides whether an answer to it is right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Question {
    /// Stable name of the question: pairs of candidates are compared by it.
    pub id: String,
    /// The conversation up to the turn to be answered.
    pub prompt: Vec<Message>,
    /// The reference answer.
    pub reference: String,
    /// The kind of task, for the table by kind; empty when the row names none.
    pub kind: String,
    /// False when the right answer is to say that there is none; unknown for rows that do not say.
    pub answerable: Option<bool>,
    /// Comparison with the reference; rows that name none are compared exactly unless they bring `expect` phrases.
    pub matching: Option<Matching>,
    /// Phrases that must stand in the answer.
    pub expect: Vec<String>,
    /// Phrases that must not.
    pub reject: Vec<String>,
}

impl Question {
    /// The last user turn: the question itself.
    #[must_use]
    pub fn text(&self) -> &str {
        self.prompt
            .iter()
            .rev()
            .find(|message| message.role == "user")
            .map_or("", |message| &message.content)
    }

    /// True unless the row says that the question cannot be answered.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        self.answerable != Some(false)
    }
}

/// A preference pair as stored in an artifact of kind "preferences".
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Stable name of the pair.
    pub id: String,
    /// The conversation up to the answer.
    pub prompt: Vec<Message>,
    /// The preferred answer.
    pub chosen: String,
    /// The other one.
    pub rejected: String,
}

#[derive(Deserialize)]
struct QuestionRow {
    id: Option<String>,
    messages: Vec<Message>,
    kind: Option<String>,
    answerable: Option<bool>,
    #[serde(alias = "match")]
    matching: Option<Matching>,
    #[serde(default)]
    expect: Vec<String>,
    #[serde(default)]
    reject: Vec<String>,
}

#[derive(Deserialize)]
struct PairRow {
    id: Option<String>,
    prompt: Vec<Message>,
    chosen: String,
    rejected: String,
}

/// Reads questions from a JSON Lines file.
///
/// # Errors
/// The file cannot be read, a line is not a question, or its last message is not the assistant's.
pub fn read_questions(path: &Path) -> Result<Vec<Question>> {
    read_rows(path, |row: QuestionRow, line| {
        let mut prompt = row.messages;
        let reference = match prompt.pop() {
            Some(last) if last.role == "assistant" && !prompt.is_empty() => last.content,
            _ => {
                return Err(
                    "the last message must be the assistant's, after at least one other".to_owned(),
                );
            }
        };
        Ok(Question {
            id: row.id.unwrap_or_else(|| format!("line {line}")),
            prompt,
            reference,
            kind: row.kind.unwrap_or_default(),
            answerable: row.answerable,
            matching: row.matching,
            expect: row.expect,
            reject: row.reject,
        })
    })
}

/// Reads preference pairs from a JSON Lines file.
///
/// # Errors
/// The file cannot be read or a line is not a pair.
pub fn read_pairs(path: &Path) -> Result<Vec<Pair>> {
    read_rows(path, |row: PairRow, line| {
        Ok(Pair {
            id: row.id.unwrap_or_else(|| format!("line {line}")),
            prompt: row.prompt,
            chosen: row.chosen,
            rejected: row.rejected,
        })
    })
}

fn read_rows<Row: serde::de::DeserializeOwned, Out>(
    path: &Path,
    make: impl Fn(Row, usize) -> std::result::Result<Out, String>,
) -> Result<Vec<Out>> {
    let unreadable = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut rows = Vec::new();
    for (i, line) in std::io::BufReader::new(file).lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        let number = i + 1;
        let row = serde_json::from_str(&line)
            .map_err(|error| error.to_string())
            .and_then(|row| make(row, number))
            .map_err(|reason| Error::Row {
                path: path.to_owned(),
                line: number,
                reason,
            })?;
        rows.push(row);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_full_row() {
        let file = file(
            r#"{"id":"q1","messages":[{"role":"user","content":"How many?"},{"role":"assistant","content":"7"}],"kind":"lookup","answerable":true,"match":"contains","expect":["7"],"reject":["8"]}"#,
        );
        let questions = read_questions(file.path()).unwrap();
        assert_eq!(questions.len(), 1);
        let question = &questions[0];
        assert_eq!(
            (
                question.id.as_str(),
                question.text(),
                question.reference.as_str()
            ),
            ("q1", "How many?", "7")
        );
        assert_eq!(
            (question.kind.as_str(), question.answerable),
            ("lookup", Some(true))
        );
        assert_eq!(question.matching, Some(Matching::Contains));
        assert_eq!(
            (&question.expect[..], &question.reject[..]),
            (&["7".to_owned()][..], &["8".to_owned()][..])
        );
    }

    #[test]
    fn a_bare_row_has_defaults() {
        let file = file(
            "\n{\"messages\":[{\"role\":\"user\",\"content\":\"?\"},{\"role\":\"assistant\",\"content\":\"!\"}]}\n",
        );
        let question = &read_questions(file.path()).unwrap()[0];
        assert_eq!(question.id, "line 2");
        assert!(
            question.is_answerable() && question.kind.is_empty() && question.matching.is_none()
        );
    }

    #[test]
    fn a_row_without_an_answer_names_its_line() {
        let file = file("{\"messages\":[{\"role\":\"user\",\"content\":\"?\"}]}\n");
        let message = read_questions(file.path()).unwrap_err().to_string();
        assert!(
            message.contains("line 1") && message.contains("assistant"),
            "{message}"
        );
    }

    #[test]
    fn a_row_that_is_not_json_names_its_line() {
        let file = file("\n\nnonsense\n");
        assert!(
            read_pairs(file.path())
                .unwrap_err()
                .to_string()
                .contains("line 3")
        );
    }

    #[test]
    fn a_pair() {
        let file = file(
            r#"{"id":"p","prompt":[{"role":"user","content":"hi"}],"chosen":"a","rejected":"b"}"#,
        );
        let pair = &read_pairs(file.path()).unwrap()[0];
        assert_eq!(
            (
                pair.id.as_str(),
                pair.chosen.as_str(),
                pair.rejected.as_str()
            ),
            ("p", "a", "b")
        );
        assert_eq!(pair.prompt[0].content, "hi");
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(
            read_questions(Path::new("/nowhere/x.jsonl"))
                .unwrap_err()
                .to_string()
                .contains("/nowhere/x.jsonl")
        );
    }
}
