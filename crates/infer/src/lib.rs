//! Generation: a scheduler that batches whatever requests are there, a sampler, and the handle
//! that the evaluator, the server and the terminal share.

mod engine;
mod error;
mod request;
mod sampler;
mod scheduler;
mod stop;

pub use engine::Engine;
pub use error::{Error, Result};
pub use request::{Adapter, Completion, Delta, FinishReason, Request, Sampling, TokenLogprob};
