//! A recipe is built from layers, each over the one before it:
//! the embedded quick start < a recipe file < the environment < `--set` < flags.
//!
//! A layer remembers where each of its values came from, so that a wrong key or a wrong value is
//! refused with the file and the line it stands on.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The prefix of environment variables that set a recipe's fields:
/// `ONTOGENY_SET__PRETRAIN__STEPS=200` is `--set pretrain.steps=200`.
const ENVIRONMENT_PREFIX: &str = "ONTOGENY_SET__";

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A line (from 1) of a recipe file.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A `--set KEY=VALUE` argument.
    Set(String),
    /// A flag of the command.
    Flag(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{} (line {line})", path.display()),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Set(text) => write!(f, "--set {text}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// One value of one layer: the path of its key, the value, where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key's path, outermost first: `["pretrain", "steps"]`.
    pub(crate) key: Vec<String>,
    /// The value as JSON.
    pub(crate) value: Value,
    /// Where it was written.
    pub(crate) origin: Origin,
}

/// The values of a recipe file, in the order they are written.
///
/// # Errors
/// When the text is not TOML: the message names the file and the line.
pub(crate) fn from_toml(text: &str, path: &Path) -> Result<Vec<Entry>, Refusal> {
    let table = toml::de::DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        Refusal::usage(
            "recipe",
            format!(
                "{} (line {line}) is not TOML: {}",
                path.display(),
                error.message()
            ),
        )
        .hint("recipes are TOML; recipes/quickstart.toml shows every field")
    })?;
    let mut entries = Vec::new();
    flatten(table.get_ref(), &mut Vec::new(), text, path, &mut entries);
    entries.sort_by_key(|entry| match entry.origin {
        Origin::File(_, line) => line,
        _ => 0,
    });
    Ok(entries)
}

fn flatten(
    table: &toml::de::DeTable<'_>,
    prefix: &mut Vec<String>,
    text: &str,
    path: &Path,
    out: &mut Vec<Entry>,
) {
    for (key, value) in table {
        prefix.push(key.get_ref().to_string());
        match value.get_ref() {
            toml::de::DeValue::Table(inner) if !inner.is_empty() => {
                flatten(inner, prefix, text, path, out);
            }
            other => out.push(Entry {
                key: prefix.clone(),
                value: to_json(other),
                origin: Origin::File(path.to_path_buf(), line_of(text, key.span().start)),
            }),
        }
        prefix.pop();
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}

fn to_json(value: &toml::de::DeValue<'_>) -> Value {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::from),
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(when) => Value::String(when.to_string()),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| to_json(item.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())))
                .collect(),
        ),
    }
}

/// The values set by environment variables, in the order of their names.
pub(crate) fn from_environment(variables: impl Iterator<Item = (String, String)>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = variables
        .filter_map(|(name, text)| {
            let key = name
                .strip_prefix(ENVIRONMENT_PREFIX)?
                .split("__")
                .map(str::to_lowercase)
                .collect();
            Some(Entry {
                key,
                value: scalar(&text),
                origin: Origin::Environment(name),
            })
        })
        .collect();
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

/// The value of one `--set KEY=VALUE`.
///
/// # Errors
/// When there is no `=` or the key is empty.
pub(crate) fn from_set(argument: &str) -> Result<Entry, Refusal> {
    let (key, value) = argument
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| {
            Refusal::usage("usage", format!("--set {argument} has no KEY=VALUE"))
                .hint("for example --set pretrain.steps=200")
        })?;
    Ok(Entry {
        key: key.trim().split('.').map(str::to_owned).collect(),
        value: scalar(value),
        origin: Origin::Set(argument.to_owned()),
    })
}

