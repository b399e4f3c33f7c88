//! Keys and values in pages (after Kwon et al., "Efficient Memory Management for Large Language Model Serving with
//! PagedAttention", 2023): sequences of any length share one store and never move in it. In a page the keys lie as the
//! products want them, so decoding packs nothing. The results have the bits of [`attention_forward`](super::attention_forward).

use super::forward::{Head, Held, ROWS_BY_TASK, head_rows};
use super::{PANEL, narrow, pack, widen};
use crate::lanes::LANES;
use crate::pool::{Disjoint, parallel_for, threads};
use crate::region::Region;

/// Tokens of a page.
pub const PAGE: usize = PANEL;
/// Up to this many query rows of a sequence, all query heads that share a head of keys go past the keys together, so
/// that each key is read once.
const FEW_ROWS: usize = 4;

/// Keys and values of several sequences.
#[derive(Debug)]
pub struct KvPages {
    kv_heads: usize,
    head_dim: usize,
    /// Keys `[kv_heads][width][PAGE]`, then values `[kv_heads][PAGE][width]`, with `width` = head_dim in whole lanes.
    pages: Vec<Region<f32>>,
    free: Vec<u32>,
    /// For each sequence, its pages in order.
    block_tables: Vec<Vec<u32>>,
}

impl KvPages {
    /// Room for `sequences` sequences, empty at first.
    ///
    /// # Panics
    /// When there are no heads, or they have no width.
    #[must_use]
    pub fn new(sequences: usize, kv_heads: usize, head_dim: usize) -> Self {
        assert!(
            kv_heads > 0 && head_dim > 0,
            "KvPages: {kv_heads} heads of {head_dim}"
        );
        Self {
            kv_heads,
            head_dim,
            pages: Vec::new(),
            free: Vec::new(),
            block_tables: vec![Vec::new(); sequences],
        }
    }

    /// Bytes of all pages, those in use and those kept for later.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pages.iter().map(|page| size_of_val(&**page)).sum()
    }

    fn width(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// Puts tokens `start..` of a sequence in place of all that it held from `start` on.
    ///
    /// `k` and `v` are `[tokens, kv_heads, head_dim]`.
    ///
    /// # Panics
    /// When `k` and `v` are not whole tokens of one length, or the sequence does not reach up to `start`'s page.
    pub fn write(&mut self, sequence: usize, start: usize, k: &[f32], v: &[f32]) {
        let token = self.kv_heads * self.head_dim;
        assert!(
            k.len() == v.len() && k.len().is_multiple_of(token),
            "KvPages::write: k of {} and v of {} values, tokens of {token}",
            k.len(),
            v.len()
        );
        let tokens = k.len() / token;
        self.resize(sequence, start, tokens);
        if tokens == 0 {
            return;
        }
        let (kv_heads, head_dim, width) = (self.kv_heads, self.head_dim, self.width());
        let table = &self.block_tables[sequence];
        let pages = Disjoint::new(&mut self.pages);
        let first = start / PAGE;
        parallel_for((start + tokens).div_ceil(PAGE) - first, |task| {
            // SAFETY: no two places of the block tables name one page.
            let page = unsafe { &mut pages.slice(table[first + task] as usize, 1)[0] };
            let (keys, values) = page.split_at_mut(kv_heads * width * PAGE);
            let from = start.max((first + task) * PAGE);
            let to = (start + tokens).min((first + task + 1) * PAGE);
            let lanes = from % PAGE..from % PAGE + (to - from);
            for head in 0..kv_heads {
                let at = (from - start) * token + head * head_dim;
                let keys = &mut keys[head * width * PAGE..][..head_dim * PAGE];
                if lanes.start == 0 {
                    pack(&k[at..], token, lanes.len(), head_dim, PAGE, keys);
                } else {
                    for (lane, k) in lanes.clone().zip(k[at..].chunks(token)) {
                        for (key, k) in keys.chunks_exact_mut(PAGE).zip(k) {
                            key[lane] = *k;
                        }
                    }
                }
                for (lane, v) in lanes.clone().zip(v[at..].chunks(token)) {
                    values[(head * PAGE + lane) * width..][..head_dim]
                        .copy_from_slice(&v[..head_dim]);
                }
            }
        });
    }

    /// Gives back the pages behind `start`, and takes those that `tokens` more need.
    fn resize(&mut self, sequence: usize, start: usize, tokens: usize) {
        let table = &mut self.block_tables[sequence];
        assert!(
            start <= table.len() * PAGE,
            "KvPages::write: token {start} of a sequence that holds {} pages",
            table.len()
        );
        self.free.extend(table.drain(start.div_ceil(PAGE)..));
        let elements = 2 * self.kv_heads * self.head_dim.next_multiple_of(LANES) * PAGE;
        while table.len() * PAGE < start + tokens {
            table.push(self.free.pop().unwrap_or_else(|| {
                self.pages.push(Region::zeros(elements));
                self.pages.len() as u32 - 1
            }));
        }
    }

    fn page(&self, sequence: usize, page: usize) -> &[f32] {
        &self.pages[self.block_tables[sequence][page] as usize]
    }

    /// The panel of keys of a head in the sequence's `page`.
    pub(super) fn keys(&self, sequence: usize, head: usize, page: usize) -> &[f32] {
        let size = self.width() * PAGE;
        &self.page(sequence, page)[head * size..][..size]
    }

    /// The values of a head in the sequence's `page`, and the distance between them.
    pub(super) fn values(&self, sequence: usize, head: usize, page: usize) -> (&[f32], usize) {
        let size = self.width() * PAGE;
        let at = (self.kv_heads + head) * size;
        (&self.page(sequence, page)[at..][..size], self.width())
    }
}

