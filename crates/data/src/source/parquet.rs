//! Parquet: a document a row, with the text in one of the configured string columns.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::listing::SourceFile;
use super::{Config, Row, Rows};
use crate::error::{Error, Result};

/// Rows decoded at once.
const BATCH_ROWS: usize = 256;

/// The documents of one Parquet file. Its size is added to `total` as its rows are read.
pub(crate) fn rows(file: &SourceFile, config: &Config, total: &Arc<AtomicU64>) -> Result<Rows> {
    let path = file.path.clone();
    let wrong = |problem: String| Error::Format {
        path: path.clone(),
        format: "Parquet",
        problem,
    };
    let opened = File::open(&path).map_err(Error::io("open", &path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(opened)
        .map_err(|error| wrong(error.to_string()))?;
    let schema = Arc::clone(builder.schema());
    let named = |name: &str| schema.index_of(name).ok();
    let Some(text_at) = config.text_fields.iter().find_map(|name| named(name)) else {
        let found = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        return Err(Error::NoColumn {
            path,
            wanted: config.text_fields.clone(),
            found,
        });
    };
    let kind = schema.field(text_at).data_type();
    if !is_string(kind) {
        return Err(wrong(format!(
            "column {:?} is {kind}, not strings",
            schema.field(text_at).name()
        )));
    }
    let own = |name| named(name).filter(|&at| is_string(schema.field(at).data_type()));
    let (id_at, source_at) = (own("id"), own("source"));
    let roots: Vec<_> = [Some(text_at), id_at, source_at]
        .into_iter()
        .flatten()
        .collect();
    let count = u64::try_from(builder.metadata().file_metadata().num_rows())
        .unwrap_or(0)
        .max(1);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build();
    let batches = reader.map_err(|error| wrong(error.to_string()))?;

    let names = [
        text_at,
        id_at.unwrap_or(text_at),
        source_at.unwrap_or(text_at),
    ]
    .map(|at| schema.field(at).name().clone());
    let (has_id, has_source) = (id_at.is_some(), source_at.is_some());
    let (bytes, total, mut place) = (file.bytes, Arc::clone(total), 0u64);
    Ok(Box::new(batches.flat_map(move |batch| {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return vec![Err(damaged(&path, &error.to_string()))],
        };
        let column = |index: usize| {
            batch
                .column_by_name(&names[index])
                .map(strings)
                .unwrap_or_default()
        };
        let texts = column(0);
        let ids = if has_id { column(1) } else { Vec::new() };
        let sources = if has_source { column(2) } else { Vec::new() };
        total.fetch_add(bytes * texts.len() as u64 / count, Ordering::Relaxed);
        let rows = texts.into_iter().enumerate().map(|(index, text)| {
            place += 1;
            let own = |cells: &[Option<String>]| {
                cells
                    .get(index)
                    .cloned()
                    .flatten()
                    .filter(|cell| !cell.is_empty())
            };
            Ok(match text {
                Some(text) => Row::Text {
                    text,
                    place,
                    id: own(&ids),
                    source: own(&sources),
                    repaired: false,
                },
                None => Row::Bad {
                    line: place,
                    reason: "the text is null".to_owned(),
                },
            })
        });
        rows.collect()
    })))
}

fn damaged(path: &Path, problem: &str) -> Error {
    Error::Format {
        path: path.to_owned(),
        format: "Parquet",
        problem: problem.to_owned(),
    }
}

fn is_string(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The cells of a string column, whichever of Arrow's three layouts it has.
pub(crate) fn strings(column: &ArrayRef) -> Vec<Option<String>> {
    let own = |cell: Option<&str>| cell.map(str::to_owned);
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().map(own).collect(),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().map(own).collect(),
        DataType::Utf8View => column.as_string_view().iter().map(own).collect(),
        _ => vec![None; column.len()],
    }
}
