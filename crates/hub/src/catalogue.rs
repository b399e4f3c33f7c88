//! Known open models: a table in `catalogue.toml`, embedded, so that one can be chosen before anything is fetched.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use tensor::quantised::Format;

use crate::Storage;

/// Tokens of one sequence that a model must have room for to count as fitting.
pub const ROOM_TOKENS: usize = 4096;
/// Bytes of a key or a value in the engine's cache, which is f32.
const CACHED: u64 = 4;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Answers in conversations.
    Chat,
    /// Goes on with a text; a start for fine-tuning.
    Base,
    /// Turns texts into vectors that are near where meanings are.
    Embedding,
    /// Reads texts; a start for embeddings and classifiers.
    Encoder,
}

impl Purpose {
    /// Its name, as the table writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Base => "base",
            Self::Embedding => "embedding",
            Self::Encoder => "encoder",
        }
    }

    /// What goes in and what comes out.
    #[must_use]
    pub fn modality(self) -> &'static str {
        match self {
            Self::Chat | Self::Base => "text",
            Self::Embedding | Self::Encoder => "text embedding",
        }
    }
}

/// The numbers of an architecture, as far as memory depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Number of blocks.
    pub layers: usize,
    /// Features of the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; a decoder's.
    pub kv_heads: Option<usize>,
    /// Features of a head; a decoder's.
    pub head_dim: Option<usize>,
    /// Features inside the feed-forward block.
    pub ffn: usize,
    /// Rows of the embedding table.
    pub vocab: usize,
    /// Whether the head is the embedding table; a decoder's.
    pub tied: Option<bool>,
    /// Rows of the position table; an encoder's.
    pub positions: Option<usize>,
    /// Rows of the token type table; an encoder's.
    pub types: Option<usize>,
}

/// One known model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// A short name, which `models import` takes.
    pub name: String,
    /// Where it is: `hf:ORG/NAME`.
    pub source: String,
    /// `model_type` of its config.
    pub family: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Number of parameters.
    pub parameters: u64,
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Its licence, by SPDX's name where that has one.
    pub licence: String,
    /// Codes of the languages that the publisher names.
    pub languages: Vec<String>,
    /// How many languages the publisher speaks of, where it does not name them all.
    pub language_count: Option<usize>,
    /// Whether an account must accept the publisher's terms first.
    #[serde(default)]
    pub gated: bool,
    /// The architecture's numbers.
    pub shape: Shape,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    model: Vec<Known>,
}

static TABLE: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let table: Table =
        toml::from_str(include_str!("catalogue.toml")).expect("a test reads the embedded table");
    table.model
});

/// Ways of holding weights that the table compares, the widest first.
pub const HELD: [Storage; 4] = [
    Storage::F32,
    Storage::Bf16,
    Storage::Blocks(Format::Q8_0),
    Storage::Blocks(Format::Q4_0),
];

/// All known models, by family, small ones first.
#[must_use]
pub fn all() -> &'static [Known] {
    &TABLE
}

/// The model of this name or source.
#[must_use]
pub fn find(wanted: &str) -> Option<&'static Known> {
    all()
        .iter()
        .find(|known| known.name == wanted || known.source == wanted)
}

impl Known {
    /// Bytes of all weights when they are held as `storage`.
    #[must_use]
    pub fn weight_bytes(&self, storage: Storage) -> u64 {
        // Every format's block divides this many weights.
        const WEIGHTS: usize = 256;
        let block = storage.row_bytes(WEIGHTS).unwrap_or(4 * WEIGHTS) as u64;
        self.parameters * block / WEIGHTS as u64
    }

    /// Bytes of the keys and values of one token; none in an encoder.
    #[must_use]
    pub fn bytes_per_token(&self) -> u64 {
        let features = self
            .shape
            .kv_heads
            .zip(self.shape.head_dim)
            .map_or(0, |(heads, dim)| heads * dim);
        (2 * self.shape.layers * features) as u64 * CACHED
    }

    /// Bytes that answering needs: the weights, and the keys and values of one sequence of [`ROOM_TOKENS`].
    #[must_use]
    pub fn needed_bytes(&self, storage: Storage) -> u64 {
        let tokens = self.context.min(ROOM_TOKENS) as u64;
        self.weight_bytes(storage) + tokens * self.bytes_per_token()
    }

    /// The widest way of holding the weights with which the model answers within `memory` bytes.
    ///
    /// Weights of safetensors are held as f32 here, those of few bits as their GGUF file has them, so bf16, a way of
    /// storing and sending, is not among the answers.
    #[must_use]
    pub fn fits(&self, memory: u64) -> Option<Storage> {
        let held = HELD.into_iter().filter(|storage| *storage != Storage::Bf16);
        let mut fitting = held.filter(|storage| self.needed_bytes(*storage) <= memory);
        fitting.next()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use models::{decoder, encoder};
    use serde_json::json;

    use super::*;

    /// What the architecture of this shape has, by the same code that builds it.
    fn counted(known: &Known) -> usize {
        let shape = known.shape;
        let mut config = json!({
            "model_type": known.family, "vocab_size": shape.vocab, "hidden_size": shape.width,
            "intermediate_size": shape.ffn, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "max_position_embeddings": shape.positions.unwrap_or(known.context),
        });
        let fields = config.as_object_mut().expect("an object");
        if matches!(known.purpose, Purpose::Embedding | Purpose::Encoder) {
            fields.insert("type_vocab_size".into(), shape.types.into());
            fields.insert("pad_token_id".into(), 1.into());
            let config: encoder::Config = serde_json::from_value(config).expect(&known.name);
            config.validate().expect(&known.name);
            assert!(known.context <= config.context(), "{}", known.name);
            return config.parameters() + shape.width * (shape.width + 1);
        }
        fields.insert("num_key_value_heads".into(), shape.kv_heads.into());
        fields.insert("head_dim".into(), shape.head_dim.into());
        fields.insert("tie_word_embeddings".into(), shape.tied.into());
        let config: decoder::Config = serde_json::from_value(config).expect(&known.name);
        config.validate().expect(&known.name);
        config.parameters()
    }

    #[test]
    fn parameters_are_those_of_the_shape() {
        for known in all() {
            assert_eq!(known.parameters, counted(known) as u64, "{}", known.name);
        }
    }

    #[test]
    fn every_model_is_named_once_and_can_be_fetched() {
        assert!((25..=60).contains(&all().len()));
        let names: BTreeSet<_> = all().iter().map(|known| &known.name).collect();
        assert_eq!(names.len(), all().len());
        for known in all() {
            let source = known.source.strip_prefix("hf:").expect("a source");
            assert_eq!(source.split('/').count(), 2, "{source}");
            let told = !known.languages.is_empty() || known.language_count.is_some();
            assert!(told, "{} speaks no language", known.name);
            assert_eq!(find(&known.source), Some(known));
        }
    }

    #[test]
    fn what_fits_is_the_widest_that_does() {
        let known = find("smollm2-135m-instruct").expect("in the table");
        let [f32, bf16, q8, q4] = HELD.map(|storage| known.weight_bytes(storage));
        assert_eq!((f32, bf16), (538_060_032, 269_030_016));
        assert!(q8 < bf16 && q4 < q8);
        let q4 = Storage::Blocks(Format::Q4_0);
        assert_eq!(known.fits(1 << 40), Some(Storage::F32));
        assert_eq!(known.fits(known.needed_bytes(q4)), Some(q4));
        assert_eq!(known.fits(known.needed_bytes(q4) - 1), None);
    }
}
