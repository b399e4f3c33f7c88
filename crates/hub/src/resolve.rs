//! From what a user types to a model's folder or file.

use std::path::{Path, PathBuf};

use artifact::Store;

use crate::adapter::is_adapter;
use crate::folder::gguf_of;
use crate::{Error, Result, sentence};

/// The path and the id of `wanted`: an artifact id or its unique prefix, a name, a folder with a `config.json`, or a
/// `.gguf` file.
///
/// # Errors
/// When nothing goes by that name (near misses are listed), or what does is no model.
pub fn resolve(store: &Store, wanted: &str) -> Result<(PathBuf, String)> {
    let path = Path::new(wanted);
    if holds_model(path) {
        return Ok((path.to_owned(), model_name(path)));
    }
    match store.get(wanted) {
        Ok(artifact) if artifact.manifest.kind == "model" => {
            Ok((artifact.path.clone(), artifact.id.to_string()))
        }
        Ok(artifact) => Err(Error::NotAModel {
            wanted: wanted.to_owned(),
            kind: artifact.manifest.kind,
        }),
        Err(artifact::Error::Unknown { .. }) => Err(Error::Unknown {
            wanted: wanted.to_owned(),
            hint: near_misses(store, wanted)?,
        }),
        Err(error) => Err(error.into()),
    }
}

/// Whether a path is a model: a folder with a `config.json`, an adapter or one `.gguf` file in it, or a `.gguf` file.
pub fn holds_model(path: &Path) -> bool {
    if path.is_dir() {
        let described = ["config.json", sentence::MODULES]
            .iter()
            .any(|name| path.join(name).is_file());
        return described || is_adapter(path) || gguf_of(path).is_some();
    }
    path.extension().is_some_and(|ending| ending == "gguf") && path.is_file()
}

/// A folder's last name, or a `.gguf` file's without its ending, as the id of a model that is no artifact.
pub fn model_name(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = if full.is_file() {
        full.file_stem()
    } else {
        full.file_name()
    };
    name.map_or_else(
        || "model".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn near_misses(store: &Store, wanted: &str) -> Result<String> {
    let is_model = |name: &String| {
        store
            .get(name)
            .is_ok_and(|artifact| artifact.manifest.kind == "model")
    };
    let names = store.refs()?.into_iter().map(|(name, _)| name);
    let mut names: Vec<String> = names.filter(is_model).collect();
    names.sort_by_key(|name| strsim::damerau_levenshtein(name, wanted));
    let close: Vec<_> = names
        .iter()
        .filter(|name| strsim::damerau_levenshtein(name, wanted) <= wanted.len() / 2)
        .take(3)
        .cloned()
        .collect();
    Ok(match (close.is_empty(), names.is_empty()) {
        (false, _) => format!("; did you mean {}?", close.join(", ")),
        (true, false) => format!("; there are: {}", names.join(", ")),
        (true, true) => "; `ontogeny run` raises one, `ontogeny models list` shows all".to_owned(),
    })
}
