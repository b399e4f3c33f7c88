//! The same work done by other engines, side by side with ours.

mod embed;
mod export;
mod greedy;
mod inference;
mod lora;
mod perplexity;
mod pretrain;
mod serve;
mod train;

use train::Work;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::Value;

use crate::steps::{cargo, root, run as run_step};

#[derive(Subcommand)]
pub(crate) enum Peer {
    /// PyTorch pre-trains the same shape from the same initial weights on the same tokens in the same order.
    Pretrain {
        /// Folder for what the peer reads: initial weights, batches, learning rates.
        #[arg(long, default_value = "target/peers/pretrain")]
        dump: PathBuf,
        /// Recipe of the run; the quick start when absent.
        recipe: Option<String>,
        /// Documents of the run; without them the recipe's own.
        #[arg(long)]
        data: Vec<PathBuf>,
        /// Further settings of the run, KEY=VALUE.
        #[arg(long = "set")]
        settings: Vec<String>,
    },
    /// Training steps of our own architecture at about 13 M and 48 M parameters beside PyTorch, eager and compiled, in
    /// f32 and with bf16 autocast: milliseconds of a step, peak memory, and whether the losses agree.
    TrainModern {
        /// Folder for what the peer reads.
        #[arg(long, default_value = "target/peers/train-modern")]
        dump: PathBuf,
        /// Depths of the models; the depth sets the size.
        #[arg(long, default_values_t = [6, 10])]
        depth: Vec<usize>,
        /// Steps of each run.
        #[arg(long, default_value_t = 20)]
        steps: usize,
        /// How often each engine runs, in turns.
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        /// Only f32 or only bf16: without hardware for it, PyTorch takes minutes for bf16.
        #[arg(long)]
        precision: Option<String>,
    },
    /// Training steps of a GPT (6 layers, 6 heads, width 384, context 256, 16 rows, vocabulary 4,096, LayerNorm, GELU)
    /// beside PyTorch, as `train-modern` does.
    TrainGpt {
        /// Folder for what the peer reads.
        #[arg(long, default_value = "target/peers/train-gpt")]
        dump: PathBuf,
        /// Steps of each run.
        #[arg(long, default_value_t = 20)]
        steps: usize,
        /// How often each engine runs, in turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Only f32 or only bf16, as for `train-modern`.
        #[arg(long)]
        precision: Option<String>,
    },
    /// Training steps of a LoRA adapter (rank 16 on every matrix of the blocks) beside SmolLM2-135M in f32, bf16 and
    /// Q4_1, beside PyTorch with PEFT; and what we have trained, loaded by PEFT.
    Lora {
        /// Folder for what the peer reads.
        #[arg(long, default_value = "target/peers/lora")]
        dump: PathBuf,
        /// Steps of each run.
        #[arg(long, default_value_t = 12)]
        steps: usize,
        /// How often each engine runs, in turns.
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        /// Only f32 or only bf16, as for `train-modern`.
        #[arg(long)]
        precision: Option<String>,
        /// What is learned, a text; the README and the documentation when absent.
        #[arg(long)]
        text: Option<PathBuf>,
    },
    /// Training steps of our own architecture from 1 to 200 million parameters and at contexts from 256 to 8,192 tokens,
    /// beside itself: is there a cliff?
    Scaling {
        /// f32 or bf16.
        #[arg(default_value = "bf16")]
        precision: String,
    },
    /// The vocabularies that llama.cpp ships, on its own test texts: do we cut them into the same tokens?
    Vocabularies,
    /// SmolLM2-135M reads 512 tokens, beside llama.cpp's own bench on the same files in Q4_1, Q4_0 and Q8_0.
    Prefill(Inference),
    /// SmolLM2-135M writes 128 tokens behind 1 and behind 512, likewise.
    Decode(Inference),
    /// 64 greedy tokens behind ten prompts, ours and llama.cpp's from the same files: where do they part, and was it a tie?
    Greedy {
        /// Only these formats.
        #[arg(long)]
        format: Vec<String>,
    },
    /// The perplexity of 50,000 bytes of text, ours and llama.cpp's from the same files: within half a hundredth?
    Perplexity {
        /// The text; the World English Bible where `real-data` has unpacked it.
        #[arg(long)]
        text: Option<PathBuf>,
    },
    /// all-MiniLM-L6-v2 embeds 32 texts, beside Python's sentence-transformers: the same vectors, how many a second?
    Embed {
        /// Another encoder's folder.
        model: Option<PathBuf>,
        /// How often each engine runs, in turns.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// SmolLM2-135M Q4_0 answers 1, 8 and 32 streams at once, beside llama.cpp's server: tokens a second, time to the first
    /// token, time from the start to the first token.
    Serve {
        /// Streams at once.
        #[arg(long, default_values_t = [1, 8, 32])]
        streams: Vec<usize>,
        /// How often each server runs, in turns.
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        /// Requests of each stream.
        #[arg(long, default_value_t = 4)]
        requests: usize,
    },
    /// Exported models, loaded by Python's transformers and by llama.cpp: the same logits, the same greedy texts?
    Export {
        /// A model's folder; a tiny one is raised when absent.
        model: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(crate) struct Inference {
    /// Only these formats.
    #[arg(long)]
    format: Vec<String>,
    /// How often each engine runs, in turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Runs one comparison and prints it.
///
/// # Errors
/// A run fails, or the engines did not compute the same.
pub(crate) fn run(peer: &Peer) -> anyhow::Result<()> {
    match peer {
        Peer::Pretrain {
            dump,
            recipe,
            data,
            settings,
        } => pretrain::run(dump, recipe.as_deref(), data, settings),
        Peer::TrainModern {
            dump,
            depth,
            steps,
            rounds,
            precision,
        } => depth.iter().try_for_each(|&depth| {
            let dump = dump.join(format!("depth-{depth}"));
            let work = Work::Modern { depth };
            train::run(&dump, &work, *steps, *rounds, precision.as_deref())
        }),
        Peer::Lora {
            dump,
            steps,
            rounds,
            precision,
            text,
        } => lora::run(dump, *steps, *rounds, precision.as_deref(), text.as_deref()),
        Peer::Scaling { precision } => {
            let mut command = cargo(&["run", "--release", "-p", "train", "--example", "scaling"]);
            run_step(command.args(["--", precision]))
        }
        Peer::Vocabularies => {
            let mut command = cargo(&["run", "--release", "-q", "-p", "hub", "--example"]);
            run_step(
                command
                    .args(["vocabularies", "--"])
                    .arg(inference::vocabularies()?),
            )
        }
        Peer::Prefill(Inference { format, rounds }) => {
            inference::run(inference::Work::Prefill, format, *rounds)
        }
        Peer::Decode(Inference { format, rounds }) => {
            inference::run(inference::Work::Decode, format, *rounds)
        }
        Peer::Greedy { format } => greedy::run(format),
        Peer::Perplexity { text } => perplexity::run(text.as_deref()),
        Peer::Embed { model, rounds } => embed::run(model.as_deref(), *rounds),
        Peer::Serve {
            streams,
            rounds,
            requests,
        } => serve::run(streams, *rounds, *requests),
        Peer::Export { model } => export::run(model.as_deref()),
        Peer::TrainGpt {
            dump,
            steps,
            rounds,
            precision,
        } => train::run(dump, &Work::Gpt, *steps, *rounds, precision.as_deref()),
    }
}

/// A script of `peers/`, given the folder it reads.
pub(crate) fn script(python: &Path, name: &str, folder: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(python);
    command
        .arg(root().join("peers").join(name))
        .arg(std::path::absolute(folder)?);
    Ok(command)
}

/// What a command prints to stdout, as JSON; its stderr is shown as it comes.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<Value> {
    let shown = format!("{command:?}");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {shown}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("{shown} ended with {}: {}", output.status, told.trim());
    }
    serde_json::from_str(&told).with_context(|| format!("{shown} printed no JSON: {told}"))
}

pub(crate) fn number(run: &Value, name: &str) -> anyhow::Result<f64> {
    run[name]
        .as_f64()
        .with_context(|| format!("no number `{name}` in {run}"))
}
