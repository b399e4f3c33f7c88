//! What a repository of the hub holds, and which of it a model needs.

use serde::Deserialize;

use super::{Hub, Source};
use crate::{Error, Result};

/// Files of the repository's own folder that belong to a model when they are there.
const NAMED: [&str; 23] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
];
/// Files of the folders that sentence-transformers puts inside, such as `1_Pooling`.
const INSIDE: [&str; 2] = ["config.json", "model.safetensors"];
/// The weights, whole or as the list of their parts.
pub(super) const WHOLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
const ADAPTER: &str = "adapter_model.safetensors";

/// One file of the repository.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "rfilename")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) size: Option<u64>,
    /// Of the file as git keeps it.
    #[serde(default, rename = "blobId")]
    blob: Option<String>,
    #[serde(default)]
    lfs: Option<Large>,
}

/// What is told of a file that git does not keep itself.
#[derive(Clone, Debug, Deserialize)]
struct Large {
    sha256: String,
}

/// How the hub says that a file is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// SHA-256 of its bytes.
    Sha256(String),
    /// Git's name of it: SHA-1 of its length and its bytes.
    Git(String),
    /// The hub tells none; a mirror may do that.
    None,
}

impl Entry {
    pub(super) fn checksum(&self) -> Checksum {
        match (&self.lfs, &self.blob) {
            (Some(large), _) => Checksum::Sha256(large.sha256.to_lowercase()),
            // Git keeps a pointer in the place of a large file, so its name says nothing of that.
            (None, Some(blob)) if blob.len() == 40 => Checksum::Git(blob.to_lowercase()),
            _ => Checksum::None,
        }
    }
}

/// The repository at one commit.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) revision: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
struct Told {
    sha: String,
    siblings: Vec<Entry>,
}

impl Listing {
    pub(super) fn ask(hub: &Hub, source: &Source) -> Result<Self> {
        let request = hub
            .api
            .repo(source.repo())
            .info_request()
            .query("blobs", "true");
        let request = request.config().http_status_as_error(false).build();
        let mut answer = request.call().map_err(|error| unreachable(hub, &error))?;
        let status = answer.status().as_u16();
        if status != 200 {
            let code = answer.headers().get("x-error-code");
            let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
            return Err(refused(hub, source, status, code));
        }
        let strange = |reason: String| Error::Remote {
            wanted: source.to_string(),
            reason: format!("{} answers strangely: {reason}", hub.endpoint),
        };
        let told = answer.body_mut().read_to_string();
        let told = told.map_err(|error| strange(error.to_string()))?;
        let told: Told = serde_json::from_str(&told).map_err(|error| strange(error.to_string()))?;
        let hash = told.sha.len() <= 64 && told.sha.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hash || told.sha.is_empty() {
            return Err(strange(format!("`{}` is no revision", told.sha)));
        }
        Ok(Self {
            revision: told.sha,
            entries: told.siblings,
        })
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The files that are needed, but for the parts that an index names.
    pub(super) fn needed(&self, source: &Source) -> Result<Vec<&Entry>> {
        let missing = |reason: String| Error::Remote {
            wanted: source.to_string(),
            reason,
        };
        let ggufs: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.name.ends_with(".gguf") && !entry.name.contains('/'))
            .collect();
        if let Some(wanted) = &source.file {
            let file = self
                .entry(wanted)
                .ok_or_else(|| missing(format!("it has no {wanted}{}", there_are(&ggufs))))?;
            return Ok(vec![file]);
        }
        let has = |name| self.entry(name).is_some();
        if has(WHOLE) || has(INDEX) || has(ADAPTER) {
            let weights = if has(WHOLE) { WHOLE } else { INDEX };
            let wanted = |entry: &&Entry| {
                NAMED.contains(&entry.name.as_str())
                    || entry.name == weights
                    || is_inside(&entry.name)
            };
            return Ok(self.entries.iter().filter(wanted).collect());
        }
        if let [only] = ggufs[..] {
            return Ok(vec![only]);
        }
        if !ggufs.is_empty() {
            let said = format!("it holds several models{}", there_are(&ggufs));
            return Err(missing(said));
        }
        let pickle = self.entries.iter().find(|entry| {
            let ends = |end| entry.name.ends_with(end);
            ends(".bin") || ends(".pt") || ends(".pth")
        });
        Err(missing(match pickle {
            Some(pickle) => format!(
                "it holds its weights as a pickle only ({}), which can run any program when it is read; with the software \
                 that made it, `model.save_pretrained(FOLDER, safe_serialization=True)` writes safetensors, which can be \
                 imported",
                pickle.name
            ),
            None => "it holds neither safetensors nor a GGUF file".to_owned(),
        }))
    }
}

/// `1_Pooling/config.json` and its like.
fn is_inside(name: &str) -> bool {
    name.split_once('/').is_some_and(|(folder, file)| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        folder.starts_with(|first: char| first.is_ascii_digit())
            && folder.bytes().all(fits)
            && INSIDE.contains(&file)
    })
}

fn there_are(files: &[&Entry]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = files.iter().map(|entry| entry.name.as_str()).collect();
    format!("; name one as hf:ORG/NAME/FILE: {}", names.join(", "))
}

/// The hub, or the way to it, did not answer.
pub(super) fn unreachable(hub: &Hub, error: &dyn std::fmt::Display) -> Error {
    Error::Unreachable {
        endpoint: hub.endpoint.clone(),
        reason: error.to_string(),
    }
}

/// What an answer other than the wanted one means. Without a token the hub does not tell a model that is not there from
/// one that is private.
pub(super) fn refused(hub: &Hub, source: &Source, status: u16, code: &str) -> Error {
    let reason = match (status, code, hub.token.is_some()) {
        (_, "GatedRepo", false) | (403, _, false) => {
            "it is gated: the publisher's terms must be accepted on its page; then set HF_TOKEN to a token of that account \
             and try again"
                .to_owned()
        }
        (_, "GatedRepo", true) | (403, _, true) => {
            "it is gated, and the token's account may not read it; accept the publisher's terms on its page with that \
             account"
                .to_owned()
        }
        (_, "RevisionNotFound", _) => {
            "there is no such revision; its branches, tags and commits are on its page".to_owned()
        }
        (401, _, false) => {
            "there is no such model, or it is private or gated; check the name, or set HF_TOKEN to a token that may read it"
                .to_owned()
        }
        (401, _, true) => {
            "the token is not accepted, or may not read this model; check HF_TOKEN and the name"
                .to_owned()
        }
        (404, ..) => "there is no such model; check the name and the revision".to_owned(),
        (429, ..) => {
            "too many requests were made; wait a while and try again, what has arrived is kept"
                .to_owned()
        }
        _ => format!(
            "{} answers with status {status}; try again later, what has arrived is kept",
            hub.endpoint
        ),
    };
    Error::Remote {
        wanted: source.to_string(),
        reason,
    }
}
