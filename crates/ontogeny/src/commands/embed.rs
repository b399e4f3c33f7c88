//! `ontogeny embed`: vectors of texts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use artifact::Progress;
use clap::Args;
use knowledge::{Embedder, Embeddings, cosine};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::display::Mark;
use crate::output::{Output, table};
use crate::quantity;
use crate::refusal::Refusal;

/// Texts at a time: enough to fill several batches, few enough that progress and Ctrl-C are prompt.
const PIECE: usize = 256;
/// Texts whose cosines are shown, at most.
const SHOWN: usize = 12;

/// Vectors of texts, close where meanings are
#[derive(Debug, Args)]
#[command(after_help = "\
MODEL is an encoder: a folder of Hugging Face (BERT, RoBERTa, XLM-RoBERTa) with safetensors and tokenizer.json. Pooling,
normalisation and prompts are read from its sentence-transformers files; without them, the mean of all tokens.

Examples:
  ontogeny embed ./all-MiniLM-L6-v2 \"The reef is closed.\" \"Nobody may dive today.\"
  ontogeny embed minilm --input questions.txt --out questions.vectors.jsonl
  ontogeny embed ./e5-small --prompt query \"when does the boat leave\" --json")]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, or a folder
    model: String,
    /// Texts; without them and without --input, every line of stdin is one
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// Read texts from a file: the field `text` of each line of a .jsonl, else every line
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    input: Option<PathBuf>,
    /// Write each text with its vector as a line of this file, as they come
    #[arg(long, value_name = "FILE.jsonl")]
    out: Option<PathBuf>,
    /// Set the model's prompt of this name before every text
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
}

/// One line of `--out`.
#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    embedding: &'a [f32],
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let (path, id) = hub::resolve(&store, &arguments.model)?;
    let mut texts = Texts::open(arguments)?;
    let embedder = Embedder::new(hub::load_encoder(&path, &id, &context.device)?);
    let prompt = arguments.prompt.as_deref();
    // A handful of texts is done before a display would stand.
    let large = arguments.out.is_some() || arguments.input.is_some();
    let display = large.then(|| context.display("embed", &["embed"]));
    let progress = display.as_ref().map_or_else(Progress::silent, |display| {
        display.mark("embed", Mark::Running, "");
        display.progress().clone()
    });

    let mut kept = Kept::default();
    let done = match &arguments.out {
        None => embed(&mut texts, &embedder, prompt, &progress, |texts, found| {
            kept.texts.extend_from_slice(texts);
            kept.values.extend_from_slice(&found.values);
            Ok(())
        })?,
        Some(out) => to_file(out, |file| {
            embed(&mut texts, &embedder, prompt, &progress, |texts, found| {
                lines(file, texts, found)
            })
        })?,
    };
    if let Some(display) = display {
        display.mark("embed", Mark::Done, &done.told(&embedder));
        display.finish();
    }
    Ok(answer(arguments, &embedder, &done, &kept))
}

/// What was done.
#[derive(Default)]
struct Done {
    texts: usize,
    tokens: usize,
    truncated: usize,
    /// Spent on tokens and vectors, not on the model's files.
    seconds: f64,
}

/// What is shown at the end.
#[derive(Default)]
struct Kept {
    texts: Vec<String>,
    /// `[texts, dimensions]`.
    values: Vec<f32>,
}

impl Done {
    fn told(&self, embedder: &Embedder) -> String {
        let count = |number: usize, one: &str, more: &str| {
            let word = if number == 1 { one } else { more };
            format!("{} {word}", quantity::count(number as u64))
        };
        let mut told = format!(
            "{}, {} dimensions, {}",
            count(self.texts, "text", "texts"),
            embedder.dimensions(),
            count(self.tokens, "token", "tokens")
        );
        if self.truncated > 0 {
            let cut = quantity::count(self.truncated as u64);
            told += &format!(", {cut} cut to {} tokens", embedder.longest());
        }
        told
    }
}

