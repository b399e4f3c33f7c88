//! `ontogeny serve`: answer over HTTP, with a chat page and ratings.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use serve::Models;

use crate::context::Context;
use crate::output::Output;
use crate::refusal::Refusal;

/// Answer over HTTP (OpenAI-compatible), with a chat page at / and ratings that the next run learns from
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny serve quickstart
  ontogeny serve quickstart --bind 127.0.0.1:9000 --api-keys keys.txt
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
    /// A file with one API key a line; only its bearers are answered
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// A web page's origin that may call the server from a browser, such as https://intranet.example; repeatable
    #[arg(long, value_name = "URL")]
    allow_origin: Vec<String>,
    /// Keep ratings, but not the text of requests and answers
    #[arg(long)]
    no_store_prompts: bool,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let config = serve::Config {
        bind: arguments.bind,
        api_keys: arguments.api_keys.clone(),
        feedback: Some(serve::feedback::path(&context.home)),
        store_prompts: !arguments.no_store_prompts,
        allowed_origins: arguments.allow_origin.clone(),
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
    answer(&config, &names, &arguments.adapter, context)
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
    let models = Models::new();
    for name in names
        .iter()
        .chain(adapters.iter().map(|(_, adapter)| adapter))
    {
        // What goes by no name is told apart from what cannot be loaded.
        hub::resolve(&store, name)?;
    }
    models.load_all(&store, names, adapters, &context.device)?;
    let mut served: Vec<String> = models.list().into_iter().map(|model| model.name).collect();
    served.extend(models.encoders().into_iter().map(|encoder| encoder.name));
    let (json, quiet) = (context.json, context.quiet);
    let mut at = None;
    serve::serve(config, models, |address| {
        at = Some(address);
        let url = format!("http://{address}");
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
