//! Direct preference optimisation (Rafailov et al. 2023, equation 7) against the frozen reference.
//!
//! With the margin `m = [log π(chosen) − log π_ref(chosen)] − [log π(rejected) − log π_ref(rejected)]`
//! the loss is `−log σ(β m)`, and its gradient is that of a cross-entropy in which every chosen
//! token weighs `β σ(−β m)` and every rejected one its negative. So the step reads the margins off
//! the hidden states it has, and the language-model loss does the rest.

use artifact::{Artifact, Key, Progress, Seed, Store};
use data::preferences::{self, Pair};
use models::Causal;
use models::decoder::Decoder;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::{Device, Tensor};
use tokenizer::{Message, Tokenizer};

use crate::history::Validated;
use crate::optimizer::{self, FlatGradients, OptimizerConfig};
use crate::packing::{Batch, Sequence, first_fit};
use crate::pretrain::due;
use crate::session::{self, Adapted, Session};
use crate::trainer::{Rate, Trainer};
use crate::validation::token_logprobs;
use crate::{Error, Result, Schedule};

/// The recipe's `[align]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Passes over the pairs.
    pub epochs: f64,
    /// Pairs of one step.
    pub batch_size: usize,
    /// β: how strongly the policy is held to the reference.
    pub beta: f64,
    /// Weight of a cross-entropy on the chosen answers beside the preference loss, which keeps their probability up.
    pub supervised_weight: f64,
    /// How often a rated answer's pair counts beside the given ones.
    pub feedback_repeats: usize,
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
    /// Whether activations are computed again in the backward pass instead of being kept.
    pub recompute: bool,
    /// Validations on held-out pairs over the whole run.
    pub validations: u64,
    /// Steps between checkpoints; Ctrl-C writes one too.
    pub checkpoint_steps: u64,
    /// Seed of the order.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epochs: 1.0,
            batch_size: 16,
            beta: 0.1,
            supervised_weight: 0.1,
            feedback_repeats: 16,
            learning_rate: 1e-4,
            final_learning_rate: 0.1,
            warmup: 0.1,
            schedule: Schedule::Cosine,
            optimizer: OptimizerConfig {
                weight_decay: 0.0,
                ..OptimizerConfig::default()
            },
            recompute: false,
            validations: 3,
            checkpoint_steps: 200,
            seed: 1,
        }
    }
}

impl Config {
    /// Whether anything can be trained with these settings, asked before any work.
    ///
    /// # Errors
    /// Naming the field, what it is and what it must be.
    pub fn check(&self) -> Result<()> {
        session::passes("align", self.batch_size, self.epochs)?;
        self.rate(1).map(drop)
    }

    fn rate(&self, steps: u64) -> Result<Rate> {
        Rate::over(
            steps,
            "align",
            self.learning_rate,
            self.schedule,
            [self.warmup, self.final_learning_rate],
        )
    }
}

/// What alignment works on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The model to align, which is also the frozen reference.
    pub base: &'a Artifact,
    /// Given pairs.
    pub preferences: Option<&'a Artifact>,
    /// Pairs from the ratings of served answers.
    pub feedback: Option<&'a Artifact>,
    /// Where to train.
    pub device: &'a Device,
}

/// A pair as two sequences, and what the reference thinks of them.
struct Encoded {
    chosen: Sequence,
    rejected: Sequence,
    /// `log π_ref(chosen) − log π_ref(rejected)`.
    reference: f64,
}

