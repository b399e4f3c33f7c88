//! A response's `input`: a text, or items, as the messages of a conversation.

use serde_json::{Value, json};

use super::super::ApiError;
use super::super::conversation::{Conversation, content};

type Result<T> = std::result::Result<T, ApiError>;

/// The messages that `input` holds.
pub(super) fn read(input: &Value) -> Result<Vec<Value>> {
    let items = match input {
        Value::String(text) => return Ok(vec![json!({"role": "user", "content": text})]),
        Value::Array(items) => items,
        other => {
            return Err(ApiError::wrong_type(
                "input",
                "a string or an array of items",
                other,
            ));
        }
    };
    let mut rows: Vec<Value> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let at = format!("input[{index}]");
        let kind = item.get("type").and_then(Value::as_str);
        match kind.unwrap_or("message") {
            "message" => rows.push(item.clone()),
            "function_call" => {
                let call = json!({
                    "id": item.get("call_id"),
                    "type": "function",
                    "function": {"name": item.get("name"), "arguments": item.get("arguments")},
                });
                // Calls stand in the message of the assistant that made them.
                let last = rows.last_mut().filter(|last| last["role"] == "assistant");
                match last.and_then(Value::as_object_mut) {
                    Some(last) => {
                        let calls = last.entry("tool_calls").or_insert_with(|| json!([]));
                        if let Some(calls) = calls.as_array_mut() {
                            calls.push(call);
                        }
                    }
                    None => rows
                        .push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
                }
            }
            "function_call_output" => {
                let mut output = item.as_object().cloned().unwrap_or_default();
                let told = output.shift_remove("output").unwrap_or(Value::Null);
                output.insert("content".to_owned(), told);
                rows.push(json!({
                    "role": "tool",
                    "tool_call_id": item.get("call_id"),
                    "content": content(&format!("{at}.output"), &output, "tool")?,
                }));
            }
            // What another model thought is not for this one.
            "reasoning" => {}
            other => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'message', 'function_call', \
                     'function_call_output', and 'reasoning'."
                );
                return Err(ApiError::field(
                    &format!("{at}.type"),
                    "invalid_value",
                    message,
                ));
            }
        }
    }
    Ok(Conversation::read(&Value::Array(rows), "input")?.messages)
}

/// The messages with instructions before them.
pub(super) fn instructed(instructions: Option<&str>, messages: &[Value]) -> Conversation {
    let mut messages = messages.to_vec();
    if let Some(instructions) = instructions.filter(|text| !text.is_empty()) {
        match messages.first_mut() {
            // Many templates take one message of the system, and at the beginning only.
            Some(first) if first["role"] == "system" => {
                let own = first["content"].as_str().unwrap_or_default();
                first["content"] = json!(format!("{instructions}\n\n{own}"));
            }
            _ => messages.insert(0, json!({"role": "system", "content": instructions})),
        }
    }
    Conversation { messages }
}
