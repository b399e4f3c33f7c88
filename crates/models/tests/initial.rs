//! Initial weights of any shape.

use artifact::Seed;
use models::decoder::{Config, Decoder};
use models::{InitialWeights, Rows};
use tensor::{Device, Precision, Tensor, TensorData};

#[test]
fn any_shape_gets_finite_weights() {
    for (depth, heads, kv_heads, head_dim) in [(1, 1, 1, 2), (1, 4, 2, 64), (2, 8, 1, 16)] {
        let config = Config {
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            ..Config::from_depth(depth, 50, 32)
        };
        let device = Device::flex();
        let (weights, seed) = (InitialWeights::Induction, Seed(1));
        let decoder = Decoder::init(&config, weights, Precision::F32, seed, &device);
        let tokens = Tensor::from_data(TensorData::new(vec![1i32; 9], [1, 9]), &device);
        let hidden = decoder.forward(tokens, &Rows::causal(1, 9), None);
        assert!(tensor::to_vec(hidden).iter().all(|x| x.is_finite()));
    }
}
