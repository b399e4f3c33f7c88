//! A training run's whole state in one file, written aside and renamed: after a kill at any moment
//! either this checkpoint or the one before is there, whole.

use std::path::{Path, PathBuf};

use hub::weights::{HostTensor, Weights, write};
use models::decoder::Decoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tensor::{Module, ModuleMapper, ModuleVisitor, Param, Tensor};

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

/// Saves the trained parameters, their moments, and the stage's own state (its place in the data).
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
    for (index, (shape, values)) in trained(trainer.model()).into_iter().enumerate() {
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
    let shapes: Vec<Vec<usize>> = trained(trainer.model())
        .into_iter()
        .map(|(shape, _)| shape)
        .collect();
    let mut values = Vec::with_capacity(shapes.len());
    for (index, shape) in shapes.iter().enumerate() {
        values.push(weights.get(&format!("parameter.{index}"), shape)?);
    }
    let plain = trainer.device.clone().without_autodiff();
    let mut optimizer = Optimizer {
        step: state.step,
        moments: Vec::new(),
    };
    for (index, shape) in shapes.iter().enumerate() {
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
    let fill = |model: Decoder| {
        model.map(&mut Fill {
            values: values.into_iter(),
        })
    };
    trainer.restore(fill, optimizer, state.history, state.tokens, state.window);
    Ok(Some((state.stage, state.seconds)))
}

/// Shapes and values of the parameters that are trained, in the order of visiting.
fn trained(module: &impl Module) -> Vec<(Vec<usize>, Vec<f32>)> {
    #[derive(Default)]
    struct Collect(Vec<(Vec<usize>, Vec<f32>)>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                self.0.push((value.dims().to_vec(), tensor::to_vec(value)));
            }
        }
    }
    let mut collect = Collect::default();
    module.visit(&mut collect);
    collect.0
}

/// Puts values into the parameters that are trained, in the order of visiting.
struct Fill {
    values: std::vec::IntoIter<Vec<f32>>,
}

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.val().is_require_grad() {
            return param;
        }
        let (id, value, mapper) = param.consume();
        let read = self.values.next();
        let read = read.expect("one for each trained parameter, read by their shapes");
        let value = tensor::from_vec(read, value.dims(), &value.device());
        Param::from_mapped_value(id, value.require_grad(), mapper)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}
