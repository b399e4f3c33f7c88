//! Keys, ids and manifests: what determines an artifact, and what it turned out to be.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::seed::Seed;

/// The tool and version that made an artifact; part of every key, so a new version makes its own.
pub const TOOL: &str = concat!("ontogeny ", env!("CARGO_PKG_VERSION"));

pub(crate) const MANIFEST: &str = "artifact.json";
pub(crate) const MEASURED: &str = "measured.json";

/// An artifact's id: 64 hex characters, the BLAKE3 of its `artifact.json`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// Reads an id written in full; `None` unless it is 64 lower-case hex characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The first 12 characters, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// All 64 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).to_hex().to_string())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("expected an id of 64 hex characters, got {text:?}"))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// An artifact that another was made from, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What it served as: `corpus`, `tokenizer`, `base`, …
    pub role: String,
    /// Which one.
    pub id: Id,
}

/// What determines an artifact before it is made. Equal keys mean the stage need not run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// What is made: `corpus`, `tokenizer`, `shards`, `model`, `evaluation`, …
    pub kind: String,
    /// The resolved config, every field present.
    pub config: Value,
    /// The seeds used, by purpose.
    pub seeds: BTreeMap<String, u64>,
    /// The artifacts it is made from, in the order given.
    pub inputs: Vec<Input>,
}

impl Key {
    /// A key for `kind` with this config, no seeds and no inputs yet.
    ///
    /// # Panics
    /// When the config is not plain data (a map with keys that are not strings).
    #[must_use]
    pub fn new(kind: impl Into<String>, config: &impl Serialize) -> Self {
        let config =
            serde_json::to_value(config).expect("a config is structs, lists, strings and numbers");
        Self {
            kind: kind.into(),
            config,
            seeds: BTreeMap::new(),
            inputs: Vec::new(),
        }
    }

    /// Adds a seed.
    #[must_use]
    pub fn seed(mut self, name: impl Into<String>, seed: Seed) -> Self {
        self.seeds.insert(name.into(), seed.0);
        self
    }

    /// Adds an input.
    #[must_use]
    pub fn input(mut self, role: impl Into<String>, artifact: &Artifact) -> Self {
        self.inputs.push(Input {
            role: role.into(),
            id: artifact.id.clone(),
        });
        self
    }

    /// 64 hex characters: the BLAKE3 of the key and the tool version as canonical JSON.
    #[must_use]
    pub fn hash(&self) -> String {
        let key = serde_json::json!({
            "kind": self.kind, "config": self.config, "seeds": self.seeds, "inputs": self.inputs, "tool": TOOL,
        });
        blake3::hash(canonical_json(&key).as_bytes())
            .to_hex()
            .to_string()
    }
}

/// JSON with sorted keys, two spaces of indentation and a final newline: equal values give equal bytes.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    format!("{sorted:#}\n")
}

/// The content hash of one payload file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// BLAKE3, hex.
    pub blake3: String,
    /// Size in bytes.
    pub bytes: u64,
}

impl FileHash {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        File::open(path)
            .and_then(|file| hasher.update_reader(file).map(|_| ()))
            .map_err(Error::io("read", path))?;
        Ok(Self {
            blake3: hasher.finalize().to_hex().to_string(),
            bytes: hasher.count(),
        })
    }
}

/// What an artifact is. All but [`Manifest::measured`] and [`Manifest::created_unix`] enter the id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it is: `corpus`, `tokenizer`, `shards`, `model`, `evaluation`, …
    pub kind: String,
    /// The resolved config it was made with.
    pub config: Value,
    /// The seeds used, by purpose.
    pub seeds: BTreeMap<String, u64>,
    /// The artifacts it was made from.
    pub inputs: Vec<Input>,
    /// Results that two equal runs share.
    pub metrics: Value,
    /// The tool and version that made it.
    pub tool: String,
    /// Every payload file by its path inside the artifact, `/`-separated.
    pub files: BTreeMap<String, FileHash>,
    /// [`Key::hash`] of the key it was made for.
    pub key: String,
    /// Results that vary between equal runs: seconds, memory, tokens per second. Kept in `measured.json`.
    #[serde(skip)]
    pub measured: Value,
    /// When it was committed, in seconds since 1970. Kept in `measured.json`.
    #[serde(skip)]
    pub created_unix: u64,
}