/// Attention over what sequences hold: [`attention_forward`](super::attention_forward) with keys and values in pages.
///
/// `q` and `out` are `[sequences, q_len, heads, head_dim]`; `ranges`, `[sequences · q_len]`, names for each row keys of
/// its own sequence.
///
/// # Panics
/// When the lengths do not fit each other, or a range reaches past what its sequence holds.
pub fn attention_paged(
    pages: &KvPages,
    sequences: &[usize],
    heads: usize,
    q: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    out: &mut [f32],
) {
    const NAME: &str = "attention_paged";
    let (kv_heads, head_dim, width) = (pages.kv_heads, pages.head_dim, pages.width());
    assert!(
        heads > 0 && heads.is_multiple_of(kv_heads),
        "{NAME}: {heads} heads must be a multiple of the {kv_heads} heads of keys"
    );
    assert!(
        q.len() == ranges.len() * heads * head_dim && out.len() == q.len(),
        "{NAME}: q and out must be [{}, {heads}, {head_dim}]",
        ranges.len()
    );
    if ranges.is_empty() {
        return;
    }
    assert!(
        ranges.len().is_multiple_of(sequences.len()),
        "{NAME}: {} rows of {} sequences",
        ranges.len(),
        sequences.len()
    );
    let q_len = ranges.len() / sequences.len();
    for (rows, &sequence) in ranges.chunks_exact(q_len).zip(sequences) {
        let held = pages.block_tables[sequence].len() * PAGE;
        let last = rows.iter().filter(|[low, high]| low < high);
        let last = last.map(|range| range[1] as usize).max().unwrap_or(0);
        assert!(
            last <= held,
            "{NAME}: keys up to {last} of a sequence with room for {held}"
        );
    }
    if width != head_dim {
        let q = widen(q, head_dim, width);
        let mut wide_out = vec![0.0; q.len()];
        rows(pages, sequences, heads, &q, ranges, scale, &mut wide_out);
        narrow(&wide_out, width, head_dim, out);
    } else {
        rows(pages, sequences, heads, q, ranges, scale, out);
    }
}

/// Query rows that one task takes past one head of keys.
struct Task {
    entry: usize,
    head: usize,
    /// Of the entry's rows, or of the heads that share keys.
    first: usize,
    count: usize,
}

fn rows(
    pages: &KvPages,
    sequences: &[usize],
    heads: usize,
    q: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    out: &mut [f32],
) {
    let (width, group) = (pages.width(), heads / pages.kv_heads);
    let q_len = ranges.len() / sequences.len();
    let few = q_len <= FEW_ROWS;
    let tasks = if few {
        tasks_of_few_rows(ranges.len(), pages.kv_heads, group)
    } else {
        let parts = (0..q_len).step_by(ROWS_BY_TASK);
        let pairs =
            (0..sequences.len()).flat_map(|entry| (0..heads).map(move |head| (entry, head)));
        pairs
            .flat_map(|(entry, head)| {
                parts.clone().map(move |first| Task {
                    entry,
                    head,
                    first,
                    count: ROWS_BY_TASK.min(q_len - first),
                })
            })
            .collect()
    };
    let out = Disjoint::new(out);
    parallel_for(tasks.len(), |task| {
        let Task {
            entry,
            head,
            first,
            count,
        } = tasks[task];
        // Few rows: `entry` is a row, `head` a head of keys, and the rows are the query heads that share it.
        let (sequence, kv_head, q_at, q_row, ranges) = if few {
            let q_at = (entry * heads + head * group + first) * width;
            (entry / q_len, head, q_at, width, vec![ranges[entry]; count])
        } else {
            let row = entry * q_len + first;
            let ranges = ranges[row..row + count].to_vec();
            (
                entry,
                head / group,
                (row * heads + head) * width,
                heads * width,
                ranges,
            )
        };
        let k_len = ranges.iter().map(|range| range[1] as usize).max();
        let rows = Head {
            head_dim: width,
            q: &q[q_at..],
            q_row,
            held: Held::Paged {
                pages,
                sequence: sequences[sequence],
                head: kv_head,
            },
            k_len: k_len.unwrap_or(0),
            ranges: &ranges,
            scale,
            bias: None,
            // Tasks write different rows or different heads of them.
            out: out.as_mut_ptr().wrapping_add(q_at),
        };
        head_rows(&rows, &mut vec![0.0; count]);
    });
}

/// As many whole groups as all threads take equally; what is left by single heads.
fn tasks_of_few_rows(rows: usize, kv_heads: usize, group: usize) -> Vec<Task> {
    let pairs = rows * kv_heads;
    let whole = pairs / threads() * threads();
    let mut tasks = Vec::with_capacity(pairs);
    for pair in 0..pairs {
        let (entry, head) = (pair / kv_heads, pair % kv_heads);
        let count = if pair < whole { group } else { 1 };
        tasks.extend((0..group).step_by(count).map(|first| Task {
            entry,
            head,
            first,
            count,
        }));
    }
    tasks
}
