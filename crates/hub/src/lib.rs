//! Checkpoints in and out: folders in the layout of Hugging Face (`config.json`, `model.safetensors`, `tokenizer.json`,
//! `tokenizer_config.json`, `generation_config.json`), and GGUF files in.

mod error;
mod folder;
mod gguf;
mod resolve;
pub mod weights;

pub use error::{Error, Result};
pub use folder::{LoadedModel, ModelConfig, Products, load, read_config, save};
pub use resolve::{model_name, resolve};
