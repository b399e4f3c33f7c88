//! How models write calls. A model's chat template says which way it has learnt; where it says nothing, the model is
//! told in the system's turn.

use serde_json::{Map, Value, json};
use tokenizer::ChatTemplate;

use super::Function;

/// A way to write calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `<tool_call>\n{"name": …, "arguments": …}\n</tool_call>`, as Hermes and Qwen write; for models without a way of
    /// their own, too.
    Hermes,
    /// `{"name": …, "parameters": …}` as the whole answer, as Llama 3 writes.
    Llama,
    /// `[TOOL_CALLS][{"name": …, "arguments": …}]`, as Mistral writes.
    Mistral,
}

/// The most calls that a grammar lets stand beside each other.
const MOST_FORCED: usize = 8;

impl Dialect {
    /// The one that a template speaks.
    pub(crate) fn of(template: &ChatTemplate) -> Dialect {
        let source = template.source();
        if !template.takes_tools() || source.contains("<tool_call>") {
            Dialect::Hermes
        } else if source.contains("[TOOL_CALLS]") {
            Dialect::Mistral
        } else if source.contains("\"parameters\"") || source.contains("<|python_tag|>") {
            Dialect::Llama
        } else {
            Dialect::Hermes
        }
    }

    /// What stands before a call.
    pub(crate) fn marker(self) -> &'static str {
        match self {
            Dialect::Hermes => "<tool_call>",
            Dialect::Llama => "<|python_tag|>",
            Dialect::Mistral => "[TOOL_CALLS]",
        }
    }

    /// What stands behind a call.
    pub(crate) fn end(self) -> &'static str {
        match self {
            Dialect::Hermes => "</tool_call>",
            Dialect::Llama | Dialect::Mistral => "",
        }
    }

    /// Whether a call may begin without its marker, at the beginning of the answer.
    pub(crate) fn begins_bare(self) -> bool {
        self == Dialect::Llama
    }

    /// The field that holds a call's arguments.
    fn arguments(self) -> &'static str {
        match self {
            Dialect::Llama => "parameters",
            Dialect::Hermes | Dialect::Mistral => "arguments",
        }
    }

    /// The rule `calls` in Lark: at least one call, and at most `most`. With `begun` the first marker stands there already,
    /// and is a token that no text can spell.
    pub(crate) fn lark(self, functions: &[&Function], most: usize, begun: bool) -> String {
        let more = most.min(MOST_FORCED) - 1;
        let (first, again) = match (self, begun) {
            (Dialect::Hermes, false) => {
                let call = r#""<tool_call>\n" call "\n</tool_call>""#;
                (call.to_owned(), format!(r#"("\n" {call}){{0,{more}}}"#))
            }
            (Dialect::Hermes, true) => (r#""\n" call "\n""#.to_owned(), String::new()),
            (Dialect::Llama, _) => ("call".to_owned(), String::new()),
            (Dialect::Mistral, begun) => {
                let marker = if begun { "" } else { r#""[TOOL_CALLS]" "# };
                (
                    format!(r#"{marker}"[" call"#),
                    if more == 0 {
                        r#""]""#.to_owned()
                    } else {
                        format!(r#"(", " call){{0,{more}}} "]""#)
                    },
                )
            }
        };
        let again = if more == 0 && self == Dialect::Hermes {
            String::new()
        } else {
            again
        };
        let mut lark = format!("calls: {first} {again}\ncall: ");
        let rules: Vec<String> = (0..functions.len()).map(|at| format!("tool{at}")).collect();
        lark.push_str(&rules.join(" | "));
        for (rule, function) in rules.iter().zip(functions) {
            lark.push_str(&format!("\n{rule}: %json {}", self.schema(function)));
        }
        lark
    }

    /// The schema of one call.
    fn schema(self, function: &Function) -> Value {
        let mut parameters = function.parameters.clone();
        let mut schema = Map::new();
        if let Some(fields) = parameters.as_object_mut() {
            // References name these from the root of the schema, which the arguments no longer are.
            for shared in ["$defs", "definitions"] {
                if let Some(shared_schemas) = fields.shift_remove(shared) {
                    schema.insert(shared.to_owned(), shared_schemas);
                }
            }
            fields.entry("type").or_insert_with(|| json!("object"));
        }
        schema.insert("type".to_owned(), json!("object"));
        schema.insert(
            "properties".to_owned(),
            json!({"name": {"const": function.name}, self.arguments(): parameters}),
        );
        schema.insert("required".to_owned(), json!(["name", self.arguments()]));
        schema.insert("additionalProperties".to_owned(), json!(false));
        schema.insert(
            "x-guidance".to_owned(),
            json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "}),
        );
        Value::Object(schema)
    }
}

/// What a model is told whose template has no place for tools: Hermes' words, which Qwen's template uses too.
pub(crate) fn instruction(definitions: &[Value]) -> String {
    let listed: Vec<String> = definitions.iter().map(Value::to_string).collect();
    format!(
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function \
         signatures within <tools></tools> XML tags:\n<tools>\n{}\n</tools>\n\nFor each function call, return a json \
         object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{{\"name\": \
         <function-name>, \"arguments\": <args-json-object>}}\n</tool_call>",
        listed.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_tells_its_dialect() {
        let of =
            |source: &str| Dialect::of(&ChatTemplate::new(source, "", "").expect("a template"));
        assert_eq!(of("{{ messages }}"), Dialect::Hermes);
        assert_eq!(of("{{ tools }}<tool_call>"), Dialect::Hermes);
        assert_eq!(of("{{ tools }}[TOOL_CALLS]"), Dialect::Mistral);
        assert_eq!(
            of("{{ tools }}{{ '{\"name\": function name, \"parameters\": …}' }}"),
            Dialect::Llama
        );
    }
}
