//! What training asks of an architecture that predicts the next token.

use tensor::lm_loss::Targets;
use tensor::{Gradients, Int, Module, Tensor};

use crate::Rows;
use crate::decoder::Decoder;
use crate::gpt::Gpt;

/// A stack of blocks between an embedding and a norm, whose final hidden states and head give the next token.
pub trait Causal: Module {
    /// The residual stream before the first block: `tokens` `[batch, seq]`, result `[batch, seq, hidden]`.
    fn embed(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3>;

    /// Whether [`Self::embed`] has parameters that are trained.
    fn trains_embedding(&self) -> bool {
        true
    }

    /// Number of blocks.
    fn blocks(&self) -> usize;

    /// One block, from `[batch, seq, hidden]` to `[batch, seq, hidden]`.
    fn block(&self, index: usize, x: Tensor<3>, rows: &Rows) -> Tensor<3>;

    /// The final hidden states behind the last block, `[batch, seq, hidden]`.
    fn norm(&self, x: Tensor<3>) -> Tensor<3>;

    /// The weighted sum of the targets' cross-entropies, a tensor of one element.
    fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1>;

    /// The value of a `loss` of the final hidden states, and its gradients; a parameter's gradient is the sum over all
    /// that hold one.
    ///
    /// With `recompute` only the blocks' inputs are kept from the forward pass, and each block is computed once more when
    /// its turn in the backward pass comes (Chen et al. 2016): memory for one block instead of all, about a third more
    /// work, the same bits.
    fn gradients(
        &self,
        tokens: Tensor<2, Int>,
        rows: &Rows,
        recompute: bool,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
    ) -> (f32, Vec<Gradients>) {
        if !recompute {
            let mut x = self.embed(tokens, rows); // [batch, seq, hidden]
            for index in 0..self.blocks() {
                x = self.block(index, x, rows); // [batch, seq, hidden]
            }
            let loss = loss(self.norm(x)); // [1]
            let value = tensor::to_vec(loss.clone())[0];
            return (value, vec![loss.backward()]);
        }
        let frozen = self.valid();
        let mut inputs = Vec::with_capacity(self.blocks());
        let mut x = frozen.embed(tokens.clone().inner(), rows); // [batch, seq, hidden]
        for index in 0..self.blocks() {
            inputs.push(x.clone());
            x = frozen.block(index, x, rows); // [batch, seq, hidden]
        }
        let top = leaf(x); // [batch, seq, hidden]
        let loss = loss(self.norm(top.clone())); // [1]
        let value = tensor::to_vec(loss.clone())[0];
        let mut found = vec![loss.backward()];
        let mut upstream = taken(&top, &mut found[0]); // [batch, seq, hidden]
        for (index, x) in inputs.into_iter().enumerate().rev() {
            let x = leaf(x); // [batch, seq, hidden]
            let y = self.block(index, x.clone(), rows); // [batch, seq, hidden]
            let mut gradients = pulled(y, upstream);
            upstream = taken(&x, &mut gradients); // [batch, seq, hidden]
            found.push(gradients);
        }
        let x = self.embed(tokens, rows); // [batch, seq, hidden]
        // A table that stays has no gradient.
        if self.trains_embedding() {
            found.push(pulled(x, upstream));
        }
        (value, found)
    }
}

/// The beginning of a graph of its own.
fn leaf(x: Tensor<3>) -> Tensor<3> {
    x.autodiff().require_grad()
}

/// The gradients behind `y` when `upstream` is its own.
fn pulled(y: Tensor<3>, upstream: Tensor<3>) -> Gradients {
    (y * upstream.autodiff()).sum().backward()
}

fn taken(x: &Tensor<3>, gradients: &mut Gradients) -> Tensor<3> {
    x.grad_remove(gradients)
        .expect("a leaf that the loss depends on has a gradient")
}

impl Causal for Decoder {
    fn trains_embedding(&self) -> bool {
        self.adapters() == 0
    }

    fn embed(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        self.embed(tokens, rows)
    }

    fn blocks(&self) -> usize {
        self.config().num_hidden_layers
    }

    fn block(&self, index: usize, x: Tensor<3>, rows: &Rows) -> Tensor<3> {
        self.block(index, x, rows, None)
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.norm(x)
    }

    fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        self.loss(hidden, targets)
    }
}

impl Causal for Gpt {
    fn embed(&self, tokens: Tensor<2, Int>, rows: &Rows) -> Tensor<3> {
        self.embed(tokens, rows)
    }

    fn blocks(&self) -> usize {
        self.config().n_layer
    }

    fn block(&self, index: usize, x: Tensor<3>, rows: &Rows) -> Tensor<3> {
        self.block(index, x, rows)
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.norm(x)
    }

    fn loss(&self, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        self.loss(hidden, targets)
    }
}
