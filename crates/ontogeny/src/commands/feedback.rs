//! `ontogeny feedback`: ratings and corrections of served answers.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use serve::feedback::{self, ImportConfig};

use crate::context::Context;
use crate::output::{Output, table};

/// Ratings and corrections of served answers
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take in ratings or preference pairs made elsewhere (JSON lines)
    Import {
        /// The file
        file: PathBuf,
    },
    /// How many answers were given and rated, by model
    Stats,
    /// Write the preference pairs that the ratings make (JSON lines)
    #[command(after_help = "Example:\n  ontogeny feedback export --out pairs.jsonl")]
    Export {
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(crate) fn execute(command: &Command, context: &Context) -> anyhow::Result<Output> {
    // The folder and its layout are made by the artifact store.
    context.store()?;
    let store = feedback::Store::open(&feedback::path(&context.home))?;
    match command {
        Command::Import { file } => {
            let report = feedback::import(&store, file, &ImportConfig::default())?;
            let text = format!(
                "{} rows: {} taken in, {} known before, {} unusable",
                report.rows,
                report.imported,
                report.known,
                report.broken.len()
            );
            Ok(Output::new(text, json!(report)))
        }
        Command::Stats => {
            let stats = store.stats()?;
            let mut rows: Vec<Vec<String>> = stats
                .models
                .iter()
                .map(|(model, one)| {
                    let short: String = model.chars().take(12).collect();
                    [
                        short,
                        one.answers.to_string(),
                        one.up.to_string(),
                        one.down.to_string(),
                        one.corrections.to_string(),
                    ]
                    .into()
                })
                .collect();
            rows.push(
                [
                    "all".into(),
                    stats.answers.to_string(),
                    stats.up.to_string(),
                    stats.down.to_string(),
                    stats.corrections.to_string(),
                ]
                .into(),
            );
            let text = format!(
                "{}\n\n{} preference pairs; the next `ontogeny run` takes them in",
                table(&["model", "answers", "up", "down", "corrected"], &rows),
                stats.pairs
            );
            Ok(Output::new(text, json!(stats)))
        }
        Command::Export { out } => {
            let pairs = feedback::export(&store, out)?;
            Ok(Output::new(
                format!("{pairs} preference pairs in {}", out.display()),
                json!({ "pairs": pairs, "path": out }),
            ))
        }
    }
}
