//! Vectors and tokens over a real connection.

mod common;

use std::path::Path;

use common::{CONTEXT, ENCODER, ENCODER_FOLDER, MODEL, Running, start_with_encoder};
use serde_json::{Value, json};

fn start() -> Running {
    start_with_encoder(CONTEXT, |_| {})
}

fn embed(server: &Running, input: Value, more: Value) -> common::Reply {
    let mut body = json!({"model": ENCODER, "input": input});
    body.as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    server.post("/v1/embeddings", &body)
}

fn vectors(reply: &Value) -> Vec<Vec<f32>> {
    let rows = reply["data"].as_array().expect("a list");
    rows.iter()
        .map(|row| serde_json::from_value(row["embedding"].clone()).expect("numbers"))
        .collect()
}

#[test]
fn vectors_are_those_of_sentence_transformers_in_every_form() {
    let server = start();
    let expected = std::fs::read_to_string(Path::new(ENCODER_FOLDER).join("expected.json"));
    let expected: Value = serde_json::from_str(&expected.expect("a fixture")).expect("JSON");
    // The first texts are short enough not to be cut.
    let texts = &expected["texts"].as_array().expect("texts")[..2];
    let inputs: Vec<&Value> = texts.iter().map(|text| &text["text"]).collect();
    let ids: Vec<&Value> = texts.iter().map(|text| &text["ids"]).collect();
    let reply = embed(&server, json!(inputs), json!({}));
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = reply.json();
    assert_eq!(
        (&reply["object"], &reply["model"]),
        (&json!("list"), &json!(ENCODER))
    );
    assert!(reply["usage"]["prompt_tokens"].as_u64() > Some(2));
    let found = vectors(&reply);
    for (ours, text) in found.iter().zip(texts) {
        let theirs: Vec<f32> = serde_json::from_value(text["embedding"].clone()).expect("numbers");
        assert!(knowledge_cosine(ours, &theirs) > 0.99999);
    }
    assert_eq!(
        vectors(&embed(&server, inputs[0].clone(), json!({})).json())[0],
        found[0]
    );
    assert_eq!(
        vectors(&embed(&server, json!(ids), json!({})).json()),
        found
    );
    assert_eq!(
        vectors(&embed(&server, ids[0].clone(), json!({})).json())[0],
        found[0]
    );
    let short = vectors(&embed(&server, json!(inputs), json!({"dimensions": 4})).json());
    assert_eq!(short[0].len(), 4);
    let length: f32 = short[0].iter().map(|value| value * value).sum();
    assert!((length - 1.0).abs() < 1e-5);
    let reply = embed(&server, json!(inputs), json!({"encoding_format": "base64"})).json();
    let text = reply["data"][0]["embedding"].as_str().expect("a text");
    assert_eq!(text.len(), (found[0].len() * 4).div_ceil(3) * 4);
}

fn knowledge_cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn models_of_both_kinds_are_listed_and_told_apart() {
    let server = start();
    let names: Vec<Value> = server.get("/v1/models").json()["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(names, [json!(MODEL), json!(ENCODER)]);
    assert!(server.get("/v1/models/bert").json()["dimensions"].is_u64());
    let chat = server.chat("Hi", json!({"model": ENCODER}));
    let vectors = embed(&server, json!("Hi"), json!({"model": MODEL}));
    for reply in [chat, vectors] {
        assert_eq!(reply.status, 400, "{}", reply.text);
        assert_eq!(reply.json()["error"]["param"], "model");
    }
}

#[test]
fn wrong_inputs_are_refused() {
    let server = start();
    for (what, input, more) in [
        ("nothing", Value::Null, json!({})),
        ("a number", json!(4), json!({})),
        ("no inputs", json!([]), json!({})),
        ("an empty text", json!(["a", ""]), json!({})),
        ("a mixture", json!(["a", 1]), json!({})),
        ("an id outside", json!([1, 9_999_999]), json!({})),
        ("a negative id", json!([-1]), json!({})),
        ("no ids", json!([[]]), json!({})),
        ("too long", json!("reef ".repeat(5000)), json!({})),
        ("too many", json!(vec!["a"; 3000]), json!({})),
        ("no dimensions", json!("a"), json!({"dimensions": 0})),
        (
            "too many dimensions",
            json!("a"),
            json!({"dimensions": 9999}),
        ),
        (
            "an unknown format",
            json!("a"),
            json!({"encoding_format": "hex"}),
        ),
        (
            "an unknown prompt",
            json!("a"),
            json!({"prompt_name": "none"}),
        ),
    ] {
        let reply = embed(&server, input, more);
        assert_eq!(reply.status, 400, "{what}: {}", reply.text);
    }
    let long = json!("reef ".repeat(5000));
    let cut = embed(&server, long, json!({"truncate_prompt_tokens": -1}));
    assert_eq!(cut.status, 200, "{}", cut.text);
    let unknown = embed(&server, json!("a"), json!({"model": "nobody"}));
    assert_eq!(unknown.status, 404);
}

#[test]
fn a_client_without_a_tokenizer_can_use_ours() {
    let server = start();
    let engine = common::engine("ids", CONTEXT);
    let tokenizer = engine.tokenizer();
    let told = server.post(
        "/tokenize",
        &json!({"model": MODEL, "prompt": "The reef <|im_end|>", "return_token_strs": true}),
    );
    assert_eq!(told.status, 200, "{}", told.text);
    let told = told.json();
    let ids = tokenizer.encode("The reef <|im_end|>").expect("ids");
    assert_eq!(told["tokens"], json!(ids));
    assert_eq!(
        (&told["count"], &told["max_model_len"]),
        (&json!(ids.len()), &json!(CONTEXT))
    );
    assert_eq!(
        told["token_strs"].as_array().expect("texts").len(),
        ids.len()
    );
    let text = server.post("/detokenize", &json!({"tokens": ids})).json();
    assert_eq!(text["prompt"], "The reef <|im_end|>");
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let chat = server
        .post("/tokenize", &json!({"messages": messages}))
        .json();
    let usage = server.chat("Hi", json!({})).json()["usage"]["prompt_tokens"].clone();
    assert_eq!(chat["count"], usage);
    let info = server.get("/tokenizer_info?model=tiny").json();
    let end = info["eos_token"].as_str().expect("a token").to_owned();
    assert!(info["chat_template"].is_string());
    let id = server.post(
        "/tokenize",
        &json!({"prompt": end, "add_special_tokens": false}),
    );
    assert_eq!(id.json()["tokens"], json!([tokenizer.end_of_text()]));
    for (path, body) in [
        ("/tokenize", json!({})),
        ("/tokenize", json!({"prompt": "a", "messages": messages})),
        ("/tokenize", json!({"prompt": 4})),
        ("/detokenize", json!({})),
        ("/detokenize", json!({"tokens": ["a"]})),
    ] {
        assert_eq!(server.post(path, &body).status, 400, "{path} {body}");
    }
}
