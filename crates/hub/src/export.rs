//! Models out: a folder that Python's `transformers` loads, or a GGUF file that llama.cpp loads. Tensors go through one
//! after another; those whose way of storing stays keep every bit.

mod folder;
mod gguf;
mod source;

use std::io::{self, Write};
use std::path::Path;

use artifact::Progress;

use crate::{Error, Result};

pub use folder::to_folder;
pub use gguf::to_gguf;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Parameters of the model.
    pub parameters: usize,
    /// Bytes of the weights' file.
    pub bytes: u64,
    /// What the user should know: tensors stored otherwise than asked, a tokenizer that is not quite the same.
    pub notes: Vec<String>,
}

/// Each tensor in turn, with progress in parameters.
fn each(
    tensors: &[(String, Vec<usize>)],
    progress: &Progress,
    mut with: impl FnMut(&str, &[usize]) -> Result<()>,
) -> std::result::Result<(), Stop> {
    let size = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let total = tensors.iter().map(|(_, shape)| size(shape)).sum();
    let mut done = 0;
    for (name, shape) in tensors {
        progress.check().map_err(Error::from)?;
        with(name, shape)?;
        done += size(shape);
        progress.tick(done, Some(total), "parameters");
    }
    Ok(())
}

/// Why writing stopped: the file system, or what was to be written.
enum Stop {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Writes a file beside its place and moves it there when it is whole.
fn whole(
    path: &Path,
    progress: &Progress,
    fill: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Stop>,
) -> Result<()> {
    let mut stopped = None;
    progress.check()?;
    let written = artifact::write_atomic_with(path, |to| match fill(to) {
        Ok(()) => Ok(()),
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Other(error)) => {
            stopped = Some(error);
            Err(io::Error::other("stopped"))
        }
    });
    match stopped {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}
