//! What a model will need in memory before it is loaded.

use std::path::Path;

use models::decoder::Config;

use crate::adapter::{is_adapter, read_adapter};
use crate::folder::gguf_of;
use crate::gguf::{self, storage::Storage};
use crate::{Architecture, Result, base_of, read_architecture, read_config};

/// Bytes of an f32, which dense weights and the engine's keys and values are held as.
const FLOAT: u64 = 4;

/// Positions of T5 have no end; it was trained with texts of so many tokens.
const T5_CONTEXT: usize = 512;

/// What answering with a model needs on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of the weights: f32, except where a GGUF file's matrices have few bits.
    pub weight_bytes: u64,
    /// Bytes of the keys and values of one token.
    pub bytes_per_token: u64,
    /// Longest sequence, in tokens.
    pub context: usize,
}

impl Plan {
    /// Bytes with `sequences` of `tokens` tokens each.
    #[must_use]
    pub fn total(&self, sequences: u64, tokens: usize) -> u64 {
        self.weight_bytes + sequences * tokens as u64 * self.bytes_per_token
    }
}

/// Plans the model of a folder, a `.gguf` file, or an adapter with its base.
///
/// # Errors
/// As [`read_config`]; when a tensor of a GGUF file is missing or of a kind that is not read.
pub fn plan(path: &Path) -> Result<Plan> {
    if is_adapter(path) {
        let base = base_of(path)?;
        let config = read_config(&base)?.decoder;
        let pairs = read_adapter(path, &config)?.pairs;
        let numbers: usize = pairs.values().map(|pair| pair.a.len() + pair.b.len()).sum();
        let mut plan = plan(&base)?;
        plan.weight_bytes += FLOAT * numbers as u64;
        return Ok(plan);
    }
    let config = match read_architecture(path)? {
        Architecture::Decoder(config) => config.decoder,
        Architecture::Encoder(config) => {
            return Ok(Plan {
                weight_bytes: FLOAT * config.parameters() as u64,
                bytes_per_token: 0,
                context: config.context(),
            });
        }
        Architecture::EncoderDecoder(config) => {
            // Of the answer's tokens; the source's keys and values come once.
            let features = config.num_heads * config.d_kv * config.decoder_layers();
            return Ok(Plan {
                weight_bytes: FLOAT * config.parameters() as u64,
                bytes_per_token: FLOAT * 2 * features as u64,
                context: T5_CONTEXT,
            });
        }
    };
    let weight_bytes = match gguf_of(path) {
        Some(file) => gguf_bytes(&file, &config)?,
        None => FLOAT * config.parameters() as u64,
    };
    let features = config.num_key_value_heads * config.head_dim;
    Ok(Plan {
        weight_bytes,
        bytes_per_token: FLOAT * (2 * config.num_hidden_layers * features) as u64,
        context: config.max_position_embeddings,
    })
}

/// As [`gguf::load`] holds them: matrices of few bits as they are, everything else as f32.
fn gguf_bytes(path: &Path, config: &Config) -> Result<u64> {
    let file = gguf::File::open(path)?;
    let mut total = 0;
    for (name, shape) in config.tensors() {
        let (storage, bytes) = gguf::bytes(&file, config, &name, &shape)?;
        total += match storage {
            Storage::Blocks(_) if shape.len() == 2 => bytes.len() as u64,
            _ => FLOAT * shape.iter().product::<usize>() as u64,
        };
    }
    Ok(total)
}
