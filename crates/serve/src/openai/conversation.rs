//! The messages of a conversation, read and made into what the model reads.

use serde_json::{Map, Value, json};
use tokenizer::{Message, Tokenizer};

use super::ApiError;
use super::tools::{Tools, instruction};

type Result<T> = std::result::Result<T, ApiError>;

const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];

/// A conversation as templates take it: `role`, `content`, and for tools `tool_calls`, `tool_call_id` and `name`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Value>,
}

impl Conversation {
    /// Reads a request's messages, which are the field `param`.
    pub(crate) fn read(value: &Value, param: &str) -> Result<Conversation> {
        let rows = value
            .as_array()
            .ok_or_else(|| ApiError::wrong_type(param, "an array of objects", value))?;
        if rows.is_empty() {
            let message = format!(
                "Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array \
                 instead."
            );
            return Err(ApiError::field(param, "empty_array", message));
        }
        let messages = rows
            .iter()
            .enumerate()
            .map(|(index, row)| message(&format!("{param}[{index}]"), row));
        Ok(Conversation {
            messages: messages.collect::<Result<_>>()?,
        })
    }

    /// The ids that the model reads, up to where it is to speak. `param` is the field that is refused with it.
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        tools: Option<&Tools>,
        param: &str,
    ) -> Result<Vec<u32>> {
        let plain = tools.is_none() && !self.messages.iter().any(is_about_tools);
        let ids = if plain {
            tokenizer.encode_chat(&self.spoken(), true)
        } else if tokenizer.chat_template().takes_tools() {
            let definitions = tools.map_or(&[][..], |tools| &tools.definitions);
            tokenizer.encode_chat_with_tools(&self.messages, definitions, true)
        } else {
            tokenizer.encode_chat(&self.told(tools), true)
        };
        ids.map_err(|error| {
            ApiError::field(
                param,
                "invalid_value",
                format!("The model's chat template refused the messages: {error}."),
            )
        })
    }

    /// Roles and texts alone, as they are stored.
    pub(crate) fn spoken(&self) -> Vec<Message> {
        self.messages
            .iter()
            .map(|message| Message::new(text_of(message, "role"), text_of(message, "content")))
            .collect()
    }

    /// For templates that know nothing of tools: these are described in the system's turn, calls stand in the
    /// assistant's text, and results in the user's.
    fn told(&self, tools: Option<&Tools>) -> Vec<Message> {
        let mut told: Vec<Message> = Vec::new();
        let mut results = false;
        for message in &self.messages {
            let (role, mut content) = (
                text_of(message, "role"),
                text_of(message, "content").to_owned(),
            );
            let is_result = matches!(role, "tool" | "function");
            if is_result {
                content = format!("<tool_response>\n{content}\n</tool_response>");
            }
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                let call = json!({"name": function["name"], "arguments": function["arguments"]});
                if !content.is_empty() {
                    content.push('\n');
                }
                content.push_str(&format!("<tool_call>\n{call}\n</tool_call>"));
            }
            match told.last_mut() {
                Some(last) if is_result && results => {
                    last.content.push('\n');
                    last.content.push_str(&content);
                }
                _ => told.push(Message::new(if is_result { "user" } else { role }, content)),
            }
            results = is_result;
        }
        if let Some(tools) = tools {
            let words = instruction(&tools.definitions);
            match told.first_mut() {
                Some(first) if first.role == "system" => {
                    first.content = format!("{}\n\n{words}", first.content);
                }
                _ => told.insert(0, Message::new("system", words)),
            }
        }
        told
    }
}

fn text_of<'message>(message: &'message Value, name: &str) -> &'message str {
    message[name].as_str().unwrap_or_default()
}

fn is_about_tools(message: &Value) -> bool {
    message.get("tool_calls").is_some() || matches!(text_of(message, "role"), "tool" | "function")
}

