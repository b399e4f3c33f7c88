//! Ratings: every answer given is kept with its request, people say what was right and wrong with it, and what they
//! said becomes preference pairs for the next model.
//!
//! [`Store`] is a plain SQLite file that the server and the command line open alike, also at the same time.
//! [`import`] reads ratings made elsewhere, [`pairs`] and [`export`] make preference pairs, [`Store::stats`] counts.

mod error;
mod export;
pub(crate) mod http;
mod import;
mod record;
mod stats;
mod store;

use std::path::{Path, PathBuf};

pub use error::{Error, Result};
pub use export::{Pair, export, pairs};
pub use import::{ImportConfig, Imported, import};
pub use record::{Answer, Prompt, Rating, Verdict};
pub use stats::{ModelStats, Stats};
pub use store::Store;

/// Where the store of an artifact home lies.
pub fn path(home: &Path) -> PathBuf {
    home.join("feedback.sqlite")
}
