//! What an answer says depends on its request alone, and the engine keeps its books.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod books;
mod grammars;
mod invariance;
mod prompts;
mod samplers;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use artifact::{Progress, Seed};
use hub::LoadedModel;
use infer::{Completion, Engine, Request, Sampling, Settings, Stats};
use models::decoder::{Config, Decoder};
use models::{InitialWeights, lora};
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};

/// An id that no vocabulary has: as the only stop token it lets an answer run on.
const NO_TOKEN: u32 = u32::MAX;
const CONTEXT: usize = 160;

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let texts = (0..40).map(|i| format!("The {i} divers saw {} fish by the reef.", i * 3));
        let train = TrainConfig {
            vocab_size: 280,
            min_frequency: 1,
        };
        Tokenizer::train(texts, &train, &Progress::silent()).unwrap()
    })
}

fn model() -> LoadedModel {
    model_of(7)
}

/// A model with two adapters.
fn model_of(seed: u64) -> LoadedModel {
    let config = Config::from_depth(2, tokenizer().vocab_size(), CONTEXT);
    let (weights, device) = (InitialWeights::Normal, Device::flex());
    let mut decoder = Decoder::init(&config, weights, Precision::F32, Seed(seed), &device);
    for seed in [0, 1] {
        let mut adapter = decoder
            .new_adapter(&lora::Config::default(), Seed(seed))
            .unwrap();
        for pair in adapter.pairs.values_mut() {
            for (i, value) in pair.b.iter_mut().enumerate() {
                *value = ((i as f32 + seed as f32) * 0.7).sin() * 0.1;
            }
        }
        decoder.attach(&adapter).unwrap();
    }
    LoadedModel {
        decoder,
        tokenizer: tokenizer().clone(),
        id: "tiny".to_owned(),
    }
}

fn engine(settings: Settings) -> Engine {
    Engine::with_settings(model(), settings)
}

/// A prompt of `length` tokens, of which the first `shared` are the same in all.
fn prompt(length: usize, shared: usize, number: usize) -> Vec<u32> {
    let token = |i: usize| {
        let salt = if i < shared { 0 } else { 131 * (number + 1) };
        (5 + (i * 37 + salt) % 200) as u32
    };
    (0..length).map(token).collect()
}

/// A request of its own, drawn or greedy.
fn request(number: usize) -> Request {
    Request {
        prompt: prompt(1 + number * 29 % 100, 70, number),
        max_tokens: 8 + number % 40,
        sampling: Sampling {
            temperature: if number.is_multiple_of(3) { 0.0 } else { 1.0 },
            top_p: if number.is_multiple_of(5) { 0.9 } else { 1.0 },
            frequency_penalty: if number.is_multiple_of(7) { 0.5 } else { 0.0 },
            seed: number as u64,
            ..Sampling::default()
        },
        stop_ids: vec![NO_TOKEN],
        logprobs: Some(2),
        ..Request::default()
    }
}

/// All that an answer says, to the bit.
fn said(answer: &Completion) -> (String, Vec<(u32, u32, Vec<u32>)>) {
    let tokens = answer.logprobs.iter().map(|token| {
        let top = token.top.iter().map(|(_, logprob)| logprob.to_bits());
        (token.id, token.logprob.to_bits(), top.collect())
    });
    (answer.text.clone(), tokens.collect())
}

/// What the engine is doing, once it is `so`.
fn stats_when(engine: &Engine, so: impl Fn(&Stats) -> bool) -> Stats {
    let began = Instant::now();
    loop {
        let stats = engine.stats();
        if so(&stats) {
            return stats;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "still {stats:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
