//! Writes greedily behind prompts, as plain text without a chat template: `greedy MODEL TOKENS PROMPT…`. Prints one JSON
//! list: for each prompt its `pieces`, and the `margins` by which each was likelier than the next, in nats.

use std::path::Path;
use std::process::ExitCode;

use artifact::Progress;
use infer::{Engine, Request};
use serde_json::{Value, json};
use tensor::Device;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the result")]
fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<Value, Box<dyn std::error::Error>> {
    let [model, tokens, prompts @ ..] = arguments else {
        return Err("usage: greedy MODEL TOKENS PROMPT…".into());
    };
    let loaded = hub::load(Path::new(model), "model", &Device::flex())?;
    let tokenizer = loaded.tokenizer.clone();
    let engine = Engine::start(loaded);
    let max_tokens = tokens.parse()?;
    let mut requests = Vec::new();
    for prompt in prompts {
        requests.push(Request {
            prompt: tokenizer.encode(prompt)?,
            max_tokens,
            logprobs: Some(2),
            ..Request::default()
        });
    }
    let answers = engine.generate_all(requests, &Progress::silent())?;
    let told = answers.iter().map(|answer| {
        let mut decode = tokenizer.decode_stream();
        let mut pieces = Vec::new();
        for &id in &answer.ids {
            pieces.push(decode.push(id)?.unwrap_or_default());
        }
        let margins = answer.logprobs.iter().map(|token| match &token.top[..] {
            [first, second] => first.1 - second.1,
            _ => 0.0,
        });
        Ok(json!({ "pieces": pieces, "margins": margins.collect::<Vec<f32>>() }))
    });
    told.collect()
}
