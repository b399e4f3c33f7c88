//! Several adapters on one base: each request is answered as its own adapter alone would, to the bit.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use artifact::{Progress, Seed};
use hub::LoadedModel;
use infer::{Adapter, Completion, Engine, Request};
use models::InitialWeights;
use models::decoder::{Config, Decoder};
use models::lora;
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};

fn tokenizer() -> Tokenizer {
    let texts = (0..40).map(|i| format!("The {i} divers saw {} fish by the reef.", i * 3));
    let train = TrainConfig {
        vocab_size: 280,
        min_frequency: 1,
    };
    Tokenizer::train(texts, &train, &Progress::silent()).unwrap()
}

fn base(tokenizer: &Tokenizer) -> Decoder {
    let config = Config::from_depth(2, tokenizer.vocab_size(), 96);
    let (weights, device) = (InitialWeights::Normal, Device::flex());
    Decoder::init(&config, weights, Precision::F32, Seed(7), &device)
}

/// An adapter that changes what the base says.
fn adapter(decoder: &Decoder, seed: u64) -> lora::Adapter {
    let config = lora::Config {
        r: 3,
        target_modules: match seed {
            0 => vec!["q_proj".to_owned(), "down_proj".to_owned()],
            _ => Vec::new(),
        },
        ..lora::Config::default()
    };
    let mut adapter = decoder.new_adapter(&config, Seed(seed)).unwrap();
    for pair in adapter.pairs.values_mut() {
        for (i, value) in pair.b.iter_mut().enumerate() {
            *value = ((i as f32 + seed as f32) * 0.7).sin() * 0.1;
        }
    }
    adapter
}

fn engine(decoder: Decoder, tokenizer: &Tokenizer) -> Engine {
    Engine::start(LoadedModel {
        decoder,
        tokenizer: tokenizer.clone(),
        id: "base".to_owned(),
    })
}

fn requests() -> Vec<Request> {
    let lengths = 1..9_u32;
    let prompts = lengths.map(|length| (0..length).map(|i| 5 + (i * 37 + length) % 200).collect());
    prompts
        .map(|prompt| Request {
            prompt,
            max_tokens: 20,
            stop_ids: vec![279],
            logprobs: Some(0),
            ..Request::default()
        })
        .collect()
}

fn said(answers: &[Completion]) -> Vec<(Vec<u32>, Vec<u32>)> {
    let bits = |answer: &Completion| {
        let each = answer.logprobs.iter();
        each.map(|one| one.logprob.to_bits()).collect()
    };
    answers
        .iter()
        .map(|answer| (answer.ids.clone(), bits(answer)))
        .collect()
}

#[test]
fn a_batch_of_several_adapters_says_what_each_says_alone() {
    let tokenizer = tokenizer();
    let mut alone = Vec::new();
    for number in [None, Some(0), Some(1)] {
        let mut decoder = base(&tokenizer);
        if let Some(seed) = number {
            let adapter = adapter(&decoder, seed);
            decoder.attach(&adapter).unwrap();
        }
        let engine = engine(decoder, &tokenizer);
        let answers = engine.generate_all(requests(), &Progress::silent());
        alone.push(said(&answers.unwrap()));
        let prompt = (vec![7, 8, 9], vec![10, 11]);
        let score = engine.score(std::slice::from_ref(&prompt)).unwrap();
        alone.last_mut().unwrap().push((Vec::new(), bits(&score)));
    }
    assert_ne!(alone[0], alone[1]);
    assert_ne!(alone[1], alone[2]);

    let mut decoder = base(&tokenizer);
    for seed in [0, 1] {
        let adapter = adapter(&decoder, seed);
        decoder.attach(&adapter).unwrap();
    }
    let together = engine(decoder, &tokenizer);
    let handles = [Adapter::None, Adapter::Number(0), Adapter::Number(1)]
        .map(|one| together.with_adapter(one, &format!("{one:?}")));
    // All in the engine at once.
    let waiting: Vec<Vec<_>> = handles
        .iter()
        .map(|handle| {
            let requests = requests().into_iter();
            requests.map(|request| handle.submit(request)).collect()
        })
        .collect();
    for ((handle, waiting), alone) in handles.iter().zip(waiting).zip(&alone) {
        let ids: Vec<Vec<u32>> = waiting
            .into_iter()
            .map(|deltas| {
                let tokens = deltas.iter().filter_map(|delta| match delta {
                    infer::Delta::Token { id, .. } => Some(id),
                    _ => None,
                });
                tokens.collect()
            })
            .collect();
        for (ids, (expected, _)) in ids.iter().zip(alone) {
            assert_eq!(ids, expected, "{}", handle.model_id());
        }
        let prompt = (vec![7, 8, 9], vec![10, 11]);
        let score = handle.score(std::slice::from_ref(&prompt)).unwrap();
        assert_eq!(bits(&score), alone.last().unwrap().1);
        let answers = handle.generate_all(requests(), &Progress::silent());
        assert_eq!(said(&answers.unwrap())[..], alone[..alone.len() - 1]);
    }
}

fn bits(score: &[Vec<f32>]) -> Vec<u32> {
    score.iter().flatten().map(|one| one.to_bits()).collect()
}

#[test]
fn a_merged_adapter_says_the_same_but_for_rounding() {
    let tokenizer = tokenizer();
    let mut decoder = base(&tokenizer);
    let adapter = adapter(&decoder, 1);
    decoder.attach(&adapter).unwrap();
    let prompt = (vec![7, 8, 9], vec![10, 11, 12, 13]);
    let score = |decoder| {
        let engine = engine(decoder, &tokenizer);
        engine.score(std::slice::from_ref(&prompt)).unwrap()
    };
    let beside = score(decoder.clone());
    let merged = score(decoder.merged());
    for (beside, merged) in beside[0].iter().zip(&merged[0]) {
        assert!((beside - merged).abs() < 1e-4, "{beside} and {merged}");
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused_by_name() {
    let tokenizer = tokenizer();
    let mut decoder = base(&tokenizer);
    let mut other = adapter(&decoder, 1);
    let pair = other.pairs["model.layers.0.mlp.up_proj"].clone();
    other
        .pairs
        .insert("model.layers.7.mlp.up_proj".to_owned(), pair);
    let refused = decoder.attach(&other).unwrap_err().to_string();
    assert!(refused.contains("model.layers.7.mlp.up_proj"), "{refused}");
    let mut other = adapter(&decoder, 1);
    other
        .pairs
        .get_mut("model.layers.1.mlp.up_proj")
        .unwrap()
        .b
        .pop();
    let refused = decoder.attach(&other).unwrap_err().to_string();
    assert!(
        refused.contains("B for `model.layers.1.mlp.up_proj`"),
        "{refused}"
    );
    let config = lora::Config {
        target_modules: vec!["query".to_owned()],
        ..lora::Config::default()
    };
    let refused = decoder
        .new_adapter(&config, Seed(1))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("query") && refused.contains("q_proj"),
        "{refused}"
    );
    assert_eq!(decoder.adapters(), 0);
}
