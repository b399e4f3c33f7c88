//! A look at what lies in files and folders, before anything is done with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use artifact::Progress;
use serde::Serialize;

use crate::document::estimated_tokens;
use crate::error::Result;
use crate::filter::language::Detector;
use crate::source::{self, OnTruncated, Reader, Skipped, SourceFile};

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The files read.
    pub files: Vec<SourceFile>,
    /// The files left out, and those cut short, with the reason.
    pub skipped: Vec<Skipped>,
    /// Documents.
    pub documents: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Tokens, estimated at four bytes each.
    pub tokens: u64,
    /// Rows that cannot be used.
    pub bad_rows: u64,
    /// Texts with a few bytes that are not UTF-8.
    pub repaired: u64,
    /// Documents by length, in bytes.
    pub lengths: Lengths,
    /// Documents by language, of a sample; `unknown` where no language is clearly ahead.
    pub languages: BTreeMap<String, u64>,
    /// The beginnings of a few documents, evenly spread.
    pub samples: Vec<Sample>,
}

/// The lengths of documents, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// The shortest.
    pub min: u64,
    /// Half are shorter (to a power of two).
    pub median: u64,
    /// The longest.
    pub max: u64,
    /// How many are shorter than this many bytes and not shorter than half as many.
    pub histogram: Vec<(u64, u64)>,
}

/// The beginning of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Where it comes from.
    pub source: String,
    /// At most 300 characters of it.
    pub text: String,
}

/// One document in this many is asked for its language, past the first thousand.
const LANGUAGE_EVERY: u64 = 32;
const SAMPLES: usize = 5;
const SAMPLE_CHARACTERS: usize = 300;

/// Reads everything under `paths` once, forgiving what curation would refuse, and counts.
///
/// # Errors
/// [`crate::Error::NoFiles`] when nothing can be read, [`artifact::Error::Io`] naming the file.
pub fn inspect(paths: &[PathBuf], progress: &Progress) -> Result<Summary> {
    let listing = source::list(paths)?;
    let total = listing.bytes();
    let config = source::Config {
        max_error_fraction: 1.0,
        on_truncated: OnTruncated::KeepRead,
        ..source::Config::default()
    };
    let mut reader = Reader::new(listing.files.clone(), &config)?;
    let position = reader.position();
    let detector = Detector::default();
    let mut lengths = BTreeMap::<u64, u64>::new();
    let (mut min, mut max, mut count, mut spacing) = (u64::MAX, 0, 0u64, 1u64);
    let mut languages = BTreeMap::<String, u64>::new();
    let mut samples = Vec::new();
    for document in reader.by_ref() {
        let document = document?;
        let bytes = document.text.len() as u64;
        (min, max) = (min.min(bytes), max.max(bytes));
        *lengths.entry((bytes + 1).next_power_of_two()).or_default() += 1;
        if count < 1000 || count.is_multiple_of(LANGUAGE_EVERY) {
            let language = detector.guess(&document.text).unwrap_or("unknown");
            *languages.entry(language.to_owned()).or_default() += 1;
        }
        // Samples stay evenly spread without knowing the end: when there are too many, every other one goes.
        if count.is_multiple_of(spacing) {
            let text = document.text.chars().take(SAMPLE_CHARACTERS).collect();
            samples.push(Sample {
                source: document.source,
                text,
            });
            if samples.len() > 2 * SAMPLES {
                samples = samples.into_iter().step_by(2).collect();
                spacing *= 2;
            }
        }
        count += 1;
        if count.is_multiple_of(1024) {
            progress.tick(
                position.load(Ordering::Relaxed).min(total),
                Some(total),
                "bytes",
            );
            progress.check()?;
        }
    }
    let counts = reader.counts().clone();
    samples.truncate(SAMPLES);
    let mut skipped = listing.skipped;
    skipped.extend(counts.skipped);
    Ok(Summary {
        files: listing.files,
        skipped,
        documents: counts.documents,
        bytes: counts.bytes,
        tokens: estimated_tokens(counts.bytes),
        bad_rows: counts.bad_rows,
        repaired: counts.repaired,
        lengths: Lengths {
            min: if count == 0 { 0 } else { min },
            // A bin's upper end may lie beyond the longest document.
            median: median(&lengths, count).min(max),
            max,
            histogram: lengths.into_iter().collect(),
        },
        languages,
        samples,
    })
}

fn median(lengths: &BTreeMap<u64, u64>, count: u64) -> u64 {
    let mut below = 0;
    let bin = lengths.iter().find(|(_, documents)| {
        below += **documents;
        2 * below >= count
    });
    bin.map_or(0, |(bin, _)| *bin)
}
