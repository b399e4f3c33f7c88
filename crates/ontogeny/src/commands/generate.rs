//! `ontogeny generate`: continue a text.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use clap::Args;
use infer::{Delta, Engine, FinishReason, Request, Sampling};
use serde_json::json;

use crate::context::Context;
use crate::output::Output;
use crate::refusal::Refusal;

/// Continue a text
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny generate quickstart \"The reef\" --max-tokens 40
  echo \"The reef\" | ontogeny generate quickstart --temperature 0.8 --seed 7 --json")]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, a folder, or a .gguf file
    model: String,
    /// The text to continue; read from stdin when absent
    #[arg(allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Longest continuation, in tokens
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_tokens: usize,
    /// A LoRA adapter beside the model: an artifact, or a folder as PEFT writes it
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    #[command(flatten)]
    sampling: SamplingArguments,
    /// Text that ends the continuation; may be given several times
    #[arg(long, value_name = "S")]
    stop: Vec<String>,
    /// Report the N likeliest tokens at each place (with --json)
    #[arg(long, value_name = "N")]
    logprobs: Option<usize>,
}

/// How tokens are chosen.
#[derive(Clone, Debug, Args)]
pub(crate) struct SamplingArguments {
    /// Divides the logits; 0 takes the likeliest token
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    temperature: f32,
    /// Keep the N likeliest tokens; 0 keeps all
    #[arg(long, default_value_t = 0, value_name = "N")]
    top_k: usize,
    /// Keep the smallest set of likeliest tokens with this much probability
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    top_p: f32,
    /// Keep tokens with at least this share of the likeliest one's probability
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    min_p: f32,
    /// Seed of the choice
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

impl SamplingArguments {
    pub(crate) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
            ..Sampling::default()
        }
    }
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let engine = load(&arguments.model, arguments.adapter.as_deref(), context)?;
    let prompt = match &arguments.prompt {
        Some(prompt) => prompt.clone(),
        None => read_stdin()?,
    };
    let tokens = engine.tokenizer().encode(&prompt)?;
    // A model learns that a document begins behind the end of another.
    let tokens = if tokens.is_empty() {
        vec![engine.tokenizer().end_of_text()]
    } else {
        tokens
    };
    let prompt_tokens = tokens.len();
    let request = Request {
        prompt: tokens,
        max_tokens: arguments.max_tokens,
        sampling: arguments.sampling.sampling(),
        stop: arguments.stop.clone(),
        logprobs: arguments.logprobs,
        ..Request::default()
    };
    let started = Instant::now();
    let said = stream(&engine, request, started, |piece| {
        if !context.json {
            write(piece);
        }
    })?;
    let seconds = said
        .first_token_seconds
        .unwrap_or_else(|| started.elapsed().as_secs_f64());
    let decoding = started.elapsed().as_secs_f64() - seconds;
    let decoded = said.ids.len().saturating_sub(1);
    let mut json = json!({
        "text": said.text,
        "tokens": said.ids,
        "finish_reason": said.finish_reason,
        "prefill_tokens": prompt_tokens,
        "prefill_tokens_per_second": prompt_tokens as f64 / seconds.max(1e-9),
        "decode_tokens_per_second": if decoded == 0 { 0.0 } else { decoded as f64 / decoding.max(1e-9) },
        "first_token_seconds": seconds,
    });
    if arguments.logprobs.is_some() {
        json["logprobs"] = json!(said.logprobs);
    }
    if !context.json {
        // The text was written as it came.
        write("\n");
    }
    Ok(Output::new("", json))
}

/// What a stream came to.
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) ids: Vec<u32>,
    pub(crate) logprobs: Vec<serde_json::Value>,
    pub(crate) finish_reason: FinishReason,
    pub(crate) first_token_seconds: Option<f64>,
}

/// Runs one request, handing each piece of text on as it comes.
pub(crate) fn stream(
    engine: &Engine,
    request: Request,
    started: Instant,
    mut piece: impl FnMut(&str),
) -> anyhow::Result<Said> {
    let mut said = Said {
        text: String::new(),
        ids: Vec::new(),
        logprobs: Vec::new(),
        finish_reason: FinishReason::Stop,
        first_token_seconds: None,
    };
    for delta in engine.submit(request) {
        match delta {
            Delta::Token {
                id,
                text,
                logprob,
                top,
            } => {
                said.first_token_seconds
                    .get_or_insert_with(|| started.elapsed().as_secs_f64());
                piece(&text);
                said.text.push_str(&text);
                said.ids.push(id);
                let top: Vec<_> = top
                    .iter()
                    .map(|(id, logprob)| json!({ "id": id, "logprob": logprob }))
                    .collect();
                said.logprobs
                    .push(json!({ "id": id, "logprob": logprob, "top": top }));
            }
            Delta::Done {
                finish_reason,
                text,
                ..
            } => {
                piece(&text);
                said.text.push_str(&text);
                said.finish_reason = finish_reason;
            }
            Delta::Prompt { .. } => {}
            Delta::Error(error) => return Err(error.into()),
        }
    }
    Ok(said)
}

/// Loads a model, with an adapter or without, and starts its engine.
pub(crate) fn load(
    model: &str,
    adapter: Option<&str>,
    context: &Context,
) -> anyhow::Result<Engine> {
    let store = context.store()?;
    let (path, id) = hub::resolve(&store, model)?;
    let mut loaded = hub::load(&path, &id, &context.device)?;
    if let Some(adapter) = adapter {
        let (folder, id) = hub::resolve(&store, adapter)?;
        if !hub::is_adapter(&folder) {
            let said = format!("`{adapter}` is a whole model, not an adapter");
            return Err(Refusal::usage("adapter", said)
                .hint("name it in the model's place, or give a folder with adapter_config.json")
                .into());
        }
        if let Some(products) = hub::adapter_products(&folder)? {
            loaded.decoder = loaded.decoder.with_precision(products.into());
        }
        hub::attach(&mut loaded.decoder, &folder)?;
        loaded.id = id;
    }
    Ok(Engine::start(loaded))
}

/// Everything on stdin, as text.
pub(crate) fn read_stdin() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        Refusal::failed(
            "input",
            format!(
                "stdin is not UTF-8 text (byte {})",
                error.utf8_error().valid_up_to()
            ),
        )
        .hint("convert it first, for example with iconv")
        .into()
    })
}

/// Writes a piece of text at once; a reader that went away is no failure.
pub(crate) fn write(piece: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(piece.as_bytes())
        .and_then(|()| stdout.flush());
}
