//! All files as one stream of documents, with a tally of what could not be used.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::Serialize;

use super::bytes::Bytes;
use super::listing::{Format, Skipped, SourceFile};
use super::text::{Pieces, cut};
use super::{Config, OnTruncated, Row, Rows, csv, jsonl, parquet};
use crate::document::Document;
use crate::error::{Error, Result};

/// Bad rows are looked at before the end of a file once it has this many rows.
const EARLY_ROWS: u64 = 1000;

/// What was read and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Files read.
    pub files: u64,
    /// Documents yielded.
    pub documents: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Rows and pieces that could not be used.
    pub bad_rows: u64,
    /// Texts in which bytes that are not UTF-8 were replaced.
    pub repaired: u64,
    /// Files left out, with the reason.
    pub skipped: Vec<Skipped>,
}

/// Documents of many files, in order. Memory is bounded by the longest document, line or row group.
pub struct Reader {
    files: std::vec::IntoIter<SourceFile>,
    config: Config,
    open: Option<Open>,
    ready: VecDeque<Document>,
    counts: Counts,
    position: Arc<AtomicU64>,
    failed: bool,
}

/// The file being read.
struct Open {
    file: SourceFile,
    rows: Rows,
    read: u64,
    bad: u64,
    first_bad: Option<(u64, String)>,
}

impl Reader {
    /// A reader over `files`.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field.
    pub fn new(files: Vec<SourceFile>, config: &Config) -> Result<Self> {
        config.check()?;
        Ok(Self {
            files: files.into_iter(),
            config: config.clone(),
            open: None,
            ready: VecDeque::new(),
            counts: Counts::default(),
            position: Arc::default(),
            failed: false,
        })
    }

    /// The tally so far; complete at the end of the stream.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Bytes taken from the disk so far, shared with whoever shows progress.
    #[must_use]
    pub fn position(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.position)
    }

    fn open_next(&mut self) -> Result<bool> {
        let Some(file) = self.files.next() else {
            return Ok(false);
        };
        let rows: Rows = match file.format {
            Format::Text => Box::new(Pieces::new(
                Bytes::open(&file, &self.position)?,
                &self.config,
            )),
            Format::Jsonl => Box::new(jsonl::rows(
                Bytes::open(&file, &self.position)?,
                &self.config,
            )),
            Format::Csv => csv::rows(Bytes::open(&file, &self.position)?, &file, &self.config)?,
            Format::Parquet => parquet::rows(&file, &self.config, &self.position)?,
        };
        self.counts.files += 1;
        self.open = Some(Open {
            file,
            rows,
            read: 0,
            bad: 0,
            first_bad: None,
        });
        Ok(true)
    }

    /// Takes one row of the open file; `false` at its end.
    fn take_row(&mut self) -> Result<bool> {
        let Some(open) = &mut self.open else {
            return Ok(false);
        };
        let row = match open.rows.next() {
            None => {
                open.judge(&self.config)?;
                return Ok(false);
            }
            Some(Err(Error::Truncated {
                offset, problem, ..
            })) if self.config.on_truncated == OnTruncated::KeepRead => {
                let reason = format!("cut short at byte {offset}: {problem}");
                self.counts.skipped.push(Skipped {
                    name: open.file.name.clone(),
                    reason,
                });
                return Ok(false);
            }
            Some(row) => row?,
        };
        open.read += 1;
        match row {
            Row::Unreadable { reason } => {
                self.counts.files -= 1;
                self.counts.skipped.push(Skipped {
                    name: open.file.name.clone(),
                    reason: reason.to_owned(),
                });
                return Ok(false);
            }
            Row::Bad { line, reason } => {
                open.bad += 1;
                self.counts.bad_rows += 1;
                open.first_bad.get_or_insert((line, reason));
                if open.read >= EARLY_ROWS {
                    open.judge(&self.config)?;
                }
            }
            Row::Text {
                text,
                place,
                id,
                source,
                repaired,
            } => {
                self.counts.repaired += u64::from(repaired);
                let name = open.file.name.clone();
                self.push(&name, place, text, id, source);
            }
        }
        Ok(true)
    }

    fn push(
        &mut self,
        name: &str,
        place: u64,
        mut text: String,
        id: Option<String>,
        source: Option<String>,
    ) {
        let mut piece = 0;
        while !text.is_empty() {
            let rest = text.split_off(cut(text.as_bytes(), self.config.max_document_bytes));
            let whole = piece == 0 && rest.is_empty();
            let mut document = Document::at(name, place, text);
            if let Some(id) = &id {
                document.id = if whole {
                    id.clone()
                } else {
                    format!("{id}/{piece}")
                };
            }
            if let Some(source) = &source {
                document.source.clone_from(source);
            }
            self.counts.documents += 1;
            self.counts.bytes += document.text.len() as u64;
            self.ready.push_back(document);
            text = rest;
            piece += 1;
        }
    }

    fn advance(&mut self) -> Result<Option<Document>> {
        loop {
            if let Some(document) = self.ready.pop_front() {
                return Ok(Some(document));
            }
            if self.open.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if !self.take_row()? {
                self.open = None;
            }
        }
    }
}

impl Open {
    /// Fails when too large a share of the rows cannot be used.
    fn judge(&self, config: &Config) -> Result<()> {
        let allowed = (config.max_error_fraction * self.read as f64) as u64;
        match &self.first_bad {
            Some((line, reason)) if self.bad > allowed && self.bad >= config.min_errors => {
                Err(Error::BadRows {
                    path: self.file.path.clone(),
                    line: *line,
                    reason: reason.clone(),
                    bad: self.bad,
                    rows: self.read,
                    allowed,
                })
            }
            _ => Ok(()),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Document>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance();
        self.failed = next.is_err();
        next.transpose()
    }
}
