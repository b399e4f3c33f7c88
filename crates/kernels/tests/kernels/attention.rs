use kernels::attention::{
    AttentionShape, KvPages, PAGE, PageSpan, attention_backward, attention_forward, attention_paged,
};
use kernels::reference;
use proptest::prelude::*;

use crate::{assert_close, bits, same_for_any_threads, values, wide};

struct Case {
    shape: AttentionShape,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    dout: Vec<f32>,
    ranges: Vec<[u32; 2]>,
}

const SCALE: f32 = 0.3;

/// kind 0: causal; 1: packed documents of 7 keys; 2: a window of 5; 3: anything, empty ranges too.
fn case(shape: AttentionShape, kind: u64, seed: u64) -> Case {
    let AttentionShape {
        batch,
        q_len,
        k_len,
        heads,
        kv_heads,
        head_dim,
    } = shape;
    let range = |i: usize| {
        let end = (i % q_len + 1 + k_len.saturating_sub(q_len)).min(k_len) as u32;
        match kind {
            0 => [0, end],
            1 => [(end - 1) / 7 * 7, end],
            2 => [end.saturating_sub(5), end],
            _ => {
                let a = (seed.wrapping_mul(i as u64 + 3) >> 7) % (k_len as u64 + 1);
                let b = (seed.wrapping_mul(i as u64 + 11) >> 9) % (k_len as u64 + 1);
                [a as u32, b as u32]
            }
        }
    };
    let (queries, keys) = (
        batch * q_len * heads * head_dim,
        batch * k_len * kv_heads * head_dim,
    );
    Case {
        shape,
        q: values(queries, seed),
        k: values(keys, seed ^ 1),
        v: values(keys, seed ^ 2),
        dout: values(queries, seed ^ 3),
        ranges: (0..batch * q_len).map(range).collect(),
    }
}

fn forward(case: &Case) -> (Vec<f32>, Vec<f32>) {
    let Case {
        shape,
        q,
        k,
        v,
        ranges,
        ..
    } = case;
    let (mut out, mut lse) = (
        vec![7.0; q.len()],
        vec![7.0; shape.batch * shape.heads * shape.q_len],
    );
    attention_forward(shape, q, k, v, ranges, SCALE, &mut out, &mut lse);
    (out, lse)
}

fn backward(case: &Case) -> [Vec<f32>; 3] {
    let Case {
        shape,
        q,
        k,
        v,
        dout,
        ranges,
    } = case;
    let (out, lse) = forward(case);
    let (mut dq, mut dk, mut dv) = (vec![7.0; q.len()], vec![7.0; k.len()], vec![7.0; k.len()]);
    attention_backward(
        shape, q, k, v, &out, dout, &lse, ranges, SCALE, &mut dq, &mut dk, &mut dv,
    );
    [dq, dk, dv]
}

