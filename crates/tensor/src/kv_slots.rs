//! Keys and values of many sequences of their own lengths, written in place.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Int, Tensor, TensorData};
use kernels::attention::{KvPages, attention_paged};

use crate::attention::attention;
use crate::{buffers, flex, profile};

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
    /// In pages, taken as sequences grow.
    Host(KvPages),
    /// Keys and values on a device, `[slots, capacity, kv_heads, head_dim]` each.
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

    /// Stores the new keys and values, and attends to everything each entry's slot then holds, or to the last `window`
    /// keys of it.
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
        window: Option<usize>,
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
            return self.attend_portable(q, k, v, rows, window, scale);
        }
        let ranges: Vec<[u32; 2]> = ranges(rows, seq, window).collect();
        let [q, k, v] = [q, k, v].map(primitive);
        let (dims, kv_heads) = (flex::dims(&q), flex::dims(&k)[2]);
        let seen: f64 = ranges
            .iter()
            .map(|range| f64::from(range[1] - range[0]))
            .sum();
        let work = 4.0 * seen * (dims[2] * dims[3]) as f64;
        let _timed = profile::time("attention over slots", work);
        let store = self
            .store
            .get_or_insert_with(|| Store::Host(KvPages::new(self.slots, kv_heads, dims[3])));
        let Store::Host(pages) = store else {
            unreachable!("an engine computes on one device")
        };
        let (q, k, v) = (flex::floats(&q), flex::floats(&k), flex::floats(&v));
        let entry = seq * kv_heads * dims[3];
        let new = k.chunks_exact(entry).zip(v.chunks_exact(entry));
        for (row, (k, v)) in rows.iter().zip(new) {
            pages.write(row.slot, row.start, k, v);
        }
        let sequences: Vec<usize> = rows.iter().map(|row| row.slot).collect();
        let mut out = buffers::take(q.len());
        attention_paged(pages, &sequences, dims[2], &q, &ranges, scale, &mut out);
        Tensor::from_primitive::<Flex>(flex::tensor(out, dims))
    }

    /// The same from Burn's operations.
    fn attend_portable(
        &mut self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        rows: &[SlotRow],
        window: Option<usize>,
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
        let ranges = ranges(rows, seq, window).collect();
        attention(q, keys, values, &ranges, scale) // [batch, seq, heads, head_dim]
    }
}

/// The keys that each row of the batch sees: its own slot's, up to itself.
fn ranges(rows: &[SlotRow], seq: usize, window: Option<usize>) -> impl Iterator<Item = [u32; 2]> {
    let window = window.unwrap_or(usize::MAX);
    rows.iter().flat_map(move |row| {
        let ends = row.start + 1..=row.start + seq;
        ends.map(move |end| [end.saturating_sub(window) as u32, end as u32])
    })
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

    type Attend = fn(&mut KvSlots, [Tensor<4>; 3], &[SlotRow], Option<usize>) -> Tensor<4>;

    /// Three steps of two sequences in four slots.
    fn run(attend: Attend, window: Option<usize>) -> Vec<Vec<f32>> {
        let mut slots = KvSlots::new(4, 16);
        let steps = [(7, [0, 0]), (1, [7, 7]), (3, [8, 2])];
        let step = |(seq, starts): (usize, [usize; 2])| {
            let tensor = |heads, seed| random([2, seq, heads, 8], seed).inner();
            let rows = [3, 1].into_iter().zip(starts);
            let rows: Vec<SlotRow> = rows.map(|(slot, start)| SlotRow { slot, start }).collect();
            let inputs = [tensor(4, 1), tensor(2, 2), tensor(2, 3)];
            flex::to_vec(attend(&mut slots, inputs, &rows, window))
        };
        steps.map(step).to_vec()
    }

    #[test]
    fn cpu_path_equals_portable_path() {
        for window in [None, Some(3)] {
            agree(
                1e-5,
                || {
                    run(
                        |slots, [q, k, v], rows, w| slots.attend(q, k, v, rows, w, 0.35),
                        window,
                    )
                },
                || {
                    run(
                        |slots, [q, k, v], rows, w| slots.attend_portable(q, k, v, rows, w, 0.35),
                        window,
                    )
                },
            );
        }
    }
}
