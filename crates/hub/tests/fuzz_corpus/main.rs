//! The corpus of `fuzz/` through the same readers as under libFuzzer, then each of its files damaged again and again for
//! a bounded time, always in the same ways: no panic, no error that names no file, no memory out of proportion.

mod mutate;
#[path = "../../../../fuzz/readers.rs"]
mod readers;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use readers::Bench;

/// All readers, by the names of their corpora.
const READERS: [&str; 5] = [
    "gguf",
    "safetensors",
    "index",
    "tokenizer",
    "adapter_config",
];
/// For all readers together.
const TIME: Duration = Duration::from_secs(5);
/// What reading files of some tens of kilobytes may need beyond what was needed before.
const MEMORY: u64 = 300 << 20;

/// The seeds of a reader, by name.
fn seeds(reader: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new("../../fuzz/corpus").join(reader);
    let entries = fs::read_dir(&folder).expect("a corpus").flatten();
    let mut seeds: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a seed"))
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}

#[test]
fn seeds_are_read_or_refused_as_their_names_say() {
    let bench = Bench::new();
    for reader in READERS {
        for (name, bytes) in seeds(reader) {
            let errors = bench.check(reader, &bytes);
            // Weights and adapters of a seed need not fit the bench's model, but their heads are read.
            if reader != "adapter_config" && name.starts_with("good") {
                assert!(errors.len() <= 1, "{reader}/{name}: {errors:?}");
            } else if name.starts_with("bad") {
                assert!(!errors.is_empty(), "{reader}/{name} was read");
            }
        }
    }
}

#[test]
fn damaged_seeds_are_refused_cleanly() {
    let bench = Bench::new();
    let before = artifact::peak_rss_bytes().unwrap_or(0);
    let share = TIME / READERS.len() as u32;
    for reader in READERS {
        let seeds = seeds(reader);
        let begun = Instant::now();
        let mut tried = 0;
        while begun.elapsed() < share {
            let (_, whole) = &seeds[tried % seeds.len()];
            let damaged = mutate::damaged(whole, tried as u64);
            bench.check(reader, &damaged);
            tried += 1;
        }
        assert!(tried > seeds.len(), "{reader}: {tried} files in {share:?}");
    }
    let peak = artifact::peak_rss_bytes().unwrap_or(0);
    assert!(
        peak.saturating_sub(before) < MEMORY,
        "from {before} to {peak} bytes"
    );
}
