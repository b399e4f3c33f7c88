//! The step that pre-training, fine-tuning and alignment share.

use std::time::Instant;

use artifact::Progress;
use models::Causal;
use models::decoder::Decoder;
use tensor::Device;

use crate::history::{History, Point, Throughput};
use crate::optimizer::{self, FlatGradients, Optimizer, OptimizerConfig};
use crate::packing::Batch;
use crate::{Error, Result, Schedule};

/// A model in training.
pub(crate) struct Trainer<M = Decoder> {
    /// Taken out only while the optimiser maps it.
    model: Option<M>,
    pub(crate) optimizer: Optimizer,
    pub(crate) history: History,
    pub(crate) device: Device,
    /// Whether blocks are computed again in the backward pass instead of being kept.
    pub(crate) recompute: bool,
    /// Weight of (ln Z)² in the loss.
    pub(crate) z_loss: f32,
    /// Tokens in all rows so far, padding too.
    pub(crate) tokens: u64,
    /// Of this process; a resumed run begins anew.
    pub(crate) throughput: Vec<Throughput>,
    window: Window,
}

/// What has gathered since the last point of the curve.
struct Window {
    loss: f64,
    counted: f64,
    tokens: u64,
    since: Instant,
}

/// Refuses a weight of (ln Z)² that is no weight.
///
/// # Errors
/// When it is negative or no number.
pub(crate) fn check_z_loss(stage: &str, z_loss: f32) -> Result<()> {
    if z_loss >= 0.0 && z_loss.is_finite() {
        return Ok(());
    }
    let field = format!("{stage}.z_loss");
    Err(Error::config(field, z_loss, "0 or more"))
}

/// The peak learning rate and its course.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) peak: f64,
    pub(crate) schedule: Schedule,
    pub(crate) steps: u64,
    pub(crate) warmup: u64,
    pub(crate) last: f64,
}

impl Rate {
    /// The course of the stage named `stage` over `steps`, with a share of them to warm up and a share of the peak at
    /// the end.
    ///
    /// # Errors
    /// When a share is none, or the peak is not above 0.
    pub(crate) fn over(
        steps: u64,
        stage: &str,
        peak: f64,
        schedule: Schedule,
        [warmup, last]: [f64; 2],
    ) -> Result<Self> {
        let config = |field: &str, got: f64, expected| {
            Err(Error::config(format!("{stage}.{field}"), got, expected))
        };
        if !(peak > 0.0 && peak.is_finite()) {
            return config("learning_rate", peak, "more than 0");
        }
        for (field, share) in [("warmup", warmup), ("final_learning_rate", last)] {
            if !(0.0..=1.0).contains(&share) {
                return config(field, share, "a share between 0 and 1");
            }
        }
        Ok(Self {
            peak,
            schedule,
            steps,
            warmup: ((steps as f64 * warmup) as u64).max(1),
            last,
        })
    }

    pub(crate) fn at(&self, step: u64) -> f64 {
        self.peak
            * self
                .schedule
                .factor(step, self.steps, self.warmup, self.last)
    }
}

impl Trainer<Decoder> {
    /// Of a model's adapters alone, where it has any; else of all its weights.
    pub(crate) fn of_decoder(model: Decoder, device: Device) -> Self {
        if model.adapters() == 0 {
            return Self::new(model.dense(), device);
        }
        Self::of(model.train_adapters(), device)
    }
}

impl<M: Causal> Trainer<M> {
    /// Of all weights.
    pub(crate) fn new(model: M, device: Device) -> Self {
        // Parameters are leaves whose gradients are kept.
        Self::of(model.set_require_grad(true), device)
    }

    /// Of the parameters that want gradients.
    fn of(model: M, device: Device) -> Self {
        let window = Window {
            loss: 0.0,
            counted: 0.0,
            tokens: 0,
            since: Instant::now(),
        };
        Self {
            model: Some(model),
            optimizer: Optimizer::default(),
            history: History::default(),
            device,
            recompute: false,
            z_loss: 0.0,
            tokens: 0,
            throughput: Vec::new(),
            window,
        }
    }

    pub(crate) fn model(&self) -> &M {
        self.model
            .as_ref()
            .expect("the model is out only inside `update`")
    }

    /// The model without gradients, sharing the weights.
    pub(crate) fn frozen(&self) -> M {
        self.model().valid()
    }

