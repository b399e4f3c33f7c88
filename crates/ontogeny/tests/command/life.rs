//! A tiny model's whole life through the command: every stage, found again by the second run, reported, traced, and
//! judged by the gate.

use std::path::Path;

use crate::binary::{command, run, tiny};
use serde_json::Value;

fn raise(home: &Path, more: &[&str]) -> crate::binary::Ended {
    let recipe = tiny().display().to_string();
    let mut arguments = vec!["run", &recipe, "--json"];
    arguments.extend(more);
    run(home, &arguments)
}

fn stages(run: &Value) -> Vec<(&str, bool, bool)> {
    let stages = run["stages"].as_array().expect("stages").iter();
    stages
        .map(|stage| {
            (
                stage["stage"].as_str().unwrap_or(""),
                stage["reused"] == true,
                !stage["skipped"].is_null(),
            )
        })
        .collect()
}

#[test]
fn a_life_is_lived_once_reported_traced_and_judged() {
    let home = tempfile::tempdir().expect("a folder");
    let out = home.path().join("out");
    let first = raise(home.path(), &["--out", out.to_str().expect("UTF-8")]).ok();
    assert_eq!(
        stages(&first),
        [
            "world",
            "data",
            "tokenizer",
            "shards",
            "pretrain",
            "finetune",
            "align",
            "evaluate",
            "gate"
        ]
        .map(|stage| (stage, false, false))
    );
    assert_eq!(first["deployed"], true);
    for field in [
        "bits_per_byte",
        "held_out_accuracy",
        "unanswerable_refused",
        "preference_win_rate",
    ] {
        assert!(
            first["eval"][field].is_number(),
            "eval.{field} in {first:#}"
        );
    }
    assert!(
        first["plan"]["seconds"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    let model = first["model"].as_str().expect("an id");

    // What is handed out is a model folder with its report.
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "report.html",
        "recipe.toml",
        "artifact.json",
    ] {
        assert!(out.join(name).is_file(), "{name} in --out");
    }
    let page =
        std::fs::read_to_string(first["report"].as_str().expect("a path")).expect("the report");
    for section in [
        "learned",
        "gate",
        "answers",
        "training",
        "samples",
        "data",
        "plan",
        "lineage",
        "reproduce",
    ] {
        assert!(
            page.contains(&format!("<section id=\"{section}\">")),
            "no section {section}"
        );
    }
    assert!(page.contains("<svg") && page.contains(&model[..12]));

    // The second run does nothing again and comes to the same model.
    let second = raise(home.path(), &[]).ok();
    assert_eq!(second["model"], first["model"]);
    assert!(
        stages(&second)
            .iter()
            .all(|(stage, reused, _)| *reused || *stage == "gate"),
        "{:?}",
        stages(&second)
    );

    // The chain goes back to the documents and the filters.
    let lineage = run(home.path(), &["lineage", "tiny"]);
    assert_eq!(lineage.code, Some(0), "{}", lineage.stderr);
    for kind in [
        "model",
        "instructions",
        "preferences",
        "shards",
        "tokenizer",
        "corpus",
    ] {
        assert!(
            lineage.stdout.contains(kind),
            "no {kind} in\n{}",
            lineage.stdout
        );
    }

    // The name answers.
    let said = run(
        home.path(),
        &[
            "generate",
            "tiny",
            "The reef",
            "--max-tokens",
            "8",
            "--logprobs",
            "2",
            "--json",
        ],
    )
    .ok();
    assert_eq!(
        said["tokens"].as_array().map(Vec::len),
        said["logprobs"].as_array().map(Vec::len)
    );
    assert!(
        said["decode_tokens_per_second"].is_number() && said["first_token_seconds"].is_number()
    );
    let chat = run(home.path(), &["models", "show", &model[..10], "--json"]).ok();
    assert_eq!(chat["model"], first["model"]);
    let listed = run(home.path(), &["models", "list", "--json"]).ok();
    assert_eq!(listed["models"].as_array().map(Vec::len), Some(3));

    // It is measured on rows as a run takes them, and never on nothing.
    let task = |name: &str, rows: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, rows).expect("written");
        let path = path.display().to_string();
        run(home.path(), &["eval", "tiny", "--task", &path, "--json"])
    };
    let rows = r#"{"prompt": "When?", "completion": "At nine."}
{"messages": [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}]}"#;
    assert_eq!(task("questions.jsonl", rows).ok()["tasks"][0]["n"], 2);
    let rows = r#"{"prompt": "When?", "chosen": "At nine.", "rejected": "Find out yourself."}"#;
    assert_eq!(task("pairs.jsonl", rows).ok()["tasks"][0]["n"], 1);
    for rows in ["", "no JSON"] {
        let refused = task("junk.jsonl", rows);
        assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    }

    // A model that is no better does not take the place.
    let third = raise(home.path(), &["--set", "align.seed=99"]);
    assert_eq!(third.code, Some(3), "{}\n{}", third.stdout, third.stderr);
    let third = third.json();
    assert_eq!(third["deployed"], false);
    assert_ne!(third["model"], first["model"]);
    assert!(
        stages(&third)
            .iter()
            .filter(|(_, reused, _)| *reused)
            .count()
            >= 6,
        "{:?}",
        stages(&third)
    );
    let shown = run(home.path(), &["models", "show", "tiny", "--json"]).ok();
    assert_eq!(shown["model"], first["model"], "the incumbent stays");
}

