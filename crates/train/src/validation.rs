//! Bits per byte on held-out documents: a measure that does not depend on the vocabulary.

use data::TokenSplit;
use models::decoder::Decoder;
use tensor::Device;
use tokenizer::Tokenizer;

use crate::Result;
use crate::packing::{Batch, Sequence};

/// Held-out documents, packed once and used at every validation.
pub(crate) struct Validation {
    batches: Vec<Batch>,
    bytes: u64,
}

/// Tokens of a validation pass.
const PASS_TOKENS: usize = 8192;

impl Validation {
    /// The first documents of the split, up to about `limit` tokens; `None` when there are none.
    ///
    /// # Errors
    /// When a document's tokens are not of this tokenizer.
    pub(crate) fn new(
        split: &TokenSplit,
        tokenizer: &Tokenizer,
        context: usize,
        limit: u64,
    ) -> Result<Option<Self>> {
        let (mut sequences, mut bytes, mut tokens) = (Vec::new(), 0, 0);
        for index in 0..split.documents() as usize {
            if tokens >= limit {
                break;
            }
            let document = split.document(index);
            tokens += document.len() as u64;
            bytes += tokenizer.decode(&document)?.len() as u64;
            let whole: Vec<u32> = std::iter::once(tokenizer.end_of_text())
                .chain(document.iter().copied())
                .collect();
            // Pieces share their border token: every token of the document is predicted once.
            let mut from = 0;
            while from + 1 < whole.len() {
                let to = whole.len().min(from + context + 1);
                sequences.push(Sequence::new(&whole[from..to], |_| true));
                from = to - 1;
            }
        }
        let batches = Batch::packed(&sequences, context, PASS_TOKENS / context);
        Ok((bytes > 0).then_some(Self { batches, bytes }))
    }

    pub(crate) fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// UTF-8 bytes of the documents.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `−Σ log₂ p / bytes` over all tokens and document ends.
    pub(crate) fn bits_per_byte(&self, decoder: &Decoder, device: &Device) -> f64 {
        let nats: f64 = self
            .batches
            .iter()
            .map(|batch| -logprob_sum(decoder, batch, device))
            .sum();
        nats / std::f64::consts::LN_2 / self.bytes as f64
    }
}

/// The weighted sum of the targets' log-probabilities.
pub(crate) fn logprob_sum(decoder: &Decoder, batch: &Batch, device: &Device) -> f64 {
    let logprobs = token_logprobs(decoder, batch, device);
    logprobs
        .iter()
        .zip(&batch.weights)
        .map(|(&logprob, &weight)| f64::from(logprob) * f64::from(weight))
        .sum()
}

/// The log-probability of every target in a batch.
pub(crate) fn token_logprobs(decoder: &Decoder, batch: &Batch, device: &Device) -> Vec<f32> {
    let hidden = decoder.forward(batch.tokens(device), &batch.layout(), None); // [rows, context, hidden]
    decoder.token_logprobs(hidden, &batch.targets)
}
