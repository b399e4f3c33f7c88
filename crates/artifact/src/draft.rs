//! The work folder of one unfinished artifact: it survives a kill, is locked while in use, and becomes the artifact
//! by one rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::atomic::{ASIDE, sync_folder, write_atomic};
use crate::error::{Error, Result};
use crate::lock::Lock;
use crate::manifest::{
    Artifact, FileHash, Id, Key, MANIFEST, MEASURED, Manifest, Measured, TOOL, canonical_json,
};

/// An unfinished artifact. Dropping it lets go of the lock and keeps the folder; the same key re-opens it.
#[derive(Debug)]
pub struct Draft {
    key: Key,
    hash: String,
    folder: PathBuf,
    payload: PathBuf,
    artifacts: PathBuf,
    resumed: bool,
    _lock: Lock,
}

impl Draft {
    pub(crate) fn open(home: &Path, key: Key) -> Result<Self> {
        let hash = key.hash();
        let lock = Lock::acquire(&home.join("locks").join(&hash))?;
        let folder = home.join("work").join(&hash);
        let payload = folder.join("payload");
        let scratch = folder.join("scratch");
        for path in [&payload, &scratch] {
            fs::create_dir_all(path).map_err(Error::io("create", path))?;
        }
        // A kill between the manifest and the rename leaves these; they are written anew at commit.
        for name in [MANIFEST, MEASURED] {
            remove_if_present(&payload.join(name))?;
        }
        let mut left = Vec::new();
        walk(&folder, &mut left)?;
        for path in left.iter().filter(|path| is_aside(path)) {
            remove_if_present(path)?;
        }
        let resumed = left
            .iter()
            .any(|path| !is_aside(path) && path.parent() != Some(&folder));
        let about = serde_json::to_value(&key).expect("a key is plain data");
        write_atomic(&folder.join("key.json"), canonical_json(&about).as_bytes())?;
        Ok(Self {
            key,
            hash,
            folder,
            payload,
            artifacts: home.join("artifacts"),
            resumed,
            _lock: lock,
        })
    }

    /// The folder that the payload goes into.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.payload
    }

    /// A folder for checkpoints and intermediate files: kept through a kill, deleted at commit.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// The key this draft is made for.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether an earlier, interrupted run left files in the payload or scratch folder.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Empties payload and scratch, for a stage that starts over instead of resuming.
    ///
    /// # Errors
    /// [`Error::Io`] naming the folder.
    pub fn restart(&mut self) -> Result<()> {
        for path in [self.payload.clone(), self.scratch()] {
            fs::remove_dir_all(&path).map_err(Error::io("empty", &path))?;
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
        }
        self.resumed = false;
        Ok(())
    }

    /// Makes the payload an artifact: hashes and syncs every file, writes the manifest, renames the folder into
    /// place. `metrics` enter the id and must be equal for equal runs; `measured` (seconds, memory, rates) does not.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file; the draft is then kept and can be committed by the next run.
    pub fn commit(self, metrics: Value, measured: Value) -> Result<Artifact> {
        let files = self.hash_payload()?;
        let manifest = Manifest {
            kind: self.key.kind.clone(),
            config: self.key.config.clone(),
            seeds: self.key.seeds.clone(),
            inputs: self.key.inputs.clone(),
            metrics,
            tool: TOOL.to_owned(),
            files,
            key: self.hash.clone(),
            measured: Value::Null,
            created_unix: 0,
        };
        let canonical = manifest.to_canonical();
        let id = Id::of(canonical.as_bytes());
        let created_unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let beside = serde_json::to_value(Measured {
            created_unix,
            measured,
        })
        .expect("measurements are plain data");
        write_atomic(
            &self.payload.join(MEASURED),
            canonical_json(&beside).as_bytes(),
        )?;
        write_atomic(&self.payload.join(MANIFEST), canonical.as_bytes())?;

        let place = self.artifacts.join(id.as_str());
        // An equal run may have finished first; its artifact has the same bytes, so ours is not needed.
        if !place.join(MANIFEST).exists() {
            fs::rename(&self.payload, &place).map_err(Error::io("rename into", &place))?;
            sync_folder(&self.artifacts)?;
        }
        fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))?;
        Artifact::open(&place)
    }

    /// Throws the work folder away.
    ///
    /// # Errors
    /// [`Error::Io`] naming the folder.
    pub fn discard(self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(Error::io("remove", &self.folder))
    }

    fn hash_payload(&self) -> Result<BTreeMap<String, FileHash>> {
        let mut paths = Vec::new();
        walk(&self.payload, &mut paths)?;
        let mut files = BTreeMap::new();
        for path in paths.iter().filter(|path| !is_aside(path)) {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(Error::io("sync", path))?;
            let inside = path
                .strip_prefix(&self.payload)
                .expect("the walk stays inside the payload");
            let name: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
            files.insert(name.join("/"), FileHash::of(path)?);
        }
        Ok(files)
    }
}

/// Every file below `folder`; syncs each folder it passes.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("look at", &path))?;
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() {
            files.push(path);
        } else {
            let problem = "expected a plain file, got a link or device".to_owned();
            return Err(Error::Damaged { path, problem });
        }
    }
    sync_folder(folder)
}

fn is_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(ASIDE)
}

fn remove_if_present(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
