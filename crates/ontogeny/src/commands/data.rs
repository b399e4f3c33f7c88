//! `ontogeny data`: select and clean documents, look at them, make a world of them.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::run::hand_out_model;
use crate::context::Context;
use crate::display::Mark;
use crate::output::{Output, table};
use crate::quantity::{bytes, count, duration, percent};
use crate::recipe::Choice;

/// Select and clean documents, look at them, or make a world of them
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run documents through the filters of a recipe's [data]
    #[command(after_help = "\
Examples:
  ontogeny data curate texts/ --out clean/
  ontogeny data curate texts/ --out clean/ --set data.length.min_characters=200

Kept documents are in OUT/documents/*.parquet (id, text, source), dropped ones in OUT/dropped/*.parquet with the step
and the reason.")]
    Curate {
        /// Files and folders of .txt, .md, .jsonl, .csv, .parquet, also .gz and .zst
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The folder to write
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The recipe whose [data] section says how; the quick start's by default
        #[arg(long, value_name = "FILE")]
        recipe: Option<PathBuf>,
        /// Set one field, for example data.validation_fraction=0.05
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// What lies in a file or folder: documents, lengths, languages, a few beginnings
    #[command(after_help = "Example:\n  ontogeny data inspect texts/")]
    Inspect {
        /// A file or folder
        path: PathBuf,
    },
    /// Write a procedural world: documents with labelled defects, questions, preference pairs
    #[command(
        after_help = "Example:\n  ontogeny data generate nursery --out world/ --docs 5000 --seed 7"
    )]
    Generate {
        /// Which world
        world: World,
        /// The folder to write
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How many documents
        #[arg(long, value_name = "N")]
        docs: Option<u64>,
        /// One seed, one world, byte for byte
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
    },
}

/// The worlds there are.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum World {
    /// A dive shop on a coral coast
    Nursery,
}

pub(crate) fn execute(command: &Command, context: &Context) -> anyhow::Result<Output> {
    match command {
        Command::Curate {
            paths,
            out,
            recipe,
            set,
        } => curate(
            paths,
            out,
            &Choice {
                recipe: recipe.clone(),
                set: set.clone(),
            },
            context,
        ),
        Command::Inspect { path } => inspect(path, context),
        Command::Generate {
            world: World::Nursery,
            out,
            docs,
            seed,
        } => generate(out, *docs, *seed),
    }
}

fn curate(
    paths: &[PathBuf],
    out: &Path,
    choice: &Choice,
    context: &Context,
) -> anyhow::Result<Output> {
    let recipe = choice.resolve(Vec::new())?;
    let store = context.store()?;
    let display = context.display("data curate", &["data"]);
    display.mark("data", Mark::Running, "");
    let corpus = data::curate::run(&recipe.data, paths, &store, display.progress())?;
    display.mark("data", Mark::Done, &crate::remark::corpus(&corpus));
    display.finish();
    hand_out_model(&corpus, out)?;
    let field = |name: &str| corpus.manifest.metric(name).cloned().unwrap_or(Value::Null);
    let number = |name: &str| field(name).as_u64().unwrap_or(0);
    let (read, kept) = (number("documents_in"), number("documents_out"));
    let steps = field("steps");
    let rows: Vec<Vec<String>> = steps
        .as_array()
        .into_iter()
        .flatten()
        .map(|step| {
            let name = step["step"].as_str().unwrap_or("step").replace('_', " ");
            [name]
                .into_iter()
                .chain(
                    ["kept", "dropped", "edited"]
                        .map(|what| count(step[what].as_u64().unwrap_or(0))),
                )
                .collect()
        })
        .collect();
    let text = format!(
        "{}\n\n{} of {} documents survive ({}), about {} tokens, in {}\n{}",
        table(&["filter", "kept", "dropped", "edited"], &rows),
        count(kept),
        count(read),
        percent(kept as f64 / read.max(1) as f64),
        count(number("tokens_out")),
        duration(field("seconds").as_f64().unwrap_or(0.0)),
        out.display()
    );
    let json = json!({
        "artifact": corpus.id,
        "out": out,
        "documents_in": read,
        "documents_out": kept,
        "bytes_in": field("bytes_in"),
        "tokens_out": field("tokens_out"),
        "seconds": field("seconds"),
        "peak_rss_bytes": field("peak_rss_bytes"),
        "steps": steps,
    });
    Ok(Output::new(text, json))
}

fn inspect(path: &Path, context: &Context) -> anyhow::Result<Output> {
    let display = context.display("data inspect", &["inspect"]);
    let found = data::inspect(&[path.to_owned()], display.progress())?;
    display.finish();
    let languages: Vec<String> = found
        .languages
        .iter()
        .map(|(language, many)| format!("{language} {}", count(*many)))
        .collect();
    let rows = [
        ("files", count(found.files.len() as u64)),
        ("left out", count(found.skipped.len() as u64)),
        ("documents", count(found.documents)),
        ("rows that cannot be used", count(found.bad_rows)),
        ("text", bytes(found.bytes as f64)),
        ("tokens, about", count(found.tokens)),
        ("shortest document", bytes(found.lengths.min as f64)),
        ("median document", bytes(found.lengths.median as f64)),
        ("longest document", bytes(found.lengths.max as f64)),
        ("languages", languages.join(", ")),
    ];
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(what, much)| vec![what.to_owned(), much])
        .collect();
    let mut text = table(&["", ""], &rows);
    for sample in &found.samples {
        let words = sample.text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.push_str(&format!("\n\n{}\n  {words}…", sample.source));
    }
    Ok(Output::new(text, serde_json::to_value(&found)?))
}

fn generate(out: &Path, docs: Option<u64>, seed: Option<u64>) -> anyhow::Result<Output> {
    let mut world = Choice::default().resolve(Vec::new())?.world;
    world.documents = docs.unwrap_or(world.documents);
    world.seed = seed.unwrap_or(world.seed);
    let summary = nursery::render(&world, out)?;
    let summary = serde_json::to_value(&summary)?;
    let number = |name: &str| count(summary[name].as_u64().unwrap_or(0));
    let text = format!(
        "{} documents ({} words), questions and pairs of seed {} in {}",
        number("documents"),
        number("document_words"),
        world.seed,
        out.display()
    );
    Ok(Output::new(
        text,
        json!({ "out": out, "seed": world.seed, "summary": summary }),
    ))
}
