//! Training steps of an adapter beside a real model, written out for another framework to repeat.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use artifact::Seed;
use models::lora;
use serde_json::{Value, json};
use tensor::{Device, Precision};

use crate::packing::{Batch, Sequence};
use crate::peer::write_batch;
use crate::trainer::{Rate, Trainer};
use crate::{Error, OptimizerConfig, Result, Schedule};

/// What is timed.
#[derive(Clone, Debug)]
pub struct LoraSteps<'a> {
    /// The model: a folder, or a `.gguf` file.
    pub model: &'a Path,
    /// What is learned, row by row and again from the start.
    pub text: &'a str,
    /// The adapter's shape.
    pub adapter: lora::Config,
    /// Rows of a step.
    pub batch_size: usize,
    /// Tokens of a row.
    pub context: usize,
    /// Steps.
    pub steps: usize,
    /// How products are computed.
    pub precision: Precision,
    /// The same at every step.
    pub learning_rate: f64,
}

impl LoraSteps<'_> {
    /// Takes the steps. Writes the initial adapter as PEFT would, `batches.bin` and `run.json` into `folder`, and the
    /// adapter behind the last step into `folder/trained`. Returns `parameters` (the adapter's), `losses`,
    /// `milliseconds` of each step and `peak_rss_bytes`.
    ///
    /// # Errors
    /// When a file cannot be read or written, the text is too short, or the loss is no number.
    pub fn run(&self, folder: &Path) -> Result<Value> {
        let device = Device::flex().autodiff();
        let loaded = hub::load(self.model, "base", &device)?;
        let tokenizer = loaded.tokenizer;
        let ids = tokenizer.encode(self.text)?;
        let rows: Vec<Sequence> = ids
            .windows(self.context + 1)
            .step_by(self.context)
            .map(|row| Sequence::new(row, |_| true))
            .collect();
        if rows.is_empty() {
            return Err(Error::NoData {
                what: "the text",
                hint: format!("give one of more than {} tokens", self.context),
            });
        }
        let mut decoder = loaded.decoder.with_precision(self.precision);
        let adapter = decoder.new_adapter(&self.adapter, Seed(0));
        let attached = adapter.and_then(|adapter| {
            decoder.attach(&adapter)?;
            Ok(adapter.parameters())
        });
        let parameters =
            attached.map_err(|error| Error::config("target_modules", "", error.to_string()))?;
        let trained = folder.join("trained");
        std::fs::create_dir_all(&trained).map_err(artifact::Error::io("create", &trained))?;
        let base = self.model.display().to_string();
        hub::save_adapter(folder, &decoder, &self.adapter, &base, &tokenizer)?;
        let mut rows = rows.iter().cycle();
        let mut batch = || {
            let mut batch = Batch::new(self.context);
            for row in rows.by_ref().take(self.batch_size) {
                batch.push_row([row]);
            }
            batch
        };
        let batches: Vec<Batch> = (0..self.steps).map(|_| batch()).collect();
        let optimizer = OptimizerConfig {
            weight_decay: 0.0,
            ..OptimizerConfig::default()
        };
        self.dump(folder, &batches, &optimizer)?;
        let rate = Rate {
            peak: self.learning_rate,
            schedule: Schedule::Cosine,
            steps: u64::MAX,
            warmup: 0,
            last: 1.0,
        };
        let mut trainer = Trainer::of_decoder(decoder, device);
        let (mut losses, mut milliseconds) = (Vec::new(), Vec::new());
        for batch in &batches {
            let began = Instant::now();
            losses.push(trainer.step(std::slice::from_ref(batch), &rate, &optimizer)?);
            milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        }
        hub::save_adapter(
            &trained,
            &trainer.frozen(),
            &self.adapter,
            &base,
            &tokenizer,
        )?;
        Ok(json!({
            "parameters": parameters,
            "losses": losses,
            "milliseconds": milliseconds,
            "peak_rss_bytes": artifact::peak_rss_bytes(),
        }))
    }

    fn dump(&self, folder: &Path, batches: &[Batch], optimizer: &OptimizerConfig) -> Result<()> {
        let path = folder.join("batches.bin");
        let file = std::fs::File::create(&path).map_err(artifact::Error::io("create", &path))?;
        let mut file = BufWriter::new(file);
        let written = batches
            .iter()
            .try_for_each(|batch| write_batch(&mut file, batch));
        written
            .and_then(|()| file.flush())
            .map_err(artifact::Error::io("write", &path))?;
        let run = json!({
            "steps": self.steps,
            "batch_size": self.batch_size,
            "accumulation": 1,
            "context": self.context,
            "learning_rates": vec![self.learning_rate; self.steps],
            "optimizer": optimizer,
        });
        artifact::write_atomic(&folder.join("run.json"), run.to_string().as_bytes())?;
        Ok(())
    }
}
