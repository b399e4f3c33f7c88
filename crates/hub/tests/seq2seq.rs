//! Encoder-decoders against Hugging Face's `transformers`, on tiny checkpoints as it writes them (made by
//! `cargo xtask fixtures seq2seq`), and against themselves: cached decoding is the whole, to the bit.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use models::Rows;
use models::t5::{Cache, T5};
use serde::Deserialize;
use tensor::{Device, Int, Tensor, TensorData, to_vec};

const ALL: [&str; 3] = ["t5", "t5-gated", "mt5"];

#[derive(Deserialize)]
struct Expected {
    source: Vec<Vec<i32>>,
    lengths: Vec<usize>,
    answer: Vec<Vec<i32>>,
    logits: Vec<f32>,
    written: Vec<Vec<i32>>,
}

fn folder(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/seq2seq").join(name)
}

fn model(name: &str) -> (T5, Expected) {
    let text = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
    let model = hub::load_t5(&folder(name), &Device::flex()).unwrap();
    (model, serde_json::from_str(&text).unwrap())
}

fn ids(rows: &[Vec<i32>]) -> Tensor<2, Int> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), &Device::flex())
}

fn encoded(model: &T5, expected: &Expected) -> Tensor<3> {
    let lengths: Vec<Vec<usize>> = expected.lengths.iter().map(|&n| vec![n]).collect();
    let rows = Rows::texts(&lengths, expected.source[0].len());
    model.encode(ids(&expected.source), &rows)
}

#[test]
fn logits_and_texts_are_those_of_transformers() {
    for name in ALL {
        let (model, expected) = model(name);
        let source = encoded(&model, &expected);
        let mut cache = Cache::default();
        let lengths = &expected.lengths;
        let hidden = model.decode(ids(&expected.answer), &source, lengths, &mut cache);
        let logits = to_vec(model.logits(hidden));
        assert_eq!(logits.len(), expected.logits.len());
        let pairs = logits.iter().zip(&expected.logits);
        let worst = pairs.fold(0.0_f32, |worst, (a, b)| {
            worst.max((a - b).abs() / b.abs().max(1.0))
        });
        assert!(worst < 1e-4, "{name}: logits differ by {worst}");

        let mut cache = Cache::default();
        let mut written: Vec<Vec<i32>> = vec![vec![0]; lengths.len()];
        for _ in 1..expected.written[0].len() {
            let last: Vec<Vec<i32>> = written
                .iter()
                .map(|row| row[row.len() - 1..].to_vec())
                .collect();
            let hidden = model.decode(ids(&last), &source, lengths, &mut cache);
            let logits = to_vec(model.logits(hidden));
            let vocab = model.config().vocab_size;
            for (row, logits) in written.iter_mut().zip(logits.chunks(vocab)) {
                let best = (0..vocab).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                row.push(best.unwrap() as i32);
            }
        }
        assert_eq!(written, expected.written, "{name}");
    }
}

fn bits(x: Tensor<3>) -> Vec<u32> {
    to_vec(x).into_iter().map(f32::to_bits).collect()
}

#[test]
fn alone_in_pieces_or_together_the_bits_are_the_same() {
    for name in ALL {
        let (model, expected) = model(name);
        let source = encoded(&model, &expected);
        let whole = model.decode(
            ids(&expected.answer),
            &source,
            &expected.lengths,
            &mut Cache::default(),
        );
        let [_, seq, hidden] = whole.dims();
        let whole = bits(whole);
        for (entry, &length) in expected.lengths.iter().enumerate() {
            // Alone and without padding.
            let own = vec![expected.source[entry][..length].to_vec()];
            let alone = model.encode(ids(&own), &Rows::texts(&[vec![length]], length));
            let size = source.dims()[1] * hidden;
            let together = bits(source.clone())[entry * size..][..length * hidden].to_vec();
            assert_eq!(bits(alone.clone()), together, "{name}");
            for piece in [1, 7, seq] {
                let mut cache = Cache::default();
                let mut found = Vec::new();
                for part in expected.answer[entry].chunks(piece) {
                    let part = ids(&[part.to_vec()]);
                    found.extend(bits(model.decode(part, &alone, &[length], &mut cache)));
                }
                assert_eq!(
                    found,
                    whole[entry * seq * hidden..][..seq * hidden],
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn a_head_of_its_own_is_known_by_its_weights() {
    for (name, tied, scales) in [
        ("t5", true, true),
        ("t5-gated", false, false),
        ("mt5", true, false),
    ] {
        let config = hub::read_seq2seq_config(&folder(name)).unwrap();
        assert_eq!(
            (config.tie_word_embeddings, config.scales_outputs()),
            (tied, scales),
            "{name}"
        );
        assert!(hub::is_seq2seq(&folder(name)));
    }
    assert!(!hub::is_seq2seq(Path::new(
        "../../peers/fixtures/families/llama"
    )));
}
