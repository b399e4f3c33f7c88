//! The files as a whole: same bytes from one seed, no leftovers, made once, bad configs refused.

use std::collections::BTreeMap;
use std::fs;

use nursery::World;

fn bytes(seed: u64, documents: u64) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let size = World {
        seed,
        documents,
        instructions: 300,
        held_out: 10,
        preferences: 50,
        ..World::default()
    };
    nursery::render(&size, dir.path()).expect("renders");
    let mut found = BTreeMap::new();
    for folder in [dir.path().to_path_buf(), dir.path().join("documents")] {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_file() {
                found.insert(
                    path.file_name()
                        .expect("a name")
                        .to_string_lossy()
                        .into_owned(),
                    fs::read(&path).expect("readable"),
                );
            }
        }
    }
    found
}

#[test]
fn one_seed_one_world() {
    assert_eq!(bytes(7, 500), bytes(7, 500));
    assert_ne!(bytes(7, 500), bytes(8, 500));
}

#[test]
fn a_row_does_not_depend_on_how_many_there_are() {
    let (small, large) = (bytes(7, 200), bytes(7, 400));
    assert!(large["part-000.jsonl"].starts_with(&small["part-000.jsonl"]));
}

#[test]
fn a_smaller_world_leaves_no_stale_parts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let size = |documents| World {
        documents,
        instructions: 1,
        held_out: 1,
        preferences: 1,
        ..World::default()
    };
    nursery::render(&size(10_001), dir.path()).expect("renders");
    assert!(dir.path().join("documents/part-002.jsonl").exists());
    nursery::render(&size(5_000), dir.path()).expect("renders");
    assert!(dir.path().join("documents/part-000.jsonl").exists());
    assert!(!dir.path().join("documents/part-001.jsonl").exists());
    assert!(!dir.path().join("documents/part-002.jsonl").exists());
}

#[test]
fn bad_rates_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut w = World::default();
    w.defects.insult = 1.5;
    assert!(
        nursery::render(&w, dir.path())
            .expect_err("too large")
            .to_string()
            .contains("between 0 and 1")
    );
    w.defects.insult = 0.6;
    w.defects.gibberish = 0.6;
    assert!(
        nursery::render(&w, dir.path())
            .expect_err("too large together")
            .to_string()
            .contains("at most 1")
    );
    assert!(serde_json::from_str::<World>(r#"{"documnets": 3}"#).is_err());
}

#[test]
fn a_world_is_made_once() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let store = artifact::Store::open(home.path()).expect("opens");
    let size = World {
        documents: 50,
        instructions: 20,
        held_out: 2,
        preferences: 5,
        held_out_preferences: 5,
        ..World::default()
    };
    let progress = artifact::Progress::silent();
    let first = nursery::run(&size, &store, &progress).expect("runs");
    let again = nursery::run(&size, &store, &progress).expect("runs");
    assert_eq!(first.id, again.id);
    assert!(first.file("held_out.jsonl").exists());
    assert_eq!(first.manifest.kind, "world");
    let other = nursery::run(&World { seed: 2, ..size }, &store, &progress).expect("runs");
    assert_ne!(first.id, other.id);
}
