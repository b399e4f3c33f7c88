//! The store as stages use it: find, begin, commit, resume, refuse.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use artifact::{Artifact, Draft, Error, Id, Key, Store, lineage};
use serde_json::{Value, json};

fn store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    (home, store)
}

fn make(store: &Store, key: Key, text: &str) -> Artifact {
    let draft = store.begin(key).unwrap();
    fs::write(draft.path().join("a.txt"), text).unwrap();
    draft.commit(json!({"n": 1}), Value::Null).unwrap()
}

fn corpus(n: u64) -> Key {
    Key::new("corpus", &json!({"n": n}))
}

#[test]
fn a_commit_is_found_again_and_verifies() {
    let (_home, store) = store();
    assert!(store.find(&corpus(1)).unwrap().is_none());
    let made = make(&store, corpus(1), "hello");
    assert_eq!(store.find(&corpus(1)).unwrap().unwrap(), made);
    assert!(store.find(&corpus(2)).unwrap().is_none());
    made.verify().unwrap();
    let bytes = fs::read(made.file("artifact.json")).unwrap();
    assert_eq!(blake3::hash(&bytes).to_hex().as_str(), made.id.as_str());
    assert_eq!(fs::read_dir(store.home().join("work")).unwrap().count(), 0);
}

#[test]
fn what_varies_between_runs_does_not_enter_the_id() {
    let run = |seconds: f64| {
        let (home, store) = store();
        let draft = store.begin(corpus(1)).unwrap();
        fs::create_dir(draft.path().join("sub")).unwrap();
        fs::write(draft.path().join("sub/a.txt"), "x").unwrap();
        fs::write(draft.scratch().join("checkpoint"), format!("{seconds}")).unwrap();
        (
            home,
            draft
                .commit(json!({"loss": 2.5}), json!({"seconds": seconds}))
                .unwrap(),
        )
    };
    let ((_one, first), (_two, second)) = (run(1.0), run(2.0));
    assert_eq!(first.id, second.id);
    assert_eq!(
        first.manifest.files.keys().collect::<Vec<_>>(),
        ["sub/a.txt"]
    );
    assert_eq!(first.manifest.metric("loss"), Some(&json!(2.5)));
    assert_eq!(second.manifest.metric("seconds"), Some(&json!(2.0)));
    assert_eq!(second.manifest.metric("nothing"), None);
}

#[test]
fn a_changed_file_is_named() {
    let (_home, store) = store();
    let made = make(&store, corpus(1), "hello");
    fs::write(made.file("a.txt"), "hellO").unwrap();
    let error = made.verify().unwrap_err().to_string();
    assert!(
        error.contains("a.txt is damaged") && error.contains("run the stage again"),
        "{error}"
    );
}

#[test]
fn a_draft_survives_being_dropped() {
    let (_home, store) = store();
    let draft = store.begin(corpus(1)).unwrap();
    assert!(!draft.resumed());
    fs::write(draft.scratch().join("step-10"), "state").unwrap();
    fs::write(draft.path().join(".a.txt.1-1.aside"), "half").unwrap();
    fs::write(draft.path().join("artifact.json"), "half").unwrap();
    drop(draft);
    let mut again = store.begin(corpus(1)).unwrap();
    assert!(again.resumed());
    assert_eq!(
        fs::read_to_string(again.scratch().join("step-10")).unwrap(),
        "state"
    );
    assert_eq!(fs::read_dir(again.path()).unwrap().count(), 0);
    again.restart().unwrap();
    assert!(!again.scratch().join("step-10").exists());
    again.discard().unwrap();
    assert!(!store.begin(corpus(1)).unwrap().resumed());
}

#[test]
fn two_drafts_of_one_key_are_refused() {
    let (_home, store) = store();
    let _held = store.begin(corpus(1)).unwrap();
    let error = store.begin(corpus(1)).unwrap_err();
    assert!(matches!(&error, Error::Busy { .. }));
    assert!(error.to_string().contains("in use by process"), "{error}");
    store.begin(corpus(2)).unwrap();
}

#[test]
fn a_work_folder_left_after_the_rename_is_swept() {
    let (_home, store) = store();
    make(&store, corpus(1), "hello");
    let left = store.home().join("work").join(corpus(1).hash());
    fs::create_dir_all(left.join("scratch")).unwrap();
    assert!(store.find(&corpus(1)).unwrap().is_some());
    assert!(!left.exists());
}

