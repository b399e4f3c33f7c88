//! Training steps of a GPT, timed: `gpt_steps FOLDER DEVICE PRECISION LAYERS WIDTH VOCABULARY CONTEXT ROWS STEPS` writes
//! what another framework needs to repeat them into the folder and prints one JSON object.

use std::path::Path;
use std::process::ExitCode;

use models::gpt::Config;
use tensor::Precision;
use train::GptSteps;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, device, precision, numbers @ ..] = &arguments[..] else {
        return usage();
    };
    let numbers: Option<Vec<usize>> = numbers.iter().map(|n| n.parse().ok()).collect();
    let Some(&[layers, width, vocab_size, context, batch_size, steps]) = numbers.as_deref() else {
        return usage();
    };
    let precision = match precision.as_str() {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        _ => return usage(),
    };
    let device = match tensor::device::parse(device) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let work = GptSteps {
        model: Config::new(layers, width, vocab_size, context),
        batch_size,
        steps,
        precision,
        device,
        learning_rate: 1e-3,
    };
    match work.run(Path::new(folder)) {
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

fn usage() -> ExitCode {
    eprintln!("usage: gpt_steps FOLDER DEVICE f32|bf16 LAYERS WIDTH VOCABULARY CONTEXT ROWS STEPS");
    ExitCode::from(2)
}
