//! The OpenAPI document against the server that it describes.

mod common;

use std::collections::BTreeMap;

use common::{CONTEXT, ENCODER, MODEL, start_with_encoder};
use serde_json::{Value, json};

/// A schema's properties, those of what it is put together from among them.
fn properties(document: &Value, schema: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        found.extend(properties(
            document,
            &document["components"]["schemas"][name],
        ));
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        found.extend(properties(document, part));
    }
    let own = schema["properties"].as_object().into_iter().flatten();
    found.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    found
}

#[test]
fn every_path_is_there_and_every_bound_is_kept() {
    let server = start_with_encoder(CONTEXT, |_| {});
    let document = server.get("/openapi.json");
    assert_eq!(document.status, 200);
    let document = document.json();
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 9, "{:?}", paths.keys());
    let mut bounds = 0;
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let reply = server.send(&method.to_uppercase(), path, &[], "{}");
            let told = reply.json();
            let code = told["error"]["code"].as_str().unwrap_or_default();
            assert!(
                !matches!(code, "unknown_url" | "method_not_supported"),
                "{method} {path}"
            );
            assert!(
                operation["responses"][reply.status.to_string()].is_object(),
                "{path}: {}",
                reply.text
            );
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_null() {
                continue;
            }
            let fields = properties(&document, schema);
            assert!(!fields.is_empty(), "{path}: {schema}");
            for (name, field) in fields {
                let beyond = [
                    field["maximum"].as_f64().map(|most| most + 1.0),
                    field["minimum"].as_f64().map(|least| least - 1.0),
                ];
                for value in beyond.into_iter().flatten() {
                    let mut body = json!({
                        "model": if path == "/v1/embeddings" { ENCODER } else { MODEL },
                        "messages": [{"role": "user", "content": "Hi"}],
                        "prompt": "Hi", "input": "Hi", "logprobs": path == "/v1/chat/completions",
                    });
                    if path == "/v1/completions" {
                        body["logprobs"] = Value::Null;
                    }
                    if path == "/v1/responses" {
                        body["prompt"] = Value::Null;
                    }
                    let whole = field["type"].to_string().contains("integer");
                    body[&name] = if whole {
                        json!(value as i64)
                    } else {
                        json!(value)
                    };
                    let reply = server.post(path, &body);
                    assert_eq!(reply.status, 400, "{path} {name} {value}: {}", reply.text);
                    assert_eq!(
                        reply.json()["error"]["param"],
                        json!(name),
                        "{path}: {}",
                        reply.text
                    );
                    bounds += 1;
                }
            }
        }
    }
    assert!(bounds > 30, "{bounds} bounds were tried");
}

#[test]
fn a_page_tries_it() {
    let server = start_with_encoder(CONTEXT, |_| {});
    let page = server.get("/docs");
    assert!(
        page.headers["content-type"]
            .to_str()
            .is_ok_and(|kind| kind.starts_with("text/html"))
    );
    assert!(page.text.contains("/openapi.json"));
}
