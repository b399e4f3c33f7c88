//! Keys and values in pages (after Kwon et al., "Efficient Memory Management for Large Language Model Serving with
//! PagedAttention", 2023): sequences of any length share one store and never move in it. In a page the keys lie as the
//! products want them, so decoding packs nothing. The results have the bits of [`attention_forward`](super::attention_forward).

use std::ops::Range;

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

/// New tokens of one sequence, behind what its pages hold already.
#[derive(Clone, Copy, Debug)]
pub struct PageSpan<'a> {
    /// The sequence's pages in order.
    pub pages: &'a [u32],
    /// The position of the first of the new tokens.
    pub start: usize,
    /// How many they are.
    pub tokens: usize,
}

/// Pages of keys and values, told apart by their numbers. Whose they are is said with each call, so sequences that begin
/// alike may share pages.
#[derive(Debug)]
pub struct KvPages {
    kv_heads: usize,
    head_dim: usize,
    /// Keys `[kv_heads][width][PAGE]`, then values `[kv_heads][PAGE][width]`, with `width` = head_dim in whole lanes.
    pages: Vec<Region<f32>>,
}

/// Tokens of a call that go to one page.
struct Piece {
    page: u32,
    /// Places in the page.
    lanes: Range<usize>,
    /// The first of them, among the call's tokens.
    token: usize,
}

impl KvPages {
    /// No page yet; there are as many as the highest number used.
    ///
    /// # Panics
    /// When there are no heads, or they have no width.
    #[must_use]
    pub fn new(kv_heads: usize, head_dim: usize) -> Self {
        assert!(
            kv_heads > 0 && head_dim > 0,
            "KvPages: {kv_heads} heads of {head_dim}"
        );
        Self {
            kv_heads,
            head_dim,
            pages: Vec::new(),
        }
    }

