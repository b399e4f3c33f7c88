//! A weight matrix as models hold it: in f32 to be trained, or of few bits to be run.

use tensor::{
    Device, Int, Module, Param, Precision, Quantised, Tensor, affine, burn, embedding, fork, gelu,
    gelu_affine, linear, swiglu, swiglu_linear,
};

/// The values of one tensor, on their way into a model.
#[derive(Clone, Debug)]
pub enum Values {
    /// In row-major order.
    Dense(Vec<f32>),
    /// As a file holds them.
    Quantised(Quantised),
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self::Dense(values)
    }
}

impl Values {
    /// In row-major order.
    pub fn dense(self) -> Vec<f32> {
        match self {
            Self::Dense(values) => values,
            Self::Quantised(matrix) => tensor::to_vec(matrix.values(&Device::flex())),
        }
    }
}

/// A matrix `[out_features, in_features]`.
#[derive(Module, Debug)]
pub enum Matrix {
    /// In f32: trained, and on any device.
    Dense(Param<Tensor<2>>),
    /// Of few bits, on the CPU: run, and trained through, but not trained.
    Packed(Packed),
}

/// A matrix of few bits, which training leaves alone.
#[derive(Module, Debug)]
pub struct Packed {
    #[module(skip)]
    weight: Quantised,
}

impl Packed {
    /// `[out_features, in_features]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.weight.dims()
    }
}

impl Matrix {
    /// From values of `shape`.
    pub fn new(values: Values, [rows, cols]: [usize; 2], device: &Device) -> Self {
        match values {
            Values::Dense(values) => Self::Dense(Param::from_tensor(tensor::from_vec(
                values,
                [rows, cols],
                device,
            ))),
            Values::Quantised(weight) => Self::Packed(Packed { weight }),
        }
    }

    /// `x · Wᵀ`. Shapes: `x` `[…, in_features]`, result `[…, out_features]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, precision: Precision) -> Tensor<D> {
        match self {
            Self::Dense(weight) => linear(x, weight.val(), precision),
            Self::Packed(Packed { weight }) => weight.linear(x),
        }
    }

    /// `x · Wᵀ + bias`. Shapes: `x` `[…, in_features]`, result `[…, out_features]`.
    pub fn forward_affine<const D: usize>(
        &self,
        x: Tensor<D>,
        bias: Option<Tensor<1>>,
        precision: Precision,
    ) -> Tensor<D> {
        match (self, bias) {
            (Self::Dense(weight), Some(bias)) => affine(x, weight.val(), bias, precision),
            (_, Some(bias)) => self.forward(x, precision) + bias.unsqueeze(),
            (_, None) => self.forward(x, precision),
        }
    }

    /// `gelu(x) · Wᵀ + bias`. Shapes: `x` `[…, in_features]`, result `[…, out_features]`.
    pub fn forward_gelu<const D: usize>(
        &self,
        x: Tensor<D>,
        bias: Option<Tensor<1>>,
        precision: Precision,
    ) -> Tensor<D> {
        match (self, bias) {
            (Self::Dense(weight), Some(bias)) => gelu_affine(x, weight.val(), bias, precision),
            (_, bias) => self.forward_affine(gelu(x), bias, precision),
        }
    }

    /// `swiglu(gate, up) · Wᵀ`. Shapes: `gate` and `up` `[…, in_features]`, result `[…, out_features]`.
    pub fn forward_swiglu<const D: usize>(
        &self,
        gate: Tensor<D>,
        up: Tensor<D>,
        precision: Precision,
    ) -> Tensor<D> {
        match self {
            Self::Dense(weight) => swiglu_linear(gate, up, weight.val(), precision),
            Self::Packed(Packed { weight }) => weight.linear(swiglu(gate, up)),
        }
    }

    /// [`Self::forward`] of one `x` by several matrices, to the same bits; those of few bits go at it together.
    pub fn forward_each<const D: usize, const N: usize>(
        matrices: [&Self; N],
        x: Tensor<D>,
        precision: Precision,
    ) -> [Tensor<D>; N] {
        let packed = matrices.map(|matrix| match matrix {
            Self::Dense(_) => None,
            Self::Packed(Packed { weight }) => Some(weight),
        });
        if packed.iter().all(Option::is_some) {
            return Quantised::linear_each(packed.map(|weight| weight.expect("just seen")), x);
        }
        let mut uses = fork::<D, N>(x).into_iter();
        matrices.map(|matrix| {
            let x = uses.next().expect("one for each matrix");
            matrix.forward(x, precision)
        })
    }

    /// A row for every token id. Shapes: `ids` `[batch, seq]`, result `[batch, seq, in_features]`.
    pub fn embedding(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        match self {
            Self::Dense(weight) => embedding(weight.val(), ids),
            Self::Packed(Packed { weight }) => weight.embedding(ids),
        }
    }

    /// The log-probability of each row's target, with this matrix as head. Shapes: `hidden` `[rows, in_features]`.
    pub fn token_logprobs(
        &self,
        hidden: Tensor<2>,
        targets: &[u32],
        precision: Precision,
    ) -> Vec<f32> {
        match self {
            Self::Dense(weight) => tensor::token_logprobs(hidden, weight.val(), targets, precision),
            Self::Packed(Packed { weight }) => weight.token_logprobs(hidden, targets),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Dense(weight) => 4 * weight.val().shape().num_elements(),
            Self::Packed(Packed { weight }) => weight.bytes(),
        }
    }

    /// Puts a matrix of few bits into f32.
    pub(crate) fn make_dense(&mut self, device: &Device) {
        if let Self::Packed(_) = self {
            *self = Self::Dense(Param::from_tensor(self.values(device)));
        }
    }

    /// In f32.
    pub fn values(&self, device: &Device) -> Tensor<2> {
        match self {
            Self::Dense(weight) => weight.val(),
            Self::Packed(Packed { weight }) => weight.values(device),
        }
    }
}
