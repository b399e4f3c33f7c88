//! Keys and values of many sequences in blocks, written in place; sequences that begin alike may share blocks.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Int, Tensor, TensorData};
use kernels::attention::{KvPages, PAGE, PageSpan, attention_paged};

use crate::attention::attention;
use crate::{buffers, flex, profile};

/// Tokens of a block.
pub const BLOCK: usize = PAGE;

/// One layer's keys and values, in blocks told apart by their numbers.
#[derive(Debug, Default)]
pub struct KvBlocks {
    store: Option<Store>,
}

/// Made with the first tokens, where those are.
#[derive(Debug)]
enum Store {
    /// As many as the highest number used.
    Host(KvPages),
    /// Keys and values on a device, `[blocks · BLOCK, kv_heads, head_dim]` each.
    Device(Box<[Tensor<3>; 2]>),
}

/// New tokens of one sequence, behind what its blocks hold already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The sequence's blocks in order, those of the new tokens included.
    pub blocks: Vec<u32>,
    /// Number of tokens that they hold already.
    pub start: usize,
    /// Number of new tokens.
    pub tokens: usize,
}

/// Where a batch entry's tokens go: the slot, and the position of the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRow {
    /// Index of the sequence's slot.
    pub slot: usize,
    /// Number of tokens the slot holds already.
    pub start: usize,
}

impl KvBlocks {
    /// Bytes of a block, of one layer, in the memory of the CPU.
    pub fn bytes_of_block(kv_heads: usize, head_dim: usize) -> usize {
        KvPages::bytes_of_page(kv_heads, head_dim)
    }

    /// Stores the new keys and values, and lets each token attend to all that its sequence holds up to it, or to the last
    /// `window` keys of that.
    ///
    /// Shapes: `q` `[batch, seq, heads, head_dim]`, `k` and `v` `[batch, seq, kv_heads, head_dim]`; the spans together have
    /// the `batch · seq` tokens, in their order. Result like `q`, the same bits as [`crate::attention`] gives over whole
    /// sequences.
    ///
    /// # Panics
    /// When a span reaches past its blocks, or two write to one block, which the engine rules out.
    pub fn attend(
        &mut self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        spans: &[Span],
        window: Option<usize>,
        scale: f32,
    ) -> Tensor<4> {
        if !flex::on_cpu(&q.device()) {
            return self.attend_portable(q, k, v, spans, window, scale);
        }
        let ranges: Vec<[u32; 2]> = spans.iter().flat_map(|span| ranges(span, window)).collect();
        let [q, k, v] = [q, k, v].map(primitive);
        let (dims, kv_heads) = (flex::dims(&q), flex::dims(&k)[2]);
        let seen: f64 = ranges
            .iter()
            .map(|range| f64::from(range[1] - range[0]))
            .sum();
        let work = 4.0 * seen * (dims[2] * dims[3]) as f64;
        let _timed = profile::time("attention over blocks", work);
        let store = self
            .store
            .get_or_insert_with(|| Store::Host(KvPages::new(kv_heads, dims[3])));
        let Store::Host(pages) = store else {
            unreachable!("an engine computes on one device")
        };
        let (q, k, v) = (flex::floats(&q), flex::floats(&k), flex::floats(&v));
        let page_spans = spans.iter().map(|span| PageSpan {
            pages: &span.blocks,
            start: span.start,
            tokens: span.tokens,
        });
        let page_spans: Vec<PageSpan<'_>> = page_spans.collect();
        pages.write(&page_spans, &k, &v);
        let mut out = buffers::take(q.len());
        attention_paged(pages, &page_spans, dims[2], &q, &ranges, scale, &mut out);
        Tensor::from_primitive::<Flex>(flex::tensor(out, dims))
    }

