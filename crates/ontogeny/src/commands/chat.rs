//! `ontogeny chat`: talk with a model in the terminal.

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Instant;

use clap::Args;
use infer::Request;
use serde_json::json;
use tokenizer::Message;

use super::generate::{SamplingArguments, load, stream, write};
use crate::context::Context;
use crate::output::Output;
use crate::refusal::Refusal;

/// Talk with a model in the terminal; each line is a turn, an empty line or Ctrl-D ends
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny chat quickstart
  ontogeny chat quickstart --system \"You are the assistant of a dive shop.\"
  echo \"Which regulators are in stock?\" | ontogeny chat quickstart --json")]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, a folder, or a .gguf file
    model: String,
    /// What the model is told before the conversation
    #[arg(long, value_name = "S")]
    system: Option<String>,
    /// Longest answer, in tokens
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// A LoRA adapter beside the model: an artifact, or a folder as PEFT writes it
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    #[command(flatten)]
    sampling: SamplingArguments,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let engine = load(&arguments.model, arguments.adapter.as_deref(), context)?;
    let interactive = std::io::stdin().is_terminal() && !context.json;
    let mut messages: Vec<Message> = arguments
        .system
        .iter()
        .map(|system| Message::new("system", system))
        .collect();
    if interactive && !context.quiet {
        eprintln!(
            "{} – an empty line ends the conversation",
            engine.model_id()
        );
    }
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if interactive {
            write("› ");
        }
        let Some(line) = lines.next() else { break };
        let line = line?;
        if line.trim().is_empty() {
            break;
        }
        messages.push(Message::new("user", line));
        let prompt = engine.tokenizer().encode_chat(&messages, true)?;
        if prompt.len() >= engine.context() {
            let (tokens, room) = (prompt.len(), engine.context());
            return Err(Refusal::failed(
                "context",
                format!("the conversation has {tokens} tokens, the model's context {room}"),
            )
            .hint("start a new conversation")
            .into());
        }
        let request = Request {
            prompt,
            max_tokens: arguments.max_tokens,
            sampling: arguments.sampling.sampling(),
            ..Request::default()
        };
        let said = stream(&engine, request, Instant::now(), |piece| {
            if !context.json {
                write(piece);
            }
        })?;
        if !context.json {
            write("\n");
        }
        messages.push(Message::new("assistant", said.text));
    }
    Ok(Output::new(
        "",
        json!({ "model": engine.model_id(), "messages": messages }),
    ))
}
