//! The clients: streams that ask one request after another, the same ones of every server.

use std::io::{BufRead as _, BufReader};
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::{Value, json};

/// Tokens that half of the prompts begin with.
const SHARED: usize = 400;
const PROMPT: std::ops::RangeInclusive<usize> = 30..=800;
const ANSWER: std::ops::RangeInclusive<usize> = 64..=256;

/// The requests of each stream.
pub(super) struct Load(Vec<Vec<Ask>>);

struct Ask {
    prompt: Vec<u64>,
    answer: usize,
}

/// What clients saw.
#[derive(Default)]
pub(super) struct Measured {
    tokens: u64,
    seconds: f64,
    first_tokens: Vec<f64>,
    pub(super) from_start: Vec<f64>,
}

/// Numbers that are the same in every run (Knuth's linear congruential generator).
struct Dice(u64);

impl Dice {
    fn within(&mut self, range: &std::ops::RangeInclusive<usize>) -> usize {
        let Self(state) = self;
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let span = range.end() - range.start() + 1;
        range.start() + (*state >> 33) as usize % span
    }
}

impl Load {
    /// Requests cut out of a text; every second one begins with the text's beginning.
    pub(super) fn new(text: &[u64], streams: usize, requests: usize) -> anyhow::Result<Self> {
        if text.len() < SHARED + 2 * PROMPT.end() {
            bail!("a text of {} tokens is too short", text.len());
        }
        let mut dice = Dice(streams as u64);
        let mut number = 0;
        let mut ask = || {
            let length = dice.within(&PROMPT);
            let at = dice.within(&(SHARED..=text.len() - PROMPT.end()));
            number += 1;
            let prompt = if number % 2 == 0 {
                let own = length * (PROMPT.end() - SHARED) / PROMPT.end();
                [&text[..SHARED], &text[at..at + own]].concat()
            } else {
                text[at..at + length].to_vec()
            };
            Ask {
                prompt,
                answer: dice.within(&ANSWER),
            }
        };
        let mut stream = || (0..requests).map(|_| ask()).collect();
        Ok(Self((0..streams).map(|_| stream()).collect()))
    }

    /// Asks all of it and adds what was seen.
    pub(super) fn run(
        &self,
        url: &str,
        model: &str,
        measured: &mut Measured,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let seen = std::thread::scope(|scope| {
            let streams = self.0.iter().map(|asks| {
                scope.spawn(move || {
                    let each = asks.iter().map(|ask| ask.run(url, model));
                    each.collect::<anyhow::Result<Vec<_>>>()
                })
            });
            let streams: Vec<_> = streams.collect();
            let ended = streams.into_iter().map(|stream| match stream.join() {
                Ok(seen) => seen,
                Err(_) => bail!("a client panicked"),
            });
            ended.collect::<anyhow::Result<Vec<_>>>()
        })?;
        measured.seconds += began.elapsed().as_secs_f64();
        for (first, tokens) in seen.into_iter().flatten() {
            measured.first_tokens.push(first);
            measured.tokens += tokens;
        }
        Ok(())
    }
}

impl Ask {
    /// Seconds to the first token, and tokens in all.
    fn run(&self, url: &str, model: &str) -> anyhow::Result<(f64, u64)> {
        let body = json!({
            "model": model, "prompt": self.prompt, "max_tokens": self.answer, "temperature": 0, "ignore_eos": true,
            "stream": true, "stream_options": {"include_usage": true},
        });
        let began = Instant::now();
        let mut response = ureq::post(format!("{url}/v1/completions"))
            .content_type("application/json")
            .send(body.to_string())?;
        let (mut first, mut tokens) = (None, None);
        for line in BufReader::new(response.body_mut().as_reader()).lines() {
            let line = line?;
            let Some(event) = line.strip_prefix("data: ") else {
                continue;
            };
            if event == "[DONE]" {
                break;
            }
            let event: Value = serde_json::from_str(event)?;
            let choice = &event["choices"][0];
            if choice.is_object() && first.is_none() {
                first = Some(began.elapsed().as_secs_f64());
            }
            if let Some(count) = event["usage"]["completion_tokens"].as_u64() {
                tokens = Some(count);
            }
        }
        let tokens = tokens.context("a stream without its usage")?;
        // One token less may be told where the last one is not counted.
        if tokens + 1 < self.answer as u64 {
            bail!("{tokens} tokens where {} were asked for", self.answer);
        }
        Ok((first.context("a stream without a token")?, tokens))
    }
}

impl Measured {
    /// Tokens in a second.
    pub(super) fn rate(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    /// A quantile of the seconds to the first token.
    pub(super) fn first_token(&self, share: f64) -> f64 {
        quantile(&self.first_tokens, share)
    }

    /// The median of the seconds from the start to the first token.
    pub(super) fn start(&self) -> f64 {
        quantile(&self.from_start, 0.5)
    }
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (share * values.len() as f64).ceil() as usize;
    values
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Posts an object and reads the answer.
pub(super) fn post(url: &str, body: &Value) -> anyhow::Result<Value> {
    let mut response = ureq::post(url)
        .content_type("application/json")
        .send(body.to_string())?;
    Ok(serde_json::from_str(
        &response.body_mut().read_to_string()?,
    )?)
}
