//! The documents as curation sees them.

mod rendered;

use std::collections::{BTreeSet, HashMap};

use nursery::Defect;
use rendered::ROWS;

#[test]
fn documents_are_of_many_lengths_and_never_empty() {
    let r = &*ROWS;
    let labelled: BTreeSet<&str> = r.labels.iter().map(|l| l.id.as_str()).collect();
    let lengths: Vec<usize> = r
        .documents
        .iter()
        .filter(|d| !labelled.contains(d.id.as_str()))
        .map(|d| d.text.split_whitespace().count())
        .collect();
    assert!(
        lengths.iter().all(|n| (5..=420).contains(n)),
        "{:?} {:?}",
        lengths.iter().min(),
        lengths.iter().max()
    );
    assert!(lengths.iter().any(|n| *n > 180));
    assert!(lengths.iter().any(|n| *n < 25));
}

#[test]
fn no_rule_is_left_unexpanded() {
    let r = &*ROWS;
    let labelled: BTreeSet<&str> = r.labels.iter().map(|l| l.id.as_str()).collect();
    let clean = r
        .documents
        .iter()
        .filter(|d| !labelled.contains(d.id.as_str()))
        .map(|d| d.text.as_str());
    let asked = r
        .training
        .iter()
        .flat_map(|e| e.messages.iter().map(|m| m.content.as_str()));
    for text in clean.chain(asked) {
        assert!(
            !text.contains(['<', '>', '{', '}', '[', ']', '~', '^']),
            "{text}"
        );
        for wrong in [
            " .",
            " ,",
            "..",
            "?.",
            ". .",
            " the the ",
            " The The ",
            " a an ",
            "of of",
        ] {
            assert!(!text.contains(wrong), "{wrong:?} in {text}");
        }
        assert!(
            !text.replace("\n  ", "\n").contains("  "),
            "two spaces in {text}"
        );
    }
}

#[test]
fn clean_documents_are_unique() {
    let r = &*ROWS;
    let copies = |d: Defect| matches!(d, Defect::ExactDuplicate);
    let copied: BTreeSet<&str> = r
        .labels
        .iter()
        .filter(|l| copies(l.defect))
        .map(|l| l.id.as_str())
        .collect();
    let mut seen = HashMap::new();
    for d in r
        .documents
        .iter()
        .filter(|d| !copied.contains(d.id.as_str()))
    {
        if let Some(before) = seen.insert(d.text.as_str(), d.id.as_str()) {
            panic!(
                "{before} and {} are equal but not labelled: {}",
                d.id, d.text
            );
        }
    }
}
