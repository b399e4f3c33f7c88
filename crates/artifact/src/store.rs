//! The store: one folder, HOME, with `artifacts/<id>/`, `work/<key>/`, `refs/<name>` and `locks/<key>`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::atomic::write_atomic;
use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::lock::Lock;
use crate::manifest::{Artifact, Id, Key, MANIFEST};

/// How many candidates an error lists.
const LISTED: usize = 12;

/// All artifacts of one HOME. Cheap to clone; several processes may use one store at once.
#[derive(Clone, Debug)]
pub struct Store {
    home: PathBuf,
}

impl Store {
    /// Opens the store in `home`, creating its folders where absent.
    ///
    /// # Errors
    /// [`Error::Io`] naming the folder that cannot be made.
    pub fn open(home: &Path) -> Result<Self> {
        for name in ["artifacts", "work", "refs", "locks"] {
            let path = home.join(name);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        Ok(Self {
            home: home.to_owned(),
        })
    }

    /// The store's folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The newest artifact made for this key, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`] naming the file that could not be read.
    pub fn find(&self, key: &Key) -> Result<Option<Artifact>> {
        #[derive(Deserialize)]
        struct OnlyKey {
            key: String,
        }
        let hash = key.hash();
        let mut newest: Option<Artifact> = None;
        for folder in self.folders()? {
            let path = folder.join(MANIFEST);
            let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
            if serde_json::from_slice::<OnlyKey>(&bytes).is_ok_and(|found| found.key == hash) {
                let found = Artifact::open(&folder)?;
                let age =
                    |artifact: &Artifact| (artifact.manifest.created_unix, artifact.id.clone());
                if newest.as_ref().is_none_or(|old| age(old) < age(&found)) {
                    newest = Some(found);
                }
            }
        }
        if newest.is_some() {
            self.sweep(&hash);
        }
        Ok(newest)
    }

    /// Removes what a kill just after a commit left of the work folder, unless someone works in it.
    fn sweep(&self, hash: &str) {
        let folder = self.home.join("work").join(hash);
        if folder.exists() && Lock::acquire(&self.home.join("locks").join(hash)).is_ok() {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// Creates or re-opens the work folder for a key and locks it.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process works on the same key, [`Error::Io`] naming the path.
    pub fn begin(&self, key: Key) -> Result<Draft> {
        Draft::open(&self.home, key)
    }

    /// The artifact with this ref, id, or unique prefix of an id.
    ///
    /// # Errors
    /// [`Error::Unknown`] or [`Error::Ambiguous`], both listing candidates.
    pub fn get(&self, wanted: &str) -> Result<Artifact> {
        if check_name(wanted).is_ok()
            && let Some(id) = self.get_ref(wanted)?
        {
            return self.open_id(&id, wanted);
        }
        if let Some(id) = Id::parse(wanted) {
            return self.open_id(&id, wanted);
        }
        let all = self.list()?;
        let mut fitting: Vec<_> = all
            .iter()
            .filter(|one| !wanted.is_empty() && one.id.as_str().starts_with(wanted))
            .collect();
        match (fitting.pop(), fitting.len()) {
            (Some(only), 0) => Ok(only.clone()),
            (Some(last), _) => {
                fitting.push(last);
                let candidates = fitting.iter().take(LISTED).map(|one| one.label()).collect();
                Err(Error::Ambiguous {
                    wanted: wanted.to_owned(),
                    candidates,
                })
            }
            (None, _) => Err(self.unknown(wanted, &all)?),
        }
    }

    fn open_id(&self, id: &Id, wanted: &str) -> Result<Artifact> {
        let folder = self.folder(id);
        if folder.exists() {
            Artifact::open(&folder)
        } else {
            Err(self.unknown(wanted, &self.list()?)?)
        }
    }

    fn unknown(&self, wanted: &str, all: &[Artifact]) -> Result<Error> {
        let refs = self.refs()?.into_iter().map(|(name, _)| name);
        let ids = all.iter().rev().map(Artifact::label);
        let candidates = refs.chain(ids).take(LISTED).collect();
        Ok(Error::Unknown {
            wanted: wanted.to_owned(),
            home: self.home.clone(),
            candidates,
        })
    }

    /// All artifacts, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`] naming the file that could not be read.
    pub fn list(&self) -> Result<Vec<Artifact>> {
        let mut all = self
            .folders()?
            .iter()
            .map(|folder| Artifact::open(folder))
            .collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| (a.manifest.created_unix, &a.id).cmp(&(b.manifest.created_unix, &b.id)));
        Ok(all)
    }

    /// Removes an artifact and the refs that name it.
    ///
    /// # Errors
    /// [`Error::InUse`] when others were made from it and `force` is false, [`Error::Unknown`] when it is not there.
    pub fn remove(&self, id: &Id, force: bool) -> Result<()> {
        let artifact = self.open_id(id, id.as_str())?;
        let children = self.children(id)?;
        if !force && !children.is_empty() {
            let by = children.iter().map(Artifact::label).collect();
            return Err(Error::InUse {
                id: id.to_string(),
                by,
            });
        }
        for (name, _) in self.refs()?.into_iter().filter(|(_, named)| named == id) {
            let path = self.home.join("refs").join(name);
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        // Renamed first, so that a kill half-way through the deletion leaves no half artifact in the list.
        let aside = self.home.join("work").join(format!("removed-{id}"));
        fs::rename(&artifact.path, &aside).map_err(Error::io("remove", &artifact.path))?;
        fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))
    }

    /// Gives an artifact a name, replacing what the name stood for.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that cannot be one, [`Error::Unknown`] for an artifact that is not there.
    pub fn set_ref(&self, name: &str, id: &Id) -> Result<()> {
        check_name(name)?;
        self.open_id(id, id.as_str())?;
        write_atomic(
            &self.home.join("refs").join(name),
            format!("{id}\n").as_bytes(),
        )
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that cannot be one, [`Error::Damaged`] when the ref holds no id.
    pub fn get_ref(&self, name: &str) -> Result<Option<Id>> {
        check_name(name)?;
        let path = self.home.join("refs").join(name);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(Error::io("read", &path))?,
        };
        let id = Id::parse(text.trim());
        id.map(Some).ok_or_else(|| Error::Damaged {
            path,
            problem: format!("expected an id, got {text:?}"),
        })
    }

    /// Every name and what it stands for, sorted by name.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Damaged`] naming the file.
    pub fn refs(&self) -> Result<Vec<(String, Id)>> {
        let mut refs = Vec::new();
        for path in entries(&self.home.join("refs"))? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if check_name(&name).is_ok()
                && let Some(id) = self.get_ref(&name)?
            {
                refs.push((name, id));
            }
        }
        refs.sort();
        Ok(refs)
    }

    /// The artifacts made directly from this one, oldest first.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn children(&self, id: &Id) -> Result<Vec<Artifact>> {
        let mut all = self.list()?;
        all.retain(|one| one.manifest.inputs.iter().any(|input| input.id == *id));
        Ok(all)
    }

    pub(crate) fn folder(&self, id: &Id) -> PathBuf {
        self.home.join("artifacts").join(id.as_str())
    }

    /// The folders of all artifacts, by id; anything else that lies there is not ours and is left alone.
    fn folders(&self) -> Result<Vec<PathBuf>> {
        let mut folders = entries(&self.home.join("artifacts"))?;
        folders.retain(|path| {
            path.file_name()
                .is_some_and(|name| Id::parse(&name.to_string_lossy()).is_some())
        });
        folders.sort();
        Ok(folders)
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        })
        .map_err(Error::io("list", folder))
}

fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=100).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with(['.', '-']) {
        Ok(())
    } else {
        Err(Error::Name {
            name: name.to_owned(),
        })
    }
}
