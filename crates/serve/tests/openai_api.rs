//! The OpenAI surface over a real connection.

mod common;

use common::{CONTEXT, MODEL, Running, redacted, start};
use serde_json::{Value, json};

fn content(reply: &Value) -> String {
    reply["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text")
        .to_owned()
}

/// The text of each choice, put together from a stream.
fn streamed(events: &[Value], piece: impl Fn(&Value) -> &Value) -> Vec<String> {
    let mut texts = Vec::new();
    for choice in events
        .iter()
        .flat_map(|event| event["choices"].as_array().expect("choices"))
    {
        let index = choice["index"].as_u64().expect("an index") as usize;
        texts.resize(texts.len().max(index + 1), String::new());
        texts[index] += piece(choice).as_str().unwrap_or_default();
    }
    texts
}

#[test]
fn models_are_listed_and_found() {
    let server = start(|_| {});
    let list = server.get("/v1/models");
    assert_eq!(list.status, 200);
    insta::assert_json_snapshot!("models", redacted(list.json()));
    assert_eq!(server.get("/v1/models/tiny").json()["id"], MODEL);
    assert_eq!(
        server.get("/v1/models/0123456789ab").json()["id"],
        MODEL,
        "the artifact's id is a name too"
    );
}

#[test]
fn a_models_folder_is_served_under_its_name() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("parrotfish");
    std::fs::create_dir(&folder).expect("a model's folder");
    let model = common::model("unused", CONTEXT);
    hub::save(&folder, &model.decoder, &model.tokenizer).expect("a saved model");
    let store = artifact::Store::open(home.path()).expect("a store");
    let device = tensor::device::parse("cpu").expect("the CPU");
    let models = serve::Models::new();
    let name = models
        .load(&store, folder.to_str().expect("UTF-8"), &device)
        .expect("a model");
    assert_eq!(name, "parrotfish");
    let loaded = models.get(&name).expect("a served model");
    assert_eq!(loaded.engine.context(), CONTEXT);
    let error = models
        .load(&store, "no-such-model", &device)
        .expect_err("no model");
    assert!(error.to_string().contains("no-such-model"), "{error}");
    assert!(models.remove(&name) && models.list().is_empty());
}

#[test]
fn a_chat_completion_has_the_shape_clients_expect() {
    let server = start(|_| {});
    let reply = server.chat(
        "Is the reef open?",
        json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 3}),
    );
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert!(
        reply.headers["x-request-id"]
            .to_str()
            .expect("ascii")
            .starts_with("req_")
    );
    let mut reply = reply.json();
    let tokens = reply["choices"][0]["logprobs"]["content"].take();
    insta::assert_json_snapshot!("chat", redacted(reply.clone()));
    let tokens = tokens.as_array().expect("one entry a token");
    assert_eq!(
        tokens.len() as u64,
        reply["usage"]["completion_tokens"]
            .as_u64()
            .expect("a count")
    );
    for token in tokens {
        assert!(token["logprob"].as_f64().expect("a number") <= 0.0);
        assert_eq!(token["top_logprobs"].as_array().expect("a list").len(), 2);
        let bytes = token["bytes"].as_array().expect("bytes").len();
        assert!(bytes > 0);
    }
}

#[test]
fn streams_say_what_whole_answers_say() {
    let server = start(|_| {});
    for options in [
        json!({"temperature": 0}),
        json!({"temperature": 1.1, "top_p": 0.9}),
        json!({"temperature": 0.9, "n": 3}),
        json!({"temperature": 1.0, "logprobs": true}),
        json!({"temperature": 1.0, "stop": ["e", "qu"]}),
        json!({"max_tokens": null, "max_completion_tokens": 7}),
        json!({"max_tokens": 200, "ignore_eos": true}),
    ] {
        let whole = server.chat("What does it cost?", options.clone()).json();
        let mut streaming = options.clone();
        streaming["stream"] = json!(true);
        streaming["stream_options"] = json!({"include_usage": true});
        let reply = server.chat("What does it cost?", streaming);
        assert_eq!(reply.headers["content-type"], "text/event-stream");
        let events = reply.events();
        let texts = streamed(&events, |choice| &choice["delta"]["content"]);
        let expected: Vec<&str> = whole["choices"]
            .as_array()
            .expect("choices")
            .iter()
            .map(|choice| choice["message"]["content"].as_str().expect("text"))
            .collect();
        assert_eq!(texts, expected, "{options}");
        let last = events.last().expect("events");
        assert_eq!(
            (&last["choices"], &last["usage"]),
            (&json!([]), &whole["usage"]),
            "{options}"
        );
    }
}

