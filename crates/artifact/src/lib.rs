//! The `artifact` room: what every stage leaves behind, and what every stage reports while it works.
//!
//! An **artifact** is a folder with its payload and `artifact.json`: kind, resolved config, seeds, input ids, metrics,
//! tool version and the BLAKE3 of every file. Its id is the BLAKE3 of that `artifact.json`, so
//! `b3sum artifact.json` prints the folder's own name. What differs between two equal runs (seconds, memory, the time
//! of day) lies beside it in `measured.json` and never enters the id.
//!
//! A stage asks [`Store::find`] whether its [`Key`] was made before; if not, it takes a [`Draft`], fills
//! [`Draft::path`], keeps checkpoints in [`Draft::scratch`], and ends with [`Draft::commit`]. A kill at any moment
//! leaves either a complete artifact or a work folder from which the same key goes on.

mod atomic;
mod draft;
mod error;
pub mod lineage;
mod lock;
mod manifest;
mod process;
mod progress;
mod seed;
mod store;

pub use atomic::{write_atomic, write_atomic_with};
pub use draft::Draft;
pub use error::{Error, Result};
pub use lock::Lock;
pub use manifest::{Artifact, FileHash, Id, Input, Key, Manifest, TOOL, canonical_json};
pub use process::peak_rss_bytes;
pub use progress::{Event, Progress};
pub use seed::Seed;
pub use store::Store;
