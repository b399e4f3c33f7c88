//! Where the files given to a stage come from: an artifact of the same store, which then is an input of what is made,
//! or the user's own files, which then are told by their content.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use artifact::{Artifact, Id, Key, Progress, Store};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::source::Listing;

/// The artifact whose folder `path` lies in, if it is one of `store`.
pub(crate) fn artifact_of(store: &Store, path: &Path) -> Result<Option<Artifact>> {
    let full = path.canonicalize().map_err(Error::io("read", path))?;
    let home = store
        .home()
        .canonicalize()
        .map_err(Error::io("read", store.home()))?;
    let Ok(inside) = full.strip_prefix(home.join("artifacts")) else {
        return Ok(None);
    };
    let id = inside
        .iter()
        .next()
        .and_then(|name| Id::parse(&name.to_string_lossy()));
    Ok(id.map(|id| store.get(id.as_str())).transpose()?)
}

/// The BLAKE3 of a file's content, hex.
pub(crate) fn content_hash(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let hashed = File::open(path).and_then(|file| hasher.update_reader(file).map(|_| ()));
    hashed.map_err(Error::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// What a listing holds, independent of where it lies: every file's name, size and content.
pub(crate) fn fingerprint(listing: &Listing, progress: &Progress) -> Result<Value> {
    let hashes: Result<Vec<_>> = listing
        .files
        .par_iter()
        .map(|file| {
            progress.check()?;
            Ok((&file.name, file.bytes, content_hash(&file.path)?))
        })
        .collect();
    let mut all = blake3::Hasher::new();
    for (name, bytes, hash) in hashes? {
        all.update(format!("{hash} {bytes} {name}\n").as_bytes());
    }
    Ok(json!({
        "files": listing.files.len(), "bytes": listing.bytes(), "blake3": all.finalize().to_hex().to_string(),
    }))
}

/// Adds single files to a key: as inputs where they are parts of artifacts, by content otherwise.
pub(crate) fn key_of_files(
    kind: &str,
    config: Value,
    files: &[(&str, &Path)],
    store: &Store,
) -> Result<Key> {
    let mut own = BTreeMap::new();
    let mut inputs = Vec::new();
    for (role, path) in files {
        match artifact_of(store, path)? {
            Some(artifact) => {
                let inside = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                own.insert((*role).to_owned(), json!({"file": inside}));
                inputs.push((*role, artifact));
            }
            None => {
                own.insert((*role).to_owned(), json!({"blake3": content_hash(path)?}));
            }
        }
    }
    let key = Key::new(kind, &json!({"config": config, "files": own}));
    Ok(inputs
        .iter()
        .fold(key, |key, (role, artifact)| key.input(*role, artifact)))
}

/// The artifacts that `paths` lie in, each once, in order.
pub(crate) fn artifacts_of(store: &Store, paths: &[PathBuf]) -> Result<Vec<Artifact>> {
    let mut found: Vec<Artifact> = Vec::new();
    for path in paths {
        if let Some(artifact) = artifact_of(store, path)?
            && found.iter().all(|one| one.id != artifact.id)
        {
            found.push(artifact);
        }
    }
    Ok(found)
}
