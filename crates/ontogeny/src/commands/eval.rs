//! `ontogeny eval`: measure one model on tasks.

use std::path::{Path, PathBuf};

use artifact::{Progress, Seed};
use clap::Args;
use eval::metrics::RefusalMarkers;
use eval::{Interval, Metric, Resampling, Series, answers, bits_per_byte, preference, question};
use infer::Engine;
use serde_json::{Value, json};

use crate::context::Context;
use crate::display::Mark;
use crate::output::{Output, table};
use crate::quantity;
use crate::recipe::Choice;
use crate::refusal::Refusal;
use crate::remark;

/// Measure a model: questions, preference pairs or plain documents, each number with its 95 % interval
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny eval quickstart --task nursery
  ontogeny eval quickstart --task questions.jsonl --task pairs.jsonl --task held-out-texts/

A TASK is `nursery` (the held-out questions of the embedded world), a .jsonl file of questions with answers or of
preference pairs, or any other file or folder of documents, measured in bits per byte.")]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, a folder, or a .gguf file
    model: String,
    /// What to measure it on; may be given several times
    #[arg(long, required = true, value_name = "TASK", num_args = 1..)]
    task: Vec<String>,
    /// Longest answer, in tokens
    #[arg(long, default_value_t = 96, value_name = "N")]
    max_tokens: usize,
    /// Items of each task; 0 takes all
    #[arg(long, default_value_t = 0, value_name = "N")]
    limit: usize,
}

/// One task's numbers.
struct Measured {
    task: String,
    metric: Metric,
    interval: Interval,
}

pub(super) const RESAMPLING: Resampling = Resampling {
    seed: Seed(0),
    resamples: 1000,
};

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let tasks = arguments
        .task
        .iter()
        .map(|task| Task::find(task, context))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let engine = super::generate::load(&arguments.model, None, context)?;
    let names: Vec<&str> = arguments.task.iter().map(String::as_str).collect();
    let display = context.display(&arguments.model, &names);
    let mut measured = Vec::new();
    for (name, (task, remark)) in names.iter().zip(&tasks) {
        display.mark(name, Mark::Running, "");
        let series = task.measure(
            &engine,
            arguments.max_tokens,
            arguments.limit,
            display.progress(),
        )?;
        for (metric, series) in series {
            let interval = series.interval(metric, RESAMPLING);
            if interval.n > 0 {
                measured.push(Measured {
                    task: (*name).to_owned(),
                    metric,
                    interval,
                });
            }
        }
        if !measured.iter().any(|one| one.task == **name) {
            display.finish();
            return Err(Refusal::failed("task", format!("{name}: nothing in it could be measured"))
                .hint("a .jsonl file holds questions (`messages`, or `prompt` and `completion`), pairs (`prompt`, `chosen`, `rejected`) or documents (`text`); its first line decides which")
                .into());
        }
        display.mark(name, Mark::Done, remark);
    }
    display.finish();
    let rows: Vec<Vec<String>> = measured.iter().map(row).collect();
    let json = json!({
        "model": engine.model_id(),
        "tasks": measured.iter().map(|one| json!({
            "task": one.task, "metric": one.metric, "value": one.interval.value,
            "low": one.interval.low, "high": one.interval.high, "n": one.interval.n,
        })).collect::<Value>(),
    });
    Ok(Output::new(
        table(&["task", "metric", "value", "95 % interval", "n"], &rows),
        json,
    ))
}

fn row(one: &Measured) -> Vec<String> {
    let shown = |value: f64| {
        if one.metric.is_proportion() {
            quantity::percent(value)
        } else {
            format!("{value:.3}")
        }
    };
    vec![
        one.task.clone(),
        one.metric.name().replace('_', " "),
        shown(one.interval.value),
        format!(
            "{} to {}",
            shown(one.interval.low),
            shown(one.interval.high)
        ),
        quantity::count(one.interval.n),
    ]
}

/// What a model can be measured on.
pub(super) enum Task {
    Questions(Vec<question::Question>),
    Pairs(Vec<question::Pair>),
    Documents(PathBuf),
}

impl Task {
    /// The task called `name`, and what of its file was left out.
    pub(super) fn find(name: &str, context: &Context) -> anyhow::Result<(Self, String)> {
        if name == "nursery" {
            let recipe = Choice::default().resolve(Vec::new())?;
            let world = nursery::run(&recipe.world, &context.store()?, &Progress::silent())?;
            let questions = question::read_questions(&world.file("held_out.jsonl"))?;
            return Ok((Self::Questions(questions), String::new()));
        }
        let path = Path::new(name);
        if !path.exists() {
            return Err(Refusal::usage(
                "task",
                format!("there is no task `{name}` and no file of that name"),
            )
            .hint("give `nursery`, a .jsonl file of questions or pairs, or documents")
            .into());
        }
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            return Ok((Self::Documents(path.to_owned()), String::new()));
        }
        // Questions and pairs are read as a run reads them.
        let store = context.store()?;
        let config = data::instructions::Config {
            held_out_fraction: 0.0,
            ..data::instructions::Config::default()
        };
        let silent = Progress::silent();
        let row = first_row(path)?;
        let has = |field: &str| row.get(field).is_some();
        Ok(if has("chosen") {
            let rows = data::preferences::run(&config, path, None, &store, &silent)?;
            let pairs = question::read_pairs(&rows.file("train.jsonl"))?;
            (
                Self::Pairs(pairs),
                remark::bad_rows(&rows).unwrap_or_default(),
            )
        } else if has("messages") || has("completion") {
            let rows = data::instructions::run(&config, path, None, &store, &silent)?;
            let questions = question::read_questions(&rows.file("train.jsonl"))?;
            (
                Self::Questions(questions),
                remark::bad_rows(&rows).unwrap_or_default(),
            )
        } else {
            (Self::Documents(path.to_owned()), String::new())
        })
    }

    /// What is measured of `limit` items (all when 0), answers of at most `max_tokens`.
    pub(super) fn measure(
        &self,
        engine: &Engine,
        max_tokens: usize,
        limit: usize,
        progress: &Progress,
    ) -> anyhow::Result<Vec<(Metric, Series)>> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Ok(match self {
            Self::Questions(questions) => {
                let questions = &questions[..questions.len().min(limit)];
                let (given, _) = answers::ask(engine, questions, max_tokens, progress)?;
                let judged = answers::judge(questions, &given, &RefusalMarkers::default());
                answers::series(&judged).into_iter().collect()
            }
            Self::Pairs(pairs) => {
                let scores = preference::score(engine, &pairs[..pairs.len().min(limit)], progress)?;
                vec![(Metric::PreferenceLikelihood, preference::likelier(&scores))]
            }
            Self::Documents(path) => {
                let mut texts = Vec::new();
                for document in data::documents(std::slice::from_ref(path), progress)?.take(limit) {
                    let document = document?;
                    texts.push(bits_per_byte::Text {
                        id: document.id,
                        text: document.text,
                    });
                }
                vec![(
                    Metric::BitsPerByte,
                    bits_per_byte::measure(engine, &texts, progress)?,
                )]
            }
        })
    }
}

/// The first row of a JSON Lines file, which tells what the file holds.
fn first_row(path: &Path) -> anyhow::Result<Value> {
    use std::io::BufRead as _;
    let file = std::fs::File::open(path).map_err(artifact::Error::io("read", path))?;
    let mut line = String::new();
    std::io::BufReader::new(file)
        .read_line(&mut line)
        .map_err(artifact::Error::io("read", path))?;
    Ok(serde_json::from_str(&line).unwrap_or(Value::Null))
}
