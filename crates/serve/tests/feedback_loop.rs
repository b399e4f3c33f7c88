//! From an answer over HTTP to the preference pair that the next model learns from.

mod common;

use common::{MODEL, Running, redacted, start};
use serde_json::{Value, json};
use serve::feedback::{Error, ImportConfig, Imported, Prompt, Store, export, import, pairs};
use tempfile::TempDir;
use tokenizer::Message;

fn ask(server: &Running, question: &str, seed: u64) -> (String, String) {
    let reply = server.chat(question, json!({"temperature": 1.0, "seed": seed}));
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = reply.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (
        text(&reply["id"]),
        text(&reply["choices"][0]["message"]["content"]),
    )
}

fn rate(server: &Running, body: Value) -> Value {
    let reply = server.post("/v1/feedback", &body);
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

fn user(content: &str) -> Prompt {
    Prompt::Messages(vec![Message {
        role: "user".to_owned(),
        content: content.to_owned(),
    }])
}

#[test]
fn a_correction_becomes_a_preference_pair() {
    let server = start(|_| {});
    let (id, answer) = ask(&server, "What does the regulator cost?", 1);
    let rated = rate(
        &server,
        json!({"answer_id": id, "rating": "down", "correction": "Ninety euros.", "comment": "price"}),
    );
    insta::assert_json_snapshot!("rated", redacted(rated));

    let known = server.get(&format!("/v1/feedback/{id}")).json();
    assert_eq!(
        (&known["rating"], &known["correction"]),
        (&json!("down"), &json!("Ninety euros."))
    );
    assert_eq!(known["answered"]["text"], answer.as_str());
    assert_eq!(known["answered"]["model"], "0123456789ab");
    assert_eq!(
        known["answered"]["prompt"][0]["content"],
        "What does the regulator cost?"
    );
    assert_eq!(known["answered"]["sampling"]["seed"], 1);

    let store =
        Store::open(&server.feedback_path()).expect("the store, while the server has it open");
    let found = pairs(&store).expect("pairs");
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].chosen, &found[0].rejected),
        (&"Ninety euros.".to_owned(), &answer)
    );
    assert_eq!(found[0].prompt, user("What does the regulator cost?"));

    let out = server.folder.path().join("pairs.jsonl");
    assert_eq!(export(&store, &out).expect("an export"), 1);
    let line: Value =
        serde_json::from_str(&std::fs::read_to_string(&out).expect("a file")).expect("one line");
    assert_eq!(line["prompt"][0]["role"], "user");
    let stats = store.stats().expect("counts");
    assert_eq!(
        (
            stats.answers,
            stats.rated,
            stats.down,
            stats.corrections,
            stats.pairs
        ),
        (1, 1, 1, 1, 1)
    );
}

#[test]
fn an_answer_rated_up_is_chosen_over_one_rated_down() {
    let server = start(|_| {});
    let (good, good_text) = ask(&server, "Is it open?", 1);
    let (bad, bad_text) = ask(&server, "Is it open?", 2);
    let (elsewhere, _) = ask(&server, "Is it closed?", 3);
    rate(&server, json!({"answer_id": good, "rating": "up"}));
    rate(&server, json!({"answer_id": bad, "rating": "up"}));
    rate(&server, json!({"answer_id": bad, "rating": "down"}));
    rate(&server, json!({"answer_id": elsewhere, "rating": "down"}));
    let store = Store::open(&server.feedback_path()).expect("the store");
    let sides: Vec<_> = pairs(&store)
        .expect("pairs")
        .into_iter()
        .map(|pair| (pair.chosen, pair.rejected))
        .collect();
    assert_eq!(
        sides,
        [(good_text, bad_text)],
        "the newer rating of an answer replaces the older"
    );
}

#[test]
fn every_choice_and_every_kind_of_answer_can_be_rated() {
    let server = start(|_| {});
    let chat = server
        .chat(
            "Which?",
            json!({"n": 2, "temperature": 1.0, "stream": true}),
        )
        .events();
    let id = chat[0]["id"].as_str().expect("an id").to_owned();
    rate(
        &server,
        json!({"answer_id": id, "choice": 1, "rating": "down", "correction": "The blue one."}),
    );
    let completion = server
        .complete(json!(["One", "Two"]), json!({"temperature": 0}))
        .json();
    rate(
        &server,
        json!({"answer_id": completion["id"], "choice": 1, "rating": "down", "correction": " and three"}),
    );
    let store = Store::open(&server.feedback_path()).expect("the store");
    let prompts: Vec<_> = pairs(&store)
        .expect("pairs")
        .into_iter()
        .map(|pair| (pair.prompt, pair.chosen))
        .collect();
    assert_eq!(prompts.len(), 2);
    assert!(prompts.contains(&(user("Which?"), "The blue one.".to_owned())));
    assert!(prompts.contains(&(Prompt::Text("Two".to_owned()), " and three".to_owned())));
}

