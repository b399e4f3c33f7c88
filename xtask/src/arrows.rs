//! The arrows between the rooms, as the design draws them: data walks from top to bottom and nothing walks back up.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each room may use by itself; what those may use is open to it too, and `artifact` to all.
const ROOMS: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("tensor", &["kernels"]),
    ("artifact", &[]),
    ("nursery", &["artifact"]),
    ("tokenizer", &[]),
    ("data", &["tokenizer"]),
    ("models", &["tensor"]),
    ("hub", &["models", "tokenizer"]),
    ("infer", &["hub"]),
    ("train", &["data", "infer"]),
    ("eval", &["data", "infer"]),
    ("knowledge", &["infer"]),
    ("serve", &["train", "eval", "knowledge"]),
];

/// The binary may use all rooms.
const BINARY: &str = "ontogeny";
/// Members that are no rooms and that no room may use.
const BESIDE: &[&str] = &["xtask"];
/// A member without code, open to all: it only makes every selection of packages build with the same features.
const OPEN: &str = "unify";

/// Every room with all it may use.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (room, uses) in ROOMS {
        let mut all = BTreeSet::from(["artifact"]);
        for used in *uses {
            // The table is in the order of the arrows: what is used stands above.
            let below = allowed
                .get(used)
                .unwrap_or_else(|| panic!("`{used}` stands below `{room}`"));
            all.extend(below.iter().copied());
            all.insert(used);
        }
        all.remove(room);
        allowed.insert(room, all);
    }
    let rooms = ROOMS.iter().map(|(room, _)| *room).collect();
    allowed.insert(BINARY, rooms);
    allowed
}

/// The workspace's members with the members each uses, dependencies of tests and build scripts apart.
fn members() -> BTreeMap<String, [BTreeSet<String>; 2]> {
    let metadata = MetadataCommand::new()
        .manifest_path(crate::steps::root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo reads the workspace it is testing");
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let mut uses = [BTreeSet::new(), BTreeSet::new()];
            let local = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.path.is_some());
            for dependency in local.filter(|dependency| dependency.name != OPEN) {
                uses[usize::from(dependency.kind == DependencyKind::Development)]
                    .insert(dependency.name.clone());
            }
            (package.name.to_string(), uses)
        })
        .collect()
}

#[test]
fn every_room_uses_only_what_stands_above_it() {
    let allowed = allowed();
    for (member, [uses, _]) in members() {
        if BESIDE.contains(&member.as_str()) || member == OPEN {
            continue;
        }
        let open = allowed
            .get(member.as_str())
            .unwrap_or_else(|| panic!("`{member}` is not in the table of rooms"));
        for used in uses {
            assert!(
                open.contains(used.as_str()),
                "`{member}` may not use `{used}`; it may use {open:?}"
            );
        }
    }
}

#[test]
fn tests_too_use_no_room_below_their_own() {
    let order: Vec<&str> = ROOMS
        .iter()
        .map(|(room, _)| *room)
        .chain([BINARY])
        .collect();
    let place = |room: &str| order.iter().position(|one| *one == room);
    for (member, [_, used_by_tests]) in members() {
        for used in used_by_tests {
            assert!(
                place(&used) <= place(&member),
                "the tests of `{member}` may not use `{used}`"
            );
            assert!(
                !BESIDE.contains(&used.as_str()),
                "the tests of `{member}` may not use `{used}`"
            );
        }
    }
}

#[test]
fn the_allowed_arrows_make_no_circle() {
    for (room, open) in allowed() {
        assert!(!open.contains(room), "`{room}` would use itself");
        for used in &open {
            assert!(
                !allowed()[used].contains(room),
                "`{room}` and `{used}` would use each other"
            );
        }
    }
}

#[test]
fn arrows_that_the_design_forbids() {
    let allowed = allowed();
    for (room, used) in [
        ("train", "eval"),
        ("eval", "train"),
        ("eval", "nursery"),
        ("data", "models"),
        ("kernels", "tensor"),
        ("nursery", "tokenizer"),
        ("infer", "data"),
        ("tensor", "models"),
        ("hub", "infer"),
        ("train", "serve"),
        ("knowledge", "train"),
    ] {
        assert!(!allowed[room].contains(used), "`{room}` → `{used}`");
    }
}

#[test]
fn arrows_that_the_design_draws() {
    let allowed = allowed();
    for (room, used) in [
        ("serve", "hub"),
        ("train", "tensor"),
        ("eval", "artifact"),
        ("hub", "tensor"),
        ("infer", "tokenizer"),
        ("ontogeny", "nursery"),
    ] {
        assert!(allowed[room].contains(used), "`{room}` → `{used}`");
    }
}
