//! `ontogeny serve`: answer over HTTP, with a chat page and ratings.

mod keys;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;
use serve::Models;

use crate::context::Context;
use crate::output::Output;
use crate::refusal::Refusal;

/// Answer over HTTP (OpenAI-compatible), with a chat page at / and ratings that the next run learns from
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  ontogeny serve quickstart
  ontogeny serve quickstart --bind 127.0.0.1:9000 --api-keys keys.txt
  ontogeny serve keys new --name alice --file keys.txt --rpm 60
  ontogeny serve quickstart --bind 0.0.0.0:443 --api-keys keys.txt --tls-cert cert.pem --tls-key key.pem
  ontogeny serve smollm2 --adapter shop=3f2a --adapter tutor=./peft-folder
  curl http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' \\
       -d '{\"model\": \"quickstart\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'")]
pub(crate) struct Arguments {
    /// Artifact ids, names, folders or .gguf files; every named model of the store when absent
    models: Vec<String>,
    /// A LoRA adapter beside the first model, under a name of its own: NAME=ADAPTER; repeatable
    #[arg(long, value_name = "NAME=ADAPTER", value_parser = named_adapter)]
    adapter: Vec<(String, String)>,
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    bind: SocketAddr,
    /// A file with one API key a line; only its bearers are answered. SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// A certificate in PEM; the server then speaks TLS only
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A web page's origin that may call the server from a browser, such as https://intranet.example; repeatable
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,
    /// Keep ratings, but not the text of requests and answers
    #[arg(long)]
    no_store_prompts: bool,
    /// Answers under way at the same time, for each model
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    slots: u16,
    /// Requests that may wait, for each model; more are answered 429
    #[arg(long, default_value_t = 256, value_name = "N")]
    queue: u16,
    /// Seconds that a request may wait for its turn; then it is answered 429
    #[arg(long, default_value_t = 60, value_name = "S")]
    request_timeout: u32,
    /// Memory for keys and values, for each model, such as 2G; a quarter of what is free when absent
    #[arg(long, value_name = "BYTES", value_parser = size)]
    kv_cache_memory: Option<usize>,
    /// Seconds that answers under way may take when the server is told to stop
    #[arg(long, default_value_t = 20, value_name = "S")]
    drain: u32,
    /// Write a line for each request and answer to stderr, without their text
    #[arg(long, value_name = "FORM")]
    log: Option<Log>,
    /// Write the text of requests and answers too
    #[arg(long, requires = "log")]
    log_prompts: bool,
    #[command(subcommand)]
    command: Option<keys::Command>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub(crate) enum Log {
    /// For people
    Text,
    /// An object a line
    Json,
}

impl Arguments {
    /// How the log is to be written, where one is asked for.
    pub(crate) fn log(&self) -> Option<Log> {
        self.log
    }
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    if let Some(command) = &arguments.command {
        return keys::execute(command);
    }
    let mut config = serve::Config {
        bind: arguments.bind,
        api_keys: arguments.api_keys.clone(),
        feedback: Some(serve::feedback::path(&context.home)),
        store_prompts: !arguments.no_store_prompts,
        allowed_origins: arguments.allow_origin.clone(),
        tls: tls(arguments),
        longest_wait: Duration::from_secs(arguments.request_timeout.into()),
        log_prompts: arguments.log_prompts,
        drain: Duration::from_secs(arguments.drain.into()),
        ..serve::Config::default()
    };
    let mut names = arguments.models.clone();
    if names.is_empty() {
        let store = context.store()?;
        for (name, id) in store.refs()? {
            if store.get(id.as_str())?.manifest.kind == "model" {
                names.push(name);
            }
        }
    }
    // What the models take on, and those whose bodies are still read.
    let each = usize::from(arguments.slots) + usize::from(arguments.queue);
    config.most_requests = each * names.len().max(1) + 64;
    let models = Models::with_settings(infer::Settings {
        sequences: arguments.slots.into(),
        queue: Some(arguments.queue.into()),
        memory: arguments.kv_cache_memory,
        ..infer::Settings::default()
    });
    answer(&config, models, &names, &arguments.adapter, context)
}

fn tls(arguments: &Arguments) -> Option<serve::TlsFiles> {
    Some(serve::TlsFiles {
        certificate: arguments.tls_cert.clone()?,
        key: arguments.tls_key.clone()?,
    })
}

/// Bytes, with K, M, G or T for powers of 1024.
fn size(text: &str) -> Result<usize, String> {
    let wrong = || "write a number of bytes, such as 800M or 2G".to_owned();
    let plain = text.trim_end_matches(['b', 'B']).trim_end_matches('i');
    let (number, shift) = match plain.to_ascii_uppercase().chars().last() {
        Some('K') => (&plain[..plain.len() - 1], 10),
        Some('M') => (&plain[..plain.len() - 1], 20),
        Some('G') => (&plain[..plain.len() - 1], 30),
        Some('T') => (&plain[..plain.len() - 1], 40),
        _ => (plain, 0),
    };
    let number: usize = number.trim().parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

/// `NAME=ADAPTER`.
fn named_adapter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, adapter)) if !name.is_empty() && !adapter.is_empty() => {
            Ok((name.to_owned(), adapter.to_owned()))
        }
        _ => Err("write NAME=ADAPTER, for example shop=./adapter-folder".to_owned()),
    }
}

