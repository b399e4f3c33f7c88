//! What a run will cost, from two seconds of real training steps on this machine.

use std::time::{Duration, Instant};

use artifact::Seed;
use models::InitialWeights;
use models::decoder::{self, Decoder};
use serde::Serialize;
use tensor::{Device, Precision};

use crate::optimizer::OptimizerConfig;
use crate::packing::{Batch, Sequence};
use crate::trainer::{Rate, Trainer};
use crate::validation::token_logprobs;
use crate::{Result, Schedule};

/// How fast this machine trains and runs one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Floating-point operations per second of a training step.
    pub training_flops_per_second: f64,
    /// Floating-point operations per second of a forward pass.
    pub forward_flops_per_second: f64,
}

impl Calibration {
    /// The better of two measurements of one machine.
    #[must_use]
    pub fn faster(self, other: Self) -> Self {
        let (a, b) = (self, other);
        Self {
            training_flops_per_second: a.training_flops_per_second.max(b.training_flops_per_second),
            forward_flops_per_second: a.forward_flops_per_second.max(b.forward_flops_per_second),
        }
    }
}

/// How much work the stages have, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Workload {
    /// Tokens of pre-training.
    pub pretrain_tokens: u64,
    /// Tokens of fine-tuning, padding included.
    pub finetune_tokens: u64,
    /// Tokens of alignment, both answers of each pair.
    pub align_tokens: u64,
    /// Tokens that validation, the reference and evaluation only read.
    pub forward_tokens: u64,
    /// Rows of one step.
    pub batch_size: u64,
    /// Whether activations are computed again in the backward pass instead of being kept.
    pub recompute: bool,
    /// Seconds of what does not depend on the model: reading, cleaning, the tokenizer.
    pub other_seconds: f64,
}

/// What a model of one size costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Number of parameters.
    pub parameters: u64,
    /// Tokens of pre-training.
    pub tokens: u64,
    /// Floating-point operations of all stages.
    pub flops: f64,
    /// Largest resident memory, by what it holds.
    pub memory: Memory,
    /// Disk for models and checkpoints.
    pub disk_bytes: u64,
    /// Wall-clock seconds of all stages.
    pub seconds: f64,
}

/// Where the memory of the widest step goes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// The model in f32.
    pub weights: u64,
    /// Their gradients.
    pub gradients: u64,
    /// AdamW's two.
    pub moments: u64,
    /// The frozen model that alignment compares with.
    pub reference: u64,
    /// What the backward pass needs of the forward pass; with recomputation only the blocks' inputs and one block.
    pub activations: u64,
    /// Gradients on their way through one block, and the logits of some rows.
    pub working: u64,
    /// The program, its data, and operands packed for products.
    pub process: u64,
}

