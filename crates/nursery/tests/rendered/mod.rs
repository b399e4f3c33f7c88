//! One rendering of a small world, read back, shared by the tests of a file.

#![expect(dead_code, reason = "each test file reads some of the rows")]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use nursery::{Document, Example, Label, Pair, World};
use serde::de::DeserializeOwned;

/// The rows.
pub(crate) static ROWS: LazyLock<Rendered> = LazyLock::new(render);

fn rows<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read_to_string(path).expect("the file was rendered");
    text.lines()
        .map(|l| serde_json::from_str(l).expect("each line is a row"))
        .collect()
}

pub(crate) struct Rendered {
    pub(crate) documents: Vec<Document>,
    pub(crate) labels: Vec<Label>,
    pub(crate) training: Vec<Example>,
    pub(crate) held_out: Vec<Example>,
    pub(crate) pairs: Vec<Pair>,
    pub(crate) held_out_pairs: Vec<Pair>,
}

fn world() -> World {
    World {
        documents: 3_000,
        instructions: 6_000,
        held_out: 60,
        preferences: 1_000,
        ..World::default()
    }
}

fn render() -> Rendered {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let at = dir.path();
    nursery::render(&world(), at).expect("renders");
    Rendered {
        documents: rows(&at.join("documents/part-000.jsonl")),
        labels: rows(&at.join("labels.jsonl")),
        training: rows(&at.join("instructions.jsonl")),
        held_out: rows(&at.join("held_out.jsonl")),
        pairs: rows(&at.join("preferences.jsonl")),
        held_out_pairs: rows(&at.join("held_out_preferences.jsonl")),
    }
}
