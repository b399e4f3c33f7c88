//! Curates a folder and prints the funnel and the speed: `cargo run --release -p data --example curate -- DIR`.
//! Where DIR has a `labels.jsonl` of planted defects (as `nursery` writes it), it also prints how many of each were
//! found, and how many sound documents were dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use artifact::{Progress, Store};
use data::curate;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give a folder")?);
    let labels = folder.join("labels.jsonl");
    let mut config = curate::Config::default();
    let input = if labels.exists() {
        config.language.expected = vec!["en".to_owned()];
        config.insults.enabled = true;
        folder.join("documents")
    } else {
        folder
    };
    let home = tempfile::tempdir()?;
    let store = Store::open(home.path())?;
    let corpus = curate::run(&config, &[input], &store, &Progress::silent())?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:#}\n{:#}",
        corpus.manifest.metrics, corpus.manifest.measured
    )?;
    if !labels.exists() {
        return Ok(());
    }
    let mut defects = BTreeMap::<String, String>::new();
    for line in std::fs::read_to_string(labels)?.lines() {
        let label: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| label[name].as_str().unwrap_or_default().to_owned();
        defects.insert(field("id"), field("defect"));
    }
    let mut found = BTreeMap::<(String, String), u64>::new();
    let mut wrong = Vec::new();
    let file = std::fs::File::open(corpus.file("dropped/part-00000.parquet"))?;
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let cell = |name: &str, row: usize| {
            batch
                .column_by_name(name)
                .map_or("", |column| {
                    arrow_array::cast::as_string_array(column).value(row)
                })
                .to_owned()
        };
        for row in 0..batch.num_rows() {
            let defect = defects.get(&cell("id", row)).map_or("none", String::as_str);
            *found
                .entry((defect.to_owned(), cell("step", row)))
                .or_default() += 1;
            if defect == "none" {
                wrong.push((cell("step", row), cell("reason", row), cell("text", row)));
            }
        }
    }
    for defect in defects.values().collect::<BTreeSet<_>>() {
        let all = defects.values().filter(|one| *one == defect).count();
        writeln!(out, "{defect}: {all} planted")?;
    }
    for ((defect, step), count) in found {
        writeln!(out, "{defect} dropped by {step}: {count}")?;
    }
    for (step, reason, text) in wrong.iter().step_by((wrong.len() / 20).max(1)) {
        writeln!(
            out,
            "sound, dropped by {step} ({reason}): {}",
            text.replace('\n', " / ")
        )?;
    }
    Ok(())
}
