//! Everything that must be refused well: one clear message with its remedy, the right exit code, nothing lost.

use std::io::Write as _;
use std::path::Path;

use crate::binary::{Ended, command, ended, run, tiny};

/// Exit code and stderr, with what differs between machines written as names.
fn told(ended: &Ended, home: &Path) -> String {
    let home = home.display().to_string();
    format!(
        "exit {}\n{}",
        ended.code.unwrap_or(-1),
        ended.stderr.replace(&home, "HOME")
    )
}

/// Runs with `--quiet` in a fresh home into which `prepare` may write.
fn refused(prepare: impl FnOnce(&Path), arguments: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    prepare(home.path());
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace("HOME", &home.path().display().to_string()))
        .collect();
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.push("--quiet");
    told(&run(home.path(), &all), home.path())
}

fn tiny_path() -> String {
    tiny().display().to_string()
}

#[test]
fn an_empty_folder() {
    let prepare = |home: &Path| std::fs::create_dir(home.join("empty")).expect("made");
    insta::assert_snapshot!(refused(
        prepare,
        &["run", &tiny_path(), "--data", "HOME/empty"]
    ));
}

#[test]
fn a_folder_that_is_not_there() {
    insta::assert_snapshot!(refused(
        |_| {},
        &["run", &tiny_path(), "--data", "HOME/missing"]
    ));
}

#[test]
fn a_binary_file_named_txt() {
    let prepare = |home: &Path| {
        let bytes: Vec<u8> = (0..20_000_u32)
            .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        std::fs::write(home.join("picture.txt"), bytes).expect("written");
    };
    insta::assert_snapshot!(refused(
        prepare,
        &["run", &tiny_path(), "--data", "HOME/picture.txt"]
    ));
}

#[test]
fn an_unknown_recipe_key() {
    let prepare = |home: &Path| {
        std::fs::write(
            home.join("mine.toml"),
            "name = \"mine\"\n\n[pretrain]\nlerning_rate = 1e-3\n",
        )
        .expect("written");
    };
    insta::assert_snapshot!(refused(prepare, &["run", "HOME/mine.toml"]));
}

#[test]
fn a_recipe_that_is_not_toml() {
    let prepare =
        |home: &Path| std::fs::write(home.join("mine.toml"), "name = \n").expect("written");
    insta::assert_snapshot!(refused(prepare, &["scope", "HOME/mine.toml"]));
}

#[test]
fn a_value_of_the_wrong_type() {
    insta::assert_snapshot!(refused(
        |_| {},
        &["run", &tiny_path(), "--set", "pretrain.batch_size=\"many\""]
    ));
}

#[test]
fn a_vocabulary_larger_than_the_text_supports() {
    let prepare = |home: &Path| {
        let text = "The reef lies an hour from the harbour, and the boat leaves at nine when the wind allows it. ".repeat(3);
        for (index, name) in ["a.txt", "b.txt", "c.txt", "d.txt"].iter().enumerate() {
            std::fs::write(
                home.join(name),
                format!("{text} Note {index}: bring water, a hat and dry clothes."),
            )
            .expect("written");
        }
    };
    let arguments = [
        "tokenizer",
        "train",
        "HOME/a.txt",
        "HOME/b.txt",
        "HOME/c.txt",
        "HOME/d.txt",
        "--vocab-size",
        "50000",
        "--out",
        "HOME/t.json",
    ];
    insta::assert_snapshot!(refused(prepare, &arguments));
}

#[test]
fn a_model_that_is_not_there() {
    insta::assert_snapshot!(refused(|_| {}, &["generate", "quikstart", "The reef"]));
}

#[test]
fn nothing_to_serve() {
    insta::assert_snapshot!(refused(|_| {}, &["serve"]));
}

#[test]
fn a_port_in_use() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let told = refused(
        |_| {},
        &[
            "run",
            &tiny_path(),
            "--serve",
            "--set",
            &format!("serve.bind={address}"),
        ],
    );
    let port = address.rsplit(':').next().expect("a port");
    insta::assert_snapshot!(told.replace(port, "PORT"));
}

