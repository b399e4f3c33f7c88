//! A training run's whole state in one file, written aside and renamed: after a kill at any moment
//! either this checkpoint or the one before is there, whole.

use std::path::{Path, PathBuf};

use hub::weights::{HostTensor, Weights, parameters, write};
use models::Values;
use models::decoder::Decoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tensor::Tensor;

use crate::history::History;
use crate::optimizer::Optimizer;
use crate::trainer::Trainer;
use crate::{Error, Result};

/// What is not a tensor.
#[derive(Serialize, Deserialize)]
struct State<S> {
    step: u64,
    tokens: u64,
    window: [f64; 2],
    history: History,
    seconds: f64,
    stage: S,
}

/// Saves parameters, moments, and the stage's own state (its place in the data).
///
/// # Errors
/// When the file cannot be written; the checkpoint before is then still whole.
pub(crate) fn save<S: Serialize>(
    folder: &Path,
    trainer: &Trainer,
    stage: &S,
    seconds: f64,
) -> Result<()> {
    let mut tensors = Vec::new();
    for (index, (shape, values)) in parameters(trainer.model()).into_iter().enumerate() {
        tensors.push(HostTensor {
            name: format!("parameter.{index}"),
            shape,
            values,
        });
    }
    for (index, moments) in trainer.optimizer.moments.iter().enumerate() {
        for (name, tensor) in ["m", "v"].iter().zip(moments.iter().flatten()) {
            let values = tensor::to_vec(tensor.clone());
            tensors.push(HostTensor {
                name: format!("{name}.{index}"),
                shape: vec![values.len()],
                values,
            });
        }
    }
    let state = State {
        step: trainer.step_count(),
        tokens: trainer.tokens,
        window: trainer.window(),
        history: trainer.history.clone(),
        seconds,
        stage,
    };
    let state = serde_json::to_string(&state).expect("a state is numbers and strings");
    Ok(write(&path(folder), &tensors, &[("state", state)])?)
}

/// Takes a trainer to where its checkpoint stood; `None` when there is none. Returns the stage's
/// own state and the seconds worked so far.
///
/// # Errors
/// When the file is broken or of another model.
pub(crate) fn restore<S: DeserializeOwned>(
    folder: &Path,
    trainer: &mut Trainer,
) -> Result<Option<(S, f64)>> {
    let path = path(folder);
    if !path.exists() {
        return Ok(None);
    }
    let weights = Weights::open(&path)?;
    let text = weights.metadata().remove("state").unwrap_or_default();
    let state: State<S> = serde_json::from_str(&text).map_err(|error| Error::Checkpoint {
        path: path.clone(),
        reason: format!("its state cannot be read: {error}"),
    })?;
    let config = trainer.model().config().clone();
    let mut index = 0;
    let decoder = Decoder::build(
        &config,
        trainer.model().precision(),
        &trainer.device,
        |_, shape| {
            let values = weights.get(&format!("parameter.{index}"), shape);
            index += 1;
            values.map(Values::from)
        },
    )?;
    let plain = trainer.device.clone().without_autodiff();
    let mut optimizer = Optimizer {
        step: state.step,
        moments: Vec::new(),
    };
    for (index, (_, shape)) in config.tensors().iter().enumerate() {
        let elements: usize = shape.iter().product();
        let moment = |name: &str| -> Result<Tensor<1>> {
            Ok(tensor::from_vec(
                weights.get(&format!("{name}.{index}"), &[elements])?,
                [elements],
                &plain,
            ))
        };
        optimizer.moments.push(if state.step == 0 {
            None
        } else {
            Some([moment("m")?, moment("v")?])
        });
    }
    trainer.restore(
        decoder,
        optimizer,
        state.history,
        state.tokens,
        state.window,
    );
    Ok(Some((state.stage, state.seconds)))
}

fn path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}