    /// The same from Burn's operations.
    fn attend_portable(
        &mut self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        spans: &[Span],
        window: Option<usize>,
        scale: f32,
    ) -> Tensor<4> {
        let device = q.device();
        let [batch, seq, kv_heads, head_dim] = k.dims();
        let heads = q.dims()[2];
        let last = spans.iter().flat_map(|span| &span.blocks).max();
        let rows = last.map_or(0, |last| (*last as usize + 1) * BLOCK);
        let zeros = |rows| Tensor::<3>::zeros([rows, kv_heads, head_dim], &device);
        let store = self
            .store
            .get_or_insert_with(|| Store::Device(Box::new([zeros(rows), zeros(rows)])));
        let Store::Device(stores) = store else {
            unreachable!("an engine computes on one device")
        };
        for store in stores.iter_mut().filter(|store| store.dims()[0] < rows) {
            // Doubling keeps what is copied while growing within what there is.
            let more = rows.max(2 * store.dims()[0]) - store.dims()[0];
            *store = Tensor::cat(vec![store.clone(), zeros(more)], 0); // [blocks · BLOCK, kv_heads, head_dim]
        }
        for (store, new) in stores.iter_mut().zip([k, v]) {
            let new = new.reshape([batch * seq, kv_heads, head_dim]); // [tokens, kv_heads, head_dim]
            let mut token = 0;
            for span in spans {
                let mut at = span.start;
                while at < span.start + span.tokens {
                    let to = (span.start + span.tokens).min((at / BLOCK + 1) * BLOCK);
                    let place = span.blocks[at / BLOCK] as usize * BLOCK + at % BLOCK;
                    let part = new.clone().narrow(0, token, to - at); // [to − at, kv_heads, head_dim]
                    *store = store
                        .clone()
                        .slice_assign([place..place + to - at, 0..kv_heads, 0..head_dim], part);
                    token += to - at;
                    at = to;
                }
            }
        }
        let q = q.reshape([1, batch * seq, heads, head_dim]); // [1, tokens, heads, head_dim]
        let mut outs = Vec::with_capacity(spans.len());
        let mut token = 0;
        for span in spans.iter().filter(|span| span.tokens > 0) {
            let held = span.start + span.tokens;
            let places: Vec<i32> = (0..held)
                .map(|at| (span.blocks[at / BLOCK] as usize * BLOCK + at % BLOCK) as i32)
                .collect();
            let places = Tensor::<1, Int>::from_data(TensorData::new(places, [held]), &device);
            let [keys, values] = stores.each_ref().map(|store| {
                let held = store.clone().select(0, places.clone()); // [held, kv_heads, head_dim]
                held.unsqueeze::<4>() // [1, held, kv_heads, head_dim]
            });
            let q = q.clone().narrow(1, token, span.tokens); // [1, span, heads, head_dim]
            let ranges = ranges(span, window).collect();
            outs.push(attention(q, keys, values, &ranges, scale)); // [1, span, heads, head_dim]
            token += span.tokens;
        }
        Tensor::cat(outs, 1).reshape([batch, seq, heads, head_dim]) // [batch, seq, heads, head_dim]
    }
}

/// The keys that each token of a span sees: its own sequence's, up to itself.
fn ranges(span: &Span, window: Option<usize>) -> impl Iterator<Item = [u32; 2]> {
    let window = window.unwrap_or(usize::MAX);
    let ends = span.start + 1..=span.start + span.tokens;
    ends.map(move |end| [end.saturating_sub(window) as u32, end as u32])
}

fn primitive(tensor: Tensor<4>) -> FlexTensor {
    tensor
        .try_into_primitive::<Flex>()
        .expect("a cache holds no gradients")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{agree, random};

    type Attend = fn(&mut KvBlocks, [Tensor<4>; 3], &[Span], Option<usize>) -> Tensor<4>;

    /// Three steps of two sequences, the second of which joins behind the first one's first block.
    fn run(attend: Attend, window: Option<usize>) -> Vec<Vec<f32>> {
        let mut blocks = KvBlocks::default();
        let span = |blocks: &[u32], start, tokens| Span {
            blocks: blocks.to_vec(),
            start,
            tokens,
        };
        let steps = [
            vec![span(&[3, 0], 0, 34)],
            vec![span(&[3, 0], 34, 1), span(&[3, 2], 32, 5)],
            vec![span(&[3, 2], 37, 1), span(&[3, 0], 35, 1)],
        ];
        let step = |spans: &Vec<Span>| {
            let tokens = spans.iter().map(|span| span.tokens).sum();
            let tensor = |heads, seed| random([tokens, 1, heads, 8], seed).inner();
            let inputs = [tensor(4, 1), tensor(2, 2), tensor(2, 3)];
            flex::to_vec(attend(&mut blocks, inputs, spans, window))
        };
        steps.iter().map(step).collect()
    }

    #[test]
    fn cpu_path_equals_portable_path() {
        for window in [None, Some(3)] {
            agree(
                1e-5,
                || {
                    run(
                        |blocks, [q, k, v], spans, w| blocks.attend(q, k, v, spans, w, 0.35),
                        window,
                    )
                },
                || {
                    run(
                        |blocks, [q, k, v], spans, w| {
                            blocks.attend_portable(q, k, v, spans, w, 0.35)
                        },
                        window,
                    )
                },
            );
        }
    }
}