fn shapes() -> impl Strategy<Value = AttentionShape> {
    (
        1_usize..3,
        1_usize..60,
        0_usize..60,
        1_usize..3,
        1_usize..3,
        prop::sample::select(vec![1, 6, 16, 24, 32, 48, 64]),
    )
        .prop_map(
            |(batch, q_len, more, kv_heads, group, head_dim)| AttentionShape {
                batch,
                q_len,
                k_len: q_len + more,
                heads: kv_heads * group,
                kv_heads,
                head_dim,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn agrees_with_the_plain_version(shape in shapes(), kind in 0_u64..4, seed: u64) {
        let case = case(shape, kind, seed);
        let expected =
            reference::attention(&shape, &wide(&case.q), &wide(&case.k), &wide(&case.v), &case.ranges, f64::from(SCALE));
        assert_close(&forward(&case).0, &expected, 1e-5);
    }

    #[test]
    fn gradients_agree_with_differences(kind in 0_u64..4, group in 1_usize..3, head_dim in 1_usize..20, seed: u64) {
        let shape = AttentionShape { batch: 1, q_len: 9, k_len: 11, heads: group, kv_heads: 1, head_dim };
        let case = case(shape, kind, seed);
        let (q, k, v, dout) = (wide(&case.q), wide(&case.k), wide(&case.v), wide(&case.dout));
        let loss = |q: &[f64], k: &[f64], v: &[f64]| -> f64 {
            reference::attention(&shape, q, k, v, &case.ranges, f64::from(SCALE)).iter().zip(&dout).map(|(a, b)| a * b).sum()
        };
        let [dq, dk, dv] = backward(&case);
        assert_close(&dq, &reference::gradient(&q, |q| loss(q, &k, &v)), 1e-4);
        assert_close(&dk, &reference::gradient(&k, |k| loss(&q, k, &v)), 1e-4);
        assert_close(&dv, &reference::gradient(&v, |v| loss(&q, &k, v)), 1e-4);
    }

    #[test]
    fn a_single_row_has_the_bits_of_the_full_pass(shape in shapes(), kind in 0_u64..4, row in 0_usize..60, seed: u64) {
        let full = case(AttentionShape { batch: 1, ..shape }, kind, seed);
        let row = row % shape.q_len;
        let width = shape.heads * shape.head_dim;
        let [low, high] = full.ranges[row];
        let out = forward(&full).0;
        // Cached decode: one query, and only the keys that it may see are there.
        let kept = if low < high { high as usize } else { 0 };
        let keys = kept * shape.kv_heads * shape.head_dim;
        let one = Case {
            shape: AttentionShape { batch: 1, q_len: 1, k_len: kept, ..shape },
            q: full.q[row * width..][..width].to_vec(),
            k: full.k[..keys].to_vec(),
            v: full.v[..keys].to_vec(),
            dout: Vec::new(),
            ranges: vec![[low, high]],
        };
        prop_assert_eq!(bits(&forward(&one).0), bits(&out[row * width..][..width]));
    }

    #[test]
    fn a_document_has_the_same_bits_anywhere_in_a_packed_sequence(
        q_len in 1_usize..50, offset in 1_usize..90, after in 0_usize..9, kind in 0_u64..3, seed: u64,
    ) {
        let shape = AttentionShape { batch: 1, q_len, k_len: q_len, heads: 4, kv_heads: 2, head_dim: 32 };
        let alone = case(shape, kind, seed);
        let total = offset + q_len + after;
        let mut packed = case(AttentionShape { q_len: total, k_len: total, ..shape }, 0, seed ^ 77);
        let place = |to: &mut Vec<f32>, from: &[f32], width: usize| to[offset * width..][..from.len()].copy_from_slice(from);
        place(&mut packed.q, &alone.q, 128);
        place(&mut packed.k, &alone.k, 64);
        place(&mut packed.v, &alone.v, 64);
        for (i, range) in alone.ranges.iter().enumerate() {
            packed.ranges[offset + i] = range.map(|x| x + offset as u32);
        }
        // What lies outside a row's range must not reach it.
        packed.k[..64].fill(f32::NAN);
        packed.v[..64].fill(f32::INFINITY);
        let (alone, packed) = (forward(&alone).0, forward(&packed).0);
        prop_assert_eq!(bits(&alone), bits(&packed[offset * 128..][..alone.len()]));
    }
}

#[test]
fn long_sequences_agree_with_the_plain_version() {
    for kind in 0..3 {
        let shape = AttentionShape {
            batch: 2,
            q_len: 300,
            k_len: 333,
            heads: 2,
            kv_heads: 1,
            head_dim: 32,
        };
        let case = case(shape, kind, 5);
        let (q, k, v, dout) = (
            wide(&case.q),
            wide(&case.k),
            wide(&case.v),
            wide(&case.dout),
        );
        let loss = |q: &[f64], k: &[f64], v: &[f64]| -> f64 {
            reference::attention(&shape, q, k, v, &case.ranges, f64::from(SCALE))
                .iter()
                .zip(&dout)
                .map(|(a, b)| a * b)
                .sum()
        };
        let [dq, dk, dv] = backward(&case);
        // A few elements: each difference costs two whole passes.
        let check = |name: &str, got: &[f32], at: &[f64], loss: &dyn Fn(&[f64]) -> f64| {
            for i in [5, at.len() / 2 + 3, at.len() - 40] {
                let slope = reference::gradient(&at[i..=i], |x| {
                    let mut at = at.to_vec();
                    at[i] = x[0];
                    loss(&at)
                })[0];
                assert!(
                    (f64::from(got[i]) - slope).abs() < 1e-4,
                    "{name}[{i}], kind {kind}: {} for {slope}",
                    got[i]
                );
            }
        };
        check("dq", &dq, &q, &|q| loss(q, &k, &v));
        check("dk", &dk, &k, &|k| loss(&q, k, &v));
        check("dv", &dv, &v, &|v| loss(&q, &k, v));
    }
}

#[test]
fn threads_do_not_matter() {
    let shape = AttentionShape {
        batch: 2,
        q_len: 260,
        k_len: 260,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
    };
    let case = case(shape, 1, 8);
    same_for_any_threads(|| bits(&forward(&case).0));
    same_for_any_threads(|| backward(&case).map(|x| bits(&x)));
}

/// The same case with keys and values in pages, written `chunk` tokens at a time, each batch entry a sequence.
fn paged(case: &Case, chunk: usize) -> Vec<f32> {
    let AttentionShape {
        batch,
        q_len,
        k_len,
        heads,
        kv_heads,
        head_dim,
    } = case.shape;
    let mut pages = KvPages::new(kv_heads, head_dim);
    let token = kv_heads * head_dim;
    let each = k_len.div_ceil(PAGE);
    // Pages in no particular order, with one that was another's before, of which nothing must be seen.
    let tables: Vec<Vec<u32>> = (0..batch)
        .map(|b| (0..each).map(|i| ((each - i) * batch + b) as u32).collect())
        .collect();
    let stale = vec![f32::NAN; each * PAGE * token];
    for table in &tables {
        let span = PageSpan {
            pages: table,
            start: 0,
            tokens: each * PAGE,
        };
        pages.write(&[span], &stale, &stale);
    }
    for start in (0..k_len).step_by(chunk) {
        let tokens = chunk.min(k_len - start);
        let spans: Vec<PageSpan<'_>> = tables
            .iter()
            .map(|pages| PageSpan {
                pages,
                start,
                tokens,
            })
            .collect();
        let new = |x: &[f32]| -> Vec<f32> {
            let entries = x.chunks_exact(k_len * token);
            entries
                .flat_map(|x| x[start * token..(start + tokens) * token].to_vec())
                .collect()
        };
        pages.write(&spans, &new(&case.k), &new(&case.v));
    }
    let spans: Vec<PageSpan<'_>> = tables
        .iter()
        .map(|pages| PageSpan {
            pages,
            start: 0,
            tokens: q_len,
        })
        .collect();
    let mut out = vec![7.0; case.q.len()];
    attention_paged(
        &pages,
        &spans,
        heads,
        &case.q,
        &case.ranges,
        SCALE,
        &mut out,
    );
    out
}

/// Sequences of which one reads many tokens and others few, all in one call, have the bits of calls of their own.
#[test]
fn spans_of_any_lengths_go_together() {
    let (heads, kv_heads, head_dim) = (6, 2, 32);
    let lengths = [1, 40, 3, 1, 5, 70];
    let held = [33, 0, 64, 7, 31, 40];
    let shape = |k_len: usize| AttentionShape {
        batch: 1,
        q_len: k_len,
        k_len,
        heads,
        kv_heads,
        head_dim,
    };
    let cases: Vec<Case> = lengths
        .iter()
        .zip(held)
        .enumerate()
        .map(|(seed, (length, held))| case(shape(length + held), 0, seed as u64))
        .collect();
    let token = kv_heads * head_dim;
    let mut pages = KvPages::new(kv_heads, head_dim);
    let tables: Vec<Vec<u32>> = (0..6).map(|i| (4 * i..4 * i + 4).collect()).collect();
    let (mut q, mut ranges, mut expected, mut spans) = (vec![], vec![], vec![], vec![]);
    for (i, case) in cases.iter().enumerate() {
        let whole = PageSpan {
            pages: &tables[i],
            start: 0,
            tokens: case.shape.k_len,
        };
        pages.write(&[whole], &case.k, &case.v);
        assert_eq!(case.k.len(), case.shape.k_len * token);
        let from = held[i] * heads * head_dim;
        q.extend_from_slice(&case.q[from..]);
        ranges.extend_from_slice(&case.ranges[held[i]..]);
        expected.extend_from_slice(&forward(case).0[from..]);
        spans.push(PageSpan {
            start: held[i],
            tokens: lengths[i],
            ..whole
        });
    }
    let mut out = vec![7.0; q.len()];
    attention_paged(&pages, &spans, heads, &q, &ranges, SCALE, &mut out);
    assert_eq!(bits(&out), bits(&expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn pages_give_the_bits_of_dense_keys(shape in shapes(), kind in 0_u64..4, chunk in 1_usize..70, seed: u64) {
        let case = case(shape, kind, seed);
        prop_assert_eq!(bits(&paged(&case, chunk)), bits(&forward(&case).0));
    }

    #[test]
    fn decoding_from_pages_has_the_bits_of_the_full_pass(shape in shapes(), kind in 0_u64..3, seed: u64) {
        let full = case(AttentionShape { k_len: shape.q_len, ..shape }, kind, seed);
        let AttentionShape { batch, q_len, heads, head_dim, .. } = full.shape;
        let width = heads * head_dim;
        let last = |x: &[f32]| (1..=batch).flat_map(|b| x[(b * q_len - 1) * width..b * q_len * width].to_vec()).collect::<Vec<_>>();
        let one = Case {
            shape: AttentionShape { q_len: 1, ..full.shape },
            q: last(&full.q),
            k: full.k.clone(),
            v: full.v.clone(),
            dout: Vec::new(),
            ranges: (1..=batch).map(|b| full.ranges[b * q_len - 1]).collect(),
        };
        prop_assert_eq!(bits(&paged(&one, 1)), bits(&last(&forward(&full).0)));
    }
}
