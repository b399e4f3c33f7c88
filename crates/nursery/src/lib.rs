//! A procedural dive shop on a coral coast: the embedded world that teaches a small model without any download.
//!
//! From one seed it writes documents with planted and labelled defects, questions with verifiable answers, and pairs of
//! better and worse answers. Values are drawn per document, so answers must be read from the text at hand; combinations
//! of names are divided by hash, so that held-out questions are about things no training row mentions.
//!
//! - `lexicon`, `names`, `world`, `policies`, `splits`: what exists and on which side of the split
//! - `extract`, `grammar`, `dice`: how it is shown and varied
//! - `text/`: documents; `defects/`: what is wrong with some of them
//! - `instructions/`: one file per kind of question; `grade`: what counts as right; `preferences`
//! - `render`: the files

mod defects;
mod dice;
mod extract;
mod grade;
mod grammar;
mod instructions;
mod lexicon;
mod names;
mod policies;
mod preferences;
mod render;
mod splits;
mod text;
mod world;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use defects::{Defect, Document, Label};
pub use grade::{REFUSAL_MARKERS, contains_words, grade, is_refusal, normalise};
pub use instructions::{Example, Kind, Matching, Message};
pub use preferences::{Flaw, Pair};
pub use render::{Summary, render, run};
pub use splits::{Split, split_of};
pub use world::names;

/// The size and seed of a world. All counts are rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct World {
    /// One seed, one world, byte for byte.
    pub seed: u64,
    /// Documents, defective ones included.
    pub documents: u64,
    /// Training questions.
    pub instructions: u64,
    /// Held-out questions per kind.
    pub held_out: u64,
    /// Training preference pairs.
    pub preferences: u64,
    /// Held-out preference pairs.
    pub held_out_preferences: u64,
    /// Share of the documents with each defect.
    pub defects: DefectRates,
}

/// Share of the documents with each defect, 0 to 1; a document has at most one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefectRates {
    /// Copies of an earlier document.
    pub exact_duplicate: f64,
    /// Copies with a few words changed.
    pub near_duplicate: f64,
    /// Navigation, cookie notices, footers.
    pub boilerplate: f64,
    /// Text that is none.
    pub gibberish: f64,
    /// Other languages than English.
    pub wrong_language: f64,
    /// Rude words.
    pub insult: f64,
    /// E-mail addresses, phone and card numbers.
    pub personal_data: f64,
}

impl Default for World {
    fn default() -> Self {
        Self {
            seed: 1,
            documents: 40_000,
            instructions: 24_000,
            held_out: 60,
            preferences: 2_000,
            held_out_preferences: 200,
            defects: DefectRates::default(),
        }
    }
}

impl Default for DefectRates {
    fn default() -> Self {
        Self {
            exact_duplicate: 0.03,
            near_duplicate: 0.03,
            boilerplate: 0.02,
            gibberish: 0.015,
            wrong_language: 0.015,
            insult: 0.01,
            personal_data: 0.03,
        }
    }
}

impl World {
    /// Rows of all files together, labels aside.
    fn rows(&self) -> u64 {
        let held_out = self.held_out * Kind::ALL.len() as u64;
        self.documents + self.instructions + held_out + self.preferences + self.held_out_preferences
    }

    fn check(&self) -> Result<(), Error> {
        let rates = self.defects.list();
        if let Some(bad) = rates.iter().find(|r| !(0.0..=1.0).contains(*r)) {
            return Err(Error::Config {
                message: format!("a defect rate must lie between 0 and 1, got {bad}"),
            });
        }
        let sum: f64 = rates.iter().sum();
        if sum > 1.0 {
            return Err(Error::Config {
                message: format!("defect rates must sum to at most 1, got {sum}"),
            });
        }
        Ok(())
    }
}

/// What can go wrong while a world is made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of [`World`] has a value that makes no sense.
    #[error("world: {message}; change it in the recipe's [world] table")]
    Config {
        /// Field, expected, got.
        message: String,
    },
    /// A file could not be written.
    #[error("world: cannot write {path}: {source}; check the disk's free space and the folder's permissions", path = path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The artifact store failed, or the user interrupted.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
}
