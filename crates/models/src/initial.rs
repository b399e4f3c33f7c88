//! Initial weights: plain normal variates, or attention that already finds and copies.
//!
//! A transformer answers from its context by induction heads: one head writes into each token what
//! stood before it, a later head finds the token whose predecessor equals the present one and copies
//! it (Olsson et al. 2022, "In-context Learning and Induction Heads"). Small models spend most of a
//! short training on coming to that. [`InitialWeights::Induction`] begins there, in the spirit of
//! mimetic initialisation (Trockman and Kolter 2023): the weights are ordinary ones, of the ordinary
//! architecture, and training may move them anywhere.

use std::collections::HashMap;

use artifact::Seed;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::decoder::Config;

/// How a new model's weights are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialWeights {
    /// Normal with `initializer_range`, the two projections into the residual stream narrower by
    /// √(2 · layers) (Radford et al. 2019).
    #[default]
    Normal,
    /// Attention begins as induction heads; token vectors share a constant feature, and the
    /// feed-forward blocks write nothing until they have learned to (an output matrix of zeros).
    Induction,
}

/// The score by which a token at the wanted distance leads its neighbours.
const LEAD: f32 = 2.5;
/// What a look-back head writes, relative to a token's embedding.
const WRITTEN: f32 = 0.6;
/// What a copying head writes, relative to a token's embedding.
const COPIED: f32 = 0.35;
/// Deviation of the usual noise on top, as a share of the usual deviation.
const NOISE: f32 = 0.1;

/// Every tensor's values, asked by its Hugging Face name in any order; each has a stream of its own,
/// so a shape's change leaves the others' values alone.
pub(crate) struct Source<'a> {
    config: &'a Config,
    seed: Seed,
    attention: HashMap<String, Vec<f32>>,
    kind: InitialWeights,
}

impl<'a> Source<'a> {
    pub(crate) fn new(kind: InitialWeights, config: &'a Config, seed: Seed) -> Self {
        let attention = match kind {
            InitialWeights::Normal => HashMap::new(),
            InitialWeights::Induction => induction(config, seed),
        };
        Self {
            config,
            seed,
            attention,
            kind,
        }
    }

    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) -> Vec<f32> {
        let elements = shape.iter().product();
        if shape.len() == 1 {
            let value = if name.ends_with("bias") {
                0.0
            } else {
                1.0 - self.config.norm_offset()
            };
            return vec![value; elements];
        }
        if let Some(values) = self.attention.remove(name) {
            return values;
        }
        let range = self.config.initializer_range;
        if self.kind == InitialWeights::Induction && !name.contains("layers") {
            // Token vectors of length one, the head's the same; their first feature is the constant
            // by which the look-back heads tell distances. It adds the same to all logits.
            let deviation = (self.config.hidden_size as f32).sqrt().recip();
            let mut values = normal(elements, deviation, self.seed.derive("token vectors"));
            values.chunks_mut(shape[1]).for_each(|row| row[0] = 1.0);
            return values;
        }
        if self.kind == InitialWeights::Induction && name.contains("down_proj") {
            return vec![0.0; elements];
        }
        let into_stream = name.contains("o_proj") || name.contains("down_proj");
        let deviation = range
            / if into_stream {
                residual(self.config)
            } else {
                1.0
            };
        normal(elements, deviation, self.seed.derive(name))
    }
}

/// √(2 · layers), by which what goes into the residual stream is narrower.
fn residual(config: &Config) -> f32 {
    (2.0 * config.num_hidden_layers as f32).sqrt()
}

