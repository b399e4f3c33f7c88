//! How fast a model reads and writes, without a sampler or a server around it: `rates MODEL [ROUNDS]`, with MODEL a folder
//! or a `.gguf` file. Prints one JSON object with tokens per second of each round: `prefill` of 512 tokens, `decode` of
//! 128 tokens behind 1, `decode_512` of 128 behind 512; and `bytes`, those of the weights.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use models::decoder::Decoder;
use models::kv_cache::SlotCache;
use models::{KvCache, Rows};
use tensor::{Device, SlotRow, Tensor, TensorData};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROMPT: usize = 512;
const NEW: usize = 128;

/// The last row's logits of `tokens` behind `start` others.
fn step(decoder: &Decoder, cache: &mut SlotCache, tokens: &[i32], start: usize) -> Vec<f32> {
    let ids = TensorData::new(tokens.to_vec(), [1, tokens.len()]);
    let ids = Tensor::from_data(ids, &Device::flex());
    let rows = Rows::continued(&[start], tokens.len());
    let cache: &mut dyn KvCache = cache.at(vec![SlotRow { slot: 0, start }]);
    let hidden = decoder.forward(ids, &rows, Some(cache));
    tensor::to_vec(decoder.logits(hidden.narrow(1, tokens.len() - 1, 1)))
}

fn largest(logits: &[f32]) -> i32 {
    let indexed = logits.iter().enumerate();
    indexed
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(index, _)| index as i32)
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(model) = arguments.next() else {
        eprintln!("usage: rates MODEL [ROUNDS]");
        return ExitCode::from(2);
    };
    let rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(5);
    let loaded = match hub::load(Path::new(&model), "model", &Device::flex()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let decoder = loaded.decoder;
    let config = decoder.config().clone();
    let prompt: Vec<i32> = (0..PROMPT)
        .map(|i| (i * 7919 % config.vocab_size) as i32)
        .collect();
    let mut cache = SlotCache::new(config.num_hidden_layers, 1, PROMPT + NEW + 1);
    let (mut prefill, mut decode, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    // A first round warms up.
    for round in 0..=rounds {
        let began = Instant::now();
        let mut next = largest(&step(&decoder, &mut cache, &prompt, 0));
        let read = began.elapsed().as_secs_f64();
        let mut write = |start: usize| {
            let began = Instant::now();
            for at in start..start + NEW {
                next = largest(&step(&decoder, &mut cache, &[next], at));
            }
            began.elapsed().as_secs_f64()
        };
        let (late, early) = (write(PROMPT), write(0));
        if round > 0 {
            prefill.push(PROMPT as f64 / read);
            behind.push(NEW as f64 / late);
            decode.push(NEW as f64 / early);
        }
    }
    let told = serde_json::json!({
        "prefill": prefill,
        "decode": decode,
        "decode_512": behind,
        "bytes": decoder.bytes(),
    });
    println!("{told}");
    ExitCode::SUCCESS
}
