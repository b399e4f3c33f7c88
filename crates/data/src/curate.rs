//! Curation: sources through the filters into a corpus, with a funnel that says what each filter kept.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use artifact::{Artifact, Draft, Key, Progress, Seed, Store, write_atomic};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::corpus::{Split, TableWriter};
use crate::document::{Document, estimated_tokens};
use crate::error::{Error, Result};
use crate::filter::{
    boilerplate, exact_duplicates, gibberish, insults, language, length, near_duplicates,
    normalise, redact, repeated_lines, repetition,
};
use crate::origin;
use crate::pipeline::{Dropped, Pipeline};
use crate::source::{self, Counts, Listing, Reader};

/// How documents are read, filtered and split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Reading.
    pub source: source::Config,
    /// One way to write each text.
    pub normalise: normalise::Config,
    /// E-mail addresses, telephone and card numbers out.
    pub redact: redact::Config,
    /// Menus and notices out.
    pub boilerplate: boilerplate::Config,
    /// Lines of very many documents out.
    pub repeated_lines: repeated_lines::Config,
    /// Not too short, not too long.
    pub length: length::Config,
    /// Not the same thing over and over.
    pub repetition: repetition::Config,
    /// Text, not noise.
    pub gibberish: gibberish::Config,
    /// Only the expected languages; off while none is named.
    pub language: language::Config,
    /// No rude words; off by default.
    pub insults: insults::Config,
    /// Each text once.
    pub exact_duplicates: exact_duplicates::Config,
    /// Each text once, small changes aside.
    pub near_duplicates: near_duplicates::Config,
    /// The share of documents held out.
    pub validation_fraction: f64,
    /// Decides which.
    pub seed: Seed,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: source::Config::default(),
            normalise: normalise::Config::default(),
            redact: redact::Config::default(),
            boilerplate: boilerplate::Config::default(),
            repeated_lines: repeated_lines::Config::default(),
            length: length::Config::default(),
            repetition: repetition::Config::default(),
            gibberish: gibberish::Config::default(),
            language: language::Config::default(),
            insults: insults::Config::default(),
            exact_duplicates: exact_duplicates::Config::default(),
            near_duplicates: near_duplicates::Config::default(),
            validation_fraction: 0.02,
            seed: Seed(1),
        }
    }
}

impl Config {
    fn check(&self) -> Result<()> {
        self.source.check()?;
        source::fraction("validation_fraction", self.validation_fraction)?;
        if let Some(unknown) = self
            .language
            .expected
            .iter()
            .find(|one| !language::KNOWN.contains(&one.as_str()))
        {
            let expected = "codes of languages that can be told apart: de en es fr it nl pl pt sv ar el he hi ja ko ru th ta zh";
            return Err(Error::Config {
                field: "language.expected",
                got: unknown.clone(),
                expected,
            });
        }
        Ok(())
    }
}

/// Documents handed on at once.
const BATCH_DOCUMENTS: usize = 1024;
/// Text handed on at once.
const BATCH_BYTES: usize = 4 << 20;

