//! What kind of model a folder or file holds.

use std::path::Path;

use models::{encoder, t5};

use crate::encoder::{family, read_encoder_config};
use crate::seq2seq::{is_seq2seq, read_seq2seq_config};
use crate::{ModelConfig, Result, read_config};

/// A model's kind, and its shape.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// It continues texts.
    Decoder(ModelConfig),
    /// It makes vectors of texts.
    Encoder(encoder::Config),
    /// It makes one text of another.
    EncoderDecoder(t5::Config),
}

impl Architecture {
    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Decoder(config) => config.decoder.parameters(),
            Self::Encoder(config) => config.parameters(),
            Self::EncoderDecoder(config) => config.parameters(),
        }
    }

    /// In a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Decoder(_) => "decoder",
            Self::Encoder(_) => "encoder",
            Self::EncoderDecoder(_) => "encoder-decoder",
        }
    }

    /// The family's name, as its `config.json` has it.
    pub fn model_type(&self) -> &str {
        match self {
            Self::Decoder(config) => &config.decoder.model_type,
            Self::Encoder(config) => &config.model_type,
            Self::EncoderDecoder(config) => &config.model_type,
        }
    }
}

/// Reads and checks the configuration of a model of any kind.
///
/// # Errors
/// As [`read_config`], [`read_encoder_config`] and [`read_seq2seq_config`].
pub fn read_architecture(path: &Path) -> Result<Architecture> {
    if family(path).is_some() {
        return read_encoder_config(path).map(Architecture::Encoder);
    }
    if is_seq2seq(path) {
        return read_seq2seq_config(path).map(Architecture::EncoderDecoder);
    }
    read_config(path).map(Architecture::Decoder)
}
