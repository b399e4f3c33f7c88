//! The architectures, one file each.

pub mod decoder;
pub mod initial;
pub mod kv_cache;
mod rows;

pub use initial::InitialWeights;
pub use kv_cache::KvCache;
pub use rows::Rows;
