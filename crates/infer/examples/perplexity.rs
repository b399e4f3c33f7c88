//! The perplexity of a text as llama.cpp's own tool counts it: `perplexity MODEL FILE CONTEXT` cuts the text into pieces
//! of CONTEXT tokens and counts the tokens of each piece's second half. Prints one JSON object.

use std::path::Path;
use std::process::ExitCode;

use models::Rows;
use serde_json::{Value, json};
use tensor::{Device, Tensor, TensorData};

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
    let [model, file, context] = arguments else {
        return Err("usage: perplexity MODEL FILE CONTEXT".into());
    };
    let context: usize = context.parse()?;
    let device = Device::flex();
    let loaded = hub::load(Path::new(model), "model", &device)?;
    let ids = loaded.tokenizer.encode(&std::fs::read_to_string(file)?)?;
    let (mut nats, mut counted, mut pieces) = (0.0, 0, 0);
    for piece in ids.chunks_exact(context) {
        let inputs: Vec<i32> = piece.iter().map(|&id| id.cast_signed()).collect();
        let tokens = Tensor::from_data(TensorData::new(inputs, [1, context]), &device);
        let hidden = loaded
            .decoder
            .forward(tokens, &Rows::causal(1, context), None);
        let first = context / 2;
        let hidden = hidden.narrow(1, first, context - 1 - first);
        let found = loaded.decoder.token_logprobs(hidden, &piece[first + 1..]);
        nats -= found.iter().copied().map(f64::from).sum::<f64>();
        counted += found.len();
        pieces += 1;
    }
    Ok(json!({
        "tokens": ids.len(), "pieces": pieces, "counted": counted,
        "perplexity": (nats / f64::from(u32::try_from(counted)?)).exp(),
    }))
}