/// Teaches a model to prefer the chosen answers; finished before, it is found again.
///
/// # Errors
/// When no pair fits the context, the loss diverges, or the user interrupts (the work is saved).
pub fn run(
    config: &Config,
    inputs: Inputs<'_>,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let mut key = Key::new("model", &json!({ "stage": "align", "align": config }))
        .seed("align", Seed(config.seed))
        .input("base", inputs.base);
    for (role, artifact) in [
        ("preferences", inputs.preferences),
        ("feedback", inputs.feedback),
    ] {
        if let Some(artifact) = artifact {
            key = key.input(role, artifact);
        }
    }
    if let Some(artifact) = store.find(&key)? {
        return Ok(artifact);
    }
    config.check()?;
    let mut session = Session::new(store.begin(key)?);
    let device = inputs.device.clone().autodiff();
    let base = hub::load(&inputs.base.path, inputs.base.id.as_str(), &device)?;
    let tokenizer = base.tokenizer;
    let context = base.decoder.config().context();
    let adapted = Adapted::of(&inputs.base.path)?;
    let mut trainer = Trainer::of_decoder(base.decoder, device);
    trainer.recompute = config.recompute;
    let reference = hub::load(&inputs.base.path, inputs.base.id.as_str(), inputs.device)?.decoder;
    let encode = |pairs: &[Pair]| encode(&tokenizer, &reference, pairs, context, inputs.device);

    let mut pairs = Vec::new();
    let mut held_out = Vec::new();
    if let Some(artifact) = inputs.preferences {
        pairs = preferences::read(&artifact.file("train.jsonl"))?;
        held_out = encode(&preferences::read(&artifact.file("held_out.jsonl"))?)?;
    }
    let given = pairs.len();
    if let Some(artifact) = inputs.feedback {
        let rated = preferences::read(&artifact.file("train.jsonl"))?;
        for _ in 0..config.feedback_repeats.max(1) {
            pairs.extend(rated.iter().cloned());
        }
    }
    let pairs = encode(&pairs)?;
    if pairs.is_empty() {
        let hint = format!("give pairs of at most {context} tokens with different answers");
        return Err(Error::NoData {
            what: "the preferences",
            hint,
        });
    }
    let order = order(pairs.len(), config);
    let steps = (order.len().div_ceil(config.batch_size) as u64).max(1);
    let rate = config.rate(steps)?;
    session.resume::<()>(&mut trainer, progress)?;

    while trainer.step_count() < steps {
        let from = trainer.step_count() as usize * config.batch_size;
        let chosen: Vec<&Encoded> = order[from..(from + config.batch_size).min(order.len())]
            .iter()
            .map(|&index| &pairs[index])
            .collect();
        step(&mut trainer, &chosen, context, &rate, config)?;
        trainer.report(progress, steps);
        let step = trainer.step_count();
        if due(step, steps, config.validations) && !held_out.is_empty() {
            let margins = margins(&trainer.frozen(), &held_out, context, inputs.device);
            let won = margins.iter().filter(|margin| **margin > 0.0).count();
            let value = won as f64 / margins.len() as f64;
            progress.metric("accuracy", step, value);
            progress.metric(
                "reward_margin",
                step,
                config.beta * margins.iter().sum::<f64>() / margins.len() as f64,
            );
            trainer.history.validation.push(Validated { step, value });
        }
        if step < steps {
            session.keep(&trainer, config.checkpoint_steps, &(), progress)?;
        }
    }

    let metrics = json!({
        "stage": "align",
        "pairs": given,
        "pairs_with_feedback": pairs.len(),
        "preference_accuracy": trainer.history.validation.last().map(|point| point.value),
    });
    session.finish(&trainer, &tokenizer, adapted.as_ref(), &metrics)
}

/// The indices of the pairs in the order of training.
fn order(pairs: usize, config: &Config) -> Vec<usize> {
    let seed = Seed(config.seed).derive("align order");
    let mut order = Vec::new();
    for epoch in 0..config.epochs.ceil() as u64 {
        let mut pass: Vec<usize> = (0..pairs).collect();
        pass.shuffle(&mut seed.derive(&format!("epoch {epoch}")).rng());
        order.extend(pass);
    }
    order.truncate((pairs as f64 * config.epochs).ceil() as usize);
    order
}

/// One step over some pairs.
fn step(
    trainer: &mut Trainer,
    pairs: &[&Encoded],
    context: usize,
    rate: &Rate,
    config: &Config,
) -> Result<()> {
    let (mut batch, places) = pack(pairs, context);
    let decoder = trainer.model();
    let (tokens, layout) = (batch.tokens(&trainer.device), batch.layout());
    let mut loss = 0.0;
    let surrogate = |hidden: Tensor<3>| {
        let logprobs = decoder.token_logprobs(hidden.clone(), &batch.targets);
        let counts = std::mem::replace(&mut batch.weights, vec![0.0; logprobs.len()]);
        for (pair, [chosen, rejected]) in pairs.iter().zip(&places) {
            let margin = sum(&logprobs, &counts, chosen)
                - sum(&logprobs, &counts, rejected)
                - pair.reference;
            loss += softplus(-config.beta * margin) / pairs.len() as f64;
            let pull = config.beta / (1.0 + (config.beta * margin).exp()) / pairs.len() as f64;
            let words = counts[chosen.clone()].iter().sum::<f32>().max(1.0);
            let supervised = config.supervised_weight / f64::from(words) / pairs.len() as f64;
            for place in chosen.clone() {
                batch.weights[place] = counts[place] * (pull + supervised) as f32;
            }
            for place in rejected.clone() {
                batch.weights[place] = counts[place] * -pull as f32;
            }
        }
        decoder.loss(hidden, &batch.targets(1.0, 0.0)) // [1]
    };
    let (_, found) = decoder.gradients(tokens, &layout, trainer.recompute, surrogate);
    let mut gradients = FlatGradients::new();
    optimizer::collect(decoder, found, &mut gradients);
    let tokens = batch.inputs.len() as u64;
    trainer.update(
        gradients,
        loss,
        pairs.len() as f64,
        tokens,
        rate,
        &config.optimizer,
    )
}

/// `ln(1 + eˣ)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

type Place = std::ops::Range<usize>;