#[test]
fn a_streams_events_have_the_shape_clients_expect() {
    let server = start(|_| {});
    let events = server
        .chat(
            "Hello",
            json!({"stream": true, "max_tokens": 2, "temperature": 0}),
        )
        .events();
    let (first, last) = (
        events.first().expect("events").clone(),
        events.last().expect("events").clone(),
    );
    insta::assert_json_snapshot!(
        "chat_stream",
        json!({"first": redacted(first), "last": redacted(last)})
    );
    let ids: std::collections::BTreeSet<_> =
        events.iter().map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), 1, "one id for the whole answer");
}

#[test]
fn seeds_reproduce_and_choices_differ() {
    let server = start(|_| {});
    let options = |n: usize| json!({"temperature": 1.0, "n": n});
    let three = server.chat("Which one?", options(3)).json();
    let again = server.chat("Which one?", options(3)).json();
    assert_eq!(three["choices"], again["choices"]);
    assert_eq!(three["system_fingerprint"], again["system_fingerprint"]);
    assert_eq!(
        server.chat("Which one?", options(1)).json()["choices"][0],
        three["choices"][0]
    );
    assert_ne!(
        three["choices"][0]["message"],
        three["choices"][1]["message"]
    );
    let other = server
        .chat("Which one?", json!({"temperature": 1.0, "seed": 6}))
        .json();
    assert_ne!(content(&other), content(&three));
}

#[test]
fn content_may_be_a_list_of_parts_and_unknown_fields_are_ignored() {
    let server = start(|_| {});
    let whole = server
        .chat("What is open?", json!({"temperature": 0}))
        .json();
    let parts = json!([{"type": "text", "text": "What is "}, {"type": "text", "text": "open?"}]);
    let messages = json!([{"role": "user", "content": parts, "name": "Ada"}]);
    let again = server.chat(
        "",
        json!({"temperature": 0, "messages": messages, "unknown": {"deep": [1]}, "user": "u"}),
    );
    assert_eq!(content(&whole), content(&again.json()));
}

