//! Pre-training: next-token prediction over packed documents.

use artifact::{Artifact, Key, Progress, Seed, Store};
use data::{Shards, Split};
use hub::Products;
use models::InitialWeights;
use models::decoder::{self, Decoder, Preset};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::Device;
use tokenizer::Tokenizer;

use crate::history::Validated;
use crate::optimizer::OptimizerConfig;
use crate::session::Session;
use crate::stream::DocumentStream;
use crate::trainer::{Rate, Trainer, check_z_loss};
use crate::validation::Validation;
use crate::{Error, Result, Schedule, sample};

/// The recipe's `[pretrain]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Tokens to train on; 0 takes `tokens_per_parameter` times the model's size.
    pub tokens: u64,
    /// Compute-optimal is about 20 (Hoffmann et al. 2022).
    pub tokens_per_parameter: f64,
    /// Rows of one micro-batch; a row has the model's context in tokens.
    pub batch_size: usize,
    /// Micro-batches whose gradients are summed for one step.
    pub accumulation: usize,
    /// How a new model's weights are drawn: `normal`, or `induction`, which starts able to copy.
    pub initial_weights: InitialWeights,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of the peak at the last step.
    pub final_learning_rate: f64,
    /// Share of the steps that warm up.
    pub warmup: f64,
    /// Course of the learning rate behind the warm-up.
    pub schedule: Schedule,
    /// The optimiser's constants.
    pub optimizer: OptimizerConfig,
    /// Weight of (ln Z)² in the loss, which keeps logits from drifting (Chowdhery et al. 2022); 0 leaves it out.
    pub z_loss: f32,
    /// Whether activations are computed again in the backward pass instead of being kept.
    pub recompute: bool,
    /// How products are computed: `f32`, or `bf16` with f32 sums.
    pub precision: Products,
    /// Validations over the whole run.
    pub validations: u64,
    /// Held-out tokens of one validation.
    pub validation_tokens: u64,
    /// Samples of the model's text over the whole run.
    pub samples: u64,
    /// What the samples begin with; empty begins a document.
    pub sample_prompt: String,
    /// Steps between checkpoints; Ctrl-C writes one too.
    pub checkpoint_steps: u64,
    /// Seed of weights and data order.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tokens: 0,
            tokens_per_parameter: 20.0,
            batch_size: 16,
            accumulation: 1,
            initial_weights: InitialWeights::Normal,
            learning_rate: 3e-3,
            final_learning_rate: 0.05,
            warmup: 0.05,
            schedule: Schedule::Cosine,
            optimizer: OptimizerConfig::default(),
            z_loss: 0.0,
            recompute: false,
            precision: Products::F32,
            validations: 5,
            validation_tokens: 30_000,
            samples: 8,
            sample_prompt: String::new(),
            checkpoint_steps: 200,
            seed: 1,
        }
    }
}

/// What pre-training works on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Tokens of the documents.
    pub shards: &'a Artifact,
    /// The vocabulary.
    pub tokenizer: &'a Artifact,
    /// The architecture of a new model; a base brings its own.
    pub model: &'a Preset,
    /// A model to go on from, instead of random weights.
    pub base: Option<&'a Artifact>,
    /// Where to train.
    pub device: &'a Device,
}

/// The sizes that follow from a config and its inputs.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) model: decoder::Config,
    pub(crate) steps: u64,
    pub(crate) rate: Rate,
}

impl Config {
    /// Tokens of the run for a model of `parameters`.
    pub fn total_tokens(&self, parameters: usize) -> u64 {
        if self.tokens > 0 {
            self.tokens
        } else {
            (self.tokens_per_parameter * parameters as f64) as u64
        }
    }

    /// Whether anything can be trained with these settings, asked before any work.
    ///
    /// # Errors
    /// Naming the field, what it is and what it must be.
    pub fn check(&self) -> Result<()> {
        for (field, count) in [
            ("pretrain.batch_size", self.batch_size),
            ("pretrain.accumulation", self.accumulation),
        ] {
            if count == 0 {
                return Err(Error::config(field, count, "1 or more"));
            }
        }
        let per_parameter = self.tokens_per_parameter;
        if self.tokens == 0 && !(per_parameter > 0.0 && per_parameter.is_finite()) {
            return Err(Error::config(
                "pretrain.tokens_per_parameter",
                per_parameter,
                "more than 0",
            ));
        }
        check_z_loss("pretrain", self.z_loss)?;
        self.rate(1).map(drop)
    }

    fn rate(&self, steps: u64) -> Result<Rate> {
        Rate::over(
            steps,
            "pretrain",
            self.learning_rate,
            self.schedule,
            [self.warmup, self.final_learning_rate],
        )
    }

    pub(crate) fn resolve(&self, model: decoder::Config) -> Result<Resolved> {
        self.check()?;
        let step_tokens =
            (self.batch_size * self.accumulation * model.max_position_embeddings) as u64;
        let steps = self
            .total_tokens(model.parameters())
            .div_ceil(step_tokens)
            .max(1);
        let rate = self.rate(steps)?;
        Ok(Resolved { model, steps, rate })
    }
}

