//! The `knowledge` room: texts as vectors that lie close where meanings do.

mod embedder;
mod error;

pub use embedder::{Embedder, Embeddings, cosine};
pub use error::{Error, Result};
