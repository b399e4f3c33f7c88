//! `ontogeny embed` on a tiny encoder, and what keeps encoders apart from models that write.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::binary::{Ended, command, ended, run};

fn fixture(name: &str) -> String {
    let here = std::env::current_dir().expect("cargo runs tests in their package's folder");
    let path: PathBuf = here.join("../../peers/fixtures").join(name);
    path.canonicalize()
        .expect("a fixture")
        .display()
        .to_string()
}

fn piped(home: &Path, arguments: &[&str], text: &str) -> Ended {
    let mut child = command(home, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).expect("written");
    drop(stdin);
    ended(child.wait_with_output().expect("it ends"))
}

fn vectors(told: &Value) -> Vec<Vec<f64>> {
    let rows = told["embeddings"].as_array().expect("embeddings");
    let numbers = |row: &Value| {
        let row = row.as_array().expect("a vector").iter();
        row.map(|x| x.as_f64().expect("a number")).collect()
    };
    rows.iter().map(numbers).collect()
}

#[test]
fn texts_from_arguments_stdin_and_files_give_the_same_vectors() {
    let home = tempfile::tempdir().expect("a folder");
    let model = fixture("encoders/bert");
    let told = run(
        home.path(),
        &["embed", &model, "the reef", "a wreck", "--json"],
    )
    .ok();
    assert_eq!(told["model"], "bert");
    assert_eq!(told["dimensions"], 16);
    assert!(told["tokens"].as_u64() > Some(4));
    let expected = vectors(&told);
    assert_eq!(expected.len(), 2);
    let lengths = expected
        .iter()
        .map(|row| row.iter().map(|x| x * x).sum::<f64>());
    lengths.for_each(|length| assert!((length - 1.0).abs() < 1e-5));

    let piped = piped(
        home.path(),
        &["embed", &model, "--json"],
        "the reef\r\na wreck\n",
    )
    .ok();
    assert_eq!(vectors(&piped), expected);

    let lines = home.path().join("texts.jsonl");
    std::fs::write(
        &lines,
        "{\"text\": \"the reef\"}\n\n{\"id\": 7, \"text\": \"a wreck\"}\n",
    )
    .expect("written");
    let out = home.path().join("vectors.jsonl");
    let (lines, to) = (lines.display().to_string(), out.display().to_string());
    let arguments = ["embed", &model, "--input", &lines, "--out", &to, "--json"];
    let told = run(home.path(), &arguments).ok();
    assert_eq!(told["texts"], 2);
    assert_eq!(told["path"], to.as_str());
    let written = std::fs::read_to_string(out).expect("read");
    let rows: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows[1]["text"], "a wreck");
    let all = serde_json::json!({ "embeddings": [rows[0]["embedding"], rows[1]["embedding"]] });
    assert_eq!(vectors(&all), expected);
}

#[test]
fn people_see_the_shape_and_the_cosines() {
    let home = tempfile::tempdir().expect("a folder");
    let model = fixture("encoders/bert");
    let told = run(
        home.path(),
        &["embed", &model, "the reef", "The  REEF", "a wreck"],
    );
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    insta::assert_snapshot!(told.stdout);
}

#[test]
fn prompts_are_set_before_texts() {
    let home = tempfile::tempdir().expect("a folder");
    let model = fixture("encoders/roberta");
    let of = |arguments: &[&str]| {
        let all = [&["embed", &model, "--json"], arguments].concat();
        vectors(&run(home.path(), &all).ok())
    };
    assert_ne!(of(&["the reef", "--prompt", "query"]), of(&["the reef"]));
    let ended = run(
        home.path(),
        &["embed", &model, "the reef", "--prompt", "nosuch"],
    );
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("document, passage, query"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_encoder_is_imported_listed_and_shown() {
    let home = tempfile::tempdir().expect("a folder");
    let model = fixture("encoders/roberta");
    run(
        home.path(),
        &["models", "import", &model, "--name", "tiny", "--json"],
    )
    .ok();
    let listed = run(home.path(), &["models", "list", "--json"]).ok();
    assert_eq!(listed["models"][0]["kind"], "encoder");
    assert_eq!(listed["models"][0]["names"][0], "tiny");
    let shown = run(home.path(), &["models", "show", "tiny", "--json"]).ok();
    assert_eq!(shown["kind"], "encoder");
    assert_eq!(shown["config"]["model_type"], "roberta");
    let of = |model: &str| vectors(&run(home.path(), &["embed", model, "the reef", "--json"]).ok());
    assert_eq!(of("tiny"), of(&model));
}

#[test]
fn each_kind_of_model_is_refused_where_the_other_is_wanted() {
    let home = tempfile::tempdir().expect("a folder");
    let (encoder, decoder) = (fixture("encoders/bert"), fixture("families/qwen3"));
    for arguments in [
        &["chat", encoder.as_str()][..],
        &["generate", &encoder, "the reef"],
    ] {
        let ended = run(home.path(), &[arguments, &["--json"]].concat());
        assert_ne!(ended.code, Some(0), "{arguments:?}");
        let told = ended.json().to_string();
        assert!(
            told.contains("is an encoder (bert)"),
            "{arguments:?}: {told}"
        );
        assert!(told.contains("ontogeny embed"), "{arguments:?}: {told}");
    }
    let ended = run(home.path(), &["embed", &decoder, "the reef", "--json"]);
    assert_eq!(ended.code, Some(2));
    let error = &ended.json()["error"];
    assert_eq!(error["kind"], "wrong_model");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|told| told.contains("no encoder (qwen3)"))
    );
}

#[test]
fn input_that_cannot_be_used_is_named_with_its_line() {
    let home = tempfile::tempdir().expect("a folder");
    let model = fixture("encoders/bert");
    let file = home.path().join("texts.jsonl");
    let out = home.path().join("vectors.jsonl");
    let (path, to) = (file.display().to_string(), out.display().to_string());
    for (text, line) in [
        (&b"{\"text\": \"a\"}\n{\"txt\": \"b\"}\n"[..], "line 2"),
        (b"{\"text\": 3}\n", "line 1"),
        (b"\xff\n", "line 1"),
        (b"", "no text"),
    ] {
        std::fs::write(&file, text).expect("written");
        let arguments = ["embed", &model, "--input", &path, "--out", &to, "--quiet"];
        let ended = run(home.path(), &arguments);
        assert_ne!(ended.code, Some(0));
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
        assert!(!out.exists());
    }
    let ended = run(home.path(), &["embed", &model, "--input", "/nosuch"]);
    assert!(ended.stderr.contains("/nosuch"), "{}", ended.stderr);
    let ended = run(home.path(), &["embed", &model]);
    assert_eq!(ended.code, Some(2), "stdin is empty");
}