/// Curates the files under `paths` into an artifact of kind `corpus`: `documents/*.parquet` (`id`, `text`, `source`,
/// `split`), `dropped/*.parquet` (also `step`, `reason`), and `sources.json`. Metrics: `documents_in`,
/// `documents_out`, `bytes_in`, `bytes_out`, `tokens_out` (estimated), `train_documents`, `validation_documents`,
/// `steps[]`, `reading`; measured: `seconds`, `peak_rss_bytes`, `bytes_per_second`. The same files and config give
/// the same artifact, whatever the thread count.
///
/// # Errors
/// Each variant of [`Error`] that speaks of sources, and [`Error::NothingKept`].
pub fn run(
    config: &Config,
    paths: &[PathBuf],
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let start = Instant::now();
    config.check()?;
    let listing = source::list(paths)?;
    let sources = origin::fingerprint(&listing, progress)?;
    let mut key = Key::new("corpus", &json!({"curate": config, "sources": sources}))
        .seed("split", config.seed);
    for artifact in origin::artifacts_of(store, paths)? {
        key = key.input("documents", &artifact);
    }
    if let Some(found) = store.find(&key)? {
        return Ok(found);
    }
    let mut draft = store.begin(key)?;
    // Filters that remember must see every document again, so an interrupted run starts over.
    draft.restart()?;
    write_atomic(
        &draft.path().join("sources.json"),
        artifact::canonical_json(&json!(listing_names(&listing))).as_bytes(),
    )?;

    let total = listing.bytes();
    let reader = Reader::new(listing.files.clone(), &config.source)?;
    let position = reader.position();
    let mut pipeline = Pipeline::new(config);
    let mut out = Output::new(config, &draft)?;
    let (sender, receiver) = sync_channel(4);
    let counts = thread::scope(|scope| {
        let reading = scope.spawn(move || read(reader, &sender));
        let filtered = filter(&receiver, &mut pipeline, &mut out, &mut || {
            progress.tick(
                position.load(Ordering::Relaxed).min(total),
                Some(total),
                "bytes",
            );
            Ok(progress.check()?)
        });
        // Without its receiver the reader ends at the next batch.
        drop(receiver);
        let read = reading
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        filtered.and(read)
    })?;
    if counts.documents == 0 {
        let mut skipped = listing.skipped;
        skipped.extend(counts.skipped);
        return Err(Error::NoText {
            paths: paths.to_vec(),
            skipped: source::told(&skipped),
        });
    }
    let written = out.finish()?;
    if written.documents == 0 {
        let worst = pipeline.counts().iter().max_by_key(|count| count.dropped);
        let step = worst.map_or("no step", |count| count.step).to_owned();
        return Err(Error::NothingKept {
            documents: counts.documents,
            step,
        });
    }
    let mut skipped = listing.skipped;
    skipped.extend(counts.skipped.iter().cloned());
    for line in told_skipped(&skipped, &counts) {
        progress.note(line);
    }
    let metrics = json!({
        "documents_in": counts.documents,
        "documents_out": written.documents,
        "bytes_in": counts.bytes,
        "bytes_out": written.bytes,
        "tokens_out": written.tokens,
        "train_documents": written.documents - written.validation,
        "validation_documents": written.validation,
        "steps": pipeline.counts(),
        "reading": {
            "files": counts.files, "bad_rows": counts.bad_rows, "repaired": counts.repaired, "skipped": skipped,
        },
    });
    let seconds = start.elapsed().as_secs_f64();
    let measured = json!({
        "seconds": seconds,
        "bytes_per_second": counts.bytes as f64 / seconds,
        "peak_rss_bytes": artifact::peak_rss_bytes(),
        "step_seconds": pipeline.seconds(),
    });
    Ok(draft.commit(metrics, measured)?)
}

fn listing_names(listing: &Listing) -> Vec<serde_json::Value> {
    listing
        .files
        .iter()
        .map(|file| json!({"name": file.name, "bytes": file.bytes, "format": file.format}))
        .collect()
}

fn told_skipped(skipped: &[source::Skipped], counts: &Counts) -> Vec<String> {
    let mut lines = Vec::new();
    if !skipped.is_empty() {
        lines.push(format!(
            "{} files not read{}",
            skipped.len(),
            source::told(skipped)
        ));
    }
    if counts.bad_rows > 0 {
        lines.push(format!("{} rows could not be used", counts.bad_rows));
    }
    if counts.repaired > 0 {
        lines.push(format!(
            "{} texts with bytes that are not UTF-8 were repaired",
            counts.repaired
        ));
    }
    lines
}

/// Reads all documents into batches, until the end, an error, or the other side goes away.
fn read(mut reader: Reader, sender: &SyncSender<Vec<Document>>) -> Result<Counts> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for document in reader.by_ref() {
        let document = document?;
        bytes += document.text.len();
        batch.push(document);
        if batch.len() >= BATCH_DOCUMENTS || bytes >= BATCH_BYTES {
            bytes = 0;
            if sender.send(std::mem::take(&mut batch)).is_err() {
                break;
            }
        }
    }
    // A receiver that went away has told its own error.
    let _ = sender.send(batch);
    Ok(reader.counts().clone())
}