#[test]
fn a_plan_over_budget_names_the_largest_size_that_fits() {
    let arguments = [
        "run",
        &tiny_path(),
        "--set",
        "model.depth=40",
        "--set",
        "pretrain.tokens=4000000000",
    ];
    let told = refused(|_| {}, &arguments);
    // Its minutes are this machine's.
    assert!(told.starts_with("exit 2\nerror: the plan"), "{told}");
    assert!(
        told.contains("scope.budget_minutes=") && told.contains("--over-budget"),
        "{told}"
    );
}

#[test]
fn two_runs_in_one_folder() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(home.path().join("locks")).expect("made");
    let _held = artifact::Lock::acquire(&home.path().join("locks/run-tiny")).expect("free");
    let told = told(
        &run(home.path(), &["run", &tiny_path(), "--quiet"]),
        home.path(),
    );
    insta::assert_snapshot!(told.replace(&std::process::id().to_string(), "PID"));
}

#[test]
fn an_unknown_device() {
    insta::assert_snapshot!(refused(|_| {}, &["scope", "--device", "tpu"]));
}

#[test]
fn a_device_that_is_not_built_in() {
    insta::assert_snapshot!(refused(|_| {}, &["scope", "--device", "metal"]));
}

#[test]
fn errors_are_objects_with_json() {
    let home = tempfile::tempdir().expect("a folder");
    let ended = run(home.path(), &["models", "show", "nobody", "--json"]);
    assert_eq!(ended.code, Some(2));
    let error = &ended.json()["error"];
    assert_eq!(error["kind"], "unknown_model");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| message.contains("nobody")),
        "{error}"
    );
    assert!(error["hint"].is_string(), "{error}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn wrong_usage_is_an_object_with_json_too() {
    let home = tempfile::tempdir().expect("a folder");
    let ended = run(home.path(), &["generate", "--json"]);
    assert_eq!(
        (ended.code, ended.json()["error"]["kind"].as_str()),
        (Some(2), Some("usage"))
    );
}

#[test]
fn text_that_is_not_utf8_on_stdin() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(
        home.path().join("t.txt"),
        "a reef and a boat, a boat and a reef, a reef and a boat",
    )
    .expect("written");
    let out = home.path().join("t.json");
    let out = out.to_str().expect("UTF-8");
    let text = home.path().join("t.txt");
    run(
        home.path(),
        &[
            "tokenizer",
            "train",
            text.to_str().expect("UTF-8"),
            "--vocab-size",
            "262",
            "--out",
            out,
            "--json",
        ],
    )
    .ok();
    let mut child = command(home.path(), &["tokenizer", "encode", out])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"ab\xff\xfe")
        .expect("written");
    insta::assert_snapshot!(told(
        &ended(child.wait_with_output().expect("ends")),
        home.path()
    ));
}

#[test]
fn settings_without_sense_before_any_work() {
    let told = [
        "pretrain.batch_size=0",
        "pretrain.accumulation=0",
        "finetune.epochs=0",
        "align.learning_rate=-1",
        "model.depth=0",
        "model.depth=100000",
        "model.context=0",
    ]
    .map(|setting| refused(|_| {}, &["run", &tiny_path(), "--set", setting]))
    .join("\n");
    insta::assert_snapshot!(told);
}

#[test]
fn broken_questions_before_any_work() {
    let prepare = |home: &Path| {
        std::fs::write(home.join("text.txt"), "The reef is wide.\n").expect("written");
        let rows = "{\"prompt\": \"a\"}\nnot json\n";
        std::fs::write(home.join("questions.jsonl"), rows).expect("written");
    };
    insta::assert_snapshot!(refused(
        prepare,
        &[
            "run",
            &tiny_path(),
            "--data",
            "HOME/text.txt",
            "--instructions",
            "HOME/questions.jsonl"
        ]
    ));
}
