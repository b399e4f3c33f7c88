//! The architectures, one file each.

mod causal;
pub mod decoder;
pub mod encoder;
pub mod gpt;
pub mod initial;
pub mod kv_cache;
pub mod lora;
mod matrix;
mod rows;
pub mod t5;

pub use causal::Causal;
pub use initial::InitialWeights;
pub use kv_cache::KvCache;
pub use matrix::{Matrix, Values};
pub use rows::{Adapters, Rows};
