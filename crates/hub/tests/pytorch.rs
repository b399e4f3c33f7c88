//! The decoder against PyTorch's: logits, loss and the gradient of every parameter, packed documents and both kinds
//! of head. The reference is made by `cargo xtask fixtures`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use hub::weights::Weights;
use models::decoder::{Config, Decoder};
use models::{Rows, Values};
use serde::Deserialize;
use tensor::burn::module::{ModuleVisitor, Param};
use tensor::lm_loss::Targets;
use tensor::{Device, Gradients, Module, Precision, Tensor, TensorData, to_vec};

#[derive(Deserialize)]
struct Case {
    config: Config,
    lengths: Vec<Vec<usize>>,
    tokens: Vec<Vec<i32>>,
    targets: Vec<Vec<u32>>,
    weights: Vec<Vec<f32>>,
    loss: f32,
}

/// The gradients of all parameters in the order of `Config::tensors`.
fn gradients(decoder: &Decoder, gradients: &mut Gradients) -> Vec<Vec<f32>> {
    struct Collect<'a>(&'a mut Gradients, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1
                .push(to_vec(param.val().grad_remove(self.0).unwrap()));
        }
    }
    let mut collect = Collect(gradients, Vec::new());
    decoder.visit(&mut collect);
    collect.1
}

/// The largest difference, over the largest reference value.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs
        .iter()
        .fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    ours.iter()
        .zip(theirs)
        .fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()))
        / largest
}

fn agrees(name: &str) {
    let folder = Path::new("../../peers/fixtures");
    let case: Case = serde_json::from_str(
        &std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap(),
    )
    .unwrap();
    let file = Weights::open(&folder.join(format!("{name}.safetensors"))).unwrap();
    let device = Device::flex().autodiff();
    let decoder = Decoder::build(&case.config, Precision::F32, &device, |name, shape| {
        file.get(name, shape).map(Values::from)
    })
    .unwrap()
    .set_require_grad(true);
    let (batch, seq) = (case.tokens.len(), case.tokens[0].len());
    let tokens = Tensor::from_data(TensorData::new(case.tokens.concat(), [batch, seq]), &device);
    let hidden = decoder.forward(tokens, &Rows::packed(&case.lengths), None); // [batch, seq, hidden]

    let logits = to_vec(decoder.logits(hidden.clone())); // [batch, seq, vocab]
    let expected = file
        .get("expected.logits", &[batch, seq, case.config.vocab_size])
        .unwrap();
    assert!(
        difference(&logits, &expected) < 1e-5,
        "logits: {}",
        difference(&logits, &expected)
    );

    let targets = Targets {
        ids: case.targets.concat().into(),
        weights: case.weights.concat().into(),
        z_loss: 0.0,
    };
    let loss = decoder.loss(hidden, &targets); // [1]
    assert!((to_vec(loss.clone())[0] - case.loss).abs() < 1e-5 * case.loss.abs().max(1.0));

    let ours = gradients(&decoder, &mut loss.backward());
    for ((name, shape), ours) in case.config.tensors().into_iter().zip(ours) {
        let theirs = file
            .get(&format!("expected.gradient.{name}"), &shape)
            .unwrap();
        assert!(
            difference(&ours, &theirs) < 1e-4,
            "{name}: {}",
            difference(&ours, &theirs)
        );
    }
}

#[test]
fn tied_head() {
    agrees("decoder-tied");
}

#[test]
fn untied_head() {
    agrees("decoder-untied");
}
