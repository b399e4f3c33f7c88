//! Checkpoints in and out: folders in the layout of Hugging Face (`config.json`, `model.safetensors`, `tokenizer.json`,
//! `tokenizer_config.json`, `generation_config.json`), and GGUF files in.

pub mod checkpoint;
mod error;
mod folder;
mod gguf;
mod import;
mod names;
mod resolve;
pub mod weights;

pub use error::{Error, Result};
pub use folder::{
    LoadedModel, ModelConfig, Products, load, load_decoder, read_config, save, tokenizer,
};
pub use import::import;
pub use resolve::{model_name, resolve};
