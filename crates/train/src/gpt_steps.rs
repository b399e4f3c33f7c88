//! Training steps of a GPT on made-up tokens, written out for another framework to repeat: the comparison that
//! engines are usually judged by.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use artifact::Seed;
use hub::weights::{HostTensor, parameters, write};
use models::gpt::{Config, Gpt};
use rand::RngExt;
use serde_json::{Value, json};
use tensor::{Device, Precision};

use crate::packing::{Batch, Sequence};
use crate::peer::write_batch;
use crate::trainer::{Rate, Trainer};
use crate::{Error, OptimizerConfig, Result, Schedule};

/// What is timed.
#[derive(Clone, Debug)]
pub struct GptSteps {
    /// The architecture.
    pub model: Config,
    /// Sequences of a step; each has `n_positions` tokens.
    pub batch_size: usize,
    /// Steps.
    pub steps: usize,
    /// How products are computed.
    pub precision: Precision,
    /// Where.
    pub device: Device,
    /// The same at every step.
    pub learning_rate: f64,
}

impl GptSteps {
    /// Takes the steps. Writes `config.json`, `model.safetensors` (initial weights), `batches.bin` and `run.json` into
    /// `folder`, as [`dump_peer`](crate::dump_peer) does. Returns `parameters`, `losses`, `milliseconds` of each step,
    /// `flops` of a step and `peak_rss_bytes`.
    ///
    /// # Errors
    /// When a file cannot be written, or the loss is no number.
    pub fn run(&self, folder: &Path) -> Result<Value> {
        let device = self.device.clone().autodiff();
        let gpt = Gpt::init(&self.model, self.precision, Seed(0), &device);
        let batches = self.batches();
        let optimizer = OptimizerConfig::default();
        self.dump(folder, &gpt, &batches, &optimizer)?;
        let rate = Rate {
            peak: self.learning_rate,
            schedule: Schedule::Cosine,
            steps: u64::MAX,
            warmup: 0,
            last: 1.0,
        };
        let mut trainer = Trainer::new(gpt, device);
        let (mut losses, mut milliseconds) = (Vec::new(), Vec::new());
        for batch in &batches {
            let began = Instant::now();
            losses.push(trainer.step(std::slice::from_ref(batch), &rate, &optimizer)?);
            milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let tokens = (self.batch_size * self.model.n_positions) as f64;
        Ok(json!({
            "parameters": self.model.parameters(),
            "losses": losses,
            "milliseconds": milliseconds,
            "flops": 3.0 * self.model.flops_per_token(self.model.n_positions) * tokens,
            "peak_rss_bytes": artifact::peak_rss_bytes(),
        }))
    }

    /// Chains in which four tokens can follow each, so that there is something to learn.
    fn batches(&self) -> Vec<Batch> {
        let mut rng = Seed(0).derive("tokens").rng();
        let vocab = self.model.vocab_size as u64;
        let mut sequence = || {
            let mut token = rng.random_range(0..vocab);
            let tokens: Vec<u32> = (0..=self.model.n_positions)
                .map(|_| {
                    token = (token * 31 + rng.random_range(0..4)) % vocab;
                    token as u32
                })
                .collect();
            Sequence::new(&tokens, |_| true)
        };
        let mut batch = || {
            let mut batch = Batch::new(self.model.n_positions);
            for _ in 0..self.batch_size {
                batch.push_row([&sequence()]);
            }
            batch
        };
        (0..self.steps).map(|_| batch()).collect()
    }

    fn dump(
        &self,
        folder: &Path,
        gpt: &Gpt,
        batches: &[Batch],
        optimizer: &OptimizerConfig,
    ) -> Result<()> {
        let failed = |operation| {
            move |source| {
                Error::Artifact(artifact::Error::Io {
                    operation,
                    path: folder.to_owned(),
                    source,
                })
            }
        };
        std::fs::create_dir_all(folder).map_err(failed("create"))?;
        let tensors: Vec<HostTensor> = self
            .model
            .tensors()
            .into_iter()
            .zip(parameters(gpt))
            .map(|((name, _), (shape, values))| HostTensor {
                name,
                shape,
                values,
            })
            .collect();
        write(&folder.join("model.safetensors"), &tensors, &[])?;
        let mut file = std::io::BufWriter::new(
            std::fs::File::create(folder.join("batches.bin")).map_err(failed("create"))?,
        );
        for batch in batches {
            write_batch(&mut file, batch).map_err(failed("write"))?;
        }
        file.flush().map_err(failed("write"))?;
        let run = json!({
            "steps": self.steps,
            "batch_size": self.batch_size,
            "accumulation": 1,
            "context": self.model.n_positions,
            "learning_rates": vec![self.learning_rate; self.steps],
            "optimizer": optimizer,
        });
        for (name, value) in [("config.json", json!(self.model)), ("run.json", run)] {
            artifact::write_atomic(&folder.join(name), value.to_string().as_bytes())?;
        }
        Ok(())
    }
}
