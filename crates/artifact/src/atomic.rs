//! Writing a file so that a reader sees the old bytes or the new ones, never a mixture: aside, fsync, rename, fsync
//! of the folder. A full disk fails before the rename, so the old file stays.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// How the name of an unfinished file ends; such leftovers of a kill are swept when a draft is re-opened.
pub(crate) const ASIDE: &str = ".aside";

/// Replaces `path` by `bytes`, durably.
///
/// # Errors
/// [`Error::Io`] naming the path; the previous content is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic_with(path, |out| out.write_all(bytes))
}

/// Replaces `path` by what `fill` writes (through a buffer), durably.
///
/// # Errors
/// [`Error::Io`] naming the path; the previous content is then untouched.
pub fn write_atomic_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let turn = COUNT.fetch_add(1, Ordering::Relaxed);
    let aside = Aside(folder.join(format!(".{name}.{}-{turn}{ASIDE}", std::process::id())));
    let written = (|| {
        let mut out = BufWriter::with_capacity(1 << 16, File::create(&aside.0)?);
        fill(&mut out)?;
        out.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()
    })();
    written.map_err(Error::io("write", path))?;
    fs::rename(&aside.0, path).map_err(Error::io("write", path))?;
    sync_folder(folder)
}

/// Removes the unfinished file when the write failed; after the rename there is nothing left to remove.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the entries of a folder durable. Windows has no such call; there a rename is as durable as it gets.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io("sync", folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.json");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.json");
        write_atomic(&path, b"old").unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = write_atomic_with(&path, |out| out.write_all(b"ne").and_then(|()| Err(full())))
            .unwrap_err();
        assert!(error.is_disk_full());
        assert!(
            error.to_string().contains("a.json") && error.to_string().contains("free space"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let home = tempfile::tempdir().unwrap();
        let error = write_atomic(&home.path().join("no/such/file"), b"x").unwrap_err();
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
