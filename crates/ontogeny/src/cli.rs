//! The command line: what can be asked for, and what every command has in common.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    align, chat, data, embed, eval, feedback, finetune, generate, lineage, models, pretrain, run,
    scope, serve, tokenizer,
};
use crate::context::Context;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  ontogeny run                              raise a small model from the embedded world, through all stages
  ontogeny run --data texts/ --out model/   the same from your own documents
  ontogeny scope --set model.depth=8        what a larger one would cost
  ontogeny serve quickstart                 answer on http://127.0.0.1:8080, with a chat page
  ontogeny lineage quickstart               where it comes from

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a gate or target was not met, 130 interrupted (work saved).
Results go to stdout, progress and logs to stderr.";

/// Raises models from documents to deployment, on your own machine.
#[derive(Debug, Parser)]
#[command(name = "ontogeny", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What all commands understand.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What all commands understand.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print one JSON object on stdout, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// At the end, print where the time went: a table by operation, on stderr
    #[arg(long, global = true)]
    pub(crate) profile: bool,
    /// Threads to use; all by default
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Where to compute: cpu, cuda, vulkan, metal or rocm, with :N for the Nth
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: String,
    /// Where artifacts live; by default the platform's folder for application data
    #[arg(long, global = true, value_name = "DIR", env = "ONTOGENY_HOME")]
    pub(crate) home: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole life: data, model, pre-training, adaptation, evaluation, gate
    Run(run::Arguments),
    /// The plan only: parameters, tokens, memory, disk and minutes, for this size and its neighbours
    Scope(scope::Arguments),
    /// Select and clean documents, look at them, or make a world of them
    #[command(subcommand)]
    Data(data::Command),
    /// Train and use tokenizers
    #[command(subcommand)]
    Tokenizer(tokenizer::Command),
    /// The models in the store
    #[command(subcommand)]
    Models(models::Command),
    /// Pre-training alone
    Pretrain(pretrain::Arguments),
    /// Supervised fine-tuning alone
    Finetune(finetune::Arguments),
    /// Preference alignment (DPO) alone
    Align(align::Arguments),
    /// Measure a model
    Eval(eval::Arguments),
    /// Continue a text
    Generate(generate::Arguments),
    /// Talk with a model in the terminal
    Chat(chat::Arguments),
    /// Vectors of texts, close where meanings are
    Embed(embed::Arguments),
    /// Answer over HTTP (OpenAI-compatible), with a chat page and ratings
    Serve(serve::Arguments),
    /// Ratings and corrections of served answers
    #[command(subcommand)]
    Feedback(feedback::Command),
    /// The chain from an artifact back to the documents, and forward to what was made of it
    Lineage(lineage::Arguments),
}

impl Command {
    /// How the log is to be written, where one is asked for.
    pub(crate) fn log(&self) -> Option<serve::Log> {
        match self {
            Self::Serve(arguments) => arguments.log(),
            _ => None,
        }
    }

    /// Does what was asked.
    pub(crate) fn execute(&self, context: &Context) -> anyhow::Result<Output> {
        match self {
            Self::Run(arguments) => run::execute(arguments, context),
            Self::Scope(arguments) => scope::execute(arguments, context),
            Self::Data(command) => data::execute(command, context),
            Self::Tokenizer(command) => tokenizer::execute(command, context),
            Self::Models(command) => models::execute(command, context),
            Self::Pretrain(arguments) => pretrain::execute(arguments, context),
            Self::Finetune(arguments) => finetune::execute(arguments, context),
            Self::Align(arguments) => align::execute(arguments, context),
            Self::Eval(arguments) => eval::execute(arguments, context),
            Self::Generate(arguments) => generate::execute(arguments, context),
            Self::Chat(arguments) => chat::execute(arguments, context),
            Self::Embed(arguments) => embed::execute(arguments, context),
            Self::Serve(arguments) => serve::execute(arguments, context),
            Self::Feedback(command) => feedback::execute(command, context),
            Self::Lineage(arguments) => lineage::execute(arguments, context),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_text_may_begin_with_a_hyphen() {
        let parse =
            |words: &[&str]| Cli::try_parse_from(words).map(|cli| (cli.global, cli.command));
        let words = ["ontogeny", "tokenizer", "encode", "file", "- x", "--json"];
        for (words, expected) in [
            (&words[..], Some("- x")),
            (&[&words[..4], &words[5..]].concat(), None),
        ] {
            let (global, command) = parse(words).expect("it parses");
            assert!(global.json);
            let Command::Tokenizer(tokenizer::Command::Encode { text, .. }) = command else {
                panic!("parsed as {command:?}");
            };
            assert_eq!(text.as_deref(), expected);
        }
        let words = [
            "ontogeny",
            "generate",
            "model",
            "- a list:",
            "--max-tokens",
            "3",
            "--quiet",
        ];
        let (global, _) = parse(&words).expect("it parses");
        assert!(global.quiet);
    }
}
