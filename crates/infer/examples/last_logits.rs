//! The logits behind the last token of texts, for comparison with other programs: `last_logits MODEL TEXT…`. Prints one
//! JSON object: for each text its `ids` and `logits`, and the first text as a `chat`.

use std::path::Path;
use std::process::ExitCode;

use models::Rows;
use serde_json::{Value, json};
use tensor::{Device, Tensor, TensorData, to_vec};
use tokenizer::Message;

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
    let [model, texts @ ..] = arguments else {
        return Err("usage: last_logits MODEL TEXT…".into());
    };
    let device = Device::flex();
    let loaded = hub::load(Path::new(model), "model", &device)?;
    let mut found = Vec::new();
    for text in texts {
        let ids = loaded.tokenizer.encode(text)?;
        let numbers: Vec<i32> = ids.iter().map(|&id| id.cast_signed()).collect();
        let count = numbers.len();
        let tokens = Tensor::from_data(TensorData::new(numbers, [1, count]), &device);
        let decoder = &loaded.decoder;
        let hidden = decoder.forward(tokens, &Rows::causal(1, count), None);
        let logits = to_vec(decoder.logits(hidden));
        let last = &logits[logits.len() - decoder.config().vocab_size..];
        found.push(json!({ "ids": ids, "logits": last }));
    }
    let first = texts.first().cloned().unwrap_or_default();
    let chat = loaded
        .tokenizer
        .chat_template()
        .render(&[Message::new("user", first)], true)?;
    Ok(json!({ "texts": found, "chat": chat }))
}
