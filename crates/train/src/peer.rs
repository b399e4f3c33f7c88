//! Everything another framework needs to repeat a pre-training run: the initial weights, every
//! batch in order, the learning rates, and the held-out batches.

use std::io::Write;
use std::path::Path;

use artifact::Seed;
use data::{Shards, Split};
use serde_json::json;
use tokenizer::Tokenizer;

use crate::packing::Batch;
use crate::pretrain::{Config, Inputs, Resolved, initial};
use crate::stream::{DocumentStream, Position};
use crate::validation::Validation;
use crate::{Error, Result};

/// Writes `config.json` and `model.safetensors` (initial weights), `batches.bin`, `validation.bin`
/// and `run.json` into `folder`.
///
/// A batch file holds, for each row of `context` tokens, three runs of little-endian i32: inputs,
/// targets (−1 where a target does not count), and the index of the sequence that a token belongs to.
///
/// # Errors
/// As pre-training itself, or when a file cannot be written.
pub fn dump(config: &Config, inputs: Inputs<'_>, folder: &Path) -> Result<()> {
    let write = |operation| {
        let path = folder.to_owned();
        move |source| {
            Error::Artifact(artifact::Error::Io {
                operation,
                path,
                source,
            })
        }
    };
    std::fs::create_dir_all(folder).map_err(write("create"))?;
    let tokenizer = Tokenizer::load(&inputs.tokenizer.path)?;
    let shards = Shards::open(&inputs.shards.path)?;
    let decoder = initial(config, &inputs, tokenizer.vocab_size())?;
    hub::save(folder, &decoder, &tokenizer)?;
    let Resolved { model, steps, rate } = config.resolve(decoder.config().clone())?;
    let context = model.max_position_embeddings;

    let order = Seed(config.seed).derive("order");
    let split = shards.split(Split::Train);
    let mut stream =
        DocumentStream::new(split, order, tokenizer.end_of_text(), Position::default());
    let mut file = std::io::BufWriter::new(
        std::fs::File::create(folder.join("batches.bin")).map_err(write("create"))?,
    );
    for _ in 0..steps {
        for _ in 0..config.accumulation {
            write_batch(&mut file, &stream.batch(config.batch_size, context))
                .map_err(write("write"))?;
        }
    }
    file.flush().map_err(write("write"))?;

    let held_out = shards.split(Split::Validation);
    let validation = Validation::new(held_out, &tokenizer, context, config.validation_tokens)?;
    let mut file = std::io::BufWriter::new(
        std::fs::File::create(folder.join("validation.bin")).map_err(write("create"))?,
    );
    for batch in validation.iter().flat_map(Validation::batches) {
        write_batch(&mut file, batch).map_err(write("write"))?;
    }
    file.flush().map_err(write("write"))?;

    let rates: Vec<f64> = (0..steps).map(|step| rate.at(step)).collect();
    let run = json!({
        "steps": steps,
        "batch_size": config.batch_size,
        "accumulation": config.accumulation,
        "context": context,
        "learning_rates": rates,
        "optimizer": config.optimizer,
        "validation_bytes": validation.as_ref().map(Validation::bytes),
    });
    artifact::write_atomic(&folder.join("run.json"), run.to_string().as_bytes())?;
    Ok(())
}

pub(crate) fn write_batch(file: &mut impl Write, batch: &Batch) -> std::io::Result<()> {
    let mut run = |mut values: &mut dyn Iterator<Item = i32>| {
        Iterator::try_for_each(&mut values, |value| file.write_all(&value.to_le_bytes()))
    };
    for row in 0..batch.rows() {
        let span = row * batch.context..(row + 1) * batch.context;
        run(&mut batch.inputs[span.clone()].iter().map(|&id| id as i32))?;
        let targets = batch.targets[span.clone()].iter().zip(&batch.weights[span]);
        run(&mut targets.map(|(&id, &weight)| if weight == 0.0 { -1 } else { id as i32 }))?;
        let lengths = batch.lengths[row].iter().enumerate();
        run(&mut lengths.flat_map(|(index, &length)| std::iter::repeat_n(index as i32, length)))?;
    }
    Ok(())
}
