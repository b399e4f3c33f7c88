//! `ontogeny tokenizer`: train one on documents, encode and decode with it.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use tokenizer::Tokenizer;

use super::generate::read_stdin;
use crate::context::Context;
use crate::display::Mark;
use crate::output::Output;
use crate::refusal::Refusal;

/// Train and use tokenizers
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a byte-level BPE tokenizer on files or folders
    #[command(
        after_help = "Example:\n  ontogeny tokenizer train texts/ --vocab-size 8192 --out tokenizer.json"
    )]
    Train {
        /// Files and folders of .txt, .md, .jsonl, .csv, .parquet, also .gz and .zst
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Tokens in the vocabulary, the 256 bytes and the special tokens among them
        #[arg(long, value_name = "N")]
        vocab_size: usize,
        /// How often a pair must occur to become a token
        #[arg(long, default_value_t = 2, value_name = "N")]
        min_frequency: u64,
        /// The tokenizer.json to write, or a folder for it and its chat template
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Text to token ids
    #[command(
        after_help = "Example:\n  ontogeny tokenizer encode tokenizer.json \"The reef\" --json"
    )]
    Encode {
        /// A tokenizer.json, or a folder with one
        file: PathBuf,
        /// The text; read from stdin when absent
        #[arg(allow_hyphen_values = true)]
        text: Option<String>,
    },
    /// Token ids to text
    #[command(after_help = "Example:\n  ontogeny tokenizer decode tokenizer.json \"318 257 1332\"")]
    Decode {
        /// A tokenizer.json, or a folder with one
        file: PathBuf,
        /// Ids, separated by spaces or commas; read from stdin when absent
        ids: Option<String>,
    },
}

pub(crate) fn execute(command: &Command, context: &Context) -> anyhow::Result<Output> {
    match command {
        Command::Train {
            paths,
            vocab_size,
            min_frequency,
            out,
        } => train(paths, *vocab_size, *min_frequency, out, context),
        Command::Encode { file, text } => {
            let tokenizer = Tokenizer::load(file)?;
            let text = text.clone().map_or_else(read_stdin, Ok)?;
            let ids = tokenizer.encode(&text)?;
            let tokens: Vec<String> = ids
                .iter()
                .map(|&id| tokenizer.token(id).unwrap_or_default())
                .collect();
            let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
            Ok(Output::new(
                words.join(" "),
                json!({ "ids": ids, "tokens": tokens }),
            ))
        }
        Command::Decode { file, ids } => {
            let tokenizer = Tokenizer::load(file)?;
            let written = ids.clone().map_or_else(read_stdin, Ok)?;
            let ids = numbers(&written)?;
            let text = tokenizer.decode(&ids)?;
            Ok(Output::new(text.clone(), json!({ "text": text })))
        }
    }
}

/// Ids written as `1 2 3`, `1,2,3` or `[1, 2, 3]`.
fn numbers(text: &str) -> Result<Vec<u32>, Refusal> {
    let words =
        text.split(|character: char| character.is_whitespace() || ",[]".contains(character));
    let ids = words.filter(|word| !word.is_empty()).map(|word| {
        word.parse().map_err(|_| {
            Refusal::usage("usage", format!("`{word}` is not a token id"))
                .hint("give whole numbers, separated by spaces or commas")
        })
    });
    ids.collect()
}

fn train(
    paths: &[PathBuf],
    vocab_size: usize,
    min_frequency: u64,
    out: &std::path::Path,
    context: &Context,
) -> anyhow::Result<Output> {
    let display = context.display("tokenizer", &["tokenizer"]);
    display.mark("tokenizer", Mark::Running, "");
    let documents = data::documents(paths, display.progress())?;
    let config = tokenizer::TrainConfig {
        vocab_size,
        min_frequency,
    };
    // An unreadable file ends the iteration; its error is told after the training took what came before.
    let mut failed = None;
    let texts = documents.map_while(|document| match document {
        Ok(document) => Some(document.text),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let trained = Tokenizer::train(
        texts.collect::<Vec<_>>().into_iter(),
        &config,
        display.progress(),
    );
    if let Some(error) = failed {
        return Err(error.into());
    }
    let trained = trained?;
    let path = if out.extension().is_some_and(|extension| extension == "json") {
        artifact::write_atomic(out, trained.to_json()?.as_bytes())?;
        out.to_path_buf()
    } else {
        trained.save(out)?;
        out.join("tokenizer.json")
    };
    display.mark(
        "tokenizer",
        Mark::Done,
        &format!("{} tokens", trained.vocab_size()),
    );
    display.finish();
    let text = format!("{} tokens in {}", trained.vocab_size(), path.display());
    Ok(Output::new(
        text,
        json!({ "path": path, "vocab_size": trained.vocab_size() }),
    ))
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn ids_are_read_however_they_are_separated() {
        for text in ["1 2 3", "1,2,3", "[1, 2, 3]\n", " 1\t2\n3 "] {
            assert_eq!(numbers(text).ok(), Some(vec![1, 2, 3]), "{text:?}");
        }
        assert!(numbers("1 x").is_err_and(|refusal| refusal.message.contains("`x`")));
    }
}
