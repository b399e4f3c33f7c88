//! Keys and values of many sequences on the CPU, written in place.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Tensor};
use kernels::attention::{AttentionShape, attention_forward};

use crate::flex;

/// One layer's keys and values: `slots` sequences of at most `capacity` tokens each.
#[derive(Debug)]
pub struct KvSlots {
    /// `[slots, capacity, kv_heads, head_dim]`
    keys: Vec<f32>,
    /// `[slots, capacity, kv_heads, head_dim]`
    values: Vec<f32>,
    capacity: usize,
}

/// Where a batch entry's tokens go: the slot, and the position of the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRow {
    /// Index of the sequence's slot.
    pub slot: usize,
    /// Number of tokens the slot holds already.
    pub start: usize,
}

impl KvSlots {
    /// Room for `slots` sequences of `capacity` tokens with `width = kv_heads · head_dim` features.
    pub fn new(slots: usize, capacity: usize, width: usize) -> Self {
        let elements = slots * capacity * width;
        Self {
            keys: vec![0.0; elements],
            values: vec![0.0; elements],
            capacity,
        }
    }

    /// Stores the new keys and values, and attends to everything each entry's slot then holds.
    ///
    /// Shapes: `q` `[batch, seq, heads, head_dim]`, `k` and `v` `[batch, seq, kv_heads, head_dim]`,
    /// `rows` one for each batch entry; result like `q`, the same bits as [`crate::attention`]
    /// gives over the whole sequence.
    ///
    /// # Panics
    /// When a tensor is not on the CPU or a slot is too short: the engine checks both before.
    pub fn attend(
        &mut self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        rows: &[SlotRow],
        scale: f32,
    ) -> Tensor<4> {
        let [q, k, v] = [q, k, v].map(primitive);
        let dims = flex::dims(&q);
        let (seq, kv_heads) = (dims[1], flex::dims(&k)[2]);
        let width = kv_heads * dims[3];
        let (k, v) = (flex::floats(&k), flex::floats(&v));
        let q = flex::floats(&q);
        let (entry_q, entry_kv) = (q.len() / rows.len(), seq * width);
        let mut out = vec![0.0; q.len()];
        let mut lse = vec![0.0; dims[2] * seq];
        for (entry, row) in rows.iter().enumerate() {
            assert!(
                row.start + seq <= self.capacity,
                "a slot holds {} tokens",
                self.capacity
            );
            let base = (row.slot * self.capacity + row.start) * width;
            let new = entry * entry_kv..(entry + 1) * entry_kv;
            self.keys[base..base + entry_kv].copy_from_slice(&k[new.clone()]);
            self.values[base..base + entry_kv].copy_from_slice(&v[new]);
            let held = row.start + seq;
            let slot = row.slot * self.capacity * width;
            let ranges: Vec<[u32; 2]> = (row.start..held)
                .map(|position| [0, position as u32 + 1])
                .collect();
            let shape = AttentionShape {
                batch: 1,
                q_len: seq,
                k_len: held,
                heads: dims[2],
                kv_heads,
                head_dim: dims[3],
            };
            attention_forward(
                &shape,
                &q[entry * entry_q..(entry + 1) * entry_q],
                &self.keys[slot..slot + held * width],
                &self.values[slot..slot + held * width],
                &ranges,
                scale,
                &mut out[entry * entry_q..(entry + 1) * entry_q],
                &mut lse,
            );
        }
        Tensor::from_primitive::<Flex>(flex::tensor(out, dims))
    }
}

fn primitive(tensor: Tensor<4>) -> FlexTensor {
    debug_assert_eq!(tensor.device(), Device::flex());
    tensor
        .try_into_primitive::<Flex>()
        .expect("slots belong to the CPU device without gradients")
}
