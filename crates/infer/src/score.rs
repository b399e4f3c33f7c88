//! Log-probabilities of given continuations, many sequences packed into one row of tokens.

use hub::LoadedModel;
use models::Rows;
use tensor::{Tensor, TensorData};

use crate::Adapter;

/// Rows of one scoring pass.
const ROWS: usize = 4096;

/// A prompt and its continuation.
pub(crate) type Pair = (Vec<u32>, Vec<u32>);

/// Scores as many of the pairs, from the first on, as go into one pass; at least one.
pub(crate) fn score_some(model: &LoadedModel, pairs: &[Pair], adapter: Adapter) -> Vec<Vec<f32>> {
    let mut rows = 0;
    let fits = |(prompt, continuation): &&Pair| {
        rows += prompt.len() + continuation.len();
        rows <= ROWS
    };
    let count = pairs.iter().take_while(fits).count().max(1);
    score_packed(model, &pairs[..count.min(pairs.len())], adapter)
}

fn score_packed(model: &LoadedModel, pairs: &[Pair], adapter: Adapter) -> Vec<Vec<f32>> {
    let (mut inputs, mut targets, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for (prompt, continuation) in pairs {
        let whole = [&prompt[..], continuation].concat();
        inputs.extend(whole[..whole.len() - 1].iter().map(|&id| id as i32));
        targets.extend_from_slice(&whole[1..]);
        lengths.push(whole.len() - 1);
    }
    if inputs.is_empty() {
        return vec![Vec::new(); pairs.len()];
    }
    let mut rows = Rows::packed(std::slice::from_ref(&lengths));
    rows.adapters = Adapter::of_batch(std::iter::once(adapter), model.decoder.adapters());
    let shape = [1, inputs.len()];
    let tokens = Tensor::from_data(TensorData::new(inputs, shape), &model.decoder.device()); // [1, rows]
    let hidden = model.decoder.forward(tokens, &rows, None); // [1, rows, hidden]
    let logprobs = model.decoder.token_logprobs(hidden, &targets);
    let mut end = 0;
    let tails = pairs
        .iter()
        .zip(&lengths)
        .map(|((_, continuation), length)| {
            end += length;
            logprobs[end - continuation.len().min(*length)..end].to_vec()
        });
    tails.collect()
}
