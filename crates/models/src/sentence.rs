//! A sentence encoder: an encoder, its states pooled into one vector for each text, and what is done to the vector.

use tensor::{
    Device, Int, Module, Param, Precision, Tensor, TensorData, affine, burn, linear, to_vec,
};

use crate::Rows;
use crate::encoder::Encoder;
use crate::pooling::{Pooling, normalize};

/// An encoder with all that stands between its hidden states and a text's vector.
#[derive(Debug)]
pub struct SentenceEncoder {
    /// Tokens to hidden states.
    pub encoder: Encoder,
    /// Hidden states to a vector.
    pub pooling: Pooling,
    /// What is done to the vector, in order.
    pub steps: Vec<Step>,
}

/// Something done to a text's vector.
#[derive(Debug)]
pub enum Step {
    /// A projection.
    Dense(Dense),
    /// To length one.
    Normalize,
}

/// `activation(x · Wᵀ + b)`.
#[derive(Module, Debug)]
pub struct Dense {
    weight: Param<Tensor<2>>,       // [out_features, in_features]
    bias: Option<Param<Tensor<1>>>, // [out_features]
    #[module(skip)]
    activation: Activation,
}

/// What follows a projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// The hyperbolic tangent.
    Tanh,
}

impl Dense {
    /// From a weight `[out_features, in_features]` and, where there is one, a bias `[out_features]`.
    pub fn new(
        weight: Vec<f32>,
        [out_features, in_features]: [usize; 2],
        bias: Option<Vec<f32>>,
        activation: Activation,
        device: &Device,
    ) -> Self {
        let weight = tensor::from_vec(weight, [out_features, in_features], device);
        let bias = bias.map(|bias| tensor::from_vec(bias, [out_features], device));
        Self {
            weight: Param::from_tensor(weight),
            bias: bias.map(Param::from_tensor),
            activation,
        }
    }

    /// Features of the result.
    pub fn out_features(&self) -> usize {
        self.weight.val().dims()[0]
    }

    /// Shapes: `x` `[texts, in_features]`, result `[texts, out_features]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        let y = match &self.bias {
            Some(bias) => affine(x, weight, bias.val(), Precision::F32), // [texts, out_features]
            None => linear(x, weight, Precision::F32),                   // [texts, out_features]
        };
        match self.activation {
            Activation::Identity => y,
            Activation::Tanh => y.tanh(),
        }
    }
}

impl SentenceEncoder {
    /// Features of a text's vector.
    pub fn dimensions(&self) -> usize {
        let pooled = self.pooling.dimensions(self.encoder.config().hidden_size);
        self.steps.iter().fold(pooled, |width, step| match step {
            Step::Dense(dense) => dense.out_features(),
            Step::Normalize => width,
        })
    }

    /// The vectors of `texts`, `[texts, dimensions]` in row-major order. Each text's first `prompt` tokens are the
    /// prompt's; none may be longer than the encoder's context. The bits of a vector follow from its text alone.
    pub fn forward(&self, texts: &[&[u32]], prompt: usize) -> Vec<f32> {
        let pooled = self.pooled(texts, prompt);
        let device = self.encoder.device();
        let mut vectors = pooled;
        for step in &self.steps {
            let width = vectors.len() / texts.len().max(1);
            match step {
                _ if vectors.is_empty() => {}
                Step::Dense(dense) => {
                    let x = tensor::from_vec(vectors, [texts.len(), width], &device);
                    vectors = to_vec(dense.forward(x)); // [texts, out_features]
                }
                Step::Normalize => vectors.chunks_exact_mut(width).for_each(normalize),
            }
        }
        vectors
    }

    /// The hidden states of texts behind one another in one entry, each pooled: `[texts, modes · hidden]`.
    fn pooled(&self, texts: &[&[u32]], prompt: usize) -> Vec<f32> {
        let states = self.encoder.states(texts); // [tokens, hidden]
        let hidden = self.encoder.config().hidden_size;
        let mut pooled = Vec::with_capacity(texts.len() * self.pooling.dimensions(hidden));
        let mut row = 0;
        for text in texts {
            let own = &states[row * hidden..(row + text.len()) * hidden];
            pooled.extend(self.pooling.pool(own, hidden, prompt));
            row += text.len();
        }
        pooled
    }
}

impl Encoder {
    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or(Device::flex())
    }

    /// The last hidden states of `texts`, each of type 0, behind one another: `[tokens, hidden]` in row-major order.
    pub fn states(&self, texts: &[&[u32]]) -> Vec<f32> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let tokens: Vec<i32> = texts.concat().into_iter().map(|id| id as i32).collect();
        let seq = tokens.len();
        if seq == 0 {
            return Vec::new();
        }
        let device = self.device();
        let types = TensorData::new(vec![0; seq], [1, seq]);
        let types: Tensor<2, Int> = Tensor::from_data(types, &device); // [1, seq]
        let tokens = Tensor::from_data(TensorData::new(tokens, [1, seq]), &device); // [1, seq]
        to_vec(self.forward(tokens, types, &Rows::texts(&[lengths], seq))) // [1, seq, hidden]
    }
}
