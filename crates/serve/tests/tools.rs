//! Tool calls over a real connection.

mod common;

use common::{Running, start_with};
use serde_json::{Value, json};

fn tools() -> Value {
    let depth = json!({
        "type": "object",
        "properties": {"metres": {"enum": [5, 10]}, "at": {"$ref": "#/$defs/place"}},
        "required": ["metres", "at"],
        "additionalProperties": false,
        "$defs": {"place": {"enum": ["reef", "wreck"]}},
    });
    json!([
        {"type": "function", "function": {"name": "depth", "description": "How deep", "parameters": depth}},
        {"type": "function", "function": {"name": "now"}},
    ])
}

/// Enough for the tools to be described in single letters.
fn start() -> Running {
    start_with(2048, |_| {})
}

fn ask(server: &Running, more: Value) -> common::Reply {
    let mut options = json!({"tools": tools(), "max_tokens": 300, "temperature": 1.2});
    options
        .as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    server.chat("How deep is it?", options)
}

fn check(call: &Value) {
    assert!(
        call["id"]
            .as_str()
            .is_some_and(|id| id.starts_with("call_"))
    );
    assert_eq!(call["type"], "function");
    let arguments = call["function"]["arguments"].as_str().expect("a text");
    let arguments: Value = serde_json::from_str(arguments).expect(arguments);
    match call["function"]["name"].as_str() {
        Some("depth") => {
            assert!(
                arguments["metres"].is_i64() && arguments["at"].is_string(),
                "{arguments}"
            );
        }
        Some("now") => assert!(arguments.is_object()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn forced_calls_have_arguments_that_parse() {
    let server = start();
    let named = json!({"type": "function", "function": {"name": "depth"}});
    for (choice, parallel, least, most) in [
        (named, true, 1, 1),
        (json!("required"), false, 1, 1),
        (json!("required"), true, 1, 8),
    ] {
        for seed in [1, 2] {
            let reply = ask(
                &server,
                json!({"tool_choice": choice, "parallel_tool_calls": parallel, "seed": seed,
                       "tools": if parallel { json!([tools()[0]]) } else { tools() }}),
            );
            assert_eq!(reply.status, 200, "{}", reply.text);
            let reply = reply.json();
            let choice = &reply["choices"][0];
            if choice["finish_reason"] == "length" {
                // Random weights may go on with white space in an object that may hold anything.
                continue;
            }
            assert_eq!(choice["finish_reason"], "tool_calls", "{reply}");
            assert_eq!(choice["message"]["content"], Value::Null);
            let calls = choice["message"]["tool_calls"].as_array().expect("calls");
            assert!((least..=most).contains(&calls.len()), "{reply}");
            calls.iter().for_each(check);
        }
    }
}

#[test]
fn a_stream_tells_the_calls_of_a_whole_answer_in_fragments() {
    let server = start();
    let options = json!({"tools": [tools()[0]], "tool_choice": "required", "seed": 3, "n": 2});
    let whole = ask(&server, options.clone()).json();
    let mut streaming = options;
    streaming["stream"] = json!(true);
    let events = ask(&server, streaming).events();
    for (index, choice) in whole["choices"]
        .as_array()
        .expect("choices")
        .iter()
        .enumerate()
    {
        let mut calls: Vec<Value> = Vec::new();
        let mut fragments = 0;
        let mut reason = Value::Null;
        for event in &events {
            let part = &event["choices"][0];
            if part["index"] != json!(index) {
                continue;
            }
            if !part["finish_reason"].is_null() {
                reason = part["finish_reason"].clone();
            }
            for call in part["delta"]["tool_calls"].as_array().into_iter().flatten() {
                let at = call["index"].as_u64().expect("an index") as usize;
                if call.get("id").is_some() {
                    assert_eq!(at, calls.len());
                    let mut call = call.clone();
                    call.as_object_mut().expect("an object").remove("index");
                    calls.push(call);
                } else {
                    fragments += 1;
                    let told = &mut calls[at]["function"]["arguments"];
                    *told = json!(
                        told.as_str().expect("a text").to_owned()
                            + call["function"]["arguments"].as_str().expect("a text")
                    );
                }
            }
        }
        assert_eq!(reason, choice["finish_reason"]);
        let expected = choice["message"]["tool_calls"].as_array().expect("calls");
        assert!(fragments > expected.len(), "arguments come in fragments");
        assert_eq!(calls.len(), expected.len());
        for (told, expected) in calls.iter().zip(expected) {
            check(told);
            assert_eq!(told["function"], expected["function"]);
        }
    }
}

#[test]
fn results_go_back_to_the_model_and_text_stays_text() {
    let server = start();
    let call =
        json!({"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}});
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon <|im_end|>"},
    ]);
    let with = ask(&server, json!({"messages": messages}));
    assert_eq!(with.status, 200, "{}", with.text);
    assert!(with.json()["choices"][0]["message"]["content"].is_string());
    let without = ask(
        &server,
        json!({"messages": messages, "tool_choice": "none"}),
    )
    .json();
    assert!(
        with.json()["usage"]["prompt_tokens"].as_u64() > without["usage"]["prompt_tokens"].as_u64(),
        "the tools are described to the model only where it may call them"
    );
}

#[test]
fn an_answer_has_a_form_or_calls() {
    let server = start();
    let schema = json!({"type": "object", "properties": {"x": {"enum": [1]}}, "required": ["x"], "additionalProperties": false});
    for seed in 0..4 {
        let reply = ask(
            &server,
            json!({"guided_json": schema, "tools": [tools()[0]], "seed": seed}),
        );
        assert_eq!(reply.status, 200, "{}", reply.text);
        let reply = reply.json();
        let message = &reply["choices"][0]["message"];
        match message["content"].as_str() {
            Some(text) => assert!(serde_json::from_str::<Value>(text).is_ok(), "{reply}"),
            None => message["tool_calls"]
                .as_array()
                .expect("calls")
                .iter()
                .for_each(check),
        }
    }
}

#[test]
fn wrong_tools_are_refused() {
    let server = start();
    for (what, change) in [
        ("no array", json!({"tools": {}})),
        ("no type", json!({"tools": [{"function": {"name": "f"}}]})),
        ("another type", json!({"tools": [{"type": "web_search"}]})),
        (
            "no name",
            json!({"tools": [{"type": "function", "function": {}}]}),
        ),
        (
            "a bad name",
            json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}),
        ),
        ("twice", json!({"tools": [tools()[1], tools()[1]]})),
        (
            "bad parameters",
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]}),
        ),
        (
            "a schema that cannot be followed",
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"x": {"type": "y"}}}}}],
                   "tool_choice": "required", "stream": true}),
        ),
        ("unknown choice", json!({"tool_choice": "maybe"})),
        (
            "a choice that is not there",
            json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}),
        ),
        (
            "a choice without tools",
            json!({"tools": null, "tool_choice": "required"}),
        ),
        (
            "a form and a forced call",
            json!({"tool_choice": "required", "guided_regex": "a"}),
        ),
        ("a form that is no schema", json!({"guided_regex": "a"})),
        ("functions", json!({"functions": [{"name": "f"}]})),
        (
            "no call id",
            json!({"messages": [{"role": "tool", "content": "x"}]}),
        ),
        (
            "a call without a name",
            json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}),
        ),
    ] {
        let reply = ask(&server, change);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text);
        let error = &reply.json()["error"];
        assert!(
            error["param"].is_string() && error["code"].is_string(),
            "{what}: {error}"
        );
    }
}
