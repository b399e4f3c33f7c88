//! `ontogeny run`: the whole life.

use std::path::{Path, PathBuf};

use artifact::Artifact;
use clap::Args;
use serde_json::{Value, json};

use super::serve;
use crate::context::Context;
use crate::display::Mark;
use crate::journal::Journal;
use crate::life::{self, STAGES, Upbringing};
use crate::output::Output;
use crate::plan;
use crate::recipe::{Choice, Recipe};
use crate::refusal::{Exit, Refusal};
use crate::report;
use crate::sources::Sources;
use crate::telling::{self, Story};

/// The whole life of a model: data, pre-training, adaptation, evaluation, gate, deployment
///
/// Without a RECIPE it is the quick start: a small model from the embedded world. Finished stages are not repeated; an
/// interrupted run goes on where it stopped.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny run
  ontogeny run --serve
  ontogeny run --data texts/ --instructions questions.jsonl --out model/
  ontogeny run recipes/own-documents.toml --set model.depth=6 --set pretrain.tokens=20000000

Documents: files and folders of .txt, .md, .jsonl, .csv, .parquet, also .gz and .zst.
Instructions: lines of {\"messages\": [{\"role\": \"user\", \"content\": …}, …]} or {\"prompt\": …, \"completion\": …}.
Preferences: lines of {\"prompt\": …, \"chosen\": …, \"rejected\": …}.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    given: Given,
    /// Copy the raised model and its report to this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on to serve the model
    #[arg(long)]
    serve: bool,
    /// Run even when the plan is over the recipe's budget
    #[arg(long)]
    over_budget: bool,
}

/// The user's own files.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Given {
    /// Documents: a file or a folder; may be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) data: Vec<PathBuf>,
    /// Questions with answers, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) instructions: Option<PathBuf>,
    /// Pairs of a better and a worse answer, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) preferences: Option<PathBuf>,
}

impl Given {
    /// The flags as the top layer of the recipe.
    pub(crate) fn layer(&self) -> Vec<(&'static str, &'static str, Value)> {
        let mut flags = Vec::new();
        if !self.data.is_empty() {
            flags.push(("--data", "sources.documents", json!(self.data)));
        }
        if let Some(file) = &self.instructions {
            flags.push(("--instructions", "sources.instructions", json!(file)));
        }
        if let Some(file) = &self.preferences {
            flags.push(("--preferences", "sources.preferences", json!(file)));
        }
        flags
    }
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let recipe = arguments.choice.resolve(arguments.given.layer())?;
    if arguments.serve {
        // Minutes of work must not end at a port that is taken.
        serve::check_bind(recipe.serve.bind).map_err(|error| {
            let hint = format!("stop the program that has it, or choose another port with --set serve.bind={}:PORT", recipe.serve.bind.ip());
            anyhow::Error::new(Refusal { hint: Some(hint), ..crate::failure::refusal(&error) })
        })?;
    }
    let store = context.store()?;
    let _lock = artifact::Lock::acquire(
        &store
            .home()
            .join("locks")
            .join(format!("run-{}", recipe.name)),
    )?;
    let display = context.display(&recipe.name, &STAGES);
    display.mark("scope", Mark::Running, "");
    let plan = plan::make(&recipe, &store, context, display.progress())?;
    if !arguments.over_budget {
        plan.check(&recipe)
            .inspect_err(|_| display.mark("scope", Mark::Failed, "over budget"))?;
    }
    display.mark("scope", Mark::Done, &plan.remark());
    display.planned(plan.seconds);
    let journal = Journal::open(display, &store)?;
    let mut upbringing = Upbringing {
        recipe: &recipe,
        sources: Sources::default(),
        store: &store,
        device: &context.device,
        journal,
    };
    let life = life::raise(&mut upbringing)?;

