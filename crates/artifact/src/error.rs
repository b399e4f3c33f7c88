//! What can go wrong with artifacts, each with its remedy.

use std::io;
use std::path::{Path, PathBuf};

/// The result of an artifact operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An artifact operation that failed. The text names the file or artifact and ends with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused; everything committed before is untouched.
    #[error("cannot {operation} {}: {source}; {}", path.display(), io_remedy(source))]
    Io {
        /// What was tried, as a verb: `write`, `read`, `rename`.
        operation: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process works in the same folder.
    #[error("{} is in use by {}; wait for it to finish, stop it, or work in another folder (--home or --out)",
        path.display(), pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    Busy {
        /// The lock that is held.
        path: PathBuf,
        /// The holder, where it could be read.
        pid: Option<u32>,
    },
    /// No artifact, prefix or name like this one.
    #[error("no artifact, prefix or name {wanted:?} in {}; {}", home.display(), known(candidates))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// The store searched.
        home: PathBuf,
        /// What there is, as `id kind` or a name.
        candidates: Vec<String>,
    },
    /// The prefix fits several artifacts.
    #[error("{wanted:?} fits {} artifacts: {}; give more characters", candidates.len(), candidates.join(", "))]
    Ambiguous {
        /// The prefix.
        wanted: String,
        /// The artifacts it fits.
        candidates: Vec<String>,
    },
    /// Other artifacts were made from this one.
    #[error("{id} is an input of {}; remove those first, or force it and lose their lineage", by.join(", "))]
    InUse {
        /// The artifact to be removed.
        id: String,
        /// The artifacts made from it.
        by: Vec<String>,
    },
    /// A stored file is not what its manifest says.
    #[error("{} is damaged: {problem}; remove its folder and run the stage again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// A name or id that cannot be used.
    #[error(
        "{name:?} cannot be a name; use 1 to 100 letters, digits, '.', '_' or '-', not starting with '.' or '-'"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// Ctrl-C, or a cancelled job: the work folder is kept and the same command goes on from it.
    #[error("interrupted; the work is saved, run the same command again to go on")]
    Interrupted,
}

impl Error {
    /// Wraps a system error with the operation and the path: `.map_err(Error::io("write", path))`.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }

    /// Whether a full disk or quota is the cause.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn io_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => {
            "nothing finished is lost: free space on that disk, or choose another with --home, and run the same command again"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check who may write there, or choose another folder with --home or --out"
        }
        io::ErrorKind::NotFound => "check that the path is spelled right and still exists",
        _ => "check the disk and the path, then run the same command again",
    }
}

fn known(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "the store is empty: run a stage first, or point --home at another store".to_owned()
    } else {
        format!("there is: {}", candidates.join(", "))
    }
}
