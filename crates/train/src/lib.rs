//! Pre-training, fine-tuning and alignment.
//!
//! All three share one step: [`trainer::Trainer`] takes a packed batch whose rows carry signed
//! weights, so that next-token prediction, answers only, and preferences are the same operation.

pub mod align;
mod checkpoint;
mod error;
pub mod finetune;
mod gpt_steps;
mod history;
mod lora_steps;
mod optimizer;
mod packing;
mod peer;
pub mod plan;
pub mod pretrain;
mod sample;
mod schedule;
mod session;
mod stream;
mod trainer;
mod validation;

pub use error::{Error, Result};
pub use gpt_steps::GptSteps;
pub use history::{History, Point, Sampled, Throughput, Validated};
pub use lora_steps::LoraSteps;
pub use optimizer::OptimizerConfig;
pub use peer::dump as dump_peer;
pub use schedule::Schedule;