#[test]
fn completions_take_every_form_of_prompt() {
    let server = start(|_| {});
    let ids = common::engine("ids", CONTEXT)
        .tokenizer()
        .encode("The reef")
        .expect("ids");
    let text = |reply: Value| {
        reply["choices"][0]["text"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let options = || json!({"temperature": 0});
    let expected = server.complete(json!("The reef"), options());
    assert_eq!(expected.status, 200, "{}", expected.text);
    insta::assert_json_snapshot!("completion", redacted(expected.json()));
    let expected = text(expected.json());
    for prompt in [json!(["The reef"]), json!(ids), json!([ids])] {
        assert_eq!(
            text(server.complete(prompt.clone(), options()).json()),
            expected,
            "{prompt}"
        );
    }
    let batch = server
        .complete(
            json!(["The reef", "A turtle"]),
            json!({"temperature": 0, "n": 2}),
        )
        .json();
    let choices = batch["choices"].as_array().expect("choices");
    assert_eq!(choices.len(), 4, "two prompts with two choices each");
    assert_eq!(choices[1]["text"], expected.as_str());
    assert_eq!(
        choices[2]["text"], choices[3]["text"],
        "greedy choices agree"
    );
}

#[test]
fn completions_stream_what_they_say_whole() {
    let server = start(|_| {});
    for options in [
        json!({}),
        json!({"echo": true}),
        json!({"echo": true, "logprobs": 2}),
        json!({"stop": "e", "n": 2}),
    ] {
        let whole = server
            .complete(json!("The reef is"), options.clone())
            .json();
        let mut streaming = options.clone();
        streaming["stream"] = json!(true);
        let texts = streamed(
            &server.complete(json!("The reef is"), streaming).events(),
            |choice| &choice["text"],
        );
        let expected: Vec<&str> = whole["choices"]
            .as_array()
            .expect("choices")
            .iter()
            .map(|choice| choice["text"].as_str().expect("text"))
            .collect();
        assert_eq!(texts, expected, "{options}");
    }
}

#[test]
fn echo_with_log_probabilities_scores_the_prompt() {
    let server = start(|_| {});
    let reply = server
        .complete(
            json!("The reef"),
            json!({"echo": true, "logprobs": 1, "max_tokens": 0}),
        )
        .json();
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["text"], &choice["finish_reason"]),
        (&json!("The reef"), &json!("length"))
    );
    let columns = &choice["logprobs"];
    let length = columns["tokens"].as_array().expect("tokens").len();
    assert_eq!(
        length as u64,
        reply["usage"]["prompt_tokens"].as_u64().expect("a count")
    );
    assert_eq!(
        columns["token_logprobs"][0],
        Value::Null,
        "nothing comes before the first token"
    );
    for column in ["token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(
            columns[column].as_array().expect(column).len(),
            length,
            "{column}"
        );
    }
    for (told, top) in columns["token_logprobs"].as_array().expect("a list")[1..]
        .iter()
        .zip(&columns["top_logprobs"].as_array().expect("a list")[1..])
    {
        let likeliest = top.as_object().expect("tokens").values().next();
        assert!(told.as_f64() <= likeliest.expect("one token").as_f64());
    }
    assert!(columns["token_logprobs"][1].as_f64().expect("a number") < 0.0);

    let engine = common::engine("scores", CONTEXT);
    let ids = engine.tokenizer().encode("The reef").expect("ids");
    let scores = engine
        .score(&[(ids[..1].to_vec(), ids[1..].to_vec())])
        .expect("scores");
    let told: Vec<f32> = columns["token_logprobs"].as_array().expect("a list")[1..]
        .iter()
        .map(|value| value.as_f64().expect("a number") as f32)
        .collect();
    assert_eq!(told, scores[0]);
}

/// Sends each body and gathers what came back.
fn refusals(server: &Running, path: &str, cases: &[(&str, Value)]) -> Value {
    let valid =
        json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi"});
    let mut refusals = serde_json::Map::new();
    for (name, change) in cases {
        let mut body = valid.clone();
        body.as_object_mut()
            .expect("an object")
            .extend(change.as_object().expect("an object").clone());
        let reply = server.post(path, &body);
        refusals.insert(
            (*name).to_owned(),
            json!({"status": reply.status, "body": reply.json()}),
        );
    }
    Value::Object(refusals)
}

#[test]
fn wrong_chat_requests_are_refused_in_openais_words() {
    let server = start(|_| {});
    let cases = [
        ("no model", json!({"model": null})),
        ("unknown model", json!({"model": "gpt-9"})),
        ("model of a wrong type", json!({"model": 4})),
        ("no messages", json!({"messages": null})),
        ("empty messages", json!({"messages": []})),
        ("messages of a wrong type", json!({"messages": "Hi"})),
        (
            "unknown role",
            json!({"messages": [{"role": "wizard", "content": "Hi"}]}),
        ),
        ("no content", json!({"messages": [{"role": "user"}]})),
        (
            "image part",
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}),
        ),
        ("temperature too high", json!({"temperature": 2.5})),
        ("temperature of a wrong type", json!({"temperature": "hot"})),
        ("top_p below zero", json!({"top_p": -0.1})),
        ("n of zero", json!({"n": 0})),
        ("n of a fraction", json!({"n": 1.5})),
        ("max_tokens of zero", json!({"max_tokens": 0})),
        ("stop of a wrong type", json!({"stop": 4})),
        ("top_logprobs alone", json!({"top_logprobs": 2})),
        (
            "stream_options without stream",
            json!({"stream_options": {"include_usage": true}}),
        ),
        ("functions", json!({"functions": [{"name": "f"}]})),
        (
            "response_format",
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}),
        ),
        (
            "a schema that cannot be followed",
            json!({"guided_json": {"type": "nothing"}, "stream": true}),
        ),
        (
            "two forms",
            json!({"guided_regex": "a", "guided_choice": ["a"]}),
        ),
        ("penalty", json!({"frequency_penalty": 2.5})),
        ("bias of no token", json!({"logit_bias": {"99999": 1}})),
        ("bias out of range", json!({"logit_bias": {"5": 101}})),
        (
            "two lengths",
            json!({"max_tokens": 5, "max_completion_tokens": 6}),
        ),
        (
            "answer longer than the context",
            json!({"max_tokens": 1000}),
        ),
        (
            "prompt longer than the context",
            json!({"messages": [{"role": "user", "content": "reef ".repeat(400)}]}),
        ),
    ];
    insta::assert_json_snapshot!(
        "chat_refusals",
        refusals(&server, "/v1/chat/completions", &cases)
    );
}

