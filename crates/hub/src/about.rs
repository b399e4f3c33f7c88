//! What a model's files say of themselves: tensors, chat template, licence. Nothing is computed with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::adapter::{WEIGHTS, is_adapter};
use crate::checkpoint::Checkpoint;
use crate::folder::gguf_of;
use crate::sentence::Modules;
use crate::{Error, Result, gguf};

/// A tensor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions, rows first.
    pub shape: Vec<usize>,
    /// How its values are stored: `f32`, `bf16`, `q4_k`, …
    pub storage: String,
    /// Its bytes in the file; 0 where the format is unknown.
    pub bytes: u64,
}

/// Tensors that differ in the number of their block only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Their names, with `*` in the place of numbers.
    pub pattern: String,
    /// The dimensions of each.
    pub shape: Vec<usize>,
    /// How the values of each are stored.
    pub storage: String,
    /// How many there are.
    pub count: usize,
    /// Bytes of all together.
    pub bytes: u64,
}

/// A licence, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Licence {
    /// As the file names it.
    pub name: String,
    /// The file, or the field of a GGUF file's head.
    pub found_in: String,
}

/// Every tensor of a model's folder, `.gguf` file, or adapter, sorted by name.
///
/// # Errors
/// When a file cannot be read or is not whole.
pub fn tensors(path: &Path) -> Result<Vec<Stored>> {
    if let Some(file) = gguf_of(path) {
        return Ok(gguf::File::open(&file)?.stored());
    }
    if is_adapter(path) {
        return Ok(Checkpoint::open(&path.join(WEIGHTS))?.stored());
    }
    // Where sentence-transformers keeps the transformer in a folder of its own.
    let transformer = Modules::read(path).map_or_else(|_| path.to_owned(), |all| all.transformer);
    Ok(Checkpoint::open_folder(&transformer)?.stored())
}

/// Joins tensors that differ in the number of their block only, in the order of their first block.
#[must_use]
pub fn grouped(tensors: &[Stored]) -> Vec<Group> {
    let mut places: BTreeMap<(String, &[usize], &str), usize> = BTreeMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for tensor in tensors {
        let pattern = pattern(&tensor.name);
        let key = (pattern, &tensor.shape[..], tensor.storage.as_str());
        let place = *places.entry(key).or_insert_with_key(|(pattern, _, _)| {
            groups.push(Group {
                pattern: pattern.clone(),
                shape: tensor.shape.clone(),
                storage: tensor.storage.clone(),
                count: 0,
                bytes: 0,
            });
            groups.len() - 1
        });
        groups[place].count += 1;
        groups[place].bytes += tensor.bytes;
    }
    groups
}

/// A name with `*` for each part that is a number.
fn pattern(name: &str) -> String {
    let parts = name.split('.').map(|part| {
        let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if number { "*" } else { part }
    });
    parts.collect::<Vec<_>>().join(".")
}

/// The chat template that a model brings, if it brings one.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn chat_template(path: &Path) -> Result<Option<String>> {
    if let Some(file) = gguf_of(path) {
        let file = gguf::File::open(&file)?;
        return Ok(file.text("tokenizer.chat_template").ok().map(str::to_owned));
    }
    if let Some(text) = read_if_present(&path.join("chat_template.jinja"))? {
        return Ok(Some(text));
    }
    let place = path.join("tokenizer_config.json");
    let Some(text) = read_if_present(&place)? else {
        return Ok(None);
    };
    let config: Value = serde_json::from_str(&text).map_err(|source| Error::Json {
        path: place,
        source,
    })?;
    Ok(match &config["chat_template"] {
        Value::String(template) => Some(template.clone()),
        // Several, under names.
        Value::Array(several) => several
            .iter()
            .find(|one| one["name"] == "default")
            .and_then(|one| one["template"].as_str())
            .map(str::to_owned),
        _ => None,
    })
}

/// The licence that the files name: in the head of a GGUF file, in the front matter of a README, or in the first line
/// of a licence's text.
///
/// # Errors
/// When a file is there and cannot be read.
pub fn licence(path: &Path) -> Result<Option<Licence>> {
    if let Some(file) = gguf_of(path) {
        let file = gguf::File::open(&file)?;
        let named = file.text("general.license").ok();
        if let Some(name) = named {
            return Ok(Some(Licence {
                name: name.to_owned(),
                found_in: "general.license".to_owned(),
            }));
        }
    }
    if !path.is_dir() {
        return Ok(None);
    }
    if let Some(text) = read_if_present(&path.join("README.md"))?
        && let Some(name) = front_matter(&text)
    {
        return Ok(Some(Licence {
            name,
            found_in: "README.md".to_owned(),
        }));
    }
    for file in texts(path)? {
        let bytes = fs::read(&file).map_err(Error::io("read", &file))?;
        let text = String::from_utf8_lossy(&bytes);
        let first = text.lines().map(str::trim).find(|line| !line.is_empty());
        if let Some(first) = first {
            let name = file.file_name().unwrap_or_default();
            return Ok(Some(Licence {
                name: first.to_owned(),
                found_in: name.to_string_lossy().into_owned(),
            }));
        }
    }
    Ok(None)
}

/// `license` of a README's front matter; `license_name` where that says `other`.
fn front_matter(text: &str) -> Option<String> {
    let inside = text.strip_prefix("---")?;
    let (inside, _) = inside.split_once("\n---")?;
    let field = |wanted: &str| {
        let mut lines = inside.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(name, _)| *name == wanted)?;
        let value = value.trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    match field("license") {
        Some(other) if other == "other" => field("license_name").or(Some(other)),
        told => told,
    }
}

/// The files that hold a licence's text, sorted.
fn texts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<PathBuf> = paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.to_uppercase();
            path.is_file() && (name.starts_with("LICENSE") || name.starts_with("LICENCE"))
        })
        .collect();
    found.sort();
    Ok(found)
}

fn read_if_present(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_joined() {
        let stored = |name: &str, shape: &[usize]| Stored {
            name: name.to_owned(),
            shape: shape.to_vec(),
            storage: "f32".to_owned(),
            bytes: 4 * shape.iter().product::<usize>() as u64,
        };
        let groups = grouped(&[
            stored("model.layers.0.up.weight", &[2, 3]),
            stored("model.layers.1.up.weight", &[2, 3]),
            stored("model.layers.2.up.weight", &[4, 3]),
            stored("model.norm.weight", &[3]),
        ]);
        let seen: Vec<_> = groups
            .iter()
            .map(|group| (group.pattern.as_str(), group.count, group.bytes))
            .collect();
        let expected = [
            ("model.layers.*.up.weight", 2, 48),
            ("model.layers.*.up.weight", 1, 48),
            ("model.norm.weight", 1, 12),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_readme_names_the_licence() {
        for (text, expected) in [
            (
                "---\nlicense: apache-2.0\n---\n# A model",
                Some("apache-2.0"),
            ),
            (
                "---\ntags: [a]\nlicense: other\nlicense_name: \"qwen-research\"\n---\n",
                Some("qwen-research"),
            ),
            ("---\nlicense: other\n---\n", Some("other")),
            ("---\nlanguage: en\n---\nlicense: mit", None),
            ("license: mit", None),
        ] {
            assert_eq!(front_matter(text).as_deref(), expected, "{text}");
        }
    }
}
