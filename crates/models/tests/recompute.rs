//! Gradients with activations computed again are those with activations kept.

use artifact::Seed;
use models::decoder::{self, Decoder};
use models::gpt::{self, Gpt};
use models::{Causal, InitialWeights, Rows};
use tensor::burn::module::{ModuleVisitor, Param};
use tensor::lm_loss::Targets;
use tensor::{Device, Gradients, Module, Precision, Tensor, TensorData};

/// The bits of every parameter's gradient.
struct Bits(Vec<Gradients>, Vec<Vec<u32>>);

impl ModuleVisitor for Bits {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let sum = self
            .0
            .iter_mut()
            .filter_map(|gradients| value.grad_remove(gradients))
            .reduce(|sum, part| sum + part)
            .expect("every parameter takes part");
        let values = tensor::to_vec(sum).into_iter();
        self.1.push(values.map(f32::to_bits).collect());
    }
}

fn same_bits(model: &impl Causal, device: &Device) {
    let (batch, seq) = (3, 20);
    let ids: Vec<i32> = (0..batch * seq).map(|i| (i * 31 + 7) % 61).collect();
    let rows = Rows::packed(&[vec![20], vec![13, 7], vec![20]]);
    let targets = Targets {
        ids: ids.iter().map(|&id| (id as u32 * 5 + 1) % 61).collect(),
        weights: ids.iter().map(|&id| (id % 3) as f32 / 60.0).collect(),
        z_loss: 1e-3,
    };
    let [(kept, all), (again, parts)] = [false, true].map(|recompute| {
        let data = TensorData::new(ids.clone(), [batch as usize, seq as usize]);
        let tokens = Tensor::from_data(data, device);
        let loss = |hidden| model.loss(hidden, &targets);
        let (value, gradients) = model.gradients(tokens, &rows, recompute, loss);
        let mut bits = Bits(gradients, Vec::new());
        model.visit(&mut bits);
        (value, bits.1)
    });
    assert_eq!(kept.to_bits(), again.to_bits());
    assert!(all == parts);
}

#[test]
fn of_the_decoder_and_of_the_gpt() {
    let device = Device::flex().autodiff();
    for precision in [Precision::F32, Precision::Bf16] {
        for tie_word_embeddings in [true, false] {
            let config = decoder::Config {
                tie_word_embeddings,
                ..decoder::Config::from_depth(3, 61, 20)
            };
            let weights = InitialWeights::Normal;
            let decoder = Decoder::init(&config, weights, precision, Seed(1), &device);
            same_bits(&decoder.set_require_grad(true), &device);
        }
        let gpt = Gpt::init(
            &gpt::Config::new(2, 48, 61, 20),
            precision,
            Seed(2),
            &device,
        );
        same_bits(&gpt.set_require_grad(true), &device);
    }
}