#[test]
fn wrong_completion_requests_are_refused_in_openais_words() {
    let server = start(|_| {});
    let cases = [
        ("no prompt", json!({"prompt": null})),
        ("empty list", json!({"prompt": []})),
        ("prompt of a wrong type", json!({"prompt": 4})),
        ("id outside the vocabulary", json!({"prompt": [1, 99_999]})),
        ("negative id", json!({"prompt": [-1]})),
        ("mixed", json!({"prompt": [1, "a"]})),
        ("too many logprobs", json!({"logprobs": 6})),
        ("suffix", json!({"suffix": "end"})),
        ("suffix with echo", json!({"suffix": "end", "echo": true})),
        ("best_of below n", json!({"best_of": 2, "n": 3})),
        ("best_of as a stream", json!({"best_of": 4, "stream": true})),
        (
            "too many prompts",
            json!({"prompt": vec!["a"; 100], "n": 2}),
        ),
    ];
    insta::assert_json_snapshot!(
        "completion_refusals",
        refusals(&server, "/v1/completions", &cases)
    );
}

#[test]
fn malformed_bodies_unknown_paths_and_wrong_methods_are_refused() {
    let server = start(|config| config.body_limit = 4096);
    let deep = format!("{{\"messages\": {}", "[".repeat(2000));
    let large = json!({"model": MODEL, "prompt": "a".repeat(5000)}).to_string();
    let cases = [
        ("not json", "POST", "/v1/chat/completions", "{\"model\": "),
        ("empty body", "POST", "/v1/chat/completions", ""),
        ("a list", "POST", "/v1/completions", "[1]"),
        (
            "nested too deep",
            "POST",
            "/v1/chat/completions",
            deep.as_str(),
        ),
        ("too large", "POST", "/v1/completions", large.as_str()),
        ("wrong method", "GET", "/v1/chat/completions", ""),
        ("unknown path", "POST", "/v1/nothing", "{}"),
        ("unknown model", "GET", "/v1/models/owner/name", ""),
    ];
    let mut replies = serde_json::Map::new();
    for (name, method, path, body) in cases {
        let reply = server.send(method, path, &[], body);
        assert!(reply.headers.contains_key("x-request-id"), "{name}");
        replies.insert(
            name.to_owned(),
            json!({"status": reply.status, "body": reply.json()}),
        );
    }
    insta::assert_json_snapshot!("malformed", replies);
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
}

#[test]
fn the_shortest_prompt_and_the_longest_answer_fit_exactly() {
    let server = start(|_| {});
    let reply = server.complete(
        json!([5]),
        json!({"max_tokens": CONTEXT - 1, "temperature": 0}),
    );
    assert_eq!(reply.status, 200, "{}", reply.text);
    let refused = server.complete(json!([5]), json!({"max_tokens": CONTEXT}));
    assert_eq!(refused.json()["error"]["code"], "context_length_exceeded");
}
