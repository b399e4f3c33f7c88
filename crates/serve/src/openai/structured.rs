//! The form an answer must have, however a request says it: OpenAI's `response_format`, vLLM's `guided_json` and kin,
//! or its newer `structured_outputs`. One request may say it once.

use infer::Grammar;
use serde_json::{Value, json};

use super::{ApiError, Fields};

type Result<T> = std::result::Result<T, ApiError>;

/// The grammar that the request asks for, and the field that asks for it.
pub(crate) struct Form {
    pub(crate) grammar: Grammar,
    pub(crate) param: String,
}

/// Reads whichever field asks for a form.
pub(crate) fn read(fields: &Fields) -> Result<Option<Form>> {
    let mut found: Option<Form> = None;
    let mut take = |param: &str, grammar: Option<Grammar>| match (grammar, &found) {
        (None, _) => Ok(()),
        (Some(_), Some(other)) => Err(contradiction(&other.param, param)),
        (Some(grammar), None) => {
            found = Some(Form {
                grammar,
                param: param.to_owned(),
            });
            Ok(())
        }
    };
    if let Some(format) = fields.get("response_format") {
        take("response_format", response_format(format)?)?;
    }
    for (param, kind) in [
        ("guided_json", "json"),
        ("guided_regex", "regex"),
        ("guided_choice", "choice"),
        ("guided_grammar", "grammar"),
    ] {
        if let Some(value) = fields.get(param) {
            take(param, Some(constraint(param, kind, value)?))?;
        }
    }
    if let Some(value) = fields.get("structured_outputs") {
        let object = value
            .as_object()
            .ok_or_else(|| ApiError::wrong_type("structured_outputs", "an object", value))?;
        for (kind, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let param = format!("structured_outputs.{kind}");
            match kind.as_str() {
                "json" | "regex" | "choice" | "grammar" => {
                    take(&param, Some(constraint(&param, kind, value)?))?;
                }
                "json_object" if value == &Value::Bool(true) => {
                    take(&param, Some(any_object()))?;
                }
                "structural_tag" => {
                    return Err(ApiError::unsupported(
                        &param,
                        "'structural_tag' is not supported by this server; write the form as a 'grammar'",
                    ));
                }
                // What is left says how a grammar is to be compiled, which is ours to choose.
                _ => {}
            }
        }
    }
    Ok(found)
}

/// `response_format`; also what `text.format` of a response nests under `json_schema`.
pub(crate) fn response_format(format: &Value) -> Result<Option<Grammar>> {
    let object = format
        .as_object()
        .ok_or_else(|| ApiError::wrong_type("response_format", "an object", format))?;
    match object.get("type") {
        None | Some(Value::Null) => Err(ApiError::missing("response_format.type")),
        Some(Value::String(kind)) => match kind.as_str() {
            "text" => Ok(None),
            "json_object" => Ok(Some(any_object())),
            "json_schema" => {
                let given = object
                    .get("json_schema")
                    .filter(|given| !given.is_null())
                    .ok_or_else(|| ApiError::missing("response_format.json_schema"))?;
                named_schema("response_format.json_schema", given).map(Some)
            }
            other => Err(ApiError::field(
                "response_format.type",
                "invalid_value",
                format!(
                    "Invalid value: '{other}'. Supported values are: 'text', 'json_object', and 'json_schema'."
                ),
            )),
        },
        Some(other) => Err(ApiError::wrong_type(
            "response_format.type",
            "a string",
            other,
        )),
    }
}

/// `{"name": …, "schema": …}`; without a schema, any object.
pub(crate) fn named_schema(at: &str, given: &Value) -> Result<Grammar> {
    let object = given
        .as_object()
        .ok_or_else(|| ApiError::wrong_type(at, "an object", given))?;
    match object.get("name") {
        None | Some(Value::Null) => return Err(ApiError::missing(&format!("{at}.name"))),
        Some(Value::String(_)) => {}
        Some(other) => {
            return Err(ApiError::wrong_type(
                &format!("{at}.name"),
                "a string",
                other,
            ));
        }
    }
    match object.get("schema") {
        None | Some(Value::Null) => Ok(any_object()),
        Some(schema) => self::schema(&format!("{at}.schema"), schema),
    }
}

fn constraint(param: &str, kind: &str, value: &Value) -> Result<Grammar> {
    let text = || {
        value
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| ApiError::wrong_type(param, "a string", value))
    };
    match kind {
        "regex" => text().map(Grammar::Regex),
        "grammar" => text().map(Grammar::Lark),
        "choice" => {
            let texts = value.as_array().and_then(|texts| {
                texts
                    .iter()
                    .map(|text| text.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
            });
            match texts {
                Some(texts) if !texts.is_empty() => Ok(Grammar::Choice(texts)),
                Some(_) => Err(ApiError::field(
                    param,
                    "empty_array",
                    format!("Invalid '{param}': give at least one text to choose."),
                )),
                None => Err(ApiError::wrong_type(param, "an array of strings", value)),
            }
        }
        // Clients send a schema as an object or as its text.
        _ => match value {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(parsed) => schema(param, &parsed),
                Err(error) => Err(ApiError::field(
                    param,
                    "invalid_value",
                    format!("Invalid '{param}': it is no JSON ({error})."),
                )),
            },
            other => schema(param, other),
        },
    }
}

fn schema(param: &str, value: &Value) -> Result<Grammar> {
    if value.is_object() || value.is_boolean() {
        Ok(Grammar::JsonSchema(value.clone()))
    } else {
        Err(ApiError::wrong_type(param, "a JSON schema", value))
    }
}

fn any_object() -> Grammar {
    Grammar::JsonSchema(json!({"type": "object"}))
}

/// Two fields that cannot both be followed.
pub(crate) fn contradiction(one: &str, other: &str) -> ApiError {
    ApiError::field(
        other,
        "invalid_parameter_combination",
        format!("Invalid parameter: '{one}' and '{other}' cannot be used together."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: Value) -> Result<Option<Form>> {
        read(&Fields::parse(body.to_string().as_bytes()).expect("an object"))
    }

    #[test]
    fn every_way_of_asking_is_understood() {
        let schema = json!({"type": "integer"});
        let expected = Grammar::JsonSchema(schema.clone());
        for body in [
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}),
            json!({"guided_json": schema}),
            json!({"guided_json": schema.to_string(), "response_format": {"type": "text"}}),
            json!({"structured_outputs": {"json": schema, "regex": null}}),
        ] {
            let form = of(body.clone()).ok().flatten().expect("a form");
            assert_eq!(form.grammar, expected, "{body}");
        }
        let form = of(json!({"structured_outputs": {"choice": ["a", "b"]}}));
        let form = form.ok().flatten().expect("a form");
        assert_eq!(form.grammar, Grammar::Choice(vec!["a".into(), "b".into()]));
        assert!(of(json!({})).is_ok_and(|form| form.is_none()));
    }

    #[test]
    fn what_contradicts_itself_or_is_no_form_is_refused() {
        for body in [
            json!({"guided_json": {}, "guided_regex": "a"}),
            json!({"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}}),
            json!({"response_format": "json"}),
            json!({"response_format": {"type": "xml"}}),
            json!({"response_format": {"type": "json_schema"}}),
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}),
            json!({"guided_json": "{"}),
            json!({"guided_json": 4}),
            json!({"guided_choice": []}),
            json!({"guided_choice": [1]}),
            json!({"guided_regex": 1}),
            json!({"structured_outputs": []}),
            json!({"structured_outputs": {"structural_tag": "x"}}),
        ] {
            assert!(of(body.clone()).is_err(), "{body}");
        }
    }
}