    /// Bytes of all pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pages.len() * Self::bytes_of_page(self.kv_heads, self.head_dim)
    }

    /// Bytes of a page with so many heads.
    #[must_use]
    pub fn bytes_of_page(kv_heads: usize, head_dim: usize) -> usize {
        2 * kv_heads * head_dim.next_multiple_of(LANES) * PAGE * size_of::<f32>()
    }

    fn width(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// Puts the tokens of each span into its pages.
    ///
    /// `k` and `v` are `[tokens of all spans, kv_heads, head_dim]`.
    ///
    /// # Panics
    /// When `k` and `v` are not the spans' tokens, a span reaches past its pages, or two write to one page.
    pub fn write(&mut self, spans: &[PageSpan<'_>], k: &[f32], v: &[f32]) {
        let token = self.kv_heads * self.head_dim;
        let tokens: usize = spans.iter().map(|span| span.tokens).sum();
        assert!(
            k.len() == v.len() && k.len() == tokens * token,
            "KvPages::write: k of {} and v of {} values, {tokens} tokens of {token}",
            k.len(),
            v.len()
        );
        let pieces = pieces(spans);
        let mut written: Vec<u32> = pieces.iter().map(|piece| piece.page).collect();
        written.sort_unstable();
        let twice = written.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(
            twice.is_none(),
            "KvPages::write: page {} is written by two spans",
            twice.map_or(0, |pair| pair[0])
        );
        let elements = Self::bytes_of_page(self.kv_heads, self.head_dim) / size_of::<f32>();
        let there = written.last().map_or(0, |last| *last as usize + 1);
        while self.pages.len() < there {
            self.pages.push(Region::zeros(elements));
        }
        let (kv_heads, head_dim, width) = (self.kv_heads, self.head_dim, self.width());
        let pages = Disjoint::new(&mut self.pages);
        parallel_for(pieces.len(), |task| {
            let Piece {
                page,
                lanes,
                token: first,
            } = &pieces[task];
            // SAFETY: no two pieces are of one page, as was checked.
            let page = unsafe { &mut pages.slice(*page as usize, 1)[0] };
            let (keys, values) = page.split_at_mut(kv_heads * width * PAGE);
            for head in 0..kv_heads {
                let at = first * token + head * head_dim;
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

    /// The panel of keys of a head in a page.
    pub(super) fn keys(&self, page: u32, head: usize) -> &[f32] {
        let size = self.width() * PAGE;
        &self.pages[page as usize][head * size..][..size]
    }

    /// The values of a head in a page, and the distance between them.
    pub(super) fn values(&self, page: u32, head: usize) -> (&[f32], usize) {
        let size = self.width() * PAGE;
        let at = (self.kv_heads + head) * size;
        (&self.pages[page as usize][at..][..size], self.width())
    }
}

fn pieces(spans: &[PageSpan<'_>]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(spans.len());
    let mut token = 0;
    for span in spans {
        let mut at = span.start;
        let end = span.start + span.tokens;
        assert!(
            end <= span.pages.len() * PAGE,
            "KvPages::write: {end} tokens of a sequence of {} pages",
            span.pages.len()
        );
        while at < end {
            let to = end.min((at / PAGE + 1) * PAGE);
            pieces.push(Piece {
                page: span.pages[at / PAGE],
                lanes: at % PAGE..at % PAGE + (to - at),
                token,
            });
            token += to - at;
            at = to;
        }
    }
    pieces
}

/// Attention over what pages hold: [`attention_forward`](super::attention_forward) with keys and values in pages.
///
/// `q` and `out` are `[tokens of all spans, heads, head_dim]`; `ranges`, one for each token, names keys of its own
/// sequence.
///
/// # Panics
/// When the lengths do not fit each other, or a range reaches past the pages of its sequence.
pub fn attention_paged(
    pages: &KvPages,
    spans: &[PageSpan<'_>],
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
    let tokens: usize = spans.iter().map(|span| span.tokens).sum();
    assert_eq!(
        ranges.len(),
        tokens,
        "{NAME}: one range for each token of the spans"
    );
    let mut row = 0;
    for span in spans {
        let seen = ranges[row..row + span.tokens].iter();
        row += span.tokens;
        let seen = seen.filter(|[low, high]| low < high);
        let last = seen.map(|range| range[1] as usize).max().unwrap_or(0);
        let there = span.pages.get(..last.div_ceil(PAGE));
        let known = |page: &u32| (*page as usize) < pages.pages.len();
        assert!(
            there.is_some_and(|there| there.iter().all(known)),
            "{NAME}: keys up to {last} of a sequence of {} pages",
            span.pages.len()
        );
    }
    if width != head_dim {
        let q = widen(q, head_dim, width);
        let mut wide_out = vec![0.0; q.len()];
        rows(pages, spans, heads, &q, ranges, scale, &mut wide_out);
        narrow(&wide_out, width, head_dim, out);
    } else {
        rows(pages, spans, heads, q, ranges, scale, out);
    }
}

/// Query rows that go past one head of keys together.
struct Task {
    span: usize,
    /// The first token, among those of all spans.
    row: usize,
    /// The first query head.
    head: usize,
    count: usize,
    /// Whether they are heads of one token that share keys, or tokens of one head.
    across_heads: bool,
}

fn rows(
    pages: &KvPages,
    spans: &[PageSpan<'_>],
    heads: usize,
    q: &[f32],
    ranges: &[[u32; 2]],
    scale: f32,
    out: &mut [f32],
) {
    let (width, group) = (pages.width(), heads / pages.kv_heads);
    let mut tasks = tasks(spans, heads, group);
    // The longest first, lest one be left over when all others are done.
    tasks.sort_by_cached_key(|task| {
        let rows = if task.across_heads { 1 } else { task.count };
        let [low, high] = ranges[task.row + rows - 1];
        std::cmp::Reverse(high.saturating_sub(low) as usize * task.count)
    });
    let out = Disjoint::new(out);
    parallel_for(tasks.len(), |task| {
        let Task {
            span,
            row,
            head,
            count,
            across_heads,
        } = tasks[task];
        let (q_row, ranges) = if across_heads {
            (width, vec![ranges[row]; count])
        } else {
            (heads * width, ranges[row..row + count].to_vec())
        };
        let q_at = (row * heads + head) * width;
        let k_len = ranges.iter().map(|range| range[1] as usize).max();
        let rows = Head {
            head_dim: width,
            q: &q[q_at..],
            q_row,
            held: Held::Paged {
                pages,
                table: spans[span].pages,
                head: head / group,
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

fn tasks(spans: &[PageSpan<'_>], heads: usize, group: usize) -> Vec<Task> {
    let few = |span: &PageSpan<'_>| span.tokens <= FEW_ROWS;
    let few_rows: usize = spans
        .iter()
        .filter(|span| few(span))
        .map(|span| span.tokens)
        .sum();
    let pairs = few_rows * (heads / group);
    // As many whole groups as all threads take equally; what is left by single heads.
    let whole = pairs / threads() * threads();
    let (mut tasks, mut pair, mut first_row) = (Vec::new(), 0, 0);
    for (index, span) in spans.iter().enumerate() {
        let rows = first_row..first_row + span.tokens;
        first_row = rows.end;
        let task = |row, head, count, across_heads| Task {
            span: index,
            row,
            head,
            count,
            across_heads,
        };
        if few(span) {
            for row in rows {
                for first in (0..heads).step_by(group) {
                    let count = if pair < whole { group } else { 1 };
                    pair += 1;
                    let heads = (first..first + group).step_by(count);
                    tasks.extend(heads.map(|head| task(row, head, count, true)));
                }
            }
        } else {
            for head in 0..heads {
                let parts = rows.clone().step_by(ROWS_BY_TASK);
                tasks.extend(
                    parts.map(|row| task(row, head, ROWS_BY_TASK.min(rows.end - row), false)),
                );
            }
        }
    }
    tasks
}