impl Manifest {
    /// A metric by name, looked up in [`Manifest::metrics`] first and in [`Manifest::measured`] then.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<&Value> {
        self.metrics.get(name).or_else(|| self.measured.get(name))
    }

    /// The hashed part as bytes; their BLAKE3 is the id.
    pub(crate) fn to_canonical(&self) -> String {
        canonical_json(&serde_json::to_value(self).expect("a manifest is plain data"))
    }
}

/// The part of an artifact that does not enter the id.
#[derive(Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) created_unix: u64,
    pub(crate) measured: Value,
}

/// A complete artifact on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// Its id.
    pub id: Id,
    /// Its folder.
    pub path: PathBuf,
    /// What it is.
    pub manifest: Manifest,
}

impl Artifact {
    /// The path of one payload file.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads the artifact in `folder` and checks that `artifact.json` is the one its id names.
    /// The folder may lie anywhere; its name does not matter.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be read, [`Error::Damaged`] when it is not a manifest.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let mut manifest: Manifest = parse(&path, &bytes)?;
        let beside = folder.join(MEASURED);
        let measured: Measured = parse(
            &beside,
            &fs::read(&beside).map_err(Error::io("read", &beside))?,
        )?;
        manifest.measured = measured.measured;
        manifest.created_unix = measured.created_unix;
        Ok(Self {
            id: Id::of(&bytes),
            path: folder.to_owned(),
            manifest,
        })
    }

    /// Hashes every payload file and compares with the manifest.
    ///
    /// # Errors
    /// [`Error::Damaged`] naming the first file that differs, [`Error::Io`] naming one that cannot be read.
    pub fn verify(&self) -> Result<()> {
        let path = self.file(MANIFEST);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        if Id::of(&bytes) != self.id {
            return Err(Error::Damaged {
                path,
                problem: format!("its BLAKE3 is no longer {}", self.id),
            });
        }
        for (name, expected) in &self.manifest.files {
            let path = self.file(name);
            let found = FileHash::of(&path)?;
            if found != *expected {
                let problem = format!(
                    "expected BLAKE3 {} over {} bytes, got {} over {} bytes",
                    expected.blake3, expected.bytes, found.blake3, found.bytes
                );
                return Err(Error::Damaged { path, problem });
            }
        }
        Ok(())
    }

    /// `id kind`, as candidates are listed.
    pub(crate) fn label(&self) -> String {
        format!("{} {}", self.id.short(), self.manifest.kind)
    }
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        problem: format!("not a manifest: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn canonical_json_ignores_key_order() {
        let one: Value =
            serde_json::from_str(r#"{"b":{"y":1,"x":[{"q":2,"p":3}]},"a":0.1}"#).unwrap();
        let two: Value =
            serde_json::from_str(r#"{"a":0.1,"b":{"x":[{"p":3,"q":2}],"y":1}}"#).unwrap();
        assert_eq!(canonical_json(&one), canonical_json(&two));
    }

    #[test]
    fn every_part_of_a_key_counts() {
        let key = Key::new("corpus", &json!({"limit": 1}));
        let all = [
            key.clone(),
            Key::new("shards", &json!({"limit": 1})),
            Key::new("corpus", &json!({"limit": 2})),
            key.clone().seed("order", Seed(1)),
            key.seed("order", Seed(2)),
        ];
        let hashes: std::collections::BTreeSet<_> = all.iter().map(Key::hash).collect();
        assert_eq!(hashes.len(), all.len());
    }

    proptest! {
        #[test]
        fn only_full_lower_case_hex_is_an_id(text in "[0-9a-fA-F/.]{60,66}") {
            let good = text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
            prop_assert_eq!(Id::parse(&text).is_some(), good);
        }
    }
}
