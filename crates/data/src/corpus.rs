//! The corpus on disk: Parquet files of documents with `id`, `text`, `source`, `split`, and of dropped documents with
//! `step` and `reason` beside them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use artifact::Artifact;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::document::Document;
use crate::error::{Error, Result};
use crate::source::strings;

/// Text in one row group.
const GROUP_BYTES: usize = 16 << 20;
/// Text in one file.
const FILE_BYTES: usize = 512 << 20;

/// Which part of a corpus a document belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// Learned from.
    Train,
    /// Held out to measure.
    Validation,
}

impl Split {
    /// Both, in the order of their use.
    pub const ALL: [Self; 2] = [Self::Train, Self::Validation];

    /// `train` or `validation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// Writes rows of strings into `folder/part-00000.parquet` and so on.
pub(crate) struct TableWriter<const N: usize> {
    folder: PathBuf,
    schema: Arc<Schema>,
    columns: [Vec<String>; N],
    buffered: usize,
    in_file: usize,
    parts: usize,
    open: Option<(PathBuf, ArrowWriter<File>)>,
}

impl<const N: usize> TableWriter<N> {
    pub(crate) fn new(folder: &Path, names: [&str; N]) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let schema = Schema::new(
            names
                .map(|name| Field::new(name, DataType::Utf8, false))
                .to_vec(),
        );
        let columns = std::array::from_fn(|_| Vec::new());
        let schema = Arc::new(schema);
        Ok(Self {
            folder: folder.to_owned(),
            schema,
            columns,
            buffered: 0,
            in_file: 0,
            parts: 0,
            open: None,
        })
    }

    pub(crate) fn push(&mut self, row: [String; N]) -> Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            self.buffered += cell.len();
            column.push(cell);
        }
        if self.buffered >= GROUP_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<()> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .map(|column| Arc::new(StringArray::from(std::mem::take(column))) as ArrayRef)
            .collect();
        let (path, mut writer) = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let written = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(ParquetError::from)
            .and_then(|batch| writer.write(&batch).and_then(|()| writer.flush()));
        written.map_err(|error| wrap(&path, error))?;
        self.in_file += std::mem::take(&mut self.buffered);
        if self.in_file >= FILE_BYTES {
            self.in_file = 0;
            writer.close().map_err(|error| wrap(&path, error))?;
        } else {
            self.open = Some((path, writer));
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(PathBuf, ArrowWriter<File>)> {
        let path = self.folder.join(format!("part-{:05}.parquet", self.parts));
        self.parts += 1;
        let level = ZstdLevel::try_new(1).map_err(|error| wrap(&path, error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(artifact::TOOL.to_owned())
            // Texts hardly ever repeat; a dictionary would be built and thrown away.
            .set_dictionary_enabled(false)
            .build();
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&self.schema), Some(properties));
        Ok((path.clone(), writer.map_err(|error| wrap(&path, error))?))
    }

    /// Writes what is buffered and closes the file; a table without rows is one file without rows.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.parts == 0 || self.columns.iter().any(|column| !column.is_empty()) {
            self.flush()?;
        }
        match self.open.take() {
            Some((path, writer)) => writer.close().map(drop).map_err(|error| wrap(&path, error)),
            None => Ok(()),
        }
    }
}

/// A system error inside, such as a full disk, comes out as one.
fn wrap(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => Error::io("write", path)(*source),
            Err(other) => Error::Format {
                path: path.to_owned(),
                format: "Parquet",
                problem: other.to_string(),
            },
        },
        other => Error::Format {
            path: path.to_owned(),
            format: "Parquet",
            problem: other.to_string(),
        },
    }
}

/// The documents of a corpus artifact with their splits, in order, streamed.
///
/// # Errors
/// [`Error::Kind`] for another kind of artifact, [`artifact::Error::Io`] or [`Error::Format`] naming the file.
pub fn documents(
    corpus: &Artifact,
) -> Result<impl Iterator<Item = Result<(Document, Split)>> + Send + use<>> {
    let rows = table(corpus, "documents/", ["id", "text", "source", "split"])?;
    Ok(rows.map(|row| {
        let [id, text, source, split] = row?;
        let split = if split == "validation" {
            Split::Validation
        } else {
            Split::Train
        };
        Ok((Document { id, text, source }, split))
    }))
}

/// A document that a filter dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedDocument {
    /// The document as it was when it was dropped.
    pub document: Document,
    /// The filter that dropped it.
    pub step: String,
    /// Why.
    pub reason: String,
}

/// The documents that the filters dropped from a corpus artifact, in order, streamed.
///
/// # Errors
/// As [`documents`].
pub fn dropped(
    corpus: &Artifact,
) -> Result<impl Iterator<Item = Result<DroppedDocument>> + Send + use<>> {
    let rows = table(
        corpus,
        "dropped/",
        ["id", "text", "source", "step", "reason"],
    )?;
    Ok(rows.map(|row| {
        let [id, text, source, step, reason] = row?;
        Ok(DroppedDocument {
            document: Document { id, text, source },
            step,
            reason,
        })
    }))
}

type Rows<const N: usize> = Box<dyn Iterator<Item = Result<[String; N]>> + Send>;

/// The rows of the Parquet files whose names begin with `folder`; empty where a row has none.
fn table<const N: usize>(
    corpus: &Artifact,
    folder: &str,
    columns: [&'static str; N],
) -> Result<impl Iterator<Item = Result<[String; N]>> + Send + use<N>> {
    if corpus.manifest.kind != "corpus" {
        return Err(Error::Kind {
            expected: "corpus",
            got: corpus.manifest.kind.clone(),
        });
    }
    let files: Vec<_> = corpus
        .manifest
        .files
        .keys()
        .filter(|name| name.starts_with(folder))
        .map(|name| corpus.file(name))
        .collect();
    Ok(files
        .into_iter()
        .flat_map(move |path| match read_file(&path, columns) {
            Ok(rows) => rows,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }))
}

fn read_file<const N: usize>(path: &Path, columns: [&'static str; N]) -> Result<Rows<N>> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    let batches = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(256).build())
        .map_err(|error| wrap(&path, error))?;
    Ok(Box::new(batches.flat_map(move |batch| {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return vec![Err(wrap(&path, ParquetError::from(error)))],
        };
        let mut cells = columns.map(|name| {
            batch
                .column_by_name(name)
                .map(strings)
                .unwrap_or_default()
                .into_iter()
        });
        let row = |_| {
            Ok(std::array::from_fn(|column| {
                cells[column].next().flatten().unwrap_or_default()
            }))
        };
        (0..batch.num_rows()).map(row).collect()
    })))
}