/// Whether the address can be listened on; asked before minutes are spent on training or loading.
pub(crate) fn check_bind(address: SocketAddr) -> anyhow::Result<()> {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Err(serve::Error::PortInUse { address }.into())
        }
        Err(source) => Err(serve::Error::Bind { address, source }.into()),
    }
}

/// Loads the models and serves them until Ctrl-C.
pub(crate) fn answer(
    config: &serve::Config,
    models: Models,
    names: &[String],
    adapters: &[(String, String)],
    context: &Context,
) -> anyhow::Result<Output> {
    if names.is_empty() {
        return Err(Refusal::usage("usage", "there is no model to serve")
            .hint("raise one with `ontogeny run`, or name a folder: `ontogeny serve FOLDER`")
            .into());
    }
    check_bind(config.bind)?;
    let store = context.store()?;
    for name in names
        .iter()
        .chain(adapters.iter().map(|(_, adapter)| adapter))
    {
        // What goes by no name is told apart from what cannot be loaded.
        hub::resolve(&store, name)?;
    }
    let (names, adapters) = (names.to_vec(), adapters.to_vec());
    let device = context.device.clone();
    let load = move |models: &Models| models.load_all(&store, &names, &adapters, &device);
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let loaded = models.clone();
    let (json, quiet) = (context.json, context.quiet);
    let mut at = None;
    serve::serve(config, models, load, |address| {
        at = Some(address);
        let served = loaded.list().into_iter().map(|model| model.name);
        let encoders = loaded.encoders().into_iter().map(|encoder| encoder.name);
        let served: Vec<String> = served.chain(encoders).collect();
        let url = format!("{scheme}://{address}");
        if json {
            super::generate::write(&format!("{}\n", json!({ "url": url, "models": served })));
        } else if !quiet {
            eprintln!("serving {} on {url}", served.join(", "));
            eprintln!("  chat page   {url}/");
            eprintln!("  API         {url}/v1/chat/completions");
            eprintln!("  Ctrl-C stops; ratings are taken in by the next `ontogeny run`");
        }
    })?;
    Ok(Output::new("", json!({ "stopped": at })))
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, bytes) in [
            ("4096", Ok(4096)),
            ("3k", Ok(3072)),
            ("2G", Ok(2 << 30)),
            ("2GiB", Ok(2 << 30)),
            ("800MB", Ok(800 << 20)),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
        for text in ["", "G", "-1", "2.5G", "0", "99999999999999T", "ß"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
