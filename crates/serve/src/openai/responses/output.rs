//! A response's output as it grows: its items, and the events that tell of them.

use serde_json::{Value, json};

use super::super::conversation::written_arguments;
use super::super::tools::Piece;
use super::super::turn::Turn;
use crate::identifier;

/// The items of one response.
#[derive(Default)]
pub(super) struct Output {
    pub(super) items: Vec<Value>,
    open: Open,
}

/// Which item is being told.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Open {
    #[default]
    Nothing,
    Message,
    Call,
}

impl Output {
    /// Takes in a part of the answer; the events tell it.
    pub(super) fn take(&mut self, piece: Piece, turn: &Turn) -> Vec<Value> {
        let mut events = Vec::new();
        match piece {
            Piece::Text(text) => {
                if self.open != Open::Message {
                    self.close("completed", &mut events);
                    self.begin(
                        Open::Message,
                        json!({
                            "id": identifier::random("msg_"),
                            "type": "message",
                            "status": "in_progress",
                            "role": "assistant",
                            "content": [],
                        }),
                        &mut events,
                    );
                    let part = text_part("");
                    events.push(self.event(
                        "response.content_part.added",
                        json!({"content_index": 0, "part": part}),
                    ));
                    self.last()["content"] = json!([part]);
                }
                events.push(self.event(
                    "response.output_text.delta",
                    json!({"content_index": 0, "delta": text, "logprobs": []}),
                ));
                append(&mut self.last()["content"][0]["text"], &text);
            }
            Piece::Call { name, .. } => {
                self.close("completed", &mut events);
                self.begin(
                    Open::Call,
                    json!({
                        "id": identifier::random("fc_"),
                        "type": "function_call",
                        "status": "in_progress",
                        "call_id": turn.call_id(),
                        "name": name,
                        "arguments": "",
                    }),
                    &mut events,
                );
            }
            Piece::Arguments { fragment, .. } => {
                events.push(self.event(
                    "response.function_call_arguments.delta",
                    json!({"delta": fragment}),
                ));
                append(&mut self.last()["arguments"], &fragment);
            }
        }
        events
    }

    /// Ends the item under way.
    pub(super) fn close(&mut self, status: &str, events: &mut Vec<Value>) {
        let open = std::mem::take(&mut self.open);
        if open == Open::Nothing {
            return;
        }
        self.last()["status"] = json!(status);
        let item = self.last().clone();
        if open == Open::Message {
            let part = item["content"][0].clone();
            events.push(self.event(
                "response.output_text.done",
                json!({"content_index": 0, "text": part["text"], "logprobs": []}),
            ));
            events.push(self.event(
                "response.content_part.done",
                json!({"content_index": 0, "part": part}),
            ));
        } else {
            events.push(self.event(
                "response.function_call_arguments.done",
                json!({"name": item["name"], "arguments": item["arguments"]}),
            ));
        }
        let index = self.items.len() - 1;
        events.push(
            json!({"type": "response.output_item.done", "output_index": index, "item": item}),
        );
    }

    /// What was said as a message of the conversation.
    pub(super) fn message(&self) -> Value {
        let texts = self.items.iter().filter(|item| item["type"] == "message");
        let text: String = texts
            .filter_map(|item| item["content"][0]["text"].as_str())
            .collect();
        let calls: Vec<Value> = self
            .items
            .iter()
            .filter(|item| item["type"] == "function_call")
            .map(|item| {
                let arguments = written_arguments(item["arguments"].as_str().unwrap_or_default());
                json!({
                    "id": item["call_id"],
                    "type": "function",
                    "function": {"name": item["name"], "arguments": arguments},
                })
            })
            .collect();
        let mut message = json!({"role": "assistant", "content": text});
        if !calls.is_empty() {
            message["tool_calls"] = Value::Array(calls);
        }
        message
    }

    fn begin(&mut self, open: Open, item: Value, events: &mut Vec<Value>) {
        let index = self.items.len();
        events.push(
            json!({"type": "response.output_item.added", "output_index": index, "item": item}),
        );
        self.items.push(item);
        self.open = open;
    }

    /// The item under way.
    fn last(&mut self) -> &mut Value {
        if self.items.is_empty() {
            // Arguments without a call do not come; nothing is told of them then.
            self.items.push(json!({}));
        }
        let at = self.items.len() - 1;
        &mut self.items[at]
    }

    /// An event about the item under way.
    fn event(&mut self, kind: &str, more: Value) -> Value {
        let id = self.last()["id"].clone();
        let index = self.items.len() - 1;
        let mut event = json!({"type": kind, "item_id": id, "output_index": index});
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn append(told: &mut Value, more: &str) {
    if let Value::String(told) = told {
        told.push_str(more);
    }
}