/// The attention of all blocks. Of the key heads, two thirds (rounded up) make induction: in the
/// first block their query heads look back by 1, 2, 3, … tokens and write what they see into
/// directions of their own; in later blocks they look for a token behind which the present one
/// stood, and copy it. The remaining key heads look for the present token itself.
fn induction(config: &Config, seed: Seed) -> HashMap<String, Vec<f32>> {
    let (hidden, head_dim) = (config.hidden_size, config.head_dim);
    let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
    let group = heads / kv_heads;
    let look_back = (2 * kv_heads).div_ceil(3);
    let frame = |what: String| orthonormal(head_dim, hidden, seed.derive(&what));
    let read: Vec<_> = (0..kv_heads).map(|g| frame(format!("read {g}"))).collect();
    let written: Vec<_> = (0..heads).map(|h| frame(format!("write {h}"))).collect();

    let width = hidden as f32;
    let frequencies: Vec<f32> = (0..head_dim / 2)
        .map(|i| config.rope_theta.powf(-2.0 * i as f32 / head_dim as f32))
        .collect();
    // The constant's feature is √(width / 2) behind the norm, half a token vector's length being its.
    let lead: f32 = frequencies.iter().map(|f| 1.0 - f.cos()).sum();
    let clock = (LEAD * (head_dim as f32).sqrt() / (lead * width / 2.0)).sqrt();
    let matching = (head_dim as f32 / 32.0).powf(-0.25);
    let write = WRITTEN / (head_dim as f32 / 2.0).sqrt();
    let copy = 2.0 * COPIED * width.sqrt() / head_dim as f32;

    let block = head_dim * hidden;
    let mut tensors = HashMap::new();
    for layer in 0..config.num_hidden_layers {
        let name = |part: &str| format!("model.layers.{layer}.self_attn.{part}_proj.weight");
        let noise = |part: &str, heads: usize, narrower: f32| {
            let deviation = NOISE * config.initializer_range / narrower;
            normal(heads * block, deviation, seed.derive(&name(part)))
        };
        let mut q = noise("q", heads, 1.0); // [heads · head_dim, hidden]
        let mut k = noise("k", kv_heads, 1.0); // [kv_heads · head_dim, hidden]
        let mut v = noise("v", kv_heads, 1.0); // [kv_heads · head_dim, hidden]
        let mut o = noise("o", heads, residual(config)); // [hidden, heads · head_dim]
        for g in 0..kv_heads {
            let first_in_group = g * group;
            let looks_back = layer == 0 && g < look_back;
            let values = if looks_back {
                read[g].clone()
            } else {
                frame(format!("copy {layer} {g}"))
            };
            add(&mut v[g * block..][..block], &values, 1.0);
            let keys = &mut k[g * block..][..block];
            if looks_back {
                (0..head_dim / 2).for_each(|i| keys[i * hidden] += clock);
            } else if g < look_back {
                add(keys, &written[first_in_group], matching);
            } else {
                add(keys, &read[g], matching);
            }
            for h in first_in_group..first_in_group + group {
                let queries = &mut q[h * block..][..block];
                let out = if looks_back {
                    // The rotary turn of a key `distance` tokens back, undone.
                    let distance = (h + 1) as f32;
                    for (i, frequency) in frequencies.iter().enumerate() {
                        let (sin, cos) = (frequency * distance).sin_cos();
                        queries[i * hidden] += clock * cos;
                        queries[(i + head_dim / 2) * hidden] -= clock * sin;
                    }
                    (&written[h], write)
                } else {
                    add(queries, &read[g], matching);
                    (&values, copy)
                };
                add_columns(&mut o, h * head_dim, out.0, hidden, out.1);
            }
        }
        tensors.extend([
            (name("q"), q),
            (name("k"), k),
            (name("v"), v),
            (name("o"), o),
        ]);
    }
    tensors
}

/// Adds `scale · from`.
fn add(to: &mut [f32], from: &[f32], scale: f32) {
    to.iter_mut().zip(from).for_each(|(t, f)| *t += scale * f);
}

/// Adds the rows of `from` `[n, hidden]` as columns `first..first + n` of `to` `[hidden, width]`.
fn add_columns(to: &mut [f32], first: usize, from: &[f32], hidden: usize, scale: f32) {
    let width = to.len() / hidden;
    for (column, row) in (first..).zip(from.chunks_exact(hidden)) {
        for (to, value) in to[column..].iter_mut().step_by(width).zip(row) {
            *to += scale * value;
        }
    }
}

/// `rows` random directions of length one, at right angles to each other as far as the width allows
/// and to the first feature: `[rows, hidden]`.
fn orthonormal(rows: usize, hidden: usize, seed: Seed) -> Vec<f32> {
    let mut values = normal(rows * hidden, 1.0, seed);
    for i in 0..rows {
        let (done, rest) = values.split_at_mut(i * hidden);
        let row = &mut rest[..hidden];
        row[0] = 0.0;
        // No more than hidden − 1 directions fit; those beyond stay as drawn.
        for other in done.chunks_exact(hidden).filter(|_| i + 1 < hidden) {
            let along: f32 = other.iter().zip(&*row).map(|(a, b)| a * b).sum();
            add(row, other, -along);
        }
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
        row.iter_mut().for_each(|v| *v /= length);
    }
    values
}