/// Embeds all texts, piece by piece, and hands each piece on.
fn embed(
    texts: &mut Texts,
    embedder: &Embedder,
    prompt: Option<&str>,
    progress: &Progress,
    mut with: impl FnMut(&[String], &Embeddings) -> anyhow::Result<()>,
) -> anyhow::Result<Done> {
    let mut done = Done::default();
    loop {
        progress.check()?;
        let piece = texts.piece()?;
        if piece.is_empty() {
            break;
        }
        let begun = Instant::now();
        let borrowed: Vec<&str> = piece.iter().map(String::as_str).collect();
        let found = embedder.embed(&borrowed, prompt)?;
        done.seconds += begun.elapsed().as_secs_f64();
        done.texts += piece.len();
        done.tokens += found.tokens;
        done.truncated += found.truncated;
        with(&piece, &found)?;
        match texts.total {
            Some(total) => progress.tick(texts.read, Some(total), "bytes"),
            None => progress.tick(done.texts as u64, None, "texts"),
        }
    }
    if done.texts == 0 {
        return Err(Refusal::usage("input", "there is no text")
            .hint("give texts as arguments, one on each line of stdin, or a file with --input")
            .into());
    }
    Ok(done)
}

/// Fills a file that is there whole or not at all.
fn to_file(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> anyhow::Result<Done>,
) -> anyhow::Result<Done> {
    let mut told = None;
    let written = artifact::write_atomic_with(path, |file| match fill(file) {
        Ok(done) => {
            told = Some(Ok(done));
            Ok(())
        }
        // The file's own trouble is told with its name, all other as it is.
        Err(error) => Err(error.downcast::<io::Error>().unwrap_or_else(|other| {
            told = Some(Err(other));
            io::Error::other("stopped")
        })),
    });
    match told {
        Some(Err(error)) => Err(error),
        Some(Ok(done)) => Ok(written.map(|()| done)?),
        None => Ok(written.map(|()| Done::default())?),
    }
}

