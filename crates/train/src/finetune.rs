//! Supervised fine-tuning: conversations in the chat template, loss on what the assistant says
//! (Ouyang et al. 2022, stage 1).

use artifact::{Artifact, Key, Progress, Seed, Store};
use data::instructions::{self, Example};
use hub::Products;
use models::decoder::Decoder;
use models::lora;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tensor::Device;
use tokenizer::{Message, Tokenizer};

use crate::history::Validated;
use crate::optimizer::OptimizerConfig;
use crate::packing::{Batch, Sequence, first_fit};
use crate::pretrain::due;
use crate::session::{self, Adapted, Session};
use crate::trainer::{Rate, Trainer, check_z_loss};
use crate::validation::logprob_sum;
use crate::{Error, Result, Schedule, sample};

/// The recipe's `[finetune]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether every weight is trained, or an adapter beside them.
    pub method: Method,
    /// The adapter's shape, for `lora`.
    pub lora: lora::Config,
    /// How products are computed, here and wherever the result is used; as the base's when left out.
    pub precision: Option<Products>,
    /// Passes over the examples.
    pub epochs: f64,
    /// Rows of one step, each of `context` tokens of packed conversations.
    pub batch_size: usize,
    /// Tokens of a row; 0 takes the model's context. Longer conversations are left out and counted.
    pub context: usize,
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
    /// Validations on held-out conversations over the whole run.
    pub validations: u64,
    /// Samples of the model's answers over the whole run.
    pub samples: u64,
    /// Steps between checkpoints; Ctrl-C writes one too.
    pub checkpoint_steps: u64,
    /// Seed of the order.
    pub seed: u64,
}

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every weight; those of few bits are in f32 then.
    #[default]
    Full,
    /// An adapter of low rank, beside weights that stay as they are, of few bits or not.
    Lora,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            method: Method::Full,
            lora: lora::Config::default(),
            precision: None,
            epochs: 2.0,
            batch_size: 16,
            context: 0,
            learning_rate: 1e-3,
            final_learning_rate: 0.05,
            warmup: 0.03,
            schedule: Schedule::Cosine,
            optimizer: OptimizerConfig::default(),
            z_loss: 0.0,
            recompute: false,
            validations: 4,
            samples: 4,
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
        session::passes("finetune", self.batch_size, self.epochs)?;
        check_z_loss("finetune", self.z_loss)?;
        self.lora.validate().map_err(|error| {
            let field = format!("finetune.lora.{}", error.field);
            Error::config(field, error.got, error.expected)
        })?;
        self.rate(1).map(drop)
    }

    fn rate(&self, steps: u64) -> Result<Rate> {
        Rate::over(
            steps,
            "finetune",
            self.learning_rate,
            self.schedule,
            [self.warmup, self.final_learning_rate],
        )
    }
}

/// What fine-tuning works on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The model to teach.
    pub base: &'a Artifact,
    /// The conversations.
    pub instructions: &'a Artifact,
    /// Where to train.
    pub device: &'a Device,
}