impl Memory {
    /// Of a step over `rows` tokens.
    fn of(model: &decoder::Config, rows: u64, recompute: bool) -> Self {
        let q = (model.num_attention_heads * model.head_dim) as u64;
        let kv = (model.num_key_value_heads * model.head_dim) as u64;
        let [hidden, ffn, blocks] = [
            model.hidden_size,
            model.intermediate_size,
            model.num_hidden_layers,
        ]
        .map(|n| n as u64);
        // Of each token: inputs of both norms and of the products behind them; queries, keys, values and what attention
        // made of them; gate and up.
        let block = 4 * hidden + 2 * q + 2 * kv + 2 * ffn;
        let kept = if recompute {
            blocks * hidden + block
        } else {
            blocks * block
        };
        let passing = 4 * hidden + 3 * ffn;
        let logits = tensor::logits_held(model.vocab_size) as u64;
        let model_bytes = 4 * model.parameters() as u64;
        Self {
            weights: model_bytes,
            gradients: model_bytes,
            moments: 2 * model_bytes,
            reference: model_bytes,
            activations: 4 * rows * kept,
            working: 4 * (rows * passing + logits),
            process: 192 << 20,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights
            + self.gradients
            + self.moments
            + self.reference
            + self.activations
            + self.working
            + self.process
    }
}

/// Measures training steps and forward passes of a model for about `seconds`, on rows packed with sequences of
/// `sequence` tokens: attention costs more where they are long.
///
/// # Errors
/// When the model cannot take a step.
pub fn calibrate(
    model: &decoder::Config,
    precision: Precision,
    batch_size: usize,
    sequence: usize,
    device: &Device,
    seconds: f64,
) -> Result<Calibration> {
    let trained = device.clone().autodiff();
    let mut trainer = Trainer::new(
        Decoder::init(model, InitialWeights::Normal, precision, Seed(0), &trained),
        trained,
    );
    let batch = batch(model, batch_size, sequence);
    let rate = Rate {
        peak: 1e-4,
        schedule: Schedule::Cosine,
        steps: u64::MAX,
        warmup: 1,
        last: 1.0,
    };
    let optimizer = OptimizerConfig::default();
    let tokens = batch.inputs.len() as f64;
    let flops = model.flops_per_token(model.max_position_embeddings / 2) * tokens;
    let step = |trainer: &mut Trainer| {
        trainer
            .step(std::slice::from_ref(&batch), &rate, &optimizer)
            .map(drop)
    };
    // In turns over the whole time, so that a neighbour's burst does not fall on one of the two alone.
    let (mut steps, mut forwards) = (Vec::new(), Vec::new());
    let turn = seconds / f64::from(TURNS);
    for _ in 0..TURNS {
        repeat(0.75 * turn, &mut steps, || step(&mut trainer))?;
        // Let go before the next step, which updates the weights in place.
        let frozen = trainer.frozen();
        repeat(0.25 * turn, &mut forwards, || {
            drop(token_logprobs(&frozen, &batch, device));
            Ok(())
        })?;
    }
    let step_seconds = undisturbed(&mut steps);
    let forward_seconds = undisturbed(&mut forwards);
    Ok(Calibration {
        training_flops_per_second: 3.0 * flops / step_seconds,
        forward_flops_per_second: flops / forward_seconds,
    })
}

/// Full rows of sequences of one length, the last of each row cut where it ends.
fn batch(model: &decoder::Config, batch_size: usize, sequence: usize) -> Batch {
    let context = model.max_position_embeddings;
    let sequence = sequence.clamp(1, context);
    let sequences: Vec<Sequence> = (0..context)
        .step_by(sequence)
        .map(|start| {
            let tokens: Vec<u32> = (0..=sequence.min(context - start) as u32)
                .map(|i| i * 7919 % model.vocab_size as u32)
                .collect();
            Sequence::new(&tokens, |_| true)
        })
        .collect();
    let mut batch = Batch::new(context);
    for _ in 0..batch_size.max(1) {
        batch.push_row(&sequences);
    }
    batch
}

/// Turns of training steps and forward passes.
const TURNS: u32 = 5;

/// Works for some seconds and notes how long each run took, a first one aside.
fn repeat(seconds: f64, times: &mut Vec<f64>, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    work()?;
    loop {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
        if Instant::now() >= end {
            return Ok(());
        }
    }
}

/// The lower quartile: on a machine that is shared, short delays come on top of what the work takes.
fn undisturbed(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 4]
}

/// The cost of a model under a workload, for a machine that was measured.
pub fn plan(model: &decoder::Config, work: &Workload, machine: &Calibration) -> Plan {
    let parameters = model.parameters() as u64;
    let context = model.max_position_embeddings;
    // Packed sequences fill half a context on average.
    let forward = model.flops_per_token(context / 2);
    let trained = (work.pretrain_tokens + work.finetune_tokens + work.align_tokens) as f64;
    let training_flops = 3.0 * forward * trained;
    let forward_flops = forward * work.forward_tokens as f64;
    let seconds = training_flops / machine.training_flops_per_second
        + forward_flops / machine.forward_flops_per_second
        + work.other_seconds;
    let rows = work.batch_size.max(1) * context as u64;
    Plan {
        parameters,
        tokens: work.pretrain_tokens,
        flops: training_flops + forward_flops,
        memory: Memory::of(model, rows, work.recompute),
        disk_bytes: 4 * parameters * 3 + 2 * 12 * parameters,
        seconds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_model_and_more_tokens_cost_more() {
        let machine = Calibration {
            training_flops_per_second: 3e11,
            forward_flops_per_second: 2e11,
        };
        let work = Workload {
            pretrain_tokens: 1_000_000,
            batch_size: 16,
            ..Workload::default()
        };
        let model = |depth| decoder::Config::from_depth(depth, 2048, 256);
        let small = plan(&model(2), &work, &machine);
        let large = plan(&model(4), &work, &machine);
        let longer = plan(
            &model(2),
            &Workload {
                pretrain_tokens: 2_000_000,
                ..work
            },
            &machine,
        );
        assert!(large.seconds > small.seconds && large.memory.total() > small.memory.total());
        assert!((longer.seconds / small.seconds - 2.0).abs() < 1e-9);
    }
}