#[test]
fn prefixes_and_names() {
    let (_home, store) = store();
    let error = store.get("abc").unwrap_err().to_string();
    assert!(error.contains("the store is empty"), "{error}");
    let all: Vec<_> = (0..17)
        .map(|n| make(&store, corpus(n), &n.to_string()))
        .collect();
    let one = &all[3];
    assert_eq!(store.get(one.id.as_str()).unwrap(), *one);
    assert_eq!(store.get(&one.id.as_str()[..40]).unwrap(), *one);
    store.set_ref("best-model", &one.id).unwrap();
    assert_eq!(store.get("best-model").unwrap(), *one);
    assert_eq!(
        store.refs().unwrap(),
        [("best-model".to_owned(), one.id.clone())]
    );
    let error = store.get("zzz").unwrap_err().to_string();
    assert!(
        error.contains("best-model") && error.contains("corpus"),
        "{error}"
    );
    // Seventeen ids cannot all begin with different hex characters.
    let twice = (0..16)
        .map(|digit| format!("{digit:x}"))
        .find(|digit| {
            all.iter()
                .filter(|one| one.id.as_str().starts_with(digit.as_str()))
                .count()
                > 1
        })
        .unwrap();
    let error = store.get(&twice).unwrap_err();
    assert!(
        matches!(&error, Error::Ambiguous { candidates, .. } if candidates.len() > 1),
        "{error}"
    );
    for bad in ["", "..", "a/b", "../x", "-x", "a b"] {
        assert!(
            matches!(store.set_ref(bad, &one.id), Err(Error::Name { .. })),
            "{bad:?}"
        );
        assert!(store.get(bad).is_err());
    }
}

#[test]
fn removal_respects_children() {
    let (_home, store) = store();
    let parent = make(&store, corpus(1), "a");
    let child = make(&store, Key::new("model", &()).input("corpus", &parent), "b");
    store.set_ref("name", &child.id).unwrap();
    assert!(matches!(
        store.remove(&parent.id, false),
        Err(Error::InUse { .. })
    ));
    store.remove(&parent.id, true).unwrap();
    store.remove(&child.id, false).unwrap();
    assert!(store.refs().unwrap().is_empty() && store.list().unwrap().is_empty());
    assert!(matches!(
        store.remove(&child.id, false),
        Err(Error::Unknown { .. })
    ));
}

#[test]
fn lineage_goes_both_ways() {
    let (_home, store) = store();
    let draft = store.begin(corpus(1)).unwrap();
    let steps = json!([{"step": "length", "kept": 8, "dropped": 2, "edited": 0}]);
    let corpus = draft
        .commit(
            json!({"documents_out": 8, "steps": steps, "curve": [1, 2]}),
            Value::Null,
        )
        .unwrap();
    let tokenizer = make(
        &store,
        Key::new("tokenizer", &()).input("corpus", &corpus),
        "t",
    );
    let shards = Key::new("shards", &())
        .input("corpus", &corpus)
        .input("tokenizer", &tokenizer);
    let shards = make(&store, shards, "s");
    let model = make(&store, Key::new("model", &()).input("shards", &shards), "m");
    store.set_ref("incumbent", &model.id).unwrap();

    let traced = lineage::trace(&store, &model.id).unwrap();
    let json = serde_json::to_value(&traced).unwrap();
    assert_eq!(
        json["back"]["branches"][0]["branches"][1]["branches"][0]["kind"],
        "corpus"
    );
    assert!(
        json["back"]["branches"][0]["branches"][0]["metrics"]
            .get("curve")
            .is_none()
    );
    let text = traced.to_string();
    assert!(
        text.contains("[incumbent]") && text.contains("length: kept 8, dropped 2, edited 0"),
        "{text}"
    );

    let forward = lineage::trace(&store, &corpus.id).unwrap().forward;
    assert_eq!(forward.branches.len(), 2);
    assert!(forward.branches.iter().all(|node| node.kind.is_some()));

    store.remove(&corpus.id, true).unwrap();
    let text = lineage::trace(&store, &model.id).unwrap().to_string();
    assert!(text.contains("corpus: (removed)"), "{text}");
}

#[test]
fn an_id_that_is_not_there_is_unknown() {
    let (_home, store) = store();
    let id = Id::parse(&"0".repeat(64)).unwrap();
    assert!(matches!(store.get(id.as_str()), Err(Error::Unknown { .. })));
    assert!(matches!(
        store.set_ref("x", &id),
        Err(Error::Unknown { .. })
    ));
}

/// A disk of one megabyte, where this process may mount one; elsewhere the test says that it was skipped.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing() {
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0).output();
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(home.path())
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no right to mount a small disk here");
        return;
    }
    let _mounted = Mounted(home.path());
    let store = Store::open(home.path()).unwrap();
    let old = make(&store, corpus(1), "old");
    let fill = |draft: &Draft| artifact::write_atomic(&draft.path().join("big"), &vec![7; 2 << 20]);
    let draft = store.begin(corpus(2)).unwrap();
    let error = fill(&draft).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert!(
        error.to_string().contains("big") && error.to_string().contains("free space"),
        "{error}"
    );
    drop(draft);
    old.verify().unwrap();
    assert_eq!(store.list().unwrap(), [old]);
    // After space is there again the same key goes on.
    make(&store, corpus(2), "small");
}
