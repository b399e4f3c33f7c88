//! A folder of files, a store, and curation of the one into the other.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use artifact::{Artifact, Progress, Store};
use data::{Result, curate};

/// A temporary folder with `in/` for files and `home/` for artifacts.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
    pub(crate) store: Store,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("in")).expect("a folder for files");
        let store = Store::open(&folder.path().join("home")).expect("a store");
        Self { folder, store }
    }

    pub(crate) fn input(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.input().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("a file");
        path
    }

    pub(crate) fn curate(&self, config: &curate::Config) -> Result<Artifact> {
        curate::run(config, &[self.input()], &self.store, &Progress::silent())
    }
}

pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes bytes");
    encoder.finish().expect("memory takes bytes")
}

/// A filter-free config.
pub(crate) fn bare() -> curate::Config {
    let mut config = curate::Config::default();
    config.length.enabled = false;
    config.repetition.enabled = false;
    config.gibberish.enabled = false;
    config.near_duplicates.enabled = false;
    config
}

/// A paragraph that no filter minds, different for each number.
pub(crate) fn paragraph(n: usize) -> String {
    let words = [
        "reef", "boat", "turtle", "current", "lamp", "harbour", "guide", "mask", "wreck", "coral",
        "tide",
    ];
    let pick =
        |k: usize| words[(n / 11usize.pow(k as u32 % 6) + k * k * (n % 7 + 1)) % words.len()];
    let sentence = |k: usize| {
        format!(
            "On day {} the {} near the {} was seen by {} divers.",
            n + k,
            pick(k),
            pick(k + 1),
            n * 3 + k
        )
    };
    (0..5).map(sentence).collect::<Vec<_>>().join(" ")
}
