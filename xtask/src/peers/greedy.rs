//! Does llama.cpp write the same text from the same file?

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::inference::{FORMATS, Llama, llama, model};
use super::output;
use crate::steps::cargo;

const TOKENS: &str = "64";
/// Where our own margin is below this, rounding decides: both engines round x to eight bits in every product, and their
/// scales differ in the last bits; in nats.
pub(super) const NEAR_TIE: f64 = 0.3;
const PROMPTS: [&str; 10] = [
    "The capital of France is",
    "Once upon a time there was a",
    "To make bread you need",
    "The three laws of thermodynamics say that",
    "In 1969, two astronauts",
    "def fibonacci(n):",
    "The difference between a crocodile and an alligator is",
    "Dear Sir or Madam,",
    "Photosynthesis is the process by which",
    "The best way to learn a language is",
];

/// Compares 64 greedy tokens behind ten prompts in each format and prints where the texts part.
///
/// # Errors
/// A run fails, or texts part where our margin was clear.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(super) fn run(formats: &[String]) -> anyhow::Result<()> {
    let llama = llama()?;
    let mut clear = 0;
    println!(
        "{:<6} {:>6} {:>10} {:>10}  prompt",
        "file", "same", "margin", "smallest"
    );
    for format in FORMATS {
        if !formats.is_empty() && !formats.iter().any(|wanted| wanted == format) {
            continue;
        }
        let file = model(&llama, format)?;
        let ours = ours(&file, &PROMPTS)?;
        for (prompt, ours) in PROMPTS.iter().zip(ours.as_array().context("no list")?) {
            let (same, margin) = part(&llama, &file, prompt, ours)?;
            let margins = ours["margins"].as_array().context("no margins")?;
            let margins = margins.iter().filter_map(Value::as_f64);
            let smallest = margins.fold(f64::INFINITY, f64::min);
            println!(
                "{format:<6} {same:>6} {:>10} {smallest:>10.4}  {prompt}",
                margin.map_or_else(|| "all".to_owned(), |margin| format!("{margin:.4}"))
            );
            clear += usize::from(margin.is_some_and(|margin| margin > NEAR_TIE));
        }
    }
    if clear > 0 {
        bail!("{clear} texts part where our margin was over {NEAR_TIE}");
    }
    Ok(())
}

/// What we write greedily behind each prompt, with margins.
pub(super) fn ours(file: &Path, prompts: &[&str]) -> anyhow::Result<Value> {
    let mut ours = cargo(&[
        "run",
        "--release",
        "-q",
        "-p",
        "infer",
        "--example",
        "greedy",
    ]);
    output(ours.arg("--").arg(file).arg(TOKENS).args(prompts))
}

/// How many of our tokens llama.cpp writes too, and our margin where the texts part.
pub(super) fn part(
    llama: &Llama,
    file: &Path,
    prompt: &str,
    ours: &Value,
) -> anyhow::Result<(usize, Option<f64>)> {
    let told = Command::new(&llama.simple)
        .arg("-m")
        .arg(file)
        .args(["-n", TOKENS, "-ngl", "0", prompt])
        .output()
        .context("cannot start llama-simple")?;
    if !told.status.success() {
        bail!("llama-simple: {}", String::from_utf8_lossy(&told.stderr));
    }
    let theirs = String::from_utf8_lossy(&told.stdout);
    let (_, theirs) = theirs
        .split_once(prompt)
        .with_context(|| format!("llama-simple did not repeat the prompt: {theirs}"))?;
    let (same, margins) = common(ours, theirs)?;
    // Where one of our tokens begins another of theirs, the texts part one token late.
    let margin = (same < margins.len())
        .then(|| margins[same.saturating_sub(1)..=same].iter().copied())
        .map(|both| both.fold(f64::INFINITY, f64::min));
    Ok((same, margin))
}

/// How many of our tokens begin their text, and our margins.
fn common(ours: &Value, theirs: &str) -> anyhow::Result<(usize, Vec<f64>)> {
    let pieces = ours["pieces"].as_array().context("no pieces")?;
    let margins = ours["margins"].as_array().context("no margins")?;
    let mut text = String::new();
    let mut same = 0;
    for piece in pieces {
        text += piece.as_str().context("a piece of text")?;
        if !theirs.starts_with(&text) {
            break;
        }
        same += 1;
    }
    Ok((same, margins.iter().filter_map(Value::as_f64).collect()))
}
