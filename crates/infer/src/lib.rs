//! Generation: an engine that reads and writes for whatever requests are there in one pass after another, and the handle
//! to it that the evaluator, the server and the terminal share.
//!
//! A pass is scheduled (`schedule`), run (`run`) and made into tokens and text (`postprocess`). What an answer says depends on
//! its request alone.

mod answer;
mod blocks;
mod draft;
mod engine;
mod error;
mod grammar;
mod lookup;
mod postprocess;
mod queue;
mod request;
mod run;
mod sampler;
mod schedule;
mod score;
mod sequence;
mod settings;
mod stats;
mod stop;
mod worker;

pub use answer::{Answer, Deltas};
pub use engine::Engine;
pub use error::{Error, Result};
pub use grammar::Grammar;
pub use request::{Adapter, Completion, Delta, Dry, FinishReason, Request, Sampling, TokenLogprob};
pub use settings::Settings;
pub use stats::Stats;
