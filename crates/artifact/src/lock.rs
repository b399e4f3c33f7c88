//! An exclusive lock on a folder or a key, held by the operating system: a killed holder lets go by dying.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A held lock; dropping it lets go. The file stays, holding the last holder's process id, because removing it would
/// let two processes hold locks on two files of one name.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock file at `path`, creating it where absent, without waiting.
    ///
    /// # Errors
    /// [`Error::Busy`] with the holder's process id when another holds it; [`Error::Io`] otherwise.
    pub fn acquire(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io("open the lock", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(path)
                    .ok()
                    .and_then(|text| text.trim().parse().ok());
                return Err(Error::Busy {
                    path: path.to_owned(),
                    pid,
                });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
        }
        // The number is only for the message, so a full disk must not stop the work here.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not for a child process just being started, which holds a copy of the file until
        // its own program begins. Where this fails, closing still lets go.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let held = Lock::acquire(&path).unwrap();
        let error = Lock::acquire(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Busy { pid: Some(pid), .. } if *pid == std::process::id()),
            "{error}"
        );
        drop(held);
        assert_eq!(Lock::acquire(&path).unwrap().path(), path);
    }

    #[test]
    fn a_copy_of_the_file_does_not_hold_on() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let held = Lock::acquire(&path).unwrap();
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        assert!(Lock::acquire(&path).is_ok());
        drop(inherited);
    }
}
