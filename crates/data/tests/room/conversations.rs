//! Instructions and preferences: what rows may look like, what is refused, what is held out.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{Desk, gzipped};
use artifact::{Artifact, Progress, Seed};
use data::{Error, Result, instructions, preferences};

fn instruct(desk: &Desk, train: &Path, held_out: Option<&Path>) -> Result<Artifact> {
    instructions::run(
        &instructions::Config::default(),
        train,
        held_out,
        &desk.store,
        &Progress::silent(),
    )
}

fn prefer(desk: &Desk, train: &Path) -> Result<Artifact> {
    preferences::run(
        &preferences::Config::default(),
        train,
        None,
        &desk.store,
        &Progress::silent(),
    )
}

fn train(made: &Artifact) -> Vec<instructions::Example> {
    instructions::read(&made.file("train.jsonl")).unwrap()
}

fn held_out(made: &Artifact) -> Vec<instructions::Example> {
    instructions::read(&made.file("held_out.jsonl")).unwrap()
}

fn questions(count: usize) -> String {
    (0..count)
        .map(|n| format!("{{\"prompt\":\"What is {n}?\",\"completion\":\" It is {n}.\"}}\n"))
        .collect()
}

#[test]
fn rows_in_every_form() {
    let desk = Desk::new();
    let rows = [
        r#"{"id":"a","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}],"kind":"lookup","answerable":false,"match":"exact","expect":["x"]}"#,
        r#"{"prompt":"Hi there","completion":" Hello"}"#,
        r#"{"id":7,"prompt":[{"role":"system","content":"Be kind"},{"role":"user","content":"Hey"}],"completion":"Hello"}"#,
    ];
    let file = desk.file("a.jsonl", rows.join("\n"));
    let held = desk.file("h.jsonl.gz", gzipped(questions(2).as_bytes()));
    let made = instruct(&desk, &file, Some(&held)).unwrap();
    let (all, kept_out) = (train(&made), held_out(&made));
    assert_eq!((all.len(), kept_out.len()), (3, 2));
    assert_eq!(
        (
            all[0].id.as_str(),
            all[0].answerable,
            all[0].matching.as_deref()
        ),
        ("a", Some(false), Some("exact"))
    );
    assert_eq!(all[0].other["expect"], serde_json::json!(["x"]));
    assert_eq!(
        (all[1].id.len(), all[1].messages[1].content.as_str()),
        (32, "Hello")
    );
    assert_eq!((all[2].id.as_str(), all[2].messages.len()), ("7", 3));
    let line = std::fs::read_to_string(made.file("train.jsonl")).unwrap();
    assert!(
        line.starts_with(r#"{"id":"a","messages":[{"role":"user""#)
            && line.contains(r#""match":"exact""#),
        "{line}"
    );
    assert_eq!(instruct(&desk, &file, Some(&held)).unwrap(), made);
}

#[test]
fn equal_questions_are_held_out_together() {
    let desk = Desk::new();
    let file = desk.file("a.jsonl", questions(200) + &questions(200));
    let made = instruct(&desk, &file, None).unwrap();
    let asked = |some: Vec<instructions::Example>| -> BTreeSet<String> {
        some.into_iter()
            .map(|one| one.messages[0].content.clone())
            .collect()
    };
    assert_eq!((train(&made).len(), held_out(&made).len()), (360, 40));
    let (learned, held) = (asked(train(&made)), asked(held_out(&made)));
    assert!(learned.is_disjoint(&held));
    let other = instructions::Config {
        seed: Seed(9),
        ..instructions::Config::default()
    };
    let other = instructions::run(&other, &file, None, &desk.store, &Progress::silent()).unwrap();
    assert_ne!(asked(held_out(&other)), held);

    let few = desk.file("few.jsonl", questions(2));
    assert_eq!(held_out(&instruct(&desk, &few, None).unwrap()).len(), 1);
}

#[test]
fn bad_instructions_are_told() {
    for (row, reason) in [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ("{}", "expected either \"messages\""),
        (r#"{"prompt":"x"}"#, "expected either \"messages\""),
        (
            r#"{"prompt":"x","completion":5}"#,
            "\"completion\" is not a string",
        ),
        (r#"{"prompt":"x","completion":" "}"#, "the answer is empty"),
        (r#"{"messages":"x"}"#, "no question"),
        (r#"{"messages":[]}"#, "\"messages\" is empty"),
        (
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "expected \"assistant\"",
        ),
        (
            r#"{"messages":[{"role":"assistant","content":"x"}]}"#,
            "no question",
        ),
        (
            r#"{"messages":[{"role":"","content":"x"}]}"#,
            "without a role",
        ),
        (
            r#"{"messages":[{"role":"user"}]}"#,
            "missing field `content`",
        ),
        (
            r#"{"prompt":"x","completion":"y","answerable":"no"}"#,
            "\"answerable\" cannot be",
        ),
    ] {
        let desk = Desk::new();
        let file = desk.file("a.jsonl", format!("{}{row}\n{row}\n{row}\n", questions(5)));
        let error = instruct(&desk, &file, None).unwrap_err();
        assert!(
            matches!(
                error,
                Error::BadRows {
                    line: 6,
                    bad: 3,
                    rows: 8,
                    ..
                }
            ),
            "{row}: {error}"
        );
        let error = error.to_string();
        assert!(
            error.contains(reason) || (reason == "no question" && error.contains("assistant")),
            "{row}: {error}"
        );
    }
}

#[test]
fn few_bad_rows_pass_and_empty_files_do_not() {
    let desk = Desk::new();
    let file = desk.file("a.jsonl", questions(5) + "{\n{\n");
    let made = instruct(&desk, &file, None).unwrap();
    assert_eq!(made.manifest.metric("bad_rows").unwrap(), 2);
    let empty = desk.file("empty.jsonl", "\n");
    assert!(matches!(
        instruct(&desk, &empty, None),
        Err(Error::NoText { .. })
    ));
    let error = instruct(&desk, &desk.input().join("gone.jsonl"), None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("gone.jsonl"), "{error}");
}

#[test]
fn preferences_in_every_form() {
    let desk = Desk::new();
    let rows = [
        r#"{"id":"a","prompt":"Hi","chosen":"Hello","rejected":"What?","flaw":"rude"}"#,
        r#"{"prompt":[{"role":"user","content":"Hey"}],"chosen":[{"role":"assistant","content":"Hello"}],"rejected":[{"role":"assistant","content":"No"}]}"#,
        r#"{"chosen":[{"role":"user","content":"Ho"},{"role":"assistant","content":"Hello"}],"rejected":[{"role":"user","content":"Ho"},{"role":"assistant","content":"No"}]}"#,
    ];
    let file = desk.file("a.jsonl", rows.join("\n"));
    let made = prefer(&desk, &file).unwrap();
    let mut all = preferences::read(&made.file("train.jsonl")).unwrap();
    assert_eq!(all.len(), 2);
    all.extend(preferences::read(&made.file("held_out.jsonl")).unwrap());
    let mut asked: Vec<_> = all
        .iter()
        .map(|pair| pair.prompt[0].content.as_str())
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, ["Hey", "Hi", "Ho"]);
    assert!(all.iter().all(|pair| pair.chosen == "Hello"));
    assert_eq!(
        all.iter().find(|pair| pair.id == "a").unwrap().other["flaw"],
        "rude"
    );
}

#[test]
fn bad_preferences_are_told() {
    for (row, reason) in [
        (r#"{"prompt":"x","chosen":"a"}"#, "no field \"rejected\""),
        (
            r#"{"prompt":"x","chosen":"a","rejected":"a"}"#,
            "are the same",
        ),
        (
            r#"{"prompt":"x","chosen":"a","rejected":" "}"#,
            "\"rejected\" is empty",
        ),
        (r#"{"chosen":"a","rejected":"b"}"#, "no field \"prompt\""),
        (
            r#"{"prompt":5,"chosen":"a","rejected":"b"}"#,
            "neither a string",
        ),
        (
            r#"{"prompt":"x","chosen":[{"role":"user","content":"a"}],"rejected":"b"}"#,
            "does not end with",
        ),
        (
            r#"{"prompt":[{"role":"assistant","content":"q"}],"chosen":"a","rejected":"b"}"#,
            "ends with the assistant",
        ),
    ] {
        let desk = Desk::new();
        let file = desk.file("a.jsonl", format!("{row}\n").repeat(3));
        let error = prefer(&desk, &file).unwrap_err().to_string();
        assert!(
            error.contains("a.jsonl:1") && error.contains(reason),
            "{row}: {error}"
        );
    }
}
