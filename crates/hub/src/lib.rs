//! Checkpoints in and out: folders in the layout of Hugging Face (`config.json`, `model.safetensors`, `tokenizer.json`,
//! `tokenizer_config.json`, `generation_config.json`), GGUF files, adapters in the layout of PEFT, and encoders with the
//! files of sentence-transformers.

pub mod about;
mod adapter;
mod architecture;
pub mod catalogue;
pub mod checkpoint;
mod encoder;
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
mod sentence;
mod seq2seq;
pub mod weights;

pub use adapter::{
    AdapterConfig, adapter_products, attach, base_of, is_adapter, read_adapter,
    read_adapter_config, save_adapter,
};
pub use architecture::{Architecture, read_architecture};
pub use encoder::{LoadedEncoder, Prompts, load_encoder, read_encoder_config};
pub use error::{Error, Result};
pub use folder::{
    LoadedModel, ModelConfig, Products, load, load_decoder, read_config, save, tokenizer,
};
pub use gguf::storage::Storage;
pub use import::import;
pub use merge::merge;
pub use resolve::{holds_model, model_name, resolve};
pub use seq2seq::{LoadedSeq2Seq, is_seq2seq, load_seq2seq, load_t5, read_seq2seq_config};