/// Normal variates by the polar method of Box and Muller.
pub(crate) fn normal(count: usize, deviation: f32, seed: Seed) -> Vec<f32> {
    let mut rng = seed.rng();
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let radius = (-2.0 * u.ln()).sqrt() * f64::from(deviation);
        let angle = std::f64::consts::TAU * v;
        values.extend([(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_orthonormal() {
        let (rows, hidden) = (8, 12);
        let values = orthonormal(rows, hidden, Seed(1));
        for (i, a) in values.chunks(hidden).enumerate() {
            assert_eq!(a[0], 0.0);
            for (j, b) in values.chunks(hidden).enumerate() {
                let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot - expected).abs() < 1e-4, "{i} {j}: {dot}");
            }
        }
    }

    /// A shape whose noise is small beside what is put there on purpose.
    fn shape() -> Config {
        Config {
            num_attention_heads: 6,
            num_key_value_heads: 3,
            head_dim: 32,
            rope_theta: 1e6,
            ..Config::from_depth(3, 100, 64)
        }
    }

    fn times(matrix: &[f32], x: &[f32]) -> Vec<f32> {
        let dot = |row: &[f32]| row.iter().zip(x).map(|(a, b)| a * b).sum();
        matrix.chunks_exact(x.len()).map(dot).collect()
    }

    #[test]
    fn heads_of_the_first_block_look_back_by_their_number() {
        let config = shape();
        let tensors = induction(&config, Seed(3));
        let name = |part: &str| format!("model.layers.0.self_attn.{part}_proj.weight");
        // Behind its norm, a token vector of length √2 has √(hidden / 2) in its constant feature.
        let mut x = vec![0.0; config.hidden_size];
        x[0] = (config.hidden_size as f32 / 2.0).sqrt();
        let (half, head_dim) = (config.head_dim / 2, config.head_dim);
        let (q, k) = (
            times(&tensors[&name("q")], &x),
            times(&tensors[&name("k")], &x),
        );
        for head in 0..4 {
            let (q, k) = (&q[head * head_dim..], &k[head / 2 * head_dim..]);
            let score = |distance: usize| -> f32 {
                let pair = |i: usize| {
                    let frequency = config.rope_theta.powf(-2.0 * i as f32 / head_dim as f32);
                    let (sin, cos) = (frequency * distance as f32).sin_cos();
                    let turned = (
                        q[i] * cos - q[i + half] * sin,
                        q[i + half] * cos + q[i] * sin,
                    );
                    turned.0 * k[i] + turned.1 * k[i + half]
                };
                (0..half).map(pair).sum::<f32>() / (head_dim as f32).sqrt()
            };
            let wanted = score(head + 1);
            for distance in (0..30).filter(|d| *d != head + 1) {
                let lead = wanted - score(distance);
                assert!(
                    lead > 1.5,
                    "head {head} leads distance {distance} by {lead}"
                );
            }
        }
    }

    #[test]
    fn later_heads_find_what_stood_before() {
        let config = shape();
        let tensors = induction(&config, Seed(3));
        let get = |layer: usize, part: &str| {
            &tensors[&format!("model.layers.{layer}.self_attn.{part}_proj.weight")]
        };
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let token = |i: u64| normal(hidden, 1.0, Seed(100 + i));
        // What head 0 of the first block writes when it looks at a token.
        let width = config.num_attention_heads * head_dim;
        let written = |x: &[f32]| -> Vec<f32> {
            let seen = times(&get(0, "v")[..head_dim * hidden], x);
            let rows = get(0, "o").chunks_exact(width);
            rows.map(|row| row.iter().zip(&seen).map(|(a, b)| a * b).sum())
                .collect()
        };
        let query = times(&get(1, "q")[..head_dim * hidden], &token(0));
        let score = |i: u64| -> f32 {
            let key = times(&get(1, "k")[..head_dim * hidden], &written(&token(i)));
            query.iter().zip(&key).map(|(a, b)| a * b).sum()
        };
        let right = score(0);
        for other in 1..50 {
            assert!(right > 1.5 * score(other), "token {other}");
        }
    }

    #[test]
    fn columns_are_added_in_place() {
        let mut to = vec![0.0; 6]; // [hidden 2, width 3]
        add_columns(&mut to, 1, &[1.0, 2.0, 3.0, 4.0], 2, 2.0);
        assert_eq!(to, [0.0, 2.0, 6.0, 0.0, 4.0, 8.0]);
    }
}
