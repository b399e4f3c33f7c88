//! The decoder's invariants: one result for a row, whatever stands beside it and however it is fed.

use artifact::Seed;
use models::decoder::{Config, Decoder, Preset};
use models::kv_cache::{SlotCache, TensorCache};
use models::{InitialWeights, KvCache, Rows, Values};
use tensor::burn::module::{ModuleVisitor, Param};
use tensor::quantised::{Format, Quantised};
use tensor::{Device, Int, Module, Precision, SlotRow, Tensor, TensorData};

fn config() -> Config {
    Config {
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        ..Config::from_depth(2, 97, 160)
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

/// Matrices of four bits: any nibbles, with scales that give weights of a usual size.
fn of_four_bits() -> Decoder {
    let config = config();
    let built = Decoder::build(&config, Precision::F32, &Device::flex(), |name, shape| {
        let &[rows, cols] = shape else {
            return Ok::<_, std::convert::Infallible>(vec![1.0; shape[0]].into());
        };
        let mut blocks = vec![0; rows * cols / 32 * Format::Q4_0.bytes()];
        for (i, byte) in blocks.iter_mut().enumerate() {
            *byte = (i * 97 + i / 7 * 31 + name.len() * 13) as u8;
        }
        for block in blocks.chunks_exact_mut(Format::Q4_0.bytes()) {
            block[..2].copy_from_slice(&[0, 0x20]); // 2⁻⁷
        }
        let matrix = Quantised::new(Format::Q4_0, [rows, cols], &blocks);
        Ok(Values::Quantised(matrix))
    });
    let Ok(decoder) = built;
    decoder
}

/// The decoder as every command may hold it.
fn all_kinds() -> [(&'static str, Decoder); 3] {
    [
        ("f32", decoder(Precision::F32)),
        ("bf16", decoder(Precision::Bf16)),
        ("Q4_0", of_four_bits()),
    ]
}

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
    for (kind, decoder) in all_kinds() {
        let row = ids(23, 1);
        let expected = alone(&decoder, &row);
        let mut batch = row.clone();
        (2..34).for_each(|seed| batch.extend(ids(23, seed)));
        let together = bits(decoder.forward(tokens(&batch, 33), &Rows::causal(33, 23), None));
        assert_eq!(together[..expected.len()], expected[..], "{kind}");
    }
}

#[test]
fn a_packed_document_is_as_if_alone() {
    for (kind, decoder) in all_kinds() {
        let (a, b) = (ids(19, 1), ids(30, 2));
        let packed = decoder.forward(
            tokens(&[&a[..], &b].concat(), 1),
            &Rows::packed(&[vec![19, 30]]),
            None,
        );
        let expected = [alone(&decoder, &a), alone(&decoder, &b)].concat();
        assert_eq!(bits(packed), expected, "{kind}");
    }
}

#[test]
fn cached_decoding_equals_the_full_forward() {
    let config = config();
    let row = ids(131, 5);
    for (kind, decoder) in all_kinds() {
        let expected = alone(&decoder, &row);
        for chunk in [1, 7, 64, 131] {
            let mut slots = SlotCache::new(config.num_hidden_layers, 3, 160);
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
            assert_eq!(by_slots, expected, "paged, chunks of {chunk}, {kind}");
            assert_eq!(by_growing, expected, "dense, chunks of {chunk}, {kind}");
        }
    }
}

#[test]
fn one_thread_or_two() {
    for (kind, decoder) in all_kinds() {
        let row = ids(150, 1);
        tensor::set_threads(1);
        let one = alone(&decoder, &row);
        tensor::set_threads(2);
        assert_eq!(one, alone(&decoder, &row), "{kind}");
    }
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
