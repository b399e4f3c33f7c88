//! The architectures, one file each.

pub mod decoder;
pub mod kv_cache;
mod rows;

pub use kv_cache::KvCache;
pub use rows::Rows;
