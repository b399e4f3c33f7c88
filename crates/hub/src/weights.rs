//! Tensors in safetensors files: names and shapes are checked against the config before a value is read.

use std::fs::File;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tensor::burn::module::{ModuleVisitor, Param};
use tensor::{Module, Tensor};

use crate::{Error, Result};

/// One tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its elements in row-major order.
    pub values: Vec<f32>,
}

/// The parameters of a module in the order of visiting, as shapes and values.
pub fn parameters(module: &impl Module) -> Vec<(Vec<usize>, Vec<f32>)> {
    #[derive(Default)]
    struct Collect(Vec<(Vec<usize>, Vec<f32>)>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            self.0.push((value.dims().to_vec(), tensor::to_vec(value)));
        }
    }
    let mut collect = Collect::default();
    module.visit(&mut collect);
    collect.0
}

/// Writes tensors with string metadata; the bytes are a function of the arguments alone.
///
/// # Errors
/// When the file cannot be written; an older file of that name is then still whole.
pub fn write(path: &Path, tensors: &[HostTensor], metadata: &[(&str, String)]) -> Result<()> {
    let views: Vec<_> = tensors
        .iter()
        .map(|t| {
            let bytes = bytemuck::cast_slice(&t.values);
            TensorView::new(Dtype::F32, t.shape.clone(), bytes).map(|view| (t.name.clone(), view))
        })
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::weights(path, error.to_string()))?;
    // One key: a map of several would come out in any order, and equal models would differ in bytes. Python's
    // `transformers` wants to see `format` itself.
    let metadata = match metadata {
        [("format", format)] => [("format".to_owned(), format.clone())].into(),
        _ => [("ontogeny".to_owned(), ours(metadata))].into(),
    };
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::weights(path, error.to_string()))?;
    Ok(artifact::write_atomic(path, &bytes)?)
}

fn ours(metadata: &[(&str, String)]) -> String {
    let sorted: std::collections::BTreeMap<_, _> = metadata.iter().cloned().collect();
    serde_json::to_string(&sorted).expect("strings are JSON")
}

/// A safetensors file in memory.
#[derive(Debug)]
pub struct Weights {
    path: std::path::PathBuf,
    bytes: Vec<u8>,
}

impl Weights {
    /// Reads the file and checks its header.
    ///
    /// # Errors
    /// When it cannot be read or is no safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        use std::io::Read;
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(Error::io("read", path))?;
        let weights = Self {
            path: path.to_owned(),
            bytes,
        };
        weights.parsed()?;
        Ok(weights)
    }

    fn parsed(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes).map_err(|error| {
            Error::weights(&self.path, format!("not a whole safetensors file: {error}"))
        })
    }

    /// The values of a tensor as 32-bit floats.
    ///
    /// # Errors
    /// When the file lacks it, or holds another shape or an unknown type.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let file = self.parsed()?;
        let tensor = file.tensor(name).map_err(|_| {
            Error::weights(
                &self.path,
                format!("tensor `{name}` of shape {shape:?} is missing"),
            )
        })?;
        if tensor.shape() != shape {
            let got = tensor.shape();
            return Err(Error::weights(
                &self.path,
                format!("tensor `{name}` has shape {got:?}, the config asks for {shape:?}"),
            ));
        }
        let bytes = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => Ok(bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect()),
            Dtype::BF16 => Ok(bytes
                .chunks_exact(2)
                .map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
                .collect()),
            other => Err(Error::weights(
                &self.path,
                format!("tensor `{name}` is stored as {other:?}: F32 and BF16 are read"),
            )),
        }
    }

    /// What [`write()`] was given as metadata.
    pub fn metadata(&self) -> std::collections::BTreeMap<String, String> {
        let header = SafeTensors::read_metadata(&self.bytes).ok();
        let ours = header.and_then(|(_, header)| {
            header
                .metadata()
                .as_ref()
                .and_then(|map| map.get("ontogeny").cloned())
        });
        ours.and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }
}
