//! Responses over a real connection.

mod common;

use common::{MODEL, Reply, Running, start_with};
use serde_json::{Value, json};

fn start() -> Running {
    start_with(2048, |_| {})
}

fn ask(server: &Running, input: Value, more: Value) -> Reply {
    let mut body =
        json!({"model": MODEL, "input": input, "max_output_tokens": 24, "temperature": 0});
    body.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    server.post("/v1/responses", &body)
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"]
        .as_str()
        .expect("a text")
}

/// The events of a stream, each with the name that its type gives it.
fn events(reply: &Reply) -> Vec<Value> {
    let mut events = Vec::new();
    let mut name = "";
    for line in reply.text.lines() {
        if let Some(told) = line.strip_prefix("event: ") {
            name = told;
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).expect("JSON");
            assert_eq!(event["type"], name);
            assert_eq!(event["sequence_number"], json!(events.len()));
            events.push(event);
        }
    }
    events
}

#[test]
fn a_response_says_what_a_chat_says() {
    let server = start();
    let chat = server
        .chat("Is the reef open?", json!({"temperature": 0}))
        .json();
    let items =
        json!([{"role": "user", "content": [{"type": "input_text", "text": "Is the reef open?"}]}]);
    for input in [json!("Is the reef open?"), items] {
        let reply = ask(&server, input, json!({"metadata": {"a": "b"}}));
        assert_eq!(reply.status, 200, "{}", reply.text);
        let response = reply.json();
        assert_eq!(text(&response), chat["choices"][0]["message"]["content"]);
        assert_eq!(
            response["usage"]["total_tokens"],
            chat["usage"]["total_tokens"]
        );
        assert_eq!(response["metadata"]["a"], "b");
        let cut = chat["choices"][0]["finish_reason"] == "length";
        assert_eq!(
            response["status"],
            if cut { "incomplete" } else { "completed" }
        );
    }
}

#[test]
fn a_conversation_goes_on_from_a_kept_response() {
    let server = start();
    let first = ask(&server, json!("Hi"), json!({"instructions": "Be brief."})).json();
    let id = first["id"].as_str().expect("an id").to_owned();
    let second = ask(&server, json!("Why?"), json!({"previous_response_id": id})).json();
    let messages = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": text(&first)},
        {"role": "user", "content": "Why?"},
    ]);
    let chat = server
        .chat("", json!({"temperature": 0, "messages": messages}))
        .json();
    assert_eq!(text(&second), chat["choices"][0]["message"]["content"]);
    assert_eq!(server.get(&format!("/v1/responses/{id}")).json(), first);
    let path = format!("/v1/responses/{id}");
    assert_eq!(
        server.send("DELETE", &path, &[], "").json()["deleted"],
        true
    );
    assert_eq!(server.get(&path).status, 404);
    let gone = ask(&server, json!("Why?"), json!({"previous_response_id": id}));
    assert_eq!(gone.json()["error"]["param"], "previous_response_id");
    let unkept = ask(&server, json!("Hi"), json!({"store": false})).json();
    let path = format!("/v1/responses/{}", unkept["id"].as_str().expect("an id"));
    assert_eq!(server.get(&path).status, 404);
}

#[test]
fn a_streams_events_build_the_whole_response() {
    let server = start();
    let depth = json!({"type": "object", "properties": {"m": {"enum": [5, 10]}}, "required": ["m"], "additionalProperties": false});
    let tool = json!({"type": "function", "name": "depth", "parameters": depth});
    let choice = json!({"type": "function", "name": "depth"});
    for options in [
        json!({}),
        json!({"tools": [tool], "tool_choice": choice, "max_output_tokens": 200}),
        json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": depth}}, "max_output_tokens": 100}),
    ] {
        let whole = ask(&server, json!("Hi"), options.clone()).json();
        let mut streaming = options.clone();
        streaming["stream"] = json!(true);
        let events = events(&ask(&server, json!("Hi"), streaming));
        let (first, last) = (&events[0], &events[events.len() - 1]);
        assert_eq!(first["type"], "response.created");
        assert_eq!(first["response"]["id"], last["response"]["id"]);
        assert_eq!(last["response"]["usage"], whole["usage"], "{options}");
        let mut told = String::new();
        for event in &events {
            match event["type"].as_str().expect("a type") {
                "response.output_text.delta" | "response.function_call_arguments.delta" => {
                    told.push_str(event["delta"].as_str().expect("a text"));
                }
                "response.output_text.done" => assert_eq!(event["text"], told),
                "response.function_call_arguments.done" => assert_eq!(event["arguments"], told),
                _ => {}
            }
        }
        let item = &whole["output"][0];
        if options.get("tools").is_some() {
            assert_eq!(
                (&item["type"], &item["name"]),
                (&json!("function_call"), &json!("depth"))
            );
            assert_eq!(item["arguments"], told);
            let result = json!([
                {"role": "user", "content": "How deep?"},
                item,
                {"type": "function_call_output", "call_id": item["call_id"], "output": "10"},
            ]);
            let after = ask(&server, result, json!({"tools": [tool]}));
            assert_eq!(after.status, 200, "{}", after.text);
        } else {
            assert_eq!(text(&whole), told);
        }
        if options.get("tools").is_some() || options.get("text").is_some() {
            let value: Value = serde_json::from_str(&told).expect(&told);
            assert!(value["m"].is_i64());
        }
    }
}

#[test]
fn what_is_too_long_is_refused_or_cut_as_asked() {
    let server = start_with(128, |_| {});
    let rows: Vec<Value> = (0..20)
        .map(|_| json!({"role": "user", "content": "The turtle grazes on sea grass nearby."}))
        .collect();
    let refused = ask(&server, json!(rows), json!({}));
    assert_eq!(refused.json()["error"]["code"], "context_length_exceeded");
    let cut = ask(&server, json!(rows), json!({"truncation": "auto"}));
    assert_eq!(cut.status, 200, "{}", cut.text);
}

#[test]
fn wrong_responses_are_refused() {
    let server = start();
    for (what, input, more) in [
        ("no input", Value::Null, json!({})),
        ("a number", json!(4), json!({})),
        ("no items", json!([]), json!({})),
        (
            "an unknown item",
            json!([{"type": "computer_call"}]),
            json!({}),
        ),
        ("no role", json!([{"content": "a"}]), json!({})),
        (
            "an image",
            json!([{"role": "user", "content": [{"type": "input_image"}]}]),
            json!({}),
        ),
        (
            "a call without a name",
            json!([{"type": "function_call", "call_id": "c"}]),
            json!({}),
        ),
        (
            "a result without a call",
            json!([{"type": "function_call_output", "output": "a"}]),
            json!({}),
        ),
        (
            "an unknown truncation",
            json!("a"),
            json!({"truncation": "some"}),
        ),
        ("background", json!("a"), json!({"background": true})),
        ("a conversation", json!("a"), json!({"conversation": "c"})),
        (
            "another tool",
            json!("a"),
            json!({"tools": [{"type": "web_search"}]}),
        ),
        (
            "no schema's name",
            json!("a"),
            json!({"text": {"format": {"type": "json_schema", "schema": {}}}}),
        ),
    ] {
        let reply = ask(&server, input, more);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text);
        assert!(reply.json()["error"]["param"].is_string(), "{what}");
    }
}
