//! The loop through the HTTP API: answered wrongly, rated down with a correction, answered rightly by the next
//! generation, which the gate lets in.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::binary::{command, run, tiny};
use serde_json::{Value, json};

/// A server that ends with the test.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(home: &Path, model: &str) -> Self {
        let arguments = ["serve", model, "--bind", "127.0.0.1:0", "--json"];
        let mut child = command(home, &arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("the address");
        let told: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        Self {
            child,
            url: told["url"].as_str().expect("an address").to_owned(),
        }
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.url);
        let mut response = ureq::post(&url)
            .header("content-type", "application/json")
            .send(body.to_string())
            .expect("answers");
        serde_json::from_str(&response.body_mut().read_to_string().expect("text")).expect("JSON")
    }

    /// The answer's id and text.
    fn ask(&self, model: &str, question: &str) -> (String, String) {
        let messages = json!([{ "role": "user", "content": question }]);
        let body =
            json!({ "model": model, "messages": messages, "temperature": 0, "max_tokens": 24 });
        let answer = self.post("/v1/chat/completions", &body);
        let text = answer["choices"][0]["message"]["content"]
            .as_str()
            .expect("text")
            .to_owned();
        (answer["id"].as_str().expect("an id").to_owned(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const QUESTIONS: [(&str, &str); 8] = [
    ("When does the boat leave?", "The boat leaves at nine."),
    ("Who leads the night dive?", "Mara leads the night dive."),
    ("Where do we meet?", "We meet at the blue shed."),
    ("How long is the ride?", "The ride takes an hour."),
    ("What should I bring?", "Bring water and a hat."),
    ("Is there lunch on board?", "Yes, rice and fruit."),
    ("Can children come along?", "Yes, from ten years on."),
    ("What if the wind is strong?", "Then we dive in the bay."),
];

#[test]
fn a_corrected_answer_is_given_rightly_by_the_next_generation() {
    let home = tempfile::tempdir().expect("a folder");
    let recipe = tiny().display().to_string();
    // A strong pull towards corrections: eight of them must outweigh a tiny model's habits.
    let settings = [
        "--set",
        "align.feedback_repeats=300",
        "--set",
        "align.learning_rate=3e-3",
        "--set",
        "align.final_learning_rate=0.01",
        "--set",
        "align.supervised_weight=3.0",
        "--set",
        "gate.metric=corrections_learned",
        "--set",
        "gate.guards=[]",
    ];
    let generation = || {
        let mut arguments = vec!["run", &recipe, "--json"];
        arguments.extend(settings);
        run(home.path(), &arguments)
    };
    let first = generation().ok();

    let served = Served::start(home.path(), "tiny");
    let mut rated = Vec::new();
    for (question, right) in QUESTIONS {
        let (id, said) = served.ask("tiny", question);
        assert_ne!(said.trim(), right, "a tiny model cannot know this");
        let rating = json!({ "answer_id": id, "rating": "down", "correction": right });
        assert_eq!(served.post("/v1/feedback", &rating)["rating"], "down");
        rated.push(id);
    }
    drop(served);
    let stats = run(home.path(), &["feedback", "stats", "--json"]).ok();
    assert_eq!(
        (stats["corrections"].as_u64(), stats["pairs"].as_u64()),
        (Some(8), Some(8))
    );

    let second = generation();
    let told = second.ok();
    assert_ne!(told["model"], first["model"], "the ratings were taken in");
    assert_eq!(told["deployed"], true, "{:#}", told["gate"]);

    let served = Served::start(home.path(), "tiny");
    let right = QUESTIONS
        .iter()
        .filter(|(question, right)| served.ask("tiny", question).1.trim() == *right)
        .count();
    assert_eq!(
        right,
        QUESTIONS.len(),
        "corrections are answered as corrected"
    );
    drop(served);

    // From the answer back to the model that gave it, and from there to the documents.
    let lineage = run(home.path(), &["lineage", &rated[0]]);
    assert_eq!(lineage.code, Some(0), "{}", lineage.stderr);
    assert!(
        lineage.stdout.contains(QUESTIONS[0].1) && lineage.stdout.contains("corpus"),
        "{}",
        lineage.stdout
    );
}
