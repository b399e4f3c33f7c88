//! How fast an engine answers many at once: `streams MODEL [STREAMS…] [greedy] [lookup=N]`, with MODEL a folder or a `.gguf`
//! file. Each stream sends its requests one behind the other: prompts of 30 to 800 tokens, half of them behind the same
//! 400, answers of 64 to 256 tokens, drawn at temperature 0.8 or greedy. Prints one JSON object for each number of streams
//! (1, 8 and 32 unless told).

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use infer::{Delta, Engine, Request, Sampling, Settings};
use serde_json::{Value, json};
use tensor::Device;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An id that no vocabulary has: as the only stop token it lets an answer run on.
const NO_TOKEN: u32 = u32::MAX;
const SHARED: usize = 400;

/// Numbers that look random and are the same in every run.
fn noise(seed: usize) -> usize {
    let mut x = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x >> 33) as usize
}

/// What is measured.
struct Work {
    engine: Engine,
    vocabulary: usize,
    temperature: f32,
}

/// Seconds to the first token, and between the others.
#[derive(Default)]
struct Seen {
    first: Vec<f64>,
    between: Vec<f64>,
    read: usize,
    written: usize,
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1));
    sorted.get(at - 1).copied().unwrap_or(f64::NAN)
}

impl Work {
    fn request(&self, number: usize) -> Request {
        let length = 30 + noise(3 * number) % 771;
        let shared = if number.is_multiple_of(2) {
            SHARED.min(length - 1)
        } else {
            0
        };
        let token = |at: usize| {
            let seed = if at < shared {
                at
            } else {
                1_000 * (number + 1) + at
            };
            (noise(seed + 7) % (self.vocabulary - 200) + 100) as u32
        };
        Request {
            prompt: (0..length).map(token).collect(),
            max_tokens: 64 + noise(3 * number + 1) % 193,
            sampling: Sampling {
                temperature: self.temperature,
                seed: number as u64,
                ..Sampling::default()
            },
            stop_ids: vec![NO_TOKEN],
            ..Request::default()
        }
    }

    fn stream(&self, numbers: impl Iterator<Item = usize>) -> Result<Seen, infer::Error> {
        let mut seen = Seen::default();
        for number in numbers {
            let request = self.request(number);
            seen.read += request.prompt.len();
            let mut last = Instant::now();
            let mut first = true;
            for delta in &self.engine.submit(request) {
                match delta {
                    Delta::Token { .. } => {
                        let list = if first {
                            &mut seen.first
                        } else {
                            &mut seen.between
                        };
                        list.push(last.elapsed().as_secs_f64());
                        (first, last) = (false, Instant::now());
                        seen.written += 1;
                    }
                    Delta::Error(error) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(seen)
    }

    fn measure(&self, streams: usize) -> Result<Value, infer::Error> {
        let each = (32 / streams).max(2);
        let began = Instant::now();
        let all = std::thread::scope(|scope| {
            let running: Vec<_> = (0..streams)
                .map(|index| {
                    let numbers = (0..each).map(move |turn| turn * streams + index);
                    scope.spawn(move || self.stream(numbers))
                })
                .collect();
            let ended = running
                .into_iter()
                .map(|one| one.join().unwrap_or(Err(infer::Error::Interrupted)));
            ended.collect::<Result<Vec<Seen>, _>>()
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let sorted = |list: fn(&Seen) -> &Vec<f64>| {
            let mut values: Vec<f64> = all.iter().flat_map(list).copied().collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (first, between) = (sorted(|seen| &seen.first), sorted(|seen| &seen.between));
        let written: usize = all.iter().map(|seen| seen.written).sum();
        let read: usize = all.iter().map(|seen| seen.read).sum();
        let stats = self.engine.stats();
        Ok(json!({
            "streams": streams,
            "requests": streams * each,
            "seconds": seconds,
            "written_per_second": written as f64 / seconds,
            "read_per_second": read as f64 / seconds,
            "first_token_p50": quantile(&first, 0.5),
            "first_token_p99": quantile(&first, 0.99),
            "between_p50": quantile(&between, 0.5),
            "between_p99": quantile(&between, 0.99),
            "passes": stats.passes,
            "prompt_tokens_shared": stats.prompt_tokens_shared,
            "guessed": stats.tokens_guessed,
            "guessed_right": stats.tokens_guessed_right,
        }))
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(model) = arguments.next() else {
        eprintln!("usage: streams MODEL [STREAMS…] [greedy] [lookup=N]");
        return ExitCode::from(2);
    };
    let arguments: Vec<String> = arguments.collect();
    let lookup = arguments.iter().find_map(|one| one.strip_prefix("lookup="));
    let mut settings = Settings::default();
    if let Some(lookup) = lookup.and_then(|n| n.parse().ok()) {
        settings.lookup = lookup;
    }
    let temperature = if arguments.iter().any(|one| one == "greedy") {
        0.0
    } else {
        0.8
    };
    let counts = arguments.iter().filter_map(|n| n.parse().ok());
    let mut counts: Vec<usize> = counts.filter(|n| *n > 0).collect();
    if counts.is_empty() {
        counts = vec![1, 8, 32];
    }
    for streams in counts {
        // A new engine for each, so that nothing is in its cache.
        let loaded = match hub::load(Path::new(&model), "model", &Device::flex()) {
            Ok(loaded) => loaded,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        };
        let work = Work {
            vocabulary: loaded.tokenizer.vocab_size(),
            engine: Engine::with_settings(loaded, settings.clone()),
            temperature,
        };
        match work.measure(streams) {
            Ok(told) => println!("{told}"),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
