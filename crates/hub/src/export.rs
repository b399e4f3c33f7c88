//! Models out: a folder that Python's `transformers` loads, or a GGUF file that llama.cpp loads. Tensors go through one
//! after another; those whose way of storing stays keep every bit.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use artifact::Progress;
use models::decoder::Config;
use models::decoder::family::Family;
use serde_json::{Map, Value, json};
use tensor::Device;
use tokenizer::Tokenizer;

use crate::checkpoint::Checkpoint;
use crate::folder::{MISTRAL, describe, gguf_of, read_config, values};
use crate::gguf::storage::Storage;
use crate::gguf::{self, write};
use crate::weights::parameters;
use crate::{Error, ModelConfig, Result, is_adapter, load};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Parameters of the model.
    pub parameters: usize,
    /// Bytes of the weights' file.
    pub bytes: u64,
    /// What the user should know: tensors stored otherwise than asked, a tokenizer that is not quite the same.
    pub notes: Vec<String>,
}

/// A model on the disk whose tensors are read one by one.
struct Source {
    config: ModelConfig,
    tokenizer: Tokenizer,
    weights: Held,
}

enum Held {
    Folder(Checkpoint),
    Gguf(gguf::File),
    /// An adapter, taken into its base.
    Merged(HashMap<String, Vec<f32>>),
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        if is_adapter(path) {
            return Self::merged(path);
        }
        let config = read_config(path)?;
        if let Some(path) = gguf_of(path) {
            let file = gguf::File::open(&path)?;
            return Ok(Self {
                config,
                tokenizer: gguf::tokenizer(&file)?,
                weights: Held::Gguf(file),
            });
        }
        Ok(Self {
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
        Ok(Self {
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

    /// Bytes of a tensor in another way of storing, its rows in the order asked for.
    fn stored(
        &self,
        path: &Path,
        (name, shape): (&str, &[usize]),
        storage: Storage,
        in_pairs: bool,
    ) -> Result<Vec<u8>> {
        let (from, bytes) = self.tensor(name, shape)?;
        let mut bytes = bytes.into_owned();
        if from != storage {
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
            bytes = storage.encode(&values);
        }
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

fn is_rotated(name: &str) -> bool {
    matches!(name.rsplit('.').nth(1), Some("q_proj" | "k_proj"))
}

/// Writes the folder `out` from the model at `from`: weights in `storage` (f32, f16 or bf16), config, tokenizer.
///
/// # Errors
/// What cannot be read, stored or written, by name; the files before are then whole.
pub fn to_folder(
    from: &Path,
    out: &Path,
    storage: Storage,
    progress: &Progress,
) -> Result<Exported> {
    let source = Source::open(from)?;
    let family = source.config.decoder.family();
    let of_its_own = matches!(family, Family::Phi3 | Family::Gpt2);
    if of_its_own || (family == Family::Gemma3 && matches!(source.weights, Held::Gguf(_))) {
        let reason = format!(
            "a model of the type `{}` cannot be written as a folder from here yet: its files hold tensors in another way",
            source.config.decoder.model_type
        );
        return Err(Error::weights(from, reason));
    }
    let (kind, dtype) = match storage {
        Storage::F16 => ("F16", "float16"),
        Storage::Bf16 => ("BF16", "bfloat16"),
        _ => ("F32", "float32"),
    };
    let tensors = source.config.decoder.tensors();
    // In this order and no other: equal models give equal bytes.
    let mut header = vec![json!({ "format": "pt" }).to_string()];
    let mut offset = 0;
    for (_, shape) in &tensors {
        let size = if kind == "F32" { 4 } else { 2 };
        let end = offset + shape.iter().product::<usize>() * size;
        header.push(
            json!({ "dtype": kind, "shape": shape, "data_offsets": [offset, end] }).to_string(),
        );
        offset = end;
    }
    let names = ["__metadata__"].into_iter();
    let names = names.chain(tensors.iter().map(|(name, _)| name.as_str()));
    let fields = names
        .zip(&header)
        .map(|(name, told)| format!("{}:{told}", Value::from(name)));
    let mut header = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    header.extend(std::iter::repeat_n(
        ' ',
        header.len().next_multiple_of(8) - header.len(),
    ));

    std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
    let mut config = source.config.clone();
    let mut notes = Vec::new();
    let (width, heads) = (
        config.decoder.hidden_size,
        config.decoder.num_attention_heads,
    );
    if config.decoder.model_type == "llama" && !width.is_multiple_of(heads) {
        (config.decoder.model_type, config.decoder.architectures) =
            (MISTRAL.0.to_owned(), vec![MISTRAL.1.to_owned()]);
        notes.push(format!(
            "named a Mistral model, whose layers are the same: Python's Llama refuses a width of {width} with {heads} heads"
        ));
    }
    describe(out, &config, &with_class(&source.tokenizer)?, dtype)?;
    let path = out.join("model.safetensors");
    whole(&path, progress, |to| {
        to.write_all(&(header.len() as u64).to_le_bytes())?;
        to.write_all(header.as_bytes())?;
        each(&tensors, progress, |name, shape| {
            let bytes = source.stored(&path, (name, shape), storage, false)?;
            to.write_all(&bytes).map_err(Error::io("write", &path))
        })
    })?;
    Ok(Exported {
        parameters: source.config.decoder.parameters(),
        bytes: (8 + header.len() + offset) as u64,
        notes,
    })
}

/// Writes the GGUF file `out` from the model at `from`, its matrices in `storage` where their shapes allow it.
///
/// # Errors
/// What cannot be read, stored or written, by name; an older file is then still whole.
pub fn to_gguf(
    from: &Path,
    id: &str,
    out: &Path,
    storage: Storage,
    progress: &Progress,
) -> Result<Exported> {
    let source = Source::open(from)?;
    let config = &source.config.decoder;
    let llama = match config.family() {
        Family::Llama => {
            config.rope_scaling.is_none() && !config.attention_bias && !config.mlp_bias
        }
        // Without a window its layers are Llama's.
        Family::Mistral => config.sliding_window.is_none(),
        _ => false,
    };
    if !llama {
        let reason = format!(
            "a model of the type `{}` cannot be written as GGUF yet, `llama` can; export as safetensors instead",
            config.model_type
        );
        return Err(Error::weights(from, reason));
    }
    let mut head = write::Head::default();
    head.architecture(id, config, storage);
    let notes = head.tokenizer(&source.tokenizer, config);
    let mut notes = notes.map_err(|why| Error::weights(from, format!("the tokenizer: {why}")))?;
    let tensors = config.tensors();
    let mut described = Vec::with_capacity(tensors.len());
    for (name, shape) in &tensors {
        let head = *name == head_name(config);
        let mut chosen = write::choice(storage, shape, head);
        if let Held::Gguf(file) = &source.weights
            && shape.len() == 2
            && gguf::bytes(file, config, name, shape)?.0 == storage
        {
            chosen = storage;
        }
        let rows = shape.iter().rev().skip(1).product::<usize>();
        let row = chosen.row_bytes(shape.last().copied().unwrap_or(1));
        let length = rows * row.expect("`choice` gives whole blocks");
        described.push((
            gguf::name_in_file(name, config.norms_behind()),
            shape.clone(),
            chosen,
            length,
        ));
    }
    notes.extend(otherwise(&described, storage));
    whole(out, progress, |to| {
        head.write(&described, to)?;
        let mut chosen = described.iter().map(|one| one.2);
        each(&tensors, progress, |name, shape| {
            let storage = chosen.next().unwrap_or(Storage::F32);
            let bytes = source.stored(out, (name, shape), storage, true)?;
            write::padded(&bytes, to).map_err(Error::io("write", out))
        })
    })?;
    Ok(Exported {
        parameters: config.parameters(),
        bytes: std::fs::metadata(out)
            .map_err(Error::io("read", out))?
            .len(),
        notes,
    })
}

/// The tensor that makes the logits.
fn head_name(config: &Config) -> &'static str {
    if config.tie_word_embeddings {
        "model.embed_tokens.weight"
    } else {
        "lm_head.weight"
    }
}

/// Which matrices are stored in another way than asked.
fn otherwise(tensors: &[(String, Vec<usize>, Storage, usize)], asked: Storage) -> Vec<String> {
    let matrices = || tensors.iter().filter(|one| one.1.len() == 2);
    let others = Storage::names().filter_map(Storage::named);
    let others = others.filter(|other| *other != asked).filter_map(|other| {
        let mut found = matrices().filter(|one| one.2 == other);
        let (first, more) = (found.next()?, found.count());
        let which = match more {
            0 => first.0.clone(),
            more => format!("{} and {more} more", first.0),
        };
        let (other, cols) = (other.name(), first.1[1]);
        Some(format!(
            "{which} in {other} (rows of {cols}), as llama.cpp does for {}",
            asked.name()
        ))
    });
    others.collect()
}

/// Each tensor in turn, with progress in parameters.
fn each(
    tensors: &[(String, Vec<usize>)],
    progress: &Progress,
    mut with: impl FnMut(&str, &[usize]) -> Result<()>,
) -> std::result::Result<(), Stop> {
    let size = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let total = tensors.iter().map(|(_, shape)| size(shape)).sum();
    let mut done = 0;
    for (name, shape) in tensors {
        progress.check().map_err(Error::from)?;
        with(name, shape)?;
        done += size(shape);
        progress.tick(done, Some(total), "parameters");
    }
    Ok(())
}

/// Why writing stopped: the file system, or what was to be written.
enum Stop {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Writes a file beside its place and moves it there when it is whole.
fn whole(
    path: &Path,
    progress: &Progress,
    fill: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Stop>,
) -> Result<()> {
    let mut stopped = None;
    progress.check()?;
    let written = artifact::write_atomic_with(path, |to| match fill(to) {
        Ok(()) => Ok(()),
        Err(Stop::Io(error)) => Err(error),
        Err(Stop::Other(error)) => {
            stopped = Some(error);
            Err(io::Error::other("stopped"))
        }
    });
    match stopped {
        Some(error) => Err(error),
        None => Ok(written?),
    }
}

/// The tokenizer with what Python needs to know which class reads it.
fn with_class(tokenizer: &Tokenizer) -> Result<Tokenizer> {
    let mut config = tokenizer.config().clone();
    if !config.is_object() {
        config = Value::Object(Map::new());
    }
    if config["tokenizer_class"].is_null() {
        config["tokenizer_class"] = "PreTrainedTokenizerFast".into();
    }
    let clean = &mut config["clean_up_tokenization_spaces"];
    if clean.is_null() {
        *clean = false.into();
    }
    Ok(Tokenizer::from_json(
        tokenizer.to_json()?.as_bytes(),
        config,
    )?)
}
