//! What a training stage remembers of its course, for the report and for whoever resumes it.

use serde::{Deserialize, Serialize};

/// The course of a stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Training loss and learning rate.
    pub curve: Vec<Point>,
    /// The held-out measure.
    pub validation: Vec<Validated>,
    /// What the model wrote.
    pub samples: Vec<Sampled>,
}

/// A point of the training curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken.
    pub step: u64,
    /// Mean loss of a token over the steps since the last point, in nats.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradients before clipping.
    pub gradient_norm: f64,
}

/// How fast a stage went at a step. Measured, so it is kept beside the course and not in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// Steps taken.
    pub step: u64,
    /// Tokens in all rows, padding too, each second since the last such point.
    pub tokens_per_second: f64,
}

/// A validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// Steps taken.
    pub step: u64,
    /// Bits per byte in pre-training, mean loss in fine-tuning, accuracy of preferences in alignment.
    pub value: f64,
}

/// A piece of the model's text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// Steps taken.
    pub step: u64,
    /// Prompt and continuation.
    pub text: String,
}
