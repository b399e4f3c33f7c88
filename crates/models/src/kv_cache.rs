//! Keys and values of the tokens seen so far. A cache is an argument of the forward pass, never a
//! field of a model.

use tensor::{BLOCK, KvBlocks, SlotRow, Span, Tensor, attention};

use crate::Rows;

/// Stores a layer's new keys and values and attends to all that it holds.
pub trait KvCache {
    /// Shapes: `q` `[batch, seq, heads, head_dim]`, `k` and `v` `[batch, seq, kv_heads, head_dim]`;
    /// result like `q`. A row sees all keys up to its own, or the last `window` of them.
    fn attend(
        &mut self,
        layer: usize,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        window: Option<usize>,
        scale: f32,
    ) -> Tensor<4>;
}

/// Sequences in lockstep on any device; what is held grows by concatenation.
#[derive(Debug, Default)]
pub struct TensorCache {
    /// For each layer, `[batch, held, kv_heads, head_dim]` twice.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
}

impl TensorCache {
    /// Number of tokens that each sequence holds.
    pub fn held(&self) -> usize {
        self.layers.first().map_or(0, |(keys, _)| keys.dims()[1])
    }
}

impl KvCache for TensorCache {
    fn attend(
        &mut self,
        layer: usize,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        window: Option<usize>,
        scale: f32,
    ) -> Tensor<4> {
        let [batch, seq, _, _] = q.dims();
        let (k, v) = match self.layers.get(layer) {
            Some((keys, values)) => (
                Tensor::cat(vec![keys.clone(), k], 1),
                Tensor::cat(vec![values.clone(), v], 1),
            ),
            None => (k, v),
        };
        let start = k.dims()[1] - seq;
        let rows = Rows::continued(&vec![start; batch], seq);
        let ranges = match window {
            Some(window) => rows.within(window),
            None => rows.ranges,
        };
        let out = attention(q, k.clone(), v.clone(), &ranges, scale);
        match self.layers.get_mut(layer) {
            Some(held) => *held = (k, v),
            None => self.layers.push((k, v)),
        }
        out
    }
}

/// Sequences of their own lengths in blocks of [`tensor::BLOCK`] tokens, written in place. Which blocks are whose is said
/// with each pass.
#[derive(Debug)]
pub struct BlockCache {
    layers: Vec<KvBlocks>,
    spans: Vec<Span>,
}

impl BlockCache {
    /// Empty, for `layers` layers.
    pub fn new(layers: usize) -> Self {
        Self {
            layers: (0..layers).map(|_| KvBlocks::default()).collect(),
            spans: Vec::new(),
        }
    }

    /// The cache as the next forward pass sees it: its tokens, in order, are those of `spans`.
    pub fn at(&mut self, spans: Vec<Span>) -> &mut Self {
        self.spans = spans;
        self
    }
}

impl KvCache for BlockCache {
    fn attend(
        &mut self,
        layer: usize,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        window: Option<usize>,
        scale: f32,
    ) -> Tensor<4> {
        self.layers[layer].attend(q, k, v, &self.spans, window, scale)
    }
}

/// Sequences of their own lengths, each in a slot with blocks of its own.
#[derive(Debug)]
pub struct SlotCache {
    cache: BlockCache,
    capacity: usize,
    /// For each slot its blocks.
    tables: Vec<Vec<u32>>,
    taken: u32,
    rows: Vec<SlotRow>,
}

impl SlotCache {
    /// Room for `slots` sequences of `capacity` tokens in each of `layers` layers.
    pub fn new(layers: usize, slots: usize, capacity: usize) -> Self {
        Self {
            cache: BlockCache::new(layers),
            capacity,
            tables: vec![Vec::new(); slots],
            taken: 0,
            rows: Vec::new(),
        }
    }

    /// The cache as the next forward pass sees it: batch entry `b` writes to `rows[b]`.
    pub fn at(&mut self, rows: Vec<SlotRow>) -> &mut Self {
        self.rows = rows;
        self
    }

    fn span(&mut self, row: SlotRow, tokens: usize) -> Span {
        let end = row.start + tokens;
        assert!(
            end <= self.capacity,
            "a slot holds {} tokens",
            self.capacity
        );
        let table = &mut self.tables[row.slot];
        while table.len() * BLOCK < end {
            table.push(self.taken);
            self.taken += 1;
        }
        Span {
            blocks: table.clone(),
            start: row.start,
            tokens,
        }
    }
}

impl KvCache for SlotCache {
    fn attend(
        &mut self,
        layer: usize,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        window: Option<usize>,
        scale: f32,
    ) -> Tensor<4> {
        if layer == 0 {
            let seq = q.dims()[1];
            let rows = std::mem::take(&mut self.rows);
            let spans = rows.iter().map(|row| self.span(*row, seq)).collect();
            self.cache.at(spans);
        }
        self.cache.attend(layer, q, k, v, window, scale)
    }
}