fn lines(file: &mut dyn Write, texts: &[String], found: &Embeddings) -> anyhow::Result<()> {
    for (text, embedding) in texts.iter().zip(found.rows()) {
        serde_json::to_writer(&mut *file, &Line { text, embedding }).map_err(io::Error::from)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

fn answer(arguments: &Arguments, embedder: &Embedder, done: &Done, kept: &Kept) -> Output {
    let dimensions = embedder.dimensions();
    let mut json = json!({
        "model": embedder.model_id(),
        "texts": done.texts,
        "dimensions": dimensions,
        "tokens": done.tokens,
        "truncated": done.truncated,
        "seconds": done.seconds,
        "texts_per_second": done.texts as f64 / done.seconds.max(1e-9),
    });
    let mut text = done.told(embedder);
    if let Some(out) = &arguments.out {
        json["path"] = json!(out);
        text += &format!(", in {}", out.display());
        return Output::new(text, json);
    }
    let rows: Vec<&[f32]> = kept.values.chunks_exact(dimensions).collect();
    let vectors = rows
        .iter()
        .map(|row| Value::from_iter(row.iter().map(|&x| shortest(x))));
    json["embeddings"] = Value::from_iter(vectors);
    match rows[..] {
        [row] => {
            let first: Vec<String> = row.iter().take(6).map(|x| format!("{x:.4}")).collect();
            text += &format!("\n{} …", first.join(" "));
        }
        _ if rows.len() <= SHOWN => text += &format!("\n\n{}", cosines(&kept.texts, &rows)),
        _ => text += "; --json prints the vectors, --out FILE.jsonl writes them",
    }
    Output::new(text, json)
}

/// The number that reads back as the same 32 bits with the fewest digits.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or_else(|_| f64::from(x))
}

/// The cosine of each text with each other.
fn cosines(texts: &[String], rows: &[&[f32]]) -> String {
    const WORDS: usize = 32;
    let numbers: Vec<String> = (1..=rows.len()).map(|number| number.to_string()).collect();
    let heads: Vec<&str> = std::iter::once("cosine")
        .chain(numbers.iter().map(String::as_str))
        .collect();
    let lines: Vec<Vec<String>> = rows
        .iter()
        .zip(texts)
        .zip(&numbers)
        .map(|((a, text), number)| {
            let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let mut begin: String = flat.chars().take(WORDS).collect();
            if begin.len() < flat.len() {
                begin.push('…');
            }
            let name = std::iter::once(format!("{number} {begin}"));
            name.chain(rows.iter().map(|b| format!("{:.3}", cosine(a, b))))
                .collect()
        })
        .collect();
    table(&heads, &lines)
}

/// Where texts come from, a piece at a time.
struct Texts {
    from: From,
    /// Bytes of them all, where that is known.
    total: Option<u64>,
    /// Bytes read so far.
    read: u64,
}

enum From {
    Arguments(std::vec::IntoIter<String>),
    Lines {
        lines: Box<dyn BufRead>,
        name: String,
        number: usize,
        /// Whether each line is an object with the text in it.
        objects: bool,
    },
}

impl Texts {
    fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let (from, total) = match &arguments.input {
            Some(path) => {
                let broken = |error: io::Error| {
                    Refusal::usage("input", format!("cannot read {}: {error}", path.display()))
                        .hint("name a file with a text on each line, or a .jsonl with the field `text`")
                };
                let file = File::open(path).map_err(broken)?;
                let about = file.metadata().map_err(broken)?;
                if about.is_dir() {
                    return Err(broken(io::ErrorKind::IsADirectory.into()).into());
                }
                let ending = path.extension().unwrap_or_default();
                let lines = From::Lines {
                    lines: Box::new(BufReader::new(file)),
                    name: path.display().to_string(),
                    number: 0,
                    objects: ending == "jsonl" || ending == "ndjson",
                };
                (lines, Some(about.len()))
            }
            None if arguments.texts.is_empty() => {
                let lines = From::Lines {
                    lines: Box::new(BufReader::new(io::stdin())),
                    name: "stdin".to_owned(),
                    number: 0,
                    objects: false,
                };
                (lines, None)
            }
            None => (From::Arguments(arguments.texts.clone().into_iter()), None),
        };
        Ok(Self {
            from,
            total,
            read: 0,
        })
    }

    /// The next texts; none at the end.
    fn piece(&mut self) -> Result<Vec<String>, Refusal> {
        let mut piece = Vec::new();
        while piece.len() < PIECE {
            match &mut self.from {
                From::Arguments(texts) => match texts.next() {
                    Some(text) => piece.push(text),
                    None => break,
                },
                From::Lines {
                    lines,
                    name,
                    number,
                    objects,
                } => {
                    let mut bytes = Vec::new();
                    let wrong = |problem: String| {
                        Refusal::failed("input", format!("{name}, line {}: {problem}", *number + 1))
                    };
                    let length = lines
                        .read_until(b'\n', &mut bytes)
                        .map_err(|error| wrong(error.to_string()))?;
                    if length == 0 {
                        break;
                    }
                    self.read += length as u64;
                    let line = String::from_utf8(bytes).map_err(|_| {
                        wrong("no UTF-8 text".to_owned())
                            .hint("convert it first, for example with iconv")
                    })?;
                    let line = line.strip_suffix('\n').unwrap_or(&line);
                    let line = line.strip_suffix('\r').unwrap_or(line);
                    if *objects {
                        // A blank line is no object, and no text either.
                        if !line.trim().is_empty() {
                            piece.push(field(line).map_err(wrong)?);
                        }
                    } else {
                        piece.push(line.to_owned());
                    }
                    *number += 1;
                }
            }
        }
        Ok(piece)
    }
}

/// The field `text` of an object.
fn field(line: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match value.get("text") {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err("`text` is no string".to_owned()),
        None => Err("the field `text` is missing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_as_the_same_bits() {
        for x in [
            0.1_f32,
            -0.062_345_67,
            1e-30,
            f32::MIN_POSITIVE,
            0.0,
            1.0 / 3.0,
        ] {
            assert_eq!((shortest(x) as f32).to_bits(), x.to_bits());
        }
        assert_eq!(shortest(0.1).to_string(), "0.1");
    }

    #[test]
    fn the_text_of_a_line() {
        assert_eq!(field(r#"{"text": "a\nb", "id": 3}"#), Ok("a\nb".to_owned()));
        for (line, problem) in [
            ("{}", "missing"),
            (r#"{"text": 1}"#, "no string"),
            ("[", "EOF"),
        ] {
            assert!(
                field(line).is_err_and(|told| told.contains(problem)),
                "{line}"
            );
        }
    }
}