/// Teaches a model to answer as the examples do; finished before, it is found again.
///
/// # Errors
/// When no example fits, the loss diverges, or the user interrupts (the work is saved).
pub fn run(
    config: &Config,
    inputs: Inputs<'_>,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    let key = Key::new("model", &json!({ "stage": "finetune", "finetune": config }))
        .seed("finetune", Seed(config.seed))
        .input("base", inputs.base)
        .input("instructions", inputs.instructions);
    if let Some(artifact) = store.find(&key)? {
        return Ok(artifact);
    }
    config.check()?;
    let mut session = Session::new(store.begin(key)?);
    let device = inputs.device.clone().autodiff();
    let base = hub::load(&inputs.base.path, inputs.base.id.as_str(), &device)?;
    let tokenizer = base.tokenizer;
    let (decoder, adapted) = prepared(config, inputs.base, base.decoder)?;
    let longest = decoder.config().context();
    let context = if config.context == 0 {
        longest
    } else {
        config.context.min(longest)
    };
    let examples = instructions::read(&inputs.instructions.file("train.jsonl"))?;
    let held_out = instructions::read(&inputs.instructions.file("held_out.jsonl"))?;
    let conversations = encode(&tokenizer, &examples)?;
    let lengths: Vec<usize> = conversations.iter().map(Sequence::len).collect();
    let left_out = lengths.iter().filter(|&&length| length > context).count();
    if left_out == lengths.len() {
        let hint = format!("every conversation is longer than the context of {context} tokens");
        return Err(Error::NoData {
            what: "the instructions",
            hint,
        });
    }
    if left_out > 0 {
        progress.note(format!(
            "{left_out} conversations are longer than {context} tokens and left out"
        ));
    }
    let held_out_batches =
        Batch::packed(&encode(&tokenizer, &held_out)?, context, config.batch_size);
    let seed = Seed(config.seed).derive("finetune order");
    let epochs: Vec<Vec<Vec<usize>>> = (0..config.epochs.ceil() as u64)
        .map(|epoch| epoch_rows(&lengths, context, seed, epoch))
        .collect();
    let rows: Vec<&Vec<usize>> = epochs.iter().flatten().collect();
    let share = config.epochs / config.epochs.ceil().max(1.0);
    let steps = ((rows.len() as f64 * share / config.batch_size as f64).ceil() as u64).max(1);
    let rate = config.rate(steps)?;
    let mut trainer = Trainer::of_decoder(decoder, device);
    (trainer.z_loss, trainer.recompute) = (config.z_loss, config.recompute);
    session.resume::<()>(&mut trainer, progress)?;
    let example = held_out.first().or(examples.first());

    while trainer.step_count() < steps {
        let from = trainer.step_count() as usize * config.batch_size;
        let mut batch = Batch::new(context);
        for row in &rows[from.min(rows.len())..(from + config.batch_size).min(rows.len())] {
            batch.push_row(row.iter().map(|&index| &conversations[index]));
        }
        trainer.step(std::slice::from_ref(&batch), &rate, &config.optimizer)?;
        trainer.report(progress, steps);
        let step = trainer.step_count();
        if due(step, steps, config.validations) && !held_out_batches.is_empty() {
            let value = mean_loss(&trainer.frozen(), &held_out_batches, inputs.device);
            progress.metric("validation_loss", step, value);
            trainer.history.validation.push(Validated { step, value });
        }
        if due(step, steps, config.samples)
            && let Some(example) = example
        {
            let (prompt, shown) = question(&tokenizer, example)?;
            let frozen = trainer.frozen();
            sample::write(
                frozen,
                &tokenizer,
                (prompt, &shown),
                64,
                step,
                (&mut trainer.history, progress),
            )?;
        }
        if step < steps {
            session.keep(&trainer, config.checkpoint_steps, &(), progress)?;
        }
    }

    let metrics = json!({
        "stage": "finetune",
        "examples": examples.len(),
        "examples_left_out": left_out,
        "validation_loss": trainer.history.validation.last().map(|point| point.value),
    });
    session.finish(&trainer, &tokenizer, adapted.as_ref(), &metrics)
}

/// The model as it is trained, and its adapter.
fn prepared(
    config: &Config,
    base: &Artifact,
    decoder: Decoder,
) -> Result<(Decoder, Option<Adapted>)> {
    let mut decoder = match config.precision {
        Some(products) => decoder.with_precision(products.into()),
        None => decoder,
    };
    if config.method == Method::Full {
        return Ok((decoder.merged(), None));
    }
    if hub::is_adapter(&base.path) {
        let expected = "`full`, or a base that is no adapter itself (`models merge` makes one)";
        return Err(Error::config("finetune.method", "lora", expected));
    }
    let seed = Seed(config.seed).derive("adapter");
    let adapter = decoder.new_adapter(&config.lora, seed);
    let attached = adapter.and_then(|adapter| decoder.attach(&adapter));
    attached.map_err(|error| {
        let got = config.lora.target_modules.join(", ");
        Error::config("finetune.lora.target_modules", got, error.to_string())
    })?;
    let adapted = Adapted {
        config: config.lora.clone(),
        base: base.id.to_string(),
    };
    Ok((decoder, Some(adapted)))
}

fn encode(tokenizer: &Tokenizer, examples: &[Example]) -> Result<Vec<Sequence>> {
    let encoded = examples.iter().map(|example| {
        let (ids, mask) = tokenizer.encode_chat_with_mask(&example.messages)?;
        Ok(Sequence::new(&ids, |target| mask[target]))
    });
    encoded.collect()
}

/// The rows of an epoch: the examples in a new order, packed.
fn epoch_rows(lengths: &[usize], context: usize, seed: Seed, epoch: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut seed.derive(&format!("epoch {epoch}")).rng());
    let shuffled: Vec<usize> = order.iter().map(|&index| lengths[index]).collect();
    let rows = first_fit(&shuffled, context).into_iter();
    rows.map(|row| row.into_iter().map(|index| order[index]).collect())
        .collect()
}

/// Mean loss of an assistant token, in nats.
fn mean_loss(decoder: &Decoder, batches: &[Batch], device: &Device) -> f64 {
    let sum: f64 = batches
        .iter()
        .map(|batch| -logprob_sum(decoder, batch, device))
        .sum();
    sum / batches.iter().map(Batch::counted).sum::<usize>().max(1) as f64
}

/// The prompt of a conversation's first answer, as ids and as a person would read it.
fn question(tokenizer: &Tokenizer, example: &Example) -> Result<(Vec<u32>, String)> {
    let turns = example
        .messages
        .iter()
        .take_while(|message| !message.is_assistant());
    let messages: Vec<Message> = turns.cloned().collect();
    let shown = messages
        .iter()
        .map(|message| format!("{}\n→ ", message.content))
        .collect();
    Ok((tokenizer.encode_chat(&messages, true)?, shown))
}
