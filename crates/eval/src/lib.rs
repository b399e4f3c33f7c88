//! The `eval` room: is the model good, is it better than the last one, and may it take its place?
//!
//! [`evaluate::run`] measures all candidates side by side on the same held-out material and keeps the outcome of
//! every item, so that two candidates are compared question by question. [`gate()`] decides from such scores alone.
//!
//! Read [`metrics`] for when an answer is right, [`interval`] for what "by more than the noise" means.

pub mod answers;
pub mod bits_per_byte;
mod choice;
mod error;
pub mod evaluate;
mod gate;
pub mod interval;
pub mod metrics;
pub mod preference;
pub mod prompting;
pub mod question;
mod report;
mod scores;

pub use error::{Error, Result};
pub use evaluate::{Config, Inputs, run};
pub use gate::{Check, GateConfig, Verdict, gate};
pub use interval::Interval;
pub use report::{Comparison, Evaluation, Row, read_scores, scores_of};
pub use scores::{Metric, Resampling, Scores, Series};
