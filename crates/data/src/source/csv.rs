//! CSV and TSV: a document a row, with the text in one of the configured columns.

use std::path::Path;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::bytes::Bytes;
use super::listing::SourceFile;
use super::{Config, Row, Rows, utf8};
use crate::error::{Error, Result};

/// The documents of one CSV file.
pub(crate) fn rows(bytes: Bytes, file: &SourceFile, config: &Config) -> Result<Rows> {
    let explain = bytes.explainer();
    let delimiter = if file.name.to_ascii_lowercase().contains(".tsv") {
        b'\t'
    } else {
        b','
    };
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(bytes);
    let header = match reader.byte_headers() {
        Ok(header) => header.clone(),
        Err(error) => return Err(wrap(error, &file.path, &explain)),
    };
    let found: Vec<_> = header
        .iter()
        .map(|name| {
            String::from_utf8_lossy(name)
                .trim_start_matches('\u{FEFF}')
                .to_owned()
        })
        .collect();
    if found.is_empty() {
        return Ok(Box::new(std::iter::empty()));
    }
    let column = |name: &str| found.iter().position(|one| one == name);
    let Some(text_at) = config.text_fields.iter().find_map(|name| column(name)) else {
        return Err(Error::NoColumn {
            path: file.path.clone(),
            wanted: config.text_fields.clone(),
            found,
        });
    };
    let (id_at, source_at) = (column("id"), column("source"));
    let (path, limit) = (file.path.clone(), config.max_invalid_fraction);
    let mut ended = false;
    Ok(Box::new(std::iter::from_fn(move || {
        let mut record = ByteRecord::new();
        if ended {
            return None;
        }
        match reader.read_byte_record(&mut record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => {
                ended = true;
                return Some(Err(wrap(error, &path, &explain)));
            }
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: Option<usize>| {
            at.and_then(|at| record.get(at))
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .filter(|text| !text.is_empty())
        };
        Some(Ok(
            match record.get(text_at).map(|bytes| utf8(bytes.to_vec(), limit)) {
                None => Row::Bad {
                    line,
                    reason: format!("only {} columns", record.len()),
                },
                Some(None) => Row::Bad {
                    line,
                    reason: "not UTF-8".to_owned(),
                },
                Some(Some((text, repaired))) => Row::Text {
                    text,
                    place: line,
                    id: cell(id_at),
                    source: cell(source_at),
                    repaired,
                },
            },
        ))
    })))
}

fn wrap(error: csv::Error, path: &Path, explain: &impl Fn(std::io::Error) -> Error) -> Error {
    let problem = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(error) => explain(error),
        _ => Error::Format {
            path: path.to_owned(),
            format: "CSV",
            problem,
        },
    }
}