#[test]
fn wrong_ratings_are_refused() {
    let server = start(|_| {});
    let (id, _) = ask(&server, "Hello", 1);
    let cases = [
        (
            "unknown answer",
            json!({"answer_id": "chatcmpl-none", "rating": "up"}),
        ),
        (
            "unknown choice",
            json!({"answer_id": "chatcmpl-none", "choice": 7, "rating": "up"}),
        ),
        ("no answer", json!({"rating": "up"})),
        ("no rating", json!({"answer_id": "chatcmpl-none"})),
        (
            "other rating",
            json!({"answer_id": "chatcmpl-none", "rating": "sideways"}),
        ),
        (
            "correction of a wrong type",
            json!({"answer_id": "chatcmpl-none", "rating": "down", "correction": 4}),
        ),
    ];
    let mut replies = serde_json::Map::new();
    for (name, body) in cases {
        let reply = server.post("/v1/feedback", &body);
        replies.insert(
            name.to_owned(),
            json!({"status": reply.status, "body": reply.json()}),
        );
    }
    insta::assert_json_snapshot!("feedback_refusals", replies);
    assert_eq!(server.get("/v1/feedback/chatcmpl-none").status, 404);
    assert_eq!(
        server.get(&format!("/v1/feedback/{id}?choice=x")).status,
        400
    );
    assert_eq!(
        server.get(&format!("/v1/feedback/{id}")).json()["rating"],
        Value::Null
    );
}

#[test]
fn text_is_not_kept_where_it_is_not_wanted() {
    let without_text = |server: &Running, more: Value| {
        let reply = server.chat("A secret", more).json();
        let id = reply["id"].as_str().expect("an id");
        rate(server, json!({"answer_id": id, "rating": "up"}));
        let known = server.get(&format!("/v1/feedback/{id}")).json();
        assert_eq!(
            (&known["answered"]["prompt"], &known["answered"]["text"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(known["rating"], "up");
    };
    without_text(&start(|config| config.store_prompts = false), json!({}));
    without_text(&start(|_| {}), json!({"store": false}));
    let server = start(|config| config.feedback = None);
    let reply = server.chat("Hello", json!({})).json();
    assert_eq!(
        server
            .post(
                "/v1/feedback",
                &json!({"answer_id": reply["id"], "rating": "up"})
            )
            .status,
        404
    );
    assert_eq!(reply["model"], MODEL);
}

fn imported(
    folder: &TempDir,
    store: &Store,
    lines: &[&str],
    allowed: f64,
) -> Result<Imported, Error> {
    let path = folder.path().join("ratings.jsonl");
    std::fs::write(&path, lines.join("\n")).expect("a file");
    import(
        store,
        &path,
        &ImportConfig {
            max_error_fraction: allowed,
        },
    )
}

const RATED: &str = r#"{"messages": [{"role": "user", "content": "q"}], "answer": "bad", "rating": "down", "correction": "good"}"#;
const PAIR: &str = r#"{"prompt": "Once", "chosen": " upon a time", "rejected": " more"}"#;

#[test]
fn importing_twice_adds_nothing_the_second_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("deep/er/feedback.sqlite")).expect("a new store");
    let first = imported(&folder, &store, &[RATED, "", PAIR], 0.0).expect("two ratings");
    assert_eq!((first.rows, first.imported, first.known), (2, 2, 0));
    let before = pairs(&store).expect("pairs");
    assert_eq!(before.len(), 2);
    let second = imported(&folder, &store, &[PAIR, RATED], 0.0).expect("the same ratings");
    assert_eq!((second.rows, second.imported, second.known), (2, 0, 2));
    assert_eq!(pairs(&store).expect("pairs"), before);
}

#[test]
fn broken_lines_are_counted_and_too_many_import_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("feedback.sqlite")).expect("a new store");
    let long = format!("{{\"answer\": \"{}\"}}", "a".repeat(5 << 20));
    let broken = [
        "not json",
        "\u{0}",
        r#"{"rating": "up"}"#,
        r#"{"answer_id": "chatcmpl-none", "rating": "up"}"#,
        r#"{"prompt": "p", "answer": "a"}"#,
        r#"{"prompt": "p", "answer": "a", "rating": "sideways"}"#,
        long.as_str(),
    ];
    for line in broken {
        let error =
            imported(&folder, &store, &[RATED, line], 0.2).expect_err(&line[..line.len().min(40)]);
        assert!(
            matches!(
                error,
                Error::TooManyBroken {
                    rows: 2,
                    broken: 1,
                    line: 2,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(
        store.stats().expect("counts").answers,
        0,
        "nothing was imported"
    );
    let report = imported(
        &folder,
        &store,
        &[broken[0], long.as_str(), PAIR, RATED],
        0.5,
    )
    .expect("half is allowed");
    assert_eq!((report.imported, report.broken.len()), (2, 2));
    assert_eq!(report.broken[1].0, 2);
}

#[test]
fn a_missing_file_and_a_newer_store_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("feedback.sqlite");
    let store = Store::open(&path).expect("a new store");
    let error = import(
        &store,
        &folder.path().join("none.jsonl"),
        &ImportConfig::default(),
    )
    .expect_err("no file");
    assert!(error.to_string().contains("none.jsonl"), "{error}");
    drop(store);
    let connection = rusqlite::Connection::open(&path).expect("a database");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("a set version");
    drop(connection);
    assert!(matches!(
        Store::open(&path),
        Err(Error::Newer { found: 99, .. })
    ));
}

#[test]
fn many_writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("feedback.sqlite");
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let path = path.clone();
            std::thread::spawn(move || {
                // Each has a connection of its own, as separate processes have.
                let store = Store::open(&path).expect("the store");
                for number in 0..10 {
                    let folder = tempfile::tempdir().expect("a folder");
                    let line = format!(
                        r#"{{"prompt": "{writer}/{number}", "chosen": "a", "rejected": "b"}}"#
                    );
                    imported(&folder, &store, &[&line], 0.0).expect("a rating");
                }
            })
        })
        .collect();
    writers
        .into_iter()
        .for_each(|writer| writer.join().expect("a finished writer"));
    assert_eq!(
        Store::open(&path)
            .expect("the store")
            .stats()
            .expect("counts")
            .pairs,
        40
    );
}