/// Reads a value as TOML would (number, truth value, list, …), anything else as text.
fn scalar(text: &str) -> Value {
    let document = format!("value = {text}");
    toml::de::DeTable::parse(&document)
        .ok()
        .and_then(|table| {
            (table.get_ref().len() == 1).then(|| {
                table
                    .get_ref()
                    .values()
                    .next()
                    .map(|v| to_json(v.get_ref()))
            })
        })
        .flatten()
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Lays `entry` over `values`.
pub(crate) fn apply(values: &mut Value, entry: &Entry) {
    let mut place = values;
    for part in &entry.key {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = match place {
            Value::Object(map) => map.entry(part.clone()).or_insert(Value::Null),
            _ => return,
        };
    }
    *place = entry.value.clone();
}

/// Puts a field of one section, written without it, where it belongs.
pub(crate) fn into_section(entry: &mut Entry, section: &str, schema: &Value) {
    if let Some(first) = entry.key.first()
        && schema.get(first).is_none()
        && schema[section].get(first).is_some()
    {
        entry.key.insert(0, section.to_owned());
    }
}

/// Refuses a key that `schema` (a complete recipe as JSON) does not have, with the nearest known one.
///
/// # Errors
/// ``unknown key `pretrain.lerning_rate` in FILE (line 3)``, with the suggestion as its hint.
pub(crate) fn check_known(entry: &Entry, schema: &Value) -> Result<(), Refusal> {
    let mut known = schema;
    for (depth, part) in entry.key.iter().enumerate() {
        let Value::Object(fields) = known else {
            // A field that is optional or free-form: its own type decides.
            return if known.is_null() {
                Ok(())
            } else {
                Err(unknown(entry, depth, std::iter::empty()))
            };
        };
        match fields.get(part) {
            Some(inner) => known = inner,
            None => return Err(unknown(entry, depth, fields.keys().map(String::as_str))),
        }
    }
    Ok(())
}

fn unknown<'a>(entry: &Entry, depth: usize, fields: impl Iterator<Item = &'a str>) -> Refusal {
    let shown = entry.key[..=depth].join(".");
    let written = &entry.key[depth];
    let mut fields: Vec<&str> = fields.collect();
    let refusal = Refusal::usage(
        "recipe",
        format!("unknown key `{shown}` in {}", entry.origin),
    );
    let nearest = fields
        .iter()
        .map(|field| (strsim::jaro_winkler(written, field), *field))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, field)) = nearest {
        return refusal.hint(format!("did you mean `{field}`?"));
    }
    fields.sort_unstable();
    match (fields.is_empty(), depth) {
        (true, _) => refusal.hint(format!(
            "`{}` has no fields of its own",
            entry.key[..depth].join(".")
        )),
        (false, 0) => refusal.hint(format!(
            "the sections of a recipe are {}",
            fields.join(", ")
        )),
        (false, _) => refusal.hint(format!(
            "the fields of [{}] are {}",
            entry.key[..depth].join("."),
            fields.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "name": "x", "pretrain": { "learning_rate": 1e-3, "steps": 10, "schedule": null } })
    }

    #[test]
    fn a_misspelt_key_is_refused_with_line_and_suggestion() {
        let entries = from_toml(
            "name = \"a\"\n[pretrain]\nlerning_rate = 0.1\n",
            Path::new("my.toml"),
        )
        .expect("TOML");
        let refusal = entries
            .iter()
            .find_map(|entry| check_known(entry, &schema()).err())
            .expect("refused");
        assert_eq!(
            refusal.message,
            "unknown key `pretrain.lerning_rate` in my.toml (line 3)"
        );
        assert_eq!(
            refusal.hint.as_deref(),
            Some("did you mean `learning_rate`?")
        );
    }

    #[test]
    fn a_key_like_no_other_is_refused_with_the_list() {
        let entry = from_set("pretrain.zzz=1").expect("well formed");
        let refusal = check_known(&entry, &schema()).expect_err("unknown");
        assert_eq!(
            refusal.hint.as_deref(),
            Some("the fields of [pretrain] are learning_rate, schedule, steps")
        );
    }

    #[test]
    fn a_stage_knows_its_own_fields() {
        for (written, meant) in [
            ("steps=3", "pretrain.steps"),
            ("pretrain.steps=3", "pretrain.steps"),
            ("name=b", "name"),
            ("zzz=3", "zzz"),
        ] {
            let mut entry = from_set(written).expect("well formed");
            into_section(&mut entry, "pretrain", &schema());
            assert_eq!(entry.key.join("."), meant);
        }
    }

    #[test]
    fn later_layers_win() {
        let mut values = schema();
        for entry in from_toml("[pretrain]\nsteps = 1", Path::new("f")).expect("TOML") {
            apply(&mut values, &entry);
        }
        let environment = [
            ("ONTOGENY_SET__PRETRAIN__STEPS".to_owned(), "2".to_owned()),
            ("PATH".to_owned(), "/bin".to_owned()),
        ];
        for entry in from_environment(environment.into_iter()) {
            apply(&mut values, &entry);
        }
        assert_eq!(values["pretrain"]["steps"], json!(2));
        apply(
            &mut values,
            &from_set("pretrain.steps=3").expect("well formed"),
        );
        assert_eq!(values["pretrain"]["steps"], json!(3));
        assert_eq!(values["pretrain"]["learning_rate"], json!(1e-3));
    }

    #[test]
    fn set_reads_toml_values_and_falls_back_to_text() {
        for (text, value) in [
            ("3", json!(3)),
            ("-1.5e-3", json!(-1.5e-3)),
            ("true", json!(true)),
            ("[1, 2]", json!([1, 2])),
            ("\"4\"", json!("4")),
            ("plain words", json!("plain words")),
            ("1\nb = 2", json!("1\nb = 2")),
        ] {
            assert_eq!(scalar(text), value, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let refusal =
            from_toml("name = \"a\"\nseed = = 3\n", Path::new("bad.toml")).expect_err("not TOML");
        assert!(
            refusal.message.starts_with("bad.toml (line 2) is not TOML"),
            "{}",
            refusal.message
        );
    }
}
