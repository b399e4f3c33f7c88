//! A model on the disk whose tensors are read one by one, on their way into another file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use models::decoder::Config;
use models::decoder::family::Family;
use serde_json::Value;
use tensor::Device;
use tokenizer::Tokenizer;

use crate::checkpoint::Checkpoint;
use crate::folder::{gguf_of, read_config, values};
use crate::gguf;
use crate::gguf::storage::Storage;
use crate::names::{Place, place, turn_over};
use crate::weights::parameters;
use crate::{Error, ModelConfig, Result, base_of, is_adapter, load};

/// A model on the disk whose tensors are read one by one.
pub(super) struct Source {
    pub(super) config: ModelConfig,
    /// The folder's own `config.json`, where there is one.
    pub(super) published: Option<Value>,
    pub(super) tokenizer: Tokenizer,
    pub(super) weights: Held,
}

pub(super) enum Held {
    Folder(Checkpoint),
    Gguf(gguf::File),
    /// An adapter, taken into its base.
    Merged(HashMap<String, Vec<f32>>),
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self> {
        if is_adapter(path) {
            return Self::merged(path);
        }
        let config = read_config(path)?;
        if let Some(path) = gguf_of(path) {
            let file = gguf::File::open(&path)?;
            return Ok(Self {
                config,
                published: None,
                tokenizer: gguf::tokenizer(&file)?,
                weights: Held::Gguf(file),
            });
        }
        Ok(Self {
            published: Some(published(path)?),
            config,
            tokenizer: Tokenizer::load(path)?,
            weights: Held::Folder(Checkpoint::open_folder(path)?),
        })
    }

    fn merged(adapter: &Path) -> Result<Self> {
        let model = load(adapter, "", &Device::flex())?;
        let decoder = model.decoder.merged().dense();
        let config = ModelConfig {
            decoder: decoder.config().clone(),
            precision: decoder.precision().into(),
        };
        let names = config.decoder.tensors().into_iter().map(|(name, _)| name);
        let values = parameters(&decoder).into_iter().map(|(_, values)| values);
        let base = base_of(adapter)?;
        Ok(Self {
            published: gguf_of(&base)
                .is_none()
                .then(|| published(&base))
                .transpose()?,
            weights: Held::Merged(names.zip(values).collect()),
            config,
            tokenizer: model.tokenizer,
        })
    }

    /// How a tensor is stored, and its bytes; rows of queries and keys lie as the file has them.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<(Storage, Cow<'_, [u8]>)> {
        match &self.weights {
            Held::Folder(checkpoint) => {
                let values = values(checkpoint, &self.config.decoder, name, shape)?;
                Ok((Storage::F32, Storage::F32.encode(&values).into()))
            }
            Held::Merged(tensors) => {
                let values = &tensors[name];
                Ok((Storage::F32, Storage::F32.encode(values).into()))
            }
            Held::Gguf(file) => {
                let (storage, bytes) = gguf::bytes(file, &self.config.decoder, name, shape)?;
                Ok((storage, bytes.into()))
            }
        }
    }

    /// Whether the rows of queries and keys lie in pairs, as in GGUF.
    fn in_pairs(&self) -> bool {
        matches!(self.weights, Held::Gguf(_)) && self.config.decoder.family() == Family::Llama
    }

    /// Bytes of a tensor `from` one way of storing in another.
    fn converted(
        &self,
        path: &Path,
        name: &str,
        from: Storage,
        bytes: Cow<'_, [u8]>,
        storage: Storage,
    ) -> Result<Vec<u8>> {
        if from == storage {
            return Ok(bytes.into_owned());
        }
        let values = from.decode(&bytes);
        let most = values.iter().fold(0.0, |most: f32, value| {
            let value = value.abs();
            if most < value || value.is_nan() {
                value
            } else {
                most
            }
        });
        if !storage.reaches(most) {
            let name_of = storage.name();
            return Err(Error::weights(
                path,
                format!(
                    "tensor `{name}` holds a value of {most}, more than {name_of} can tell; export it as f32"
                ),
            ));
        }
        Ok(storage.encode(&values))
    }

    /// Bytes of a tensor as the family's files have it: ours, or several of ours one below the other, or turned over.
    pub(super) fn assembled(
        &self,
        path: &Path,
        tensor: &InFile,
        storage: Storage,
    ) -> Result<Vec<u8>> {
        if let [(name, shape, place)] = &tensor.parts[..]
            && !place.turned
        {
            return self.stored(path, (name, shape), storage, false);
        }
        let mut values = Vec::new();
        for (name, shape, _) in &tensor.parts {
            let bytes = self.stored(path, (name, shape), Storage::F32, false)?;
            values.extend(Storage::F32.decode(&bytes));
        }
        if tensor.parts.iter().any(|(_, _, place)| place.turned) {
            let cols = tensor.shape[0];
            values = turn_over(&values, values.len() / cols, cols);
        }
        let bytes = Storage::F32.encode(&values);
        self.converted(path, &tensor.name, Storage::F32, bytes.into(), storage)
    }

    /// Bytes of a tensor in another way of storing, its rows in the order asked for.
    pub(super) fn stored(
        &self,
        path: &Path,
        (name, shape): (&str, &[usize]),
        storage: Storage,
        in_pairs: bool,
    ) -> Result<Vec<u8>> {
        let (from, bytes) = self.tensor(name, shape)?;
        let mut bytes = self.converted(path, name, from, bytes, storage)?;
        if self.in_pairs() != in_pairs && is_rotated(name) {
            let rows = shape.first().copied().unwrap_or(1).max(1);
            let (row, head) = (bytes.len() / rows, self.config.decoder.head_dim);
            bytes = if in_pairs {
                gguf::pairs_from_halves(&bytes, row, head)
            } else {
                gguf::halves_from_pairs(&bytes, row, head)
            };
        }
        Ok(bytes)
    }
}

/// A folder's `config.json` as it is.
fn published(folder: &Path) -> Result<Value> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    serde_json::from_str(&text).map_err(|source| Error::Json { path, source })
}

/// A tensor as the family's files have it, and which of ours it is made of.
pub(super) struct InFile {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) parts: Vec<(String, Vec<usize>, Place)>,
}

/// The tensors of a family's files, in the order of the first of ours that each is made of.
pub(super) fn laid_out(config: &Config) -> Vec<InFile> {
    let mut all: Vec<InFile> = Vec::new();
    for (name, shape) in config.tensors() {
        let place = place(config, &name, &shape);
        match all.iter_mut().find(|there| there.name == place.name) {
            Some(there) => there.parts.push((name, shape, place)),
            None => all.push(InFile {
                name: place.name.clone(),
                shape: place.shape.clone(),
                parts: vec![(name, shape, place)],
            }),
        }
    }
    all
}

fn is_rotated(name: &str) -> bool {
    matches!(name.rsplit('.').nth(1), Some("q_proj" | "k_proj"))
}