    /// Steps taken.
    pub(crate) fn step_count(&self) -> u64 {
        self.optimizer.step
    }

    /// One optimiser step over the micro-batches, whose counted targets all weigh alike. Returns the mean loss.
    ///
    /// # Errors
    /// When the loss is no number.
    pub(crate) fn step(
        &mut self,
        micro_batches: &[Batch],
        rate: &Rate,
        config: &OptimizerConfig,
    ) -> Result<f64> {
        let counted: usize = micro_batches.iter().map(Batch::counted).sum();
        let factor = 1.0 / counted.max(1) as f32;
        let mut sum = FlatGradients::new();
        let mut loss = 0.0;
        for batch in micro_batches {
            let model = self.model();
            let targets = batch.targets(factor, self.z_loss);
            let (value, gradients) = model.gradients(
                batch.tokens(&self.device),
                &batch.layout(),
                self.recompute,
                |hidden| model.loss(hidden, &targets), // [1]
            );
            loss += f64::from(value);
            optimizer::collect(model, gradients, &mut sum);
        }
        let tokens = micro_batches
            .iter()
            .map(|batch| batch.inputs.len() as u64)
            .sum();
        self.update(sum, loss, counted as f64, tokens, rate, config)?;
        Ok(loss)
    }

    /// Applies gathered gradients; `loss` is the mean over `counted` targets.
    pub(crate) fn update(
        &mut self,
        gradients: FlatGradients,
        loss: f64,
        counted: f64,
        tokens: u64,
        rate: &Rate,
        config: &OptimizerConfig,
    ) -> Result<()> {
        let step = self.optimizer.step;
        let norm = optimizer::norm(&gradients);
        if !(loss.is_finite() && norm.is_finite()) {
            return Err(Error::Diverged { step, loss });
        }
        let clip = f64::from(config.gradient_clip);
        let scale = if clip > 0.0 && norm > clip {
            clip / norm
        } else {
            1.0
        };
        let learning_rate = rate.at(step);
        let model = self.model.take().expect("put back below");
        let model = self
            .optimizer
            .update(model, gradients, config, learning_rate, scale);
        self.model = Some(model);
        self.tokens += tokens;
        self.window.loss += loss * counted;
        self.window.counted += counted;
        self.window.tokens += tokens;
        let every = (rate.steps / 400).max(1);
        if self.optimizer.step.is_multiple_of(every) || self.optimizer.step == rate.steps {
            let loss = self.window.loss / self.window.counted.max(1.0);
            self.window.loss = 0.0;
            self.window.counted = 0.0;
            self.history.curve.push(Point {
                step: self.optimizer.step,
                loss,
                learning_rate,
                gradient_norm: norm,
            });
        }
        Ok(())
    }

    /// Tells the latest point and the rate since the last telling.
    pub(crate) fn report(&mut self, progress: &Progress, steps: u64) {
        let step = self.optimizer.step;
        progress.tick(step, Some(steps), "steps");
        let seconds = self.window.since.elapsed().as_secs_f64();
        if seconds < 0.5 && step != steps {
            return;
        }
        let tokens_per_second = self.window.tokens as f64 / seconds;
        progress.metric("tokens_per_second", step, tokens_per_second);
        self.throughput.push(Throughput {
            step,
            tokens_per_second,
        });
        self.window.tokens = 0;
        self.window.since = Instant::now();
        if let Some(point) = self.history.curve.last() {
            progress.metric("loss", point.step, point.loss);
            progress.metric("learning_rate", point.step, point.learning_rate);
            progress.metric("gradient_norm", point.step, point.gradient_norm);
        }
    }

    /// What the window holds, for a checkpoint.
    pub(crate) fn window(&self) -> [f64; 2] {
        [self.window.loss, self.window.counted]
    }

    /// Goes on from another state; `with` puts the trained parameters' values into the model.
    pub(crate) fn restore(
        &mut self,
        with: impl FnOnce(M) -> M,
        optimizer: Optimizer,
        history: History,
        tokens: u64,
        window: [f64; 2],
    ) {
        self.model = self.model.take().map(with);
        self.optimizer = optimizer;
        self.history = history;
        self.tokens = tokens;
        [self.window.loss, self.window.counted] = window;
    }
}