#[test]
fn without_instructions_the_stages_that_need_them_are_said_to_be_skipped() {
    let home = tempfile::tempdir().expect("a folder");
    let world = home.path().join("world");
    let world = world.to_str().expect("UTF-8");
    run(
        home.path(),
        &[
            "data", "generate", "nursery", "--out", world, "--docs", "300", "--json",
        ],
    )
    .ok();
    let texts = format!("{world}/documents");
    let ended = raise(
        home.path(),
        &["--data", &texts, "--set", "data.validation_fraction=0.1"],
    );
    let story = ended.ok();
    let skipped: Vec<&str> = stages(&story)
        .into_iter()
        .filter(|(.., skipped)| *skipped)
        .map(|(stage, ..)| stage)
        .collect();
    assert_eq!(skipped, ["world", "finetune", "align"]);
    assert!(
        story["eval"]["bits_per_byte"].is_number() && story["eval"]["held_out_accuracy"].is_null()
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_the_work_and_the_next_run_ends_in_the_same_bits() {
    let recipe = tiny().display().to_string();
    let whole = tempfile::tempdir().expect("a folder");
    let arguments = [
        "pretrain",
        &recipe,
        "--json",
        "--set",
        "pretrain.tokens=200000",
    ];
    let uninterrupted = run(whole.path(), &arguments).ok();

    let home = tempfile::tempdir().expect("a folder");
    let child = command(
        home.path(),
        &["pretrain", &recipe, "--set", "pretrain.tokens=200000"],
    )
    .stdout(std::process::Stdio::piped())
    .stderr(std::process::Stdio::piped())
    .spawn()
    .expect("starts");
    // Interrupted as soon as there is a work folder of the training, which holds its config's checkpoints.
    let training = |home: &Path| {
        let work = std::fs::read_dir(home.join("work"))
            .into_iter()
            .flatten()
            .flatten();
        work.count() > 0
            && std::fs::read_dir(home.join("artifacts"))
                .into_iter()
                .flatten()
                .count()
                >= 4
    };
    let began = std::time::Instant::now();
    while !training(home.path()) && began.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    let status = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill");
    assert!(status.success());
    let ended = crate::binary::ended(child.wait_with_output().expect("ends"));
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("run the same command again"),
        "{}",
        ended.stderr
    );

    let resumed = run(home.path(), &arguments).ok();
    assert_eq!(resumed["model"], uninterrupted["model"]);
}
