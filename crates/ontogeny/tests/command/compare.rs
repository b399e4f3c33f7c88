//! `models compare`: what it answers, what it refuses, and the base that it writes.

use serde_json::Value;

use crate::binary::{run, untrained, word};

const QUESTIONS: &str = r#"{"prompt": "How deep is the reef?", "completion": "12 metres."}
{"prompt": "How wide is the reef?", "completion": "30 metres."}
{"prompt": "What swims there?", "completion": "Fish."}
{"prompt": "When does the boat leave?", "completion": "At nine."}
"#;

/// Everything that another run or machine measures otherwise, by its name; the models say what chance makes them say.
fn redacted(mut measured: Value) -> Value {
    for one in measured.as_array_mut().expect("a list") {
        for name in [
            "tokens_per_second",
            "first_token_seconds",
            "peak_rss_bytes",
            "seconds_per_answer",
            "cost_per_thousand_answers",
            "pareto",
            "value",
            "low",
            "high",
            "bytes",
        ] {
            if !one[name].is_null() {
                one[name] = Value::from(format!("[{name}]"));
            }
        }
    }
    measured
}

#[test]
fn models_side_by_side() {
    let home = tempfile::tempdir().expect("a folder");
    let task = home.path().join("questions.jsonl");
    std::fs::write(&task, QUESTIONS).expect("written");
    for (name, seed) in [("one", 1), ("two", 2)] {
        let folder = home.path().join(name);
        untrained(&folder, seed);
        run(home.path(), &["models", "import", word(&folder), "--json"]).ok();
    }
    let two = home.path().join("two");
    let compare = [
        "models",
        "compare",
        "one",
        word(&two),
        "--task",
        word(&task),
    ];
    let settings = [
        "--shots",
        "0,1",
        "--max-tokens",
        "4",
        "--price-per-hour",
        "1",
        "--quiet",
    ];
    let words = [&compare[..], &settings].concat();
    let measured = run(home.path(), &[&words[..], &["--json"]].concat()).ok();
    let id = measured[0]["id"].as_str().expect("an id").to_owned();
    let text = serde_json::to_string_pretty(&redacted(measured)).expect("JSON");
    let text = text.replace(word(home.path()), "HOME").replace(&id, "[id]");
    insta::assert_snapshot!("compared", text);

    // For people a table, and the lines for a recipe; or the recipe itself.
    let told = run(home.path(), &words).stdout;
    assert!(told.contains("[model]\nbase = \""), "{told}");
    let recipe = home.path().join("mine.toml");
    std::fs::write(&recipe, "# mine\nname = \"mine\"\n").expect("written");
    let write = ["--write-base", word(&recipe), "--json"];
    let measured = run(home.path(), &[&words[..], &write].concat()).ok();
    let written = std::fs::read_to_string(&recipe).expect("a recipe");
    assert!(
        written.starts_with("# mine\nname = \"mine\"\n\n[model]\nbase = \""),
        "{written}"
    );
    let names = [id.as_str(), word(&two)];
    assert!(names.iter().any(|name| written.contains(name)), "{written}");
    assert_eq!(measured.as_array().map(Vec::len), Some(12));
    // The recipe is one: its base is found, its plan is made.
    run(home.path(), &["scope", word(&recipe), "--json"]).ok();
}

#[test]
fn what_cannot_be_compared() {
    let home = tempfile::tempdir().expect("a folder");
    let (folder, task) = (home.path().join("one"), home.path().join("questions.jsonl"));
    untrained(&folder, 1);
    std::fs::write(&task, QUESTIONS).expect("written");
    let broken = home.path().join("broken.toml");
    std::fs::write(&broken, "[model\n").expect("written");
    let empty = home.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    let (one, task) = (word(&folder), word(&task));
    let cases: [&[&str]; 6] = [
        &[one, "nobody", "--task", task],
        &[one, word(&empty), "--task", task],
        &[one, one, "--task", "nothing.jsonl"],
        &[one, one],
        &["--task", task],
        &[one, one, "--task", task, "--write-base", word(&broken)],
    ];
    let told = cases.map(|words| {
        let ended = run(
            home.path(),
            &[&["models", "compare", "--quiet"], words].concat(),
        );
        format!(
            "exit {}\n{}{}",
            ended.code.unwrap_or(-1),
            ended.stdout,
            ended.stderr
        )
    });
    let told = told.join("\n").replace(word(home.path()), "HOME");
    insta::assert_snapshot!("refused_comparisons", told);
}
