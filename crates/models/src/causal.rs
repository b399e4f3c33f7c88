//! What training asks of an architecture that predicts the next token.

use tensor::lm_loss::Targets;
use tensor::{Int, Module, Tensor};

use crate::Rows;
use crate::decoder::Decoder;
use crate::gpt::Gpt;

/// A model whose final hidden states and head give the next token.
pub trait Causal: Module {
    /// The final hidden states `[batch, seq, hidden]` of `tokens` `[batch, seq]`.
    fn hidden(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3>;

    /// The weighted sum of the targets' cross-entropies, a tensor of one element.
    fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1>;
}

impl Causal for Decoder {
    fn hidden(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        self.forward(tokens, rows, None)
    }

    fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        self.loss(hidden, targets)
    }
}

impl Causal for Gpt {
    fn hidden(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        self.forward(tokens, rows)
    }

    fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        self.loss(hidden, targets)
    }
}
