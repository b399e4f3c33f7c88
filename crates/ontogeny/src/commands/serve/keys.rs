//! `ontogeny serve keys`: who may call a server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::output::Output;

/// What comes behind `serve`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The file of API keys
    #[command(subcommand)]
    Keys(Keys),
}

/// The file of API keys
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key, print it once, and add its hash to the file
    New(New),
}

/// Make a key, print it once, and add its hash to the file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny serve keys new --name alice --file keys.txt
  ontogeny serve keys new --name batch --file keys.txt --rpm 600 --tpm 200000 --concurrent 8")]
pub(crate) struct New {
    /// Whose key it is; metrics and the log call it so
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The file that `serve --api-keys` reads; made if it is not there
    #[arg(long, default_value = "keys.txt", value_name = "FILE")]
    file: PathBuf,
    /// Requests in a minute; any number when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rpm: Option<u32>,
    /// Tokens in a minute, those of prompts and answers together; any number when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tpm: Option<u32>,
    /// Requests at the same time; any number when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrent: Option<u32>,
}

pub(crate) fn execute(command: &Command) -> anyhow::Result<Output> {
    let Command::Keys(Keys::New(new)) = command;
    let limits = serve::Limits {
        requests_per_minute: new.rpm,
        tokens_per_minute: new.tpm,
        concurrent: new.concurrent,
    };
    let key = serve::new_key(&new.file, &new.name, limits)?;
    let text = format!(
        "{key}\n\nIts hash stands in {} as `{}`; the key itself stands nowhere else.\nA server that runs reads the file \
         again at SIGHUP.",
        new.file.display(),
        new.name
    );
    let json = json!({ "key": key, "name": new.name, "file": new.file });
    Ok(Output::new(text, json))
}