/// Packs the pairs' sequences into rows; where each pair's two sequences lie among the targets.
fn pack(pairs: &[&Encoded], context: usize) -> (Batch, Vec<[Place; 2]>) {
    let sequences: Vec<&Sequence> = pairs
        .iter()
        .flat_map(|pair| [&pair.chosen, &pair.rejected])
        .collect();
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
    let mut places = vec![0..0; sequences.len()];
    let mut batch = Batch::new(context);
    for (row, indices) in first_fit(&lengths, context).into_iter().enumerate() {
        let mut start = row * context;
        for &index in &indices {
            places[index] = start..start + lengths[index];
            start += lengths[index];
        }
        batch.push_row(indices.iter().map(|&index| sequences[index]));
    }
    (
        batch,
        places
            .chunks_exact(2)
            .map(|two| [two[0].clone(), two[1].clone()])
            .collect(),
    )
}

/// The log-probability of an answer: the sum over its counted tokens, in order.
fn sum(logprobs: &[f32], counts: &[f32], place: &Place) -> f64 {
    let both = logprobs[place.clone()].iter().zip(&counts[place.clone()]);
    both.map(|(&logprob, &count)| f64::from(logprob) * f64::from(count))
        .sum()
}

/// Answers' log-probabilities under a frozen model, `[chosen, rejected]` for each pair.
fn answers(
    decoder: &Decoder,
    pairs: &[&Encoded],
    context: usize,
    device: &Device,
) -> Vec<[f64; 2]> {
    let mut found = Vec::with_capacity(pairs.len());
    for some in pairs.chunks(16) {
        let (batch, places) = pack(some, context);
        let logprobs = token_logprobs(decoder, &batch, device);
        found.extend(
            places
                .iter()
                .map(|two| [0, 1].map(|i| sum(&logprobs, &batch.weights, &two[i]))),
        );
    }
    found
}

/// How much more than the reference the model prefers the chosen answer, for each pair.
fn margins(decoder: &Decoder, pairs: &[Encoded], context: usize, device: &Device) -> Vec<f64> {
    let borrowed: Vec<&Encoded> = pairs.iter().collect();
    let answers = answers(decoder, &borrowed, context, device);
    answers
        .iter()
        .zip(pairs)
        .map(|([chosen, rejected], pair)| chosen - rejected - pair.reference)
        .collect()
}

/// The pairs that fit the context, with the reference's opinion of them.
fn encode(
    tokenizer: &Tokenizer,
    reference: &Decoder,
    pairs: &[Pair],
    context: usize,
    device: &Device,
) -> Result<Vec<Encoded>> {
    let mut encoded = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let sequence = |answer: &str| -> Result<Sequence> {
            let mut messages = pair.prompt.clone();
            let turns = messages.len();
            messages.push(Message::new("assistant", answer));
            let (ids, mask) = tokenizer.encode_chat_with_mask(&messages)?;
            // Only the last answer is judged, not what the assistant said before it.
            let before = tokenizer.encode_chat(&messages[..turns], true)?.len();
            Ok(Sequence::new(&ids, |target| {
                target >= before && mask[target]
            }))
        };
        let (chosen, rejected) = (sequence(&pair.chosen)?, sequence(&pair.rejected)?);
        if chosen.len() <= context && rejected.len() <= context && chosen != rejected {
            encoded.push(Encoded {
                chosen,
                rejected,
                reference: 0.0,
            });
        }
    }
    let references = {
        let borrowed: Vec<&Encoded> = encoded.iter().collect();
        answers(reference, &borrowed, context, device)
    };
    for (pair, [chosen, rejected]) in encoded.iter_mut().zip(references) {
        pair.reference = chosen - rejected;
    }
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_is_stable() {
        assert!((softplus(0.0) - std::f64::consts::LN_2).abs() < 1e-15);
        assert_eq!(softplus(1000.0), 1000.0);
        assert_eq!(softplus(-1000.0), 0.0);
    }

    #[test]
    fn packing_finds_each_sequence_again() {
        let sequence = |n: u32| Sequence::new(&(0..=n).collect::<Vec<_>>(), |target| target > 1);
        let pair = |a, b| Encoded {
            chosen: sequence(a),
            rejected: sequence(b),
            reference: 0.0,
        };
        let pairs = [pair(3, 5), pair(4, 2)];
        let (batch, places) = pack(&pairs.iter().collect::<Vec<_>>(), 8);
        for (pair, [chosen, rejected]) in pairs.iter().zip(places) {
            assert_eq!(batch.inputs[chosen], pair.chosen.inputs);
            assert_eq!(batch.inputs[rejected], pair.rejected.inputs);
        }
    }

    #[test]
    fn half_an_epoch_is_half_the_pairs() {
        let config = Config {
            epochs: 1.5,
            ..Config::default()
        };
        assert_eq!(order(10, &config).len(), 15);
    }
}
