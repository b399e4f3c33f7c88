//! One pass through the model: the parts of all sequences side by side as rows, each a token of its own, so that every product
//! is one product and no key or value is moved.

use hub::LoadedModel;
use models::kv_cache::BlockCache;
use models::{KvCache, Rows};
use tensor::{Int, Span, Tensor, TensorData};

use crate::Adapter;

/// The model, and the keys and values of what it has read.
pub(crate) struct Runner {
    pub(crate) model: LoadedModel,
    cache: BlockCache,
}

/// Tokens of one sequence to be read behind those that its blocks hold.
pub(crate) struct Reading {
    pub(crate) tokens: Vec<u32>,
    /// The position of the first of them.
    pub(crate) start: usize,
    pub(crate) blocks: Vec<u32>,
    pub(crate) adapter: Adapter,
}

/// The hidden states of a pass, `[rows, 1, hidden]`.
pub(crate) struct Hidden(Tensor<3>);

impl Runner {
    pub(crate) fn new(model: LoadedModel) -> Self {
        let cache = BlockCache::new(model.decoder.config().num_hidden_layers);
        Self { model, cache }
    }

    /// Reads all of it at once; the rows are the tokens, in order.
    pub(crate) fn read(&mut self, readings: Vec<Reading>) -> Hidden {
        let (mut tokens, mut positions, mut adapters) = (Vec::new(), Vec::new(), Vec::new());
        let mut spans = Vec::with_capacity(readings.len());
        for reading in readings {
            let count = reading.tokens.len();
            let (start, end) = (reading.start, reading.start + count);
            positions.extend((start..end).map(|position| position as u32));
            tokens.extend(reading.tokens.into_iter().map(|id| id as i32));
            adapters.resize(tokens.len(), reading.adapter);
            spans.push(Span {
                blocks: reading.blocks,
                start,
                tokens: count,
            });
        }
        let mut rows = Rows::single(positions.into());
        let attached = self.model.decoder.adapters();
        rows.adapters = Adapter::of_batch(adapters.into_iter(), attached);
        let shape = [tokens.len(), 1];
        let device = self.model.decoder.device();
        let tokens = Tensor::from_data(TensorData::new(tokens, shape), &device); // [rows, 1]
        let cache: &mut dyn KvCache = self.cache.at(spans);
        Hidden(self.model.decoder.forward(tokens, &rows, Some(cache)))
    }

    /// The logits behind some of the rows, `[rows, vocab]`.
    pub(crate) fn logits(&self, hidden: &Hidden, rows: &[usize]) -> Vec<f32> {
        let all = hidden.0.dims()[0];
        let hidden = if rows.len() == all {
            hidden.0.clone()
        } else {
            let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let count = rows.len();
            let rows = TensorData::new(rows, [count]);
            let rows = Tensor::<1, Int>::from_data(rows, &hidden.0.device()); // [count]
            hidden.0.clone().select(0, rows) // [rows, 1, hidden]
        };
        tensor::to_vec(self.model.decoder.logits(hidden)) // [rows, 1, vocab]
    }

    pub(crate) fn vocabulary(&self) -> usize {
        self.model.decoder.config().vocab_size
    }
}
