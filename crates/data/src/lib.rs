//! The `data` room: sources → filters → deduplication → token shards.
//!
//! - [`source`]: files and folders as one stream of documents
//! - [`filter`]: one file per filter
//! - [`curate`]: sources through the filters into a `corpus` artifact
//! - [`train_tokenizer`]: a `tokenizer` artifact from a corpus
//! - [`shards`]: the corpus as tokens, memory-mapped
//! - [`instructions`], [`preferences`]: conversations to learn from
//! - [`inspect`]: what lies in a file or folder

pub mod corpus;
pub mod curate;
mod document;
mod error;
pub mod filter;
mod inspect;
pub mod instructions;
mod origin;
mod pipeline;
pub mod preferences;
mod rows;
pub mod shards;
pub mod source;
mod token_split;
mod vocabulary;

pub use corpus::Split;
pub use document::Document;
pub use error::{Error, Result};
pub use inspect::{Lengths, Sample, Summary, inspect};
pub use pipeline::StepCount;
pub use shards::{Shards, TokenSplit};
pub use vocabulary::train_tokenizer;

use std::path::PathBuf;

use artifact::Progress;

/// The documents of files and folders as they stand, unfiltered, in order.
///
/// # Errors
/// [`Error::NoFiles`] when nothing can be read; each document may be an error naming its file.
pub fn documents(
    paths: &[PathBuf],
    progress: &Progress,
) -> Result<impl Iterator<Item = Result<Document>> + Send + use<>> {
    let listing = source::list(paths)?;
    let total = listing.bytes();
    let reader = source::Reader::new(listing.files, &source::Config::default())?;
    let (position, progress) = (reader.position(), progress.clone());
    let mut count = 0u64;
    Ok(reader.inspect(move |_| {
        count += 1;
        if count.is_multiple_of(1024) {
            progress.tick(
                position
                    .load(std::sync::atomic::Ordering::Relaxed)
                    .min(total),
                Some(total),
                "bytes",
            );
        }
    }))
}
