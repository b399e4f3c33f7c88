//! Keys and values of many sequences of their own lengths, written in place.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Int, Tensor, TensorData};
use kernels::attention::{AttentionShape, attention_forward};

use crate::attention::attention;
use crate::{flex, profile};

/// One layer's keys and values: `slots` sequences of at most `capacity` tokens each.
#[derive(Debug)]
pub struct KvSlots {
    slots: usize,
    capacity: usize,
    store: Option<Store>,
}

/// Made with the first tokens, where those are.
#[derive(Debug)]
enum Store {
    /// Keys and values, `[slots, capacity, kv_heads, head_dim]` each.
    Host([Vec<f32>; 2]),
    /// The same on a device.
    Device(Box<[Tensor<4>; 2]>),
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
    /// Room for `slots` sequences of `capacity` tokens.
    pub fn new(slots: usize, capacity: usize) -> Self {
        Self {
            slots,
            capacity,
            store: None,
        }
    }

    /// Stores the new keys and values, and attends to everything each entry's slot then holds.
    ///
    /// Shapes: `q` `[batch, seq, heads, head_dim]`, `k` and `v` `[batch, seq, kv_heads, head_dim]`,
    /// `rows` one for each batch entry; result like `q`, the same bits as [`crate::attention`]
    /// gives over the whole sequence.
    ///
    /// # Panics
    /// When a slot is too short, which the engine checks before.
    pub fn attend(
        &mut self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        rows: &[SlotRow],
        scale: f32,
    ) -> Tensor<4> {
        let seq = q.dims()[1];
        let longest = rows.iter().map(|row| row.start + seq).max().unwrap_or(0);
        assert!(
            longest <= self.capacity,
            "a slot holds {} tokens",
            self.capacity
        );
        if !flex::on_cpu(&q.device()) {
            return self.attend_portable(q, k, v, rows, scale);
        }
        let _timed = profile::time("attention over slots", 0.0);
        let [q, k, v] = [q, k, v].map(primitive);
        let dims = flex::dims(&q);
        let kv_heads = flex::dims(&k)[2];
        let width = kv_heads * dims[3];
        let (k, v) = (flex::floats(&k), flex::floats(&v));
        let q = flex::floats(&q);
        let (entry_q, entry_kv) = (q.len() / rows.len(), seq * width);
        let mut out = vec![0.0; q.len()];
        let mut lse = vec![0.0; dims[2] * seq];
        let elements = self.slots * self.capacity * width;
        let store = self
            .store
            .get_or_insert_with(|| Store::Host([vec![0.0; elements], vec![0.0; elements]]));
        let Store::Host([keys, values]) = store else {
            unreachable!("an engine computes on one device")
        };
        for (entry, row) in rows.iter().enumerate() {
            let base = (row.slot * self.capacity + row.start) * width;
            let new = entry * entry_kv..(entry + 1) * entry_kv;
            keys[base..base + entry_kv].copy_from_slice(&k[new.clone()]);
            values[base..base + entry_kv].copy_from_slice(&v[new]);
            let held = row.start + seq;
            let slot = row.slot * self.capacity * width;
            let ranges: Vec<[u32; 2]> = ranges(&[*row], seq).collect();
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
                &keys[slot..slot + held * width],
                &values[slot..slot + held * width],
                &ranges,
                scale,
                &mut out[entry * entry_q..(entry + 1) * entry_q],
                &mut lse,
            );
        }
        Tensor::from_primitive::<Flex>(flex::tensor(out, dims))
    }

    /// The same from Burn's operations.
    fn attend_portable(
        &mut self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        rows: &[SlotRow],
        scale: f32,
    ) -> Tensor<4> {
        let device = q.device();
        let [_, seq, kv_heads, head_dim] = k.dims();
        let shape = [self.slots, self.capacity, kv_heads, head_dim];
        let store = self.store.get_or_insert_with(|| {
            let zeros = || Tensor::zeros(shape, &device);
            Store::Device(Box::new([zeros(), zeros()]))
        });
        let Store::Device(stores) = store else {
            unreachable!("an engine computes on one device")
        };
        let held = rows.iter().map(|row| row.start + seq).max().unwrap_or(0);
        let slots: Vec<i32> = rows.iter().map(|row| row.slot as i32).collect();
        let slots = Tensor::<1, Int>::from_data(TensorData::new(slots, [rows.len()]), &device);
        for (store, new) in stores.iter_mut().zip([k, v]) {
            for (entry, row) in rows.iter().enumerate() {
                let place = [row.slot..row.slot + 1, row.start..row.start + seq];
                let entry = new.clone().narrow(0, entry, 1); // [1, seq, kv_heads, head_dim]
                *store = store.clone().slice_assign(place, entry);
            }
        }
        let [keys, values] = stores.each_ref().map(|store| {
            store.clone().select(0, slots.clone()).narrow(1, 0, held) // [batch, held, kv_heads, head_dim]
        });
        let ranges = ranges(rows, seq).collect();
        attention(q, keys, values, &ranges, scale) // [batch, seq, heads, head_dim]
    }
}

/// The keys that each row of the batch sees: its own slot's, up to itself.
fn ranges(rows: &[SlotRow], seq: usize) -> impl Iterator<Item = [u32; 2]> {
    rows.iter()
        .flat_map(move |row| (row.start..row.start + seq).map(|position| [0, position as u32 + 1]))
}

fn primitive(tensor: Tensor<4>) -> FlexTensor {
    tensor
        .try_into_primitive::<Flex>()
        .expect("slots hold no gradients")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, random};

    type Attend = fn(&mut KvSlots, [Tensor<4>; 3], &[SlotRow]) -> Tensor<4>;

    /// Three steps of two sequences in four slots.
    fn run(attend: Attend) -> Vec<Vec<f32>> {
        let mut slots = KvSlots::new(4, 16);
        let steps = [(7, [0, 0]), (1, [7, 7]), (3, [8, 2])];
        let step = |(seq, starts): (usize, [usize; 2])| {
            let tensor = |heads, seed| random([2, seq, heads, 8], seed).inner();
            let rows = [3, 1].into_iter().zip(starts);
            let rows: Vec<SlotRow> = rows.map(|(slot, start)| SlotRow { slot, start }).collect();
            let inputs = [tensor(4, 1), tensor(2, 2), tensor(2, 3)];
            flex::to_vec(attend(&mut slots, inputs, &rows))
        };
        steps.map(step).to_vec()
    }

    #[test]
    fn cpu_path_equals_portable_path() {
        agree(
            1e-5,
            || run(|slots, [q, k, v], rows| slots.attend(q, k, v, rows, 0.35)),
            || run(|slots, [q, k, v], rows| slots.attend_portable(q, k, v, rows, 0.35)),
        );
    }
}
