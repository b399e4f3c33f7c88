//! Models from the Hugging Face hub, or a mirror of it: only the files that are needed, resumable, checked.
//!
//! Files gather in `HOME/downloads/<org>--<name>/<revision>/` until the model is imported. What was cut off continues
//! where it broke; what arrives is compared with the hub's own checksums before it gets its name.

mod download;
mod listing;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use artifact::{Lock, Progress, Store};
use hf_hub::Cache;
use hf_hub::api::sync::{Api, ApiBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};
use download::Download;
use listing::Listing;
pub use source::Source;

/// Where the hub is, unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// What a fetched folder notes about itself; no file of a model begins with a dot.
const ORIGIN: &str = ".origin";

/// The hub that is asked, and as whom.
#[derive(Clone)]
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    api: Api,
}

/// Where a fetched folder came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `hf:ORG/NAME`.
    pub source: String,
    /// The commit of the hub's repository.
    pub revision: String,
}

/// A model's files on this machine, not yet imported.
#[derive(Debug)]
pub struct Fetched {
    /// What to import: a folder, or one `.gguf` file.
    pub path: PathBuf,
    /// Where it came from.
    pub origin: Origin,
    folder: PathBuf,
    /// Nobody else downloads the same meanwhile.
    _lock: Lock,
}

impl Hub {
    /// The hub at `endpoint`, asked with `token` where there is one.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub fn new(endpoint: &str, token: Option<String>) -> Result<Self> {
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        // The crate's own cache is not used, so its place does not matter.
        let api = ApiBuilder::from_cache(Cache::new(PathBuf::new()))
            .with_endpoint(endpoint.clone())
            .with_token(token.clone())
            .with_user_agent("ontogeny", env!("CARGO_PKG_VERSION"))
            .build();
        let api = api.map_err(|error| Error::Remote {
            wanted: endpoint.clone(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            endpoint,
            token,
            api,
        })
    }

    /// As the environment says: `HF_ENDPOINT`, and `HF_TOKEN` or the token that Hugging Face's own tools keep in
    /// `HF_HOME`.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn from_env() -> Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        // The crate takes for granted that there is a home folder.
        let kept = || {
            let home = variable("HF_HOME").map(PathBuf::from);
            let home = home.or_else(|| Some(std::env::home_dir()?.join(".cache/huggingface")))?;
            Cache::new(home.join("hub")).token()
        };
        let token = variable("HF_TOKEN").or_else(kept);
        Self::new(&endpoint, token)
    }

    /// Downloads what is needed of a model, or finds that it is there.
    ///
    /// # Errors
    /// When the hub is out of reach, has no such model or revision, or wants a token; when the model has no file that is
    /// read here; when a file breaks off or is not the one that the hub tells of; when interrupted.
    pub fn fetch(&self, store: &Store, source: &Source, progress: &Progress) -> Result<Fetched> {
        let folder_name = source.folder_name();
        let lock = store.home().join("locks");
        let lock = Lock::acquire(&lock.join(format!("download-{folder_name}")))?;
        progress.stage("fetch", format!("asking {} for {source}", self.endpoint));
        let listing = Listing::ask(self, source)?;
        let downloads = store.home().join("downloads").join(folder_name);
        let folder = downloads.join(&listing.revision);
        let download = Download::new(self, source, &listing, &folder);
        let path = download.run(progress)?;
        let origin = Origin {
            source: source.without_revision(),
            revision: listing.revision.clone(),
        };
        let noted = serde_json::to_vec(&origin).expect("two strings are JSON");
        artifact::write_atomic(&folder.join(ORIGIN), &noted)?;
        Ok(Fetched {
            path,
            origin,
            folder,
            _lock: lock,
        })
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A token belongs in no log.
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

impl Fetched {
    /// Deletes the downloaded files, which an artifact holds by now.
    ///
    /// # Errors
    /// When they cannot be deleted.
    pub fn discard(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))?;
        // Another revision may lie beside it.
        if let Some(parent) = self.folder.parent() {
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }
}

/// Puts the origin of a fetched folder or file into an artifact's metrics.
pub(crate) fn note_origin(source: &Path, metrics: &mut Value) {
    let folder = if source.is_dir() {
        Some(source)
    } else {
        source.parent()
    };
    let noted = folder.and_then(|folder| fs::read(folder.join(ORIGIN)).ok());
    let noted = noted.and_then(|bytes| serde_json::from_slice::<Origin>(&bytes).ok());
    if let Some(origin) = noted {
        metrics["source"] = origin.source.into();
        metrics["revision"] = origin.revision.into();
    }
}
