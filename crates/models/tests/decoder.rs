//! The decoder's invariants: one result for a row, whatever stands beside it and however it is fed.

use artifact::Seed;
use models::decoder::{Config, Decoder, Preset};
use models::kv_cache::{SlotCache, TensorCache};
use models::{InitialWeights, KvCache, Rows};
use tensor::burn::module::{ModuleVisitor, Param};
use tensor::{Device, Int, Module, Precision, SlotRow, Tensor, TensorData};

fn config() -> Config {
    Config {
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        ..Config::from_depth(2, 97, 64)
    }
}

fn decoder(precision: Precision) -> Decoder {
    Decoder::init(
        &config(),
        InitialWeights::Normal,
        precision,
        Seed(3),
        &Device::flex(),
    )
}

fn ids(count: usize, seed: usize) -> Vec<u32> {
    (0..count)
        .map(|i| ((i * 31 + seed * 17 + i * i) % 97) as u32)
        .collect()
}

fn tokens(ids: &[u32], batch: usize) -> Tensor<2, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let seq = ids.len() / batch;
    Tensor::from_data(TensorData::new(ids, [batch, seq]), &Device::flex())
}

fn bits(hidden: Tensor<3>) -> Vec<u32> {
    tensor::to_vec(hidden)
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

fn alone(decoder: &Decoder, ids: &[u32]) -> Vec<u32> {
    bits(decoder.forward(tokens(ids, 1), &Rows::causal(1, ids.len()), None))
}

const BOTH: [Precision; 2] = [Precision::F32, Precision::Bf16];

#[test]
fn tensors_are_listed_in_the_order_of_visiting() {
    struct Shapes(Vec<Vec<usize>>);
    impl ModuleVisitor for Shapes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().dims().to_vec());
        }
    }
    for tie_word_embeddings in [true, false] {
        let config = Config {
            tie_word_embeddings,
            ..config()
        };
        let decoder = Decoder::init(
            &config,
            InitialWeights::Normal,
            Precision::F32,
            Seed(1),
            &Device::flex(),
        );
        let mut shapes = Shapes(Vec::new());
        decoder.visit(&mut shapes);
        assert_eq!(
            shapes.0,
            config
                .tensors()
                .into_iter()
                .map(|(_, shape)| shape)
                .collect::<Vec<_>>()
        );
        assert_eq!(decoder.num_params(), config.parameters());
    }
}

#[test]
fn a_sequence_does_not_depend_on_its_batch() {
    for precision in BOTH {
        let decoder = decoder(precision);
        let row = ids(23, 1);
        let expected = alone(&decoder, &row);
        let mut batch = row.clone();
        (2..34).for_each(|seed| batch.extend(ids(23, seed)));
        let together = bits(decoder.forward(tokens(&batch, 33), &Rows::causal(33, 23), None));
        assert_eq!(together[..expected.len()], expected[..], "{precision:?}");
    }
}

#[test]
fn a_packed_document_is_as_if_alone() {
    for precision in BOTH {
        let decoder = decoder(precision);
        let (a, b) = (ids(19, 1), ids(30, 2));
        let packed = decoder.forward(
            tokens(&[&a[..], &b].concat(), 1),
            &Rows::packed(&[vec![19, 30]]),
            None,
        );
        let expected = [alone(&decoder, &a), alone(&decoder, &b)].concat();
        assert_eq!(bits(packed), expected, "{precision:?}");
    }
}

#[test]
fn cached_decoding_equals_the_full_forward() {
    let config = config();
    let row = ids(41, 5);
    for precision in BOTH {
        let decoder = decoder(precision);
        let expected = alone(&decoder, &row);
        for chunk in [1, 7, 41] {
            let mut slots = SlotCache::new(config.num_hidden_layers, 3, 64);
            let mut growing = TensorCache::default();
            let (mut by_slots, mut by_growing) = (Vec::new(), Vec::new());
            for start in (0..row.len()).step_by(chunk) {
                let part = &row[start..(start + chunk).min(row.len())];
                let rows = Rows::continued(&[start], part.len());
                let cache: &mut dyn KvCache = slots.at(vec![SlotRow { slot: 1, start }]);
                by_slots.extend(bits(decoder.forward(tokens(part, 1), &rows, Some(cache))));
                by_growing.extend(bits(decoder.forward(
                    tokens(part, 1),
                    &rows,
                    Some(&mut growing),
                )));
            }
            assert_eq!(
                by_slots, expected,
                "slots, chunks of {chunk}, {precision:?}"
            );
            assert_eq!(
                by_growing, expected,
                "growing, chunks of {chunk}, {precision:?}"
            );
        }
    }
}

#[test]
fn one_thread_or_two() {
    let decoder = decoder(Precision::Bf16);
    let row = ids(50, 1);
    tensor::set_threads(1);
    let one = alone(&decoder, &row);
    tensor::set_threads(2);
    assert_eq!(one, alone(&decoder, &row));
}

#[test]
fn the_depth_dial_gives_models_that_hold_together() {
    for depth in 1..=24 {
        assert_eq!(
            Config::from_depth(depth, 1000, 128).validate(),
            Ok(()),
            "depth {depth}"
        );
    }
    let wrong = Preset {
        num_key_value_heads: Some(3),
        ..Preset::default()
    };
    assert_eq!(
        wrong.config(100).map_err(|error| error.field),
        Err("num_key_value_heads")
    );
}