fn message(at: &str, row: &Value) -> Result<Value> {
    let row = row
        .as_object()
        .ok_or_else(|| ApiError::wrong_type(at, "an object", row))?;
    let role_at = format!("{at}.role");
    let role = match row.get("role") {
        None | Some(Value::Null) => return Err(ApiError::missing(&role_at)),
        Some(Value::String(role)) => role.as_str(),
        Some(other) => return Err(ApiError::wrong_type(&role_at, "a string", other)),
    };
    if !ROLES.contains(&role) {
        let supported = ROLES.map(|role| format!("'{role}'")).join(", ");
        let message = format!("Invalid value: '{role}'. Supported values are: {supported}.");
        return Err(ApiError::field(&role_at, "invalid_value", message));
    }
    let role = if role == "developer" { "system" } else { role };
    let content = content(&format!("{at}.content"), row, role)?;
    let mut message = json!({"role": role, "content": content});
    if role == "assistant"
        && let Some(calls) = row.get("tool_calls").filter(|calls| !calls.is_null())
    {
        let at = format!("{at}.tool_calls");
        let calls = calls
            .as_array()
            .ok_or_else(|| ApiError::wrong_type(&at, "an array of objects", calls))?;
        let calls = calls
            .iter()
            .enumerate()
            .map(|(index, call)| self::call(&format!("{at}[{index}]"), call));
        let calls = calls.collect::<Result<Vec<_>>>()?;
        if !calls.is_empty() {
            message["tool_calls"] = Value::Array(calls);
        }
    }
    if role == "tool" {
        match row.get("tool_call_id") {
            Some(id @ Value::String(_)) => message["tool_call_id"] = id.clone(),
            None | Some(Value::Null) => {
                return Err(ApiError::missing(&format!("{at}.tool_call_id")));
            }
            Some(other) => {
                return Err(ApiError::wrong_type(
                    &format!("{at}.tool_call_id"),
                    "a string",
                    other,
                ));
            }
        }
    }
    if matches!(role, "tool" | "function")
        && let Some(name @ Value::String(_)) = row.get("name")
    {
        message["name"] = name.clone();
    }
    Ok(message)
}

/// A call as templates print it: with its arguments as an object, not as a text that holds one.
fn call(at: &str, call: &Value) -> Result<Value> {
    let at = format!("{at}.function");
    let name = match call.pointer("/function/name") {
        Some(Value::String(name)) => name,
        None | Some(Value::Null) => return Err(ApiError::missing(&format!("{at}.name"))),
        Some(other) => {
            return Err(ApiError::wrong_type(
                &format!("{at}.name"),
                "a string",
                other,
            ));
        }
    };
    let arguments = match call.pointer("/function/arguments") {
        Some(Value::String(text)) => written_arguments(text),
        None | Some(Value::Null) => json!({}),
        Some(other) => {
            return Err(ApiError::wrong_type(
                &format!("{at}.arguments"),
                "a string",
                other,
            ));
        }
    };
    let mut object =
        json!({"type": "function", "function": {"name": name, "arguments": arguments}});
    if let Some(id @ Value::String(_)) = call.get("id") {
        object["id"] = id.clone();
    }
    Ok(object)
}

/// Arguments out of their text, which stays what it is where it holds no object.
pub(crate) fn written_arguments(text: &str) -> Value {
    serde_json::from_str::<Map<String, Value>>(text)
        .map_or_else(|_| Value::String(text.to_owned()), Value::Object)
}

/// A message's text: a string, or a list of text parts, which are put together as they are.
pub(crate) fn content(at: &str, row: &Map<String, Value>, role: &str) -> Result<String> {
    match row.get("content") {
        // An assistant's message may hold a refusal or tool calls instead.
        None | Some(Value::Null) if role == "assistant" => Ok(String::new()),
        None | Some(Value::Null) => Err(ApiError::missing(at)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => parts
            .iter()
            .enumerate()
            .map(|(index, part)| text_part(&format!("{at}[{index}]"), part))
            .collect(),
        Some(other) => Err(ApiError::wrong_type(
            at,
            "a string or an array of text parts",
            other,
        )),
    }
}

fn text_part<'part>(at: &str, part: &'part Value) -> Result<&'part str> {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    // Responses tell whose text it is, chats do not.
    let field = match kind {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        _ => "",
    };
    if field.is_empty() {
        let message = format!(
            "Invalid value: '{kind}'. This model reads text only; supported values are: 'text'."
        );
        return Err(ApiError::field(
            &format!("{at}.type"),
            "invalid_value",
            message,
        ));
    }
    part.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| ApiError::missing(&format!("{at}.{field}")))
}