/// The initial model, on the device with gradients.
pub(crate) fn initial(config: &Config, inputs: &Inputs<'_>, vocab_size: usize) -> Result<Decoder> {
    let device = inputs.device.clone().autodiff();
    match inputs.base {
        Some(base) => {
            let decoder = hub::load(&base.path, base.id.as_str(), &device)?.decoder;
            Ok(decoder.merged().dense())
        }
        None => {
            let model = inputs.model.config(vocab_size)?;
            Ok(Decoder::init(
                &model,
                config.initial_weights,
                config.precision.into(),
                Seed(config.seed).derive("weights"),
                &device,
            ))
        }
    }
}

/// Trains a model from random weights or from a base; finished before, it is found again.
///
/// # Errors
/// When the config cannot be trained with, the loss diverges, or the user interrupts (the work is saved).
pub fn run(
    config: &Config,
    inputs: Inputs<'_>,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let tokenizer = Tokenizer::load(&inputs.tokenizer.path)?;
    let mut key = Key::new(
        "model",
        &json!({ "stage": "pretrain", "pretrain": config, "model": inputs.model }),
    )
    .seed("pretrain", Seed(config.seed))
    .input("shards", inputs.shards)
    .input("tokenizer", inputs.tokenizer);
    if let Some(base) = inputs.base {
        key = key.input("base", base);
    }
    if let Some(artifact) = store.find(&key)? {
        return Ok(artifact);
    }
    let mut session = Session::new(store.begin(key)?);
    let shards = Shards::open(&inputs.shards.path)?;
    let split = shards.split(Split::Train);
    if split.documents() == 0 {
        return Err(Error::NoData {
            what: "the training split",
            hint: "give more documents or loosen [data]".to_owned(),
        });
    }
    let decoder = initial(config, &inputs, tokenizer.vocab_size())?;
    let Resolved { model, steps, rate } = config.resolve(decoder.config().clone())?;
    let context = model.max_position_embeddings;
    let validation = Validation::new(
        shards.split(Split::Validation),
        &tokenizer,
        context,
        config.validation_tokens,
    )?;
    if validation.is_none() && config.validations > 0 {
        progress.note(
            "no document is held out, so there is no validation; raise data.validation_fraction",
        );
    }
    let mut trainer = Trainer::new(decoder, inputs.device.clone().autodiff());
    (trainer.z_loss, trainer.recompute) = (config.z_loss, config.recompute);
    let position = session.resume(&mut trainer, progress)?.unwrap_or_default();
    let order = Seed(config.seed).derive("order");
    let mut stream = DocumentStream::new(split, order, tokenizer.end_of_text(), position);

    while trainer.step_count() < steps {
        let batches: Vec<_> = (0..config.accumulation)
            .map(|_| stream.batch(config.batch_size, context))
            .collect();
        trainer.step(&batches, &rate, &config.optimizer)?;
        trainer.report(progress, steps);
        let step = trainer.step_count();
        if due(step, steps, config.validations)
            && let Some(validation) = &validation
        {
            let value = validation.bits_per_byte(&trainer.frozen(), inputs.device);
            progress.metric("validation_bits_per_byte", step, value);
            trainer.history.validation.push(Validated { step, value });
        }
        if due(step, steps, config.samples) {
            let mut prompt = vec![tokenizer.end_of_text()];
            prompt.extend(tokenizer.encode(&config.sample_prompt)?);
            let (frozen, shown) = (trainer.frozen(), &config.sample_prompt);
            let log = (&mut trainer.history, progress);
            sample::write(frozen, &tokenizer, (prompt, shown), 48, step, log)?;
        }
        if step < steps {
            session.keep(
                &trainer,
                config.checkpoint_steps,
                &stream.position(),
                progress,
            )?;
        }
    }

    let metrics = json!({
        "stage": "pretrain",
        "validation_bits_per_byte": trainer.history.validation.last().map(|point| point.value),
    });
    session.finish(&trainer, &tokenizer, None, &metrics)
}

/// Whether one of `times` evenly spread moments, the last step among them, is at `step` of `steps`.
pub(crate) fn due(step: u64, steps: u64, times: u64) -> bool {
    times > 0 && (step * times) / steps != ((step - 1) * times) / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_comes_as_often_as_asked_and_at_the_end() {
        for (steps, times) in [(100, 5), (7, 3), (3, 8), (10, 0)] {
            let count = (1..=steps).filter(|&step| due(step, steps, times)).count() as u64;
            assert_eq!(count, times.min(steps), "{steps} {times}");
            assert_eq!(due(steps, steps, times), times > 0);
        }
    }

    #[test]
    fn tokens_follow_the_model_unless_set() {
        assert_eq!(Config::default().total_tokens(1000), 20_000);
        assert_eq!(
            Config {
                tokens: 7,
                ..Config::default()
            }
            .total_tokens(1000),
            7
        );
    }
}
