//! Tools: which ones a request offers, whether they must be called, how the model is told ([`dialect`]) and how its
//! calls are read ([`reader`]).

mod dialect;
mod object;
mod reader;

pub(crate) use dialect::{Dialect, instruction};
pub(crate) use reader::{Piece, Reader};

use std::collections::BTreeSet;

use infer::Grammar;
use serde_json::{Value, json};
use tokenizer::Tokenizer;

use super::structured::{Form, contradiction};
use super::{ApiError, Fields};

type Result<T> = std::result::Result<T, ApiError>;

/// The most tools of one request.
const MOST_TOOLS: usize = 128;
/// The longest name of a function.
const LONGEST_NAME: usize = 64;

/// Whether the model calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As it sees fit.
    Auto,
    /// It must call at least one.
    Required,
    /// It must call the one of this name.
    Named(String),
}

/// A function that the model may call.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The schema of its arguments.
    pub(crate) parameters: Value,
}

/// The tools of one request.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// As templates print them: `{"type": "function", "function": {…}}`.
    pub(crate) definitions: Vec<Value>,
    pub(crate) functions: Vec<Function>,
    pub(crate) choice: Choice,
    /// Whether there may be several calls in one answer.
    pub(crate) parallel: bool,
}

impl Tools {
    /// Reads `tools`, `tool_choice` and `parallel_tool_calls`; `None` where no tool is to be called.
    pub(crate) fn read(fields: &Fields) -> Result<Option<Tools>> {
        for name in ["functions", "function_call"] {
            if fields.get(name).is_some_and(|given| given != &json!([])) {
                let what = format!("'{name}' is not supported; use 'tools' and 'tool_choice'");
                return Err(ApiError::unsupported(name, &what));
            }
        }
        let definitions = match fields.get("tools") {
            None => Vec::new(),
            Some(Value::Array(tools)) => tools.clone(),
            Some(other) => {
                return Err(ApiError::wrong_type("tools", "an array of objects", other));
            }
        };
        if definitions.len() > MOST_TOOLS {
            let message = format!("Invalid 'tools': expected at most {MOST_TOOLS} tools.");
            return Err(ApiError::field("tools", "array_above_max_length", message));
        }
        let mut functions = Vec::with_capacity(definitions.len());
        let mut names = BTreeSet::new();
        let mut shown = Vec::with_capacity(definitions.len());
        for (index, definition) in definitions.iter().enumerate() {
            let at = format!("tools[{index}]");
            let definition = in_chats_form(definition);
            let function = function(&at, &definition)?;
            if !names.insert(function.name.clone()) {
                let message = format!("Invalid '{at}': '{}' is there twice.", function.name);
                return Err(ApiError::field(&at, "invalid_value", message));
            }
            functions.push(function);
            shown.push(definition);
        }
        let parallel =
            fields.get("parallel_tool_calls").is_none() || fields.boolean("parallel_tool_calls")?;
        let choice = choice(fields, &names)?;
        Ok(choice
            .filter(|_| !functions.is_empty())
            .map(|choice| Tools {
                definitions: shown,
                functions,
                choice,
                parallel,
            }))
    }

    /// Whether the model has no choice but to call.
    pub(crate) fn forced(&self) -> bool {
        self.choice != Choice::Auto
    }

    /// The functions that may be called.
    fn callable(&self) -> Vec<&Function> {
        let named = |function: &&Function| match &self.choice {
            Choice::Named(name) => &function.name == name,
            _ => true,
        };
        self.functions.iter().filter(named).collect()
    }

    /// How many calls there may be.
    fn most(&self) -> usize {
        if self.parallel && !matches!(self.choice, Choice::Named(_)) {
            usize::MAX
        } else {
            1
        }
    }

    /// What reads the calls out of one answer, which begins with `said`.
    pub(crate) fn reader(&self, dialect: Dialect, said: &str) -> Reader {
        let names = self.callable();
        let names = names.iter().map(|function| function.name.clone());
        let mut reader = Reader::new(dialect, names.collect(), self.most());
        let nothing = reader.push(said);
        debug_assert!(nothing.is_empty());
        reader
    }

