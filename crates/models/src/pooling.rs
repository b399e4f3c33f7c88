//! From the hidden states of a text's tokens to one vector (Reimers & Gurevych 2019, "Sentence-BERT: Sentence
//! Embeddings using Siamese BERT-Networks"), in the modes of sentence-transformers.
//!
//! Every sum runs over one text's tokens from the first to the last, so a vector depends on its text alone.

/// How the states `h₁ … hₙ` of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `h₁`, the state of the token that stands before every text.
    Cls,
    /// The largest value of each feature.
    Max,
    /// `Σ hᵢ / n`.
    Mean,
    /// `Σ hᵢ / √n`.
    MeanSqrtLen,
    /// `Σ i·hᵢ / Σ i`: later tokens, which have seen more in a model that reads forward, count for more.
    WeightedMean,
    /// `hₙ`.
    LastToken,
}

impl Mode {
    /// All, in the order in which sentence-transformers puts several behind one another, under its names.
    pub const ALL: [(&str, Self); 6] = [
        ("cls", Self::Cls),
        ("max", Self::Max),
        ("mean", Self::Mean),
        ("mean_sqrt_len_tokens", Self::MeanSqrtLen),
        ("weightedmean", Self::WeightedMean),
        ("lasttoken", Self::LastToken),
    ];

    /// The vector `[hidden]` of `states` `[tokens, hidden]`, of which the first `skip` tokens do not count.
    ///
    /// Where no token is left to count, the vector is zero.
    pub fn pool(self, states: &[f32], hidden: usize, skip: usize) -> Vec<f32> {
        let counted = states.get(skip * hidden..).unwrap_or_default(); // [tokens - skip, hidden]
        let n = counted.len() / hidden;
        let tokens = counted.chunks_exact(hidden);
        match self {
            Self::Cls => tokens.take(1).flatten().copied().collect(),
            Self::LastToken => tokens
                .skip(n.saturating_sub(1))
                .flatten()
                .copied()
                .collect(),
            Self::Max => tokens
                .map(<[f32]>::to_vec)
                .reduce(|most, token| most.iter().zip(token).map(|(&a, b)| a.max(b)).collect())
                .unwrap_or_default(),
            Self::Mean => weighted(tokens, hidden, |_| 1.0, n as f32),
            Self::MeanSqrtLen => weighted(tokens, hidden, |_| 1.0, (n as f32).sqrt()),
            Self::WeightedMean => {
                // Tokens keep the place they have behind those that do not count.
                let place = |i: usize| (skip + i + 1) as f32;
                weighted(tokens, hidden, place, (0..n).map(place).sum())
            }
        }
    }
}

/// `Σ weight(i)·hᵢ / by`, `[hidden]`.
fn weighted<'a>(
    tokens: impl Iterator<Item = &'a [f32]>,
    hidden: usize,
    weight: impl Fn(usize) -> f32,
    by: f32,
) -> Vec<f32> {
    let mut sum = vec![0.0; hidden];
    for (i, token) in tokens.enumerate() {
        let weight = weight(i);
        for (sum, h) in sum.iter_mut().zip(token) {
            *sum += weight * h;
        }
    }
    if by > 0.0 {
        sum.iter_mut().for_each(|sum| *sum /= by);
    }
    sum
}

/// One mode, or several whose vectors stand behind one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// The modes, in order.
    pub modes: Vec<Mode>,
    /// Whether the tokens of a prompt count.
    pub include_prompt: bool,
}

impl Default for Pooling {
    /// The mean of all tokens.
    fn default() -> Self {
        Self {
            modes: vec![Mode::Mean],
            include_prompt: true,
        }
    }
}

impl Pooling {
    /// Features of the vector that a text gets from states of `hidden` features.
    pub fn dimensions(&self, hidden: usize) -> usize {
        self.modes.len() * hidden
    }

    /// The vector `[modes · hidden]` of `states` `[tokens, hidden]`, whose first `prompt` tokens are the prompt's.
    pub fn pool(&self, states: &[f32], hidden: usize, prompt: usize) -> Vec<f32> {
        let skip = if self.include_prompt { 0 } else { prompt };
        let mut vector = Vec::with_capacity(self.dimensions(hidden));
        for (number, mode) in self.modes.iter().enumerate() {
            vector.extend(mode.pool(states, hidden, skip));
            vector.resize((number + 1) * hidden, 0.0);
        }
        vector
    }
}

/// `x / ‖x‖`: the vector at length one, so that a dot product is the cosine. Zero stays zero.
pub fn normalize(vector: &mut [f32]) {
    // In f64, since the squares of a long vector's features differ by orders of magnitude.
    let squares = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let length = squares.sqrt().max(1e-12);
    for x in vector {
        *x = (f64::from(*x) / length) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [f32; 6] = [1.0, -2.0, 3.0, 5.0, -4.0, 0.0]; // [3, 2]

    #[test]
    fn the_modes_are_what_they_say() {
        let root = 3.0_f32.sqrt();
        for (mode, all, behind_one) in [
            (Mode::Cls, [1.0, -2.0], [3.0, 5.0]),
            (Mode::Max, [3.0, 5.0], [3.0, 5.0]),
            (Mode::Mean, [0.0, 1.0], [-0.5, 2.5]),
            (
                Mode::MeanSqrtLen,
                [0.0, 3.0 / root],
                [-1.0 / 2.0_f32.sqrt(), 5.0 / 2.0_f32.sqrt()],
            ),
            (
                Mode::WeightedMean,
                [-5.0 / 6.0, 8.0 / 6.0],
                [-6.0 / 5.0, 2.0],
            ),
            (Mode::LastToken, [-4.0, 0.0], [-4.0, 0.0]),
        ] {
            assert_eq!(mode.pool(&STATES, 2, 0), all, "{mode:?}");
            assert_eq!(mode.pool(&STATES, 2, 1), behind_one, "{mode:?} behind one");
        }
    }

    #[test]
    fn no_token_gives_zeros() {
        let modes = Mode::ALL.map(|(_, mode)| mode).to_vec();
        let pooling = Pooling {
            modes,
            include_prompt: false,
        };
        for prompt in [3, 4] {
            assert_eq!(pooling.pool(&STATES, 2, prompt), [0.0; 12]);
        }
        assert_eq!(pooling.pool(&[], 2, 0), [0.0; 12]);
        let mut zero = [0.0; 2];
        normalize(&mut zero);
        assert_eq!(zero, [0.0; 2]);
    }

    #[test]
    fn vectors_of_several_modes_stand_behind_one_another() {
        let pooling = Pooling {
            modes: vec![Mode::Mean, Mode::Cls],
            include_prompt: true,
        };
        assert_eq!(pooling.pool(&STATES, 2, 1), [0.0, 1.0, 1.0, -2.0]);
    }
}
