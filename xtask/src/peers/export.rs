//! What is exported, loaded by the programs it is meant for: Python's `transformers`, and llama.cpp.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::greedy::{NEAR_TIE, ours, part};
use super::inference::{llama, model};
use super::{output, script};
use crate::python::{cache, with_torch};
use crate::steps::{cargo, root};

const TEXTS: [&str; 4] = [
    "The reef is open from May",
    "How deep may a beginner dive, and in 2024?",
    "It's   1,234.50 €  –  naïve café\n\n  12 fish\t\u{1F420} हिन्दी",
    "\n\n\"Well,\" she said.  ",
];
/// What logits may differ by, in f32.
const CLOSE: f64 = 1e-4;

/// Exports a home-raised model and SmolLM2, lets the other programs load them, and prints a line for each check.
///
/// # Errors
/// A run fails, or the programs do not compute the same.
#[expect(clippy::print_stdout, reason = "the lines are the result")]
pub(super) fn run(raised: Option<&Path>) -> anyhow::Result<()> {
    let folder = cache()?.join("export");
    let (raised, home) = match raised {
        Some(folder) => (folder.to_owned(), None),
        None => (PathBuf::from("tiny"), Some(folder.join("home"))),
    };
    if let Some(home) = &home {
        // Its gate may keep the earlier of two tiny models, which ends with 3 and is no matter here.
        let recipe = root().join("crates/ontogeny/tests/command/tiny.toml");
        ontogeny(Some(home)).arg("run").arg(recipe).status()?;
    }
    let mut failed = 0;
    let mut say = |what: &str, good: bool, found: String| {
        failed += usize::from(!good);
        println!(
            "{:<6} {what:<34} {found}",
            if good { "same" } else { "OTHER" }
        );
    };

    let python = with_torch()?;
    let exported = folder.join("tiny");
    export(home.as_deref(), &raised, &["safetensors"], &exported)?;
    let theirs = output(script(&python, "export.py", &exported)?.args(TEXTS))?;
    let mine = output(example("last_logits").arg(&exported).args(TEXTS))?;
    say(
        "chat template in transformers",
        theirs["chat"] == mine["chat"],
        String::new(),
    );
    for (text, (theirs, mine)) in TEXTS.iter().zip(list(&theirs)?.iter().zip(list(&mine)?)) {
        let off = distance(&theirs["logits"], &mine["logits"])?;
        let same = theirs["ids"] == mine["ids"] && off < CLOSE;
        say(
            "logits in transformers",
            same,
            format!("{off:.1e} {text:?}"),
        );
    }

    let llama = llama()?;
    let published = model(&llama, "Q8_0")?;
    for (from, home, quant) in [
        (&raised, home.as_deref(), "f16"),
        (&raised, home.as_deref(), "q8_0"),
        (&raised, home.as_deref(), "q4_k"),
        (&published, None, "q4_k"),
    ] {
        let name = from.file_stem().unwrap_or_default().to_string_lossy();
        let file = folder.join(format!("{name}.{quant}.gguf"));
        export(home, from, &["gguf", "--quant", quant], &file)?;
        let prompts = [
            "The capital of France is",
            "Once upon a time there was a",
            "Dear Sir or Madam,",
        ];
        let told = ours(&file, &prompts)?;
        for (prompt, told) in prompts.iter().zip(told.as_array().context("no list")?) {
            let (same, margin) = part(&llama, &file, prompt, told)?;
            let good = margin.is_none_or(|margin| margin <= NEAR_TIE);
            let margin = margin.map_or_else(
                || "to the end".to_owned(),
                |m| format!("then a margin of {m:.4}"),
            );
            say(
                &format!("{name} in llama.cpp, {quant}"),
                good,
                format!("{same} tokens, {margin} {prompt:?}"),
            );
        }
    }
    if failed > 0 {
        bail!("{failed} checks failed");
    }
    Ok(())
}

fn ontogeny(home: Option<&Path>) -> Command {
    let mut command = cargo(&["run", "--release", "-q", "-p", "ontogeny", "--", "--quiet"]);
    if let Some(home) = home {
        command.arg("--home").arg(home);
    }
    command
}

fn example(name: &str) -> Command {
    cargo(&[
        "run",
        "--release",
        "-q",
        "-p",
        "infer",
        "--example",
        name,
        "--",
    ])
}

/// Writes a model by our own command.
pub(super) fn export(
    home: Option<&Path>,
    model: &Path,
    format: &[&str],
    out: &Path,
) -> anyhow::Result<()> {
    let mut command = ontogeny(home);
    command
        .args(["models", "export"])
        .arg(model)
        .arg("--format")
        .args(format);
    output(command.arg("--out").arg(out).args(["--force", "--json"])).map(|_| ())
}

fn list(told: &Value) -> anyhow::Result<&Vec<Value>> {
    told["texts"].as_array().context("no texts")
}

/// The largest difference between two lists of numbers.
fn distance(a: &Value, b: &Value) -> anyhow::Result<f64> {
    let (a, b) = (
        a.as_array().context("no list")?,
        b.as_array().context("no list")?,
    );
    if a.len() != b.len() {
        bail!("{} logits and {}", a.len(), b.len());
    }
    let pairs = a
        .iter()
        .zip(b)
        .map(|(a, b)| Some((a.as_f64()? - b.as_f64()?).abs()));
    let pairs = pairs.map(|off| off.context("a logit is no number"));
    pairs
        .into_iter()
        .try_fold(0.0, |most, off| Ok(f64::max(most, off?)))
}