fn filter(
    batches: &Receiver<Vec<Document>>,
    pipeline: &mut Pipeline,
    out: &mut Output,
    after_batch: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    while let Ok(batch) = batches.recv() {
        let (kept, dropped) = pipeline.pass(batch);
        out.push(kept, dropped)?;
        after_batch()?;
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Written {
    documents: u64,
    validation: u64,
    bytes: u64,
    tokens: u64,
}

/// The corpus being written.
struct Output {
    documents: TableWriter<4>,
    dropped: TableWriter<5>,
    fraction: f64,
    seed: Seed,
    written: Written,
    /// The first documents wait until it is known whether more follow: a small corpus gets a validation document too.
    waiting: Option<Vec<Document>>,
}

impl Output {
    fn new(config: &Config, draft: &Draft) -> Result<Self> {
        Ok(Self {
            documents: TableWriter::new(
                &draft.path().join("documents"),
                ["id", "text", "source", "split"],
            )?,
            dropped: TableWriter::new(
                &draft.path().join("dropped"),
                ["id", "text", "source", "step", "reason"],
            )?,
            fraction: config.validation_fraction,
            seed: config.seed.derive("split"),
            written: Written::default(),
            waiting: Some(Vec::new()),
        })
    }

    fn push(&mut self, kept: Vec<Document>, dropped: Vec<Dropped>) -> Result<()> {
        for Dropped {
            document,
            step,
            reason,
        } in dropped
        {
            self.dropped.push([
                document.id,
                document.text,
                document.source,
                step.to_owned(),
                reason,
            ])?;
        }
        match &mut self.waiting {
            Some(waiting) if waiting.len() + kept.len() < 2 * BATCH_DOCUMENTS => {
                waiting.extend(kept);
            }
            _ => {
                let waiting = self.waiting.take().unwrap_or_default();
                for document in waiting.into_iter().chain(kept) {
                    let split = self.split(&document);
                    self.write(document, split)?;
                }
            }
        }
        Ok(())
    }

    /// A number from 0 to 1 that depends on the seed and the text alone.
    fn draw(&self, document: &Document) -> f64 {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.seed.0.to_le_bytes())
            .update(document.text.as_bytes());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn split(&self, document: &Document) -> Split {
        if self.draw(document) < self.fraction {
            Split::Validation
        } else {
            Split::Train
        }
    }

    fn write(&mut self, document: Document, split: Split) -> Result<()> {
        let bytes = document.text.len() as u64;
        self.written.documents += 1;
        self.written.validation += u64::from(split == Split::Validation);
        self.written.bytes += bytes;
        self.written.tokens += estimated_tokens(bytes);
        self.documents.push([
            document.id,
            document.text,
            document.source,
            split.name().to_owned(),
        ])
    }

    fn finish(mut self) -> Result<Written> {
        if let Some(waiting) = self.waiting.take() {
            let mut splits: Vec<_> = waiting
                .iter()
                .map(|document| self.split(document))
                .collect();
            let count = splits
                .iter()
                .filter(|split| **split == Split::Validation)
                .count();
            let draws = || {
                waiting
                    .iter()
                    .map(|document| self.draw(document))
                    .enumerate()
            };
            // Of two documents or more, one is held out and one is learned from, whatever the draws.
            if self.fraction > 0.0 && splits.len() > 1 && count == 0 {
                let lowest = draws().min_by(|a, b| a.1.total_cmp(&b.1));
                lowest
                    .into_iter()
                    .for_each(|(index, _)| splits[index] = Split::Validation);
            } else if self.fraction < 1.0 && count > 0 && count == splits.len() {
                let highest = draws().max_by(|a, b| a.1.total_cmp(&b.1));
                highest
                    .into_iter()
                    .for_each(|(index, _)| splits[index] = Split::Train);
            }
            for (document, split) in waiting.into_iter().zip(splits) {
                self.write(document, split)?;
            }
        }
        self.documents.finish()?;
        self.dropped.finish()?;
        Ok(self.written)
    }
}
