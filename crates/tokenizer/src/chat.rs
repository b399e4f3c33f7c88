//! Chat templates: how a conversation becomes one text. Jinja, as `tokenizer_config.json` carries it.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::{Error, Result};

/// The ChatML template, which our own tokenizers carry: `<|im_start|>role\ncontent<|im_end|>\n` for each message.
pub const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' \
    + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const NAME: &str = "chat_template";

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }

    /// Whether the model is meant to have said it.
    #[must_use]
    pub fn is_assistant(&self) -> bool {
        self.role == "assistant"
    }
}

/// A chat template, parsed once.
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses a template with the settings that Python's `transformers` uses (blocks trimmed, loop controls,
    /// methods of strings, `raise_exception`).
    ///
    /// # Errors
    /// [`Error::Template`] with the line.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<Self> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|error| Error::template("parse", &error))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> std::result::Result<Value, _> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_filter("tojson", python_json);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| Error::template("parse", &error))?;
        let (bos_token, eos_token) = (bos_token.to_owned(), eos_token.to_owned());
        Ok(Self {
            environment,
            source: source.to_owned(),
            bos_token,
            eos_token,
        })
    }

    /// The Jinja source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as one text; with `add_generation_prompt` it ends where the assistant is to speak.
    ///
    /// # Errors
    /// [`Error::Template`] when the template refuses the conversation, such as for a role it does not know.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        self.fill(context! {
            messages => Serde(messages), add_generation_prompt, bos_token => &self.bos_token, eos_token => &self.eos_token,
        })
    }

    /// As [`Self::render`], for messages with fields of their own (`tool_calls`, `tool_call_id`, `name`) and with the
    /// tools that the assistant may call.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_with_tools(
        &self,
        messages: &[Json],
        tools: &[Json],
        add_generation_prompt: bool,
    ) -> Result<String> {
        // Templates ask whether there are tools by `tools is not none`.
        let tools = if tools.is_empty() {
            Value::from(())
        } else {
            Value::from(Serde(tools))
        };
        self.fill(context! {
            messages => Serde(messages), tools, add_generation_prompt,
            bos_token => &self.bos_token, eos_token => &self.eos_token,
        })
    }

    fn fill(&self, context: Value) -> Result<String> {
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(context))
            .map_err(|error| Error::template("render", &error))
    }

    /// Whether the template has a place for tools.
    #[must_use]
    pub fn takes_tools(&self) -> bool {
        self.environment
            .get_template(NAME)
            .is_ok_and(|template| template.undeclared_variables(false).contains("tools"))
    }
}

/// JSON as Python's `json.dumps` spaces it, which is what templates print tools and arguments with.
fn python_json(value: Value) -> std::result::Result<String, minijinja::Error> {
    let mut bytes = Vec::new();
    let bad = |problem: String| minijinja::Error::new(ErrorKind::BadSerialization, problem);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing);
    value
        .serialize(&mut serializer)
        .map_err(|error| bad(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| bad(error.to_string()))
}

struct PythonSpacing;

impl PythonSpacing {
    fn separate<W: ?Sized + io::Write>(writer: &mut W, first: bool) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }
}

impl serde_json::ser::Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ChatTemplate").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    #[test]
    fn chatml() {
        let messages = [
            Message::new("system", "Be brief."),
            Message::new("user", "Hi\n"),
        ];
        assert_eq!(
            render(CHATML, &messages).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi\n<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn what_templates_in_the_wild_use() {
        let hi = [Message::new("user", "  Hi <b> ")];
        let cases = [
            (
                "{{ bos_token }}{% for m in messages %}{{ m.content | trim }}{{ eos_token }}{% endfor %}",
                "<s>Hi <b></s>",
            ),
            (
                "{% if messages[0]['role'].startswith('us') %}{{ messages[0].content.strip() }}{% endif %}",
                "Hi <b>",
            ),
            (
                "{%- for m in messages -%}\n  {{ loop.first }} {{ m | tojson }}\n{%- endfor -%}",
                "True {\"role\": \"user\", \"content\": \"  Hi <b> \"}",
            ),
            (
                "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}",
                "",
            ),
            (
                "{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "2",
            ),
            (
                "{% if tools is defined and tools %}T{% endif %}{{ messages[-1]['content'][2:4] }}",
                "Hi",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(render(source, &hi).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn tools_are_rendered_where_a_template_takes_them() {
        let source = "{%- if tools %}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif -%}\
                      {% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}\
                      {{ c.function.arguments | tojson }}{% endfor %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
        let template = ChatTemplate::new(source, "", "").unwrap();
        assert!(template.takes_tools());
        assert!(!ChatTemplate::new(CHATML, "", "").unwrap().takes_tools());
        let call = serde_json::json!({"function": {"name": "f", "arguments": {"x": 1}}});
        let messages = [
            serde_json::json!({"role": "user", "content": "Hi"}),
            serde_json::json!({"role": "assistant", "content": null, "tool_calls": [call]}),
        ];
        let tools = [serde_json::json!({"type": "function"})];
        assert_eq!(
            template.render_with_tools(&messages, &tools, true).unwrap(),
            "{\"type\": \"function\"}Hif{\"x\": 1}"
        );
        assert_eq!(
            template
                .render_with_tools(&messages[..1], &[], true)
                .unwrap(),
            "Hi"
        );
    }

    #[test]
    fn refusals_name_the_cause() {
        let error = render("{% for", &[]).unwrap_err().to_string();
        assert!(
            error.contains("does not parse") && error.contains("chat_template"),
            "{error}"
        );
        let error = render("{{ raise_exception('only users may speak') }}", &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("only users may speak"), "{error}");
    }
}