    let seconds = upbringing.journal.seconds();
    let throughput: Vec<_> = ["pretrain", "finetune", "align"]
        .iter()
        .map(|stage| ((*stage).to_owned(), upbringing.journal.throughput(stage)))
        .collect();
    let entries = upbringing.journal.close();
    let story = Story {
        recipe: &recipe,
        device: &context.device_name,
        command: command_line(),
        life: &life,
        plan: &plan,
        entries: &entries,
        seconds,
        throughput: &throughput,
        peak_rss_bytes: artifact::peak_rss_bytes(),
    };
    let page = report::page(&telling::report(&story, &store));
    let path = keep_report(&page, &recipe, &life, context)?;
    if let Some(out) = &arguments.out {
        hand_out(&life, &recipe, &page, out)?;
    }
    let mut output = Output::new(
        telling::ending(&story, &path),
        telling::summary(&story, &path),
    );
    if !life.judgement.deployed() {
        output.exit = Some(Exit::Gate);
    }
    if arguments.serve {
        return go_on_to_serve(output, &recipe, &life, context);
    }
    Ok(output)
}

/// The command as it was given, with what a shell would need quoted.
fn command_line() -> String {
    let quote = |word: String| {
        let plain = word
            .chars()
            .all(|character| character.is_alphanumeric() || "-_=./:,+@%".contains(character));
        if plain && !word.is_empty() {
            word
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    let words = std::env::args().skip(1).map(quote);
    std::iter::once("ontogeny".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes the report beside the artifacts, one for each candidate.
fn keep_report(
    page: &str,
    recipe: &Recipe,
    life: &life::Life,
    context: &Context,
) -> anyhow::Result<PathBuf> {
    let folder = context.home.join("reports").join(format!(
        "{}-{}",
        recipe.name,
        life.candidate().id.short()
    ));
    std::fs::create_dir_all(&folder).map_err(artifact::Error::io("create", &folder))?;
    let path = folder.join("report.html");
    artifact::write_atomic(&path, page.as_bytes())?;
    Ok(path)
}

/// Copies the model's files, the report and the recipe to `out`.
fn hand_out(life: &life::Life, recipe: &Recipe, page: &str, out: &Path) -> anyhow::Result<()> {
    hand_out_model(life.candidate(), out)?;
    artifact::write_atomic(&out.join("report.html"), page.as_bytes())?;
    artifact::write_atomic(&out.join("recipe.toml"), recipe.to_toml().as_bytes())?;
    Ok(())
}

/// Copies a model's files to `out`.
pub(crate) fn hand_out_model(model: &Artifact, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out).map_err(artifact::Error::io("create", out))?;
    let beside = ["artifact.json", "measured.json"];
    for name in model
        .manifest
        .files
        .keys()
        .map(String::as_str)
        .chain(beside)
    {
        let (from, to) = (model.file(name), out.join(name));
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(artifact::Error::io("create", parent))?;
        }
        // Copied aside and renamed: a kill leaves the old file or the new one.
        let aside = out.join(format!(".{}.partial", name.replace('/', "-")));
        std::fs::copy(&from, &aside).map_err(artifact::Error::io("write", &aside))?;
        std::fs::rename(&aside, &to).map_err(artifact::Error::io("rename", &to))?;
    }
    Ok(())
}

fn go_on_to_serve(
    output: Output,
    recipe: &Recipe,
    life: &life::Life,
    context: &Context,
) -> anyhow::Result<Output> {
    if context.json {
        super::generate::write(&format!("{:#}\n", output.json));
    } else {
        super::generate::write(&format!("{}\n\n", output.text));
    }
    if !life.judgement.deployed() && context.store()?.get_ref(&recipe.name)?.is_none() {
        return Err(Refusal {
            exit: Exit::Gate,
            ..Refusal::failed(
                "gate",
                "the gate let no model in, so there is none to serve",
            )
        }
        .hint(format!(
            "`ontogeny serve {}` serves the candidate all the same",
            life.candidate().id.short()
        ))
        .into());
    }
    let config = ::serve::Config {
        bind: recipe.serve.bind,
        api_keys: recipe.serve.api_keys.clone(),
        feedback: Some(::serve::feedback::path(&context.home)),
        store_prompts: recipe.serve.store_prompts,
        ..::serve::Config::default()
    };
    let served = serve::answer(
        &config,
        ::serve::Models::new(),
        std::slice::from_ref(&recipe.name),
        &[],
        context,
    )?;
    Ok(Output {
        exit: output.exit,
        ..served
    })
}
