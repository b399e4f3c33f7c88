//! Training steps of an adapter, timed: `lora_steps FOLDER MODEL TEXT PRECISION CONTEXT ROWS STEPS` writes what another
//! framework needs to repeat them into the folder and prints one JSON object.

use std::path::Path;
use std::process::ExitCode;

use models::lora;
use tensor::Precision;
use train::LoraSteps;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[expect(clippy::print_stdout, reason = "the result")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, model, text, precision, numbers @ ..] = &arguments[..] else {
        return usage();
    };
    let numbers: Option<Vec<usize>> = numbers.iter().map(|n| n.parse().ok()).collect();
    let (Some(&[context, batch_size, steps]), Ok(text)) =
        (numbers.as_deref(), std::fs::read_to_string(text))
    else {
        return usage();
    };
    let work = LoraSteps {
        model: Path::new(model),
        text: &text,
        adapter: lora::Config::default(),
        batch_size,
        context,
        steps,
        precision: match precision.as_str() {
            "f32" => Precision::F32,
            "bf16" => Precision::Bf16,
            _ => return usage(),
        },
        learning_rate: 5e-4,
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
    eprintln!("usage: lora_steps FOLDER MODEL TEXT f32|bf16 CONTEXT ROWS STEPS");
    ExitCode::from(2)
}
