//! How answers are chosen and which form they have, over a real connection.

mod common;

use common::{CONTEXT, start};
use serde_json::{Value, json};

fn content(reply: &Value) -> &str {
    reply["choices"][0]["message"]["content"]
        .as_str()
        .expect("a text")
}

#[test]
fn every_sampling_field_has_its_effect() {
    let server = start(|_| {});
    let said = |options: Value| {
        let reply = server.chat("What is open?", options);
        assert_eq!(reply.status, 200, "{}", reply.text);
        content(&reply.json()).to_owned()
    };
    let plain = said(json!({"temperature": 1.5}));
    for changed in [
        json!({"temperature": 1.5, "typical_p": 0.2}),
        json!({"temperature": 1.5, "min_p": 0.9}),
        json!({"temperature": 1.5, "top_k": 2}),
        json!({"temperature": 1.5, "top_p": 0.1}),
        json!({"temperature": 1.5, "presence_penalty": 2}),
        json!({"temperature": 1.5, "frequency_penalty": 2}),
        json!({"temperature": 1.5, "repetition_penalty": 8}),
        json!({"temperature": 1.5, "dry_multiplier": 50, "dry_allowed_length": 0, "dry_sequence_breakers": []}),
    ] {
        assert_ne!(said(changed.clone()), plain, "{changed}");
    }
    let tokenizer = common::engine("ids", CONTEXT).tokenizer().clone();
    let id = tokenizer.encode("reef").expect("ids")[0];
    let bias = json!({"temperature": 0, "max_tokens": 3, "logit_bias": {id.to_string(): 100}});
    let expected = tokenizer.decode(&[id; 3]).expect("a text");
    assert_eq!(said(bias.clone()), expected);
    let mut stopped = bias;
    stopped["stop_token_ids"] = json!([id]);
    assert_eq!(said(stopped), "");
}

#[test]
fn answers_have_the_form_that_is_asked_for() {
    let server = start(|_| {});
    let schema = json!({
        "type": "object",
        "properties": {"open": {"type": "boolean"}, "depth": {"enum": [5, 10]}},
        "required": ["open", "depth"],
        "additionalProperties": false,
    });
    let format = json!({"type": "json_schema", "json_schema": {"name": "reef", "schema": schema, "strict": true}});
    for (form, stream) in [
        (json!({"response_format": format}), false),
        (json!({"response_format": format}), true),
        (json!({"guided_json": schema.to_string()}), false),
        (json!({"structured_outputs": {"json": schema}}), false),
    ] {
        let mut options = form;
        options["temperature"] = json!(1.5);
        options["max_tokens"] = json!(100);
        options["stream"] = json!(stream);
        let reply = server.chat("Is the reef open?", options);
        assert_eq!(reply.status, 200, "{}", reply.text);
        let text = if stream {
            let pieces = reply.events();
            let pieces = pieces
                .iter()
                .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
            pieces.collect::<String>()
        } else {
            content(&reply.json()).to_owned()
        };
        let value: Value = serde_json::from_str(&text).expect(&text);
        assert!(value["open"].is_boolean() && value["depth"].as_i64() > Some(0));
    }
    for (form, expected) in [
        (json!({"guided_regex": "[0-9]{3}"}), 3),
        (json!({"guided_choice": ["turtle", "lizard"]}), 6),
        (json!({"guided_grammar": "start: \"ab\" \"cd\""}), 4),
    ] {
        let mut options = form;
        options["temperature"] = json!(1.5);
        let reply = server.chat("Well?", options.clone());
        assert_eq!(content(&reply.json()).len(), expected, "{options}");
        let reply = server.complete(json!("Well, "), options.clone()).json();
        let text = reply["choices"][0]["text"].as_str().expect("a text");
        assert_eq!(text.len(), expected, "{options}");
    }
}

#[test]
fn the_best_of_several_is_told() {
    let server = start(|_| {});
    let ask = |options: Value| {
        server
            .complete(json!(["The reef", "A turtle"]), options)
            .json()
    };
    let all = ask(json!({"n": 4, "logprobs": 0, "temperature": 1.5}));
    let best = ask(json!({"n": 2, "best_of": 4, "temperature": 1.5}));
    let mean = |choice: &Value| {
        let told = choice["logprobs"]["token_logprobs"]
            .as_array()
            .expect("a list");
        told.iter().filter_map(Value::as_f64).sum::<f64>() / told.len() as f64
    };
    let mut first: Vec<&Value> = all["choices"].as_array().expect("choices")[..4]
        .iter()
        .collect();
    first.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    let told = best["choices"].as_array().expect("choices");
    assert_eq!(told.len(), 4, "two of each prompt");
    assert_eq!(told[0]["text"], first[0]["text"]);
    assert_eq!(told[1]["text"], first[1]["text"]);
    assert_eq!(
        best["usage"]["completion_tokens"],
        all["usage"]["completion_tokens"]
    );
}

/// What lm-evaluation-harness's `local-completions` sends, and what it reads of the answer.
#[test]
fn an_evaluation_harness_can_score_continuations() {
    let server = start(|_| {});
    let engine = common::engine("scores", CONTEXT);
    let encode = |text| engine.tokenizer().encode(text).expect("ids");
    let pairs = [
        ("The reef is", " open"),
        ("A turtle", " grazes on sea grass"),
    ];
    let prompts: Vec<Vec<u32>> = pairs
        .iter()
        .map(|(context, continuation)| [encode(context), encode(continuation)].concat())
        .collect();
    let options =
        json!({"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": true});
    let reply = server.complete(json!(prompts), options).json();
    for (number, (context, continuation)) in pairs.iter().enumerate() {
        let begin = encode(context).len();
        let columns = &reply["choices"][number]["logprobs"];
        let told = columns["token_logprobs"].as_array().expect("a list");
        let top = columns["top_logprobs"].as_array().expect("a list");
        assert_eq!(
            told.len(),
            prompts[number].len() + 1,
            "one token behind the prompt"
        );
        let scored = engine
            .score(&[(encode(context), encode(continuation))])
            .expect("scores");
        let scored: Vec<f64> = scored[0].iter().map(|&score| f64::from(score)).collect();
        let told = &told[begin..told.len() - 1];
        assert_eq!(
            told.iter()
                .filter_map(Value::as_f64)
                .map(|told| told as f32 as f64)
                .collect::<Vec<_>>(),
            scored
        );
        for (told, top) in told.iter().zip(&top[begin..]) {
            let top = top.as_object().expect("the likeliest token");
            assert!(top.values().all(|top| top.as_f64() >= told.as_f64()));
        }
    }
}