    /// The grammar that answers follow, given the form that their text must have, and the tokens set before them.
    pub(crate) fn grammar(
        &self,
        dialect: Dialect,
        tokenizer: &Tokenizer,
        form: Option<&Form>,
    ) -> Result<(Option<Grammar>, Vec<u32>, &'static str)> {
        match (self.forced(), form) {
            (true, Some(form)) => Err(contradiction("tool_choice", &form.param)),
            (false, None) => Ok((None, Vec::new(), "")),
            (false, Some(form)) => match &form.grammar {
                Grammar::JsonSchema(schema) => {
                    let calls = dialect.lark(&self.callable(), self.most(), false);
                    let lark = format!("start: form | calls\nform: %json {schema}\n{calls}");
                    Ok((Some(Grammar::Lark(lark)), Vec::new(), ""))
                }
                _ => Err(contradiction("tools", &form.param)),
            },
            (true, None) => {
                // A marker that is a token of its own can be set before the answer, but stands in no text.
                let id = tokenizer.id_of(dialect.marker());
                let special = id.filter(|&id| tokenizer.is_special(id));
                let calls = dialect.lark(&self.callable(), self.most(), special.is_some());
                let grammar = Grammar::Lark(format!("start: calls\n{calls}"));
                let said = special.map_or("", |_| dialect.marker());
                Ok((Some(grammar), special.into_iter().collect(), said))
            }
        }
    }
}

/// A tool as chats define it; responses put a function's fields beside its type.
fn in_chats_form(definition: &Value) -> Value {
    match definition.as_object() {
        Some(fields)
            if fields.get("type") == Some(&json!("function"))
                && !fields.contains_key("function")
                && fields.contains_key("name") =>
        {
            let mut function = fields.clone();
            function.shift_remove("type");
            json!({"type": "function", "function": function})
        }
        _ => definition.clone(),
    }
}

fn function(at: &str, definition: &Value) -> Result<Function> {
    let kind = definition.get("type").unwrap_or(&Value::Null);
    if kind != "function" {
        let message = format!("Invalid value: {kind}. Supported values are: 'function'.");
        return Err(ApiError::field(
            &format!("{at}.type"),
            "invalid_value",
            message,
        ));
    }
    let at = format!("{at}.function");
    let function = definition.get("function").unwrap_or(&Value::Null);
    let function = match function {
        Value::Object(function) => function,
        Value::Null => return Err(ApiError::missing(&at)),
        other => return Err(ApiError::wrong_type(&at, "an object", other)),
    };
    let name_at = format!("{at}.name");
    let name = match function.get("name") {
        None | Some(Value::Null) => return Err(ApiError::missing(&name_at)),
        Some(Value::String(name)) => name,
        Some(other) => return Err(ApiError::wrong_type(&name_at, "a string", other)),
    };
    let fits = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        let message = format!(
            "Invalid '{name_at}': expected 1 to {LONGEST_NAME} letters, digits, underscores and hyphens."
        );
        return Err(ApiError::field(&name_at, "invalid_value", message));
    }
    let parameters = match function.get("parameters") {
        None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
        Some(parameters @ Value::Object(_)) => parameters.clone(),
        Some(other) => {
            return Err(ApiError::wrong_type(
                &format!("{at}.parameters"),
                "a JSON schema",
                other,
            ));
        }
    };
    Ok(Function {
        name: name.clone(),
        parameters,
    })
}

/// `None` where nothing is to be called.
fn choice(fields: &Fields, names: &BTreeSet<String>) -> Result<Option<Choice>> {
    let wrong = |message: String| ApiError::field("tool_choice", "invalid_value", message);
    let choice = match fields.get("tool_choice") {
        None => return Ok(Some(Choice::Auto)),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => return Ok(Some(Choice::Auto)),
            "none" => return Ok(None),
            "required" | "any" => Choice::Required,
            other => {
                return Err(wrong(format!(
                    "Invalid value: '{other}'. Supported values are: 'none', 'auto', and 'required'."
                )));
            }
        },
        Some(value @ Value::Object(object)) => {
            let name = value.pointer("/function/name").or(object.get("name"));
            match (object.get("type").and_then(Value::as_str), name) {
                (Some("function"), Some(Value::String(name))) => Choice::Named(name.clone()),
                (Some("function"), _) => {
                    return Err(ApiError::missing("tool_choice.function.name"));
                }
                (kind, _) => {
                    return Err(wrong(format!(
                        "Invalid value: '{}'. Supported values are: 'function'.",
                        kind.unwrap_or_default()
                    )));
                }
            }
        }
        Some(other) => {
            return Err(ApiError::wrong_type(
                "tool_choice",
                "a string or an object",
                other,
            ));
        }
    };
    match &choice {
        _ if names.is_empty() => Err(wrong(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
                .to_owned(),
        )),
        Choice::Named(name) if !names.contains(name) => Err(wrong(format!(
            "Invalid value for 'tool_choice': there is no function '{name}' in 'tools'."
        ))),
        _ => Ok(Some(choice)),
    }
}
