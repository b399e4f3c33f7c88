//! JSON lines: a document a line, with the text in one of the configured fields.

use std::io::{self, BufRead, BufReader};

use serde_json::Value;

use super::bytes::Bytes;
use super::{Config, Row, utf8};
use crate::error::{Error, Result};

/// A line longer than this is a bad row; it is passed over without being held in memory.
const MAX_LINE_BYTES: usize = 64 << 20;

/// The lines of a file, each with its number from 1, at most [`MAX_LINE_BYTES`] long.
pub(crate) struct Lines {
    reader: BufReader<Bytes>,
    line: u64,
    ended: bool,
}

/// One line.
pub(crate) enum Line {
    /// Its number and bytes, without the line end.
    Bytes(u64, Vec<u8>),
    /// Its number; it is too long.
    TooLong(u64),
}

impl Lines {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self {
            reader: BufReader::with_capacity(1 << 17, bytes),
            line: 0,
            ended: false,
        }
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let (mut line, mut too_long, mut any) = (Vec::new(), false, false);
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            too_long |= line.len() + part.len() > MAX_LINE_BYTES;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(part);
            }
            let used = end.map_or(buffer.len(), |at| at + 1);
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.line += 1;
        Ok(Some(if too_long {
            Line::TooLong(self.line)
        } else {
            Line::Bytes(self.line, line)
        }))
    }
}

impl Iterator for Lines {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read() {
            Ok(line) => line.map(Ok),
            Err(error) => {
                self.ended = true;
                Some(Err(self.reader.get_ref().explain(error)))
            }
        }
    }
}

/// A line's number, its value, and whether bytes that are not UTF-8 were replaced.
pub(crate) type Parsed = (u64, Value, bool);
/// A line's number, and why it cannot be used.
pub(crate) type BadLine = (u64, String);

/// Parses a line into a value; the reason when it cannot be used, `None` for a blank line.
pub(crate) fn value(line: Line, max_invalid: f64) -> Option<std::result::Result<Parsed, BadLine>> {
    let (number, bytes) = match line {
        Line::TooLong(number) => {
            return Some(Err((
                number,
                format!("longer than {} MiB", MAX_LINE_BYTES >> 20),
            )));
        }
        Line::Bytes(number, bytes) => (number, bytes),
    };
    if bytes.trim_ascii().is_empty() {
        return None;
    }
    let Some((text, repaired)) = utf8(bytes, max_invalid) else {
        return Some(Err((number, "not UTF-8".to_owned())));
    };
    Some(
        match serde_json::from_str(text.trim_start_matches('\u{FEFF}')) {
            Ok(value) => Ok((number, value, repaired)),
            Err(error) => Err((number, format!("not JSON: {error}"))),
        },
    )
}

/// The documents of one JSONL file.
pub(crate) fn rows(
    bytes: Bytes,
    config: &Config,
) -> impl Iterator<Item = Result<Row>> + Send + use<> {
    let config = config.clone();
    Lines::new(bytes).filter_map(move |line| match line {
        Err(error) => Some(Err::<Row, Error>(error)),
        Ok(line) => Some(Ok(match value(line, config.max_invalid_fraction)? {
            Ok((place, value, repaired)) => row(value, place, repaired, &config.text_fields),
            Err((line, reason)) => Row::Bad { line, reason },
        })),
    })
}

fn row(mut value: Value, place: u64, repaired: bool, fields: &[String]) -> Row {
    let bad = |reason: String| Row::Bad {
        line: place,
        reason,
    };
    let Some(object) = value.as_object_mut() else {
        return bad("expected an object {…}".to_owned());
    };
    let mut own = |name: &str| match object.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let (id, source) = (own("id").filter(|id| !id.is_empty()), own("source"));
    match fields
        .iter()
        .find_map(|field| object.remove(field).map(|value| (field, value)))
    {
        Some((_, Value::String(text))) => Row::Text {
            text,
            place,
            id,
            source,
            repaired,
        },
        Some((field, _)) => bad(format!("field {field:?} is not a string")),
        None => bad(format!("no field {}", fields.join(" or "))),
    }
}
