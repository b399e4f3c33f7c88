//! The architectures, one file each.

mod causal;
pub mod decoder;
pub mod encoder;
pub mod gpt;
pub mod initial;
pub mod kv_cache;
pub mod lora;
mod matrix;
pub mod pooling;
mod rows;
pub mod sentence;
pub mod t5;

pub use causal::Causal;
pub use initial::InitialWeights;
pub use kv_cache::KvCache;
pub use matrix::{Matrix, Values};
pub use rows::{Adapters, Rows};
