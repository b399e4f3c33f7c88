//! The perplexity of one text, ours and llama.cpp's from the same files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::inference::{FORMATS, llama, model};
use super::{number, output};
use crate::python::cache;
use crate::steps::{cargo, root};

/// Tokens of a piece.
const CONTEXT: &str = "512";
/// How far apart they may be, as a share.
const CLOSE: f64 = 0.005;
/// Bytes of the text.
const BYTES: usize = 50_000;
/// Debian's package of the World English Bible, public domain; where a clone has it unpacked, that is taken.
const TEXT: &str = "ontogeny-real-data/web-bible/web-bible.txt";

/// Prints both perplexities in each format.
///
/// # Errors
/// A run fails, or they are further apart than half a hundredth.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(super) fn run(text: Option<&Path>) -> anyhow::Result<()> {
    let llama = llama()?;
    let text = cut(text)?;
    let mut apart = 0;
    println!(
        "{:<6} {:>10} {:>10} {:>9}",
        "file", "ontogeny", "llama.cpp", "apart"
    );
    for format in FORMATS {
        let file = model(&llama, format)?;
        let mut ours = cargo(&["run", "--release", "-q", "-p", "infer", "--example"]);
        ours.args(["perplexity", "--"]).arg(&file).arg(&text);
        let ours = number(&output(ours.arg(CONTEXT))?, "perplexity")?;
        let told = Command::new(&llama.perplexity)
            .arg("-m")
            .arg(&file)
            .arg("-f")
            .arg(&text)
            .args(["-c", CONTEXT, "-t", "2"])
            .output()
            .context("cannot start llama-perplexity")?;
        let told = String::from_utf8_lossy(&told.stdout).into_owned()
            + &String::from_utf8_lossy(&told.stderr);
        let theirs = told
            .split_once("Final estimate: PPL = ")
            .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok())
            .with_context(|| format!("llama-perplexity told no result: {told}"))?;
        let off = (ours / theirs - 1.0).abs();
        println!(
            "{format:<6} {ours:>10.4} {theirs:>10.4} {:>8.2} %",
            100.0 * off
        );
        apart += usize::from(off > CLOSE);
    }
    if apart > 0 {
        bail!("{apart} perplexities are more than {CLOSE} apart");
    }
    Ok(())
}

/// The first 50,000 bytes of a text, in whole lines.
fn cut(text: Option<&Path>) -> anyhow::Result<PathBuf> {
    let real = cache()?.parent().map(|cache| cache.join(TEXT));
    let path = match (text, real) {
        (Some(text), _) => text.to_owned(),
        (None, Some(real)) if real.is_file() => real,
        _ => bail!("no text: name one, of {BYTES} bytes or more, with --text"),
    };
    let whole = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let end = whole
        .char_indices()
        .map(|(at, _)| at)
        .take_while(|at| *at <= BYTES)
        .last()
        .unwrap_or(0);
    let cut = root().join("target/peers/perplexity.txt");
    let folder = cut.parent().context("a folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::write(&cut, &whole[..end])?;
    Ok(cut)
}
