//! Checkpoints in and out: folders in the layout of Hugging Face (`config.json`, `model.safetensors`, `tokenizer.json`,
//! `tokenizer_config.json`, `generation_config.json`), GGUF files, and adapters in the layout of PEFT.

pub mod about;
mod adapter;
pub mod catalogue;
pub mod checkpoint;
mod error;
pub mod export;
pub mod fetch;
mod folder;
mod gguf;
mod import;
pub mod memory;
mod merge;
mod names;
mod resolve;
mod seq2seq;
pub mod weights;

pub use adapter::{
    AdapterConfig, adapter_products, attach, base_of, is_adapter, read_adapter,
    read_adapter_config, save_adapter,
};
pub use error::{Error, Result};
pub use folder::{
    LoadedModel, ModelConfig, Products, load, load_decoder, read_config, save, tokenizer,
};
pub use gguf::storage::Storage;
pub use import::import;
pub use merge::merge;
pub use resolve::{holds_model, model_name, resolve};
pub use seq2seq::{LoadedSeq2Seq, is_seq2seq, load_seq2seq, load_t5, read_seq2seq_config};
