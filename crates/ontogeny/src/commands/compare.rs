//! `ontogeny models compare`: candidates on the user's own task, side by side.

mod stream;
mod winner;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use artifact::{Progress, Seed, Store};
use clap::{Args, ValueEnum};
use eval::metrics::RefusalMarkers;
use eval::prompting::{Prompting, prompt};
use eval::{Interval, Metric, Series, answers};
use infer::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::stream::Stream;
use super::eval::{RESAMPLING, Task};
use crate::context::Context;
use crate::display::Mark;
use crate::output::{Output, table};
use crate::quantity;
use crate::refusal::Refusal;

#[derive(Debug, Args)]
#[command(after_help = "\
Each model runs in a process of its own, one after the other, so that its memory is its own. With --shots 0,1,4 each
question is asked alone, behind one and behind four solved examples, which are taken from the task and not asked.
A model is on the Pareto front (*) when none is better in quality without being slower or needing more memory.
The best one is that of the first task's first metric; the last lines tell how a recipe goes on from it.

Examples:
  ontogeny models compare quickstart SmolLM2-135M-Instruct.Q4_1.gguf --task questions.jsonl
  ontogeny models compare A B --task nursery --shots 0,1,4 --price-per-hour 0.4 --html comparison.html
  ontogeny models compare A B --task questions.jsonl --write-base mine.toml && ontogeny run mine.toml")]
pub(crate) struct Arguments {
    /// Artifact ids or their unique prefixes, names, folders, or .gguf files
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// What to measure on, as for `eval`: `nursery`, a .jsonl file of questions or pairs, or documents
    #[arg(long, required = true, value_name = "TASK", num_args = 1..)]
    task: Vec<String>,
    /// Solved examples before each question, one measurement for each number
    #[arg(long, value_delimiter = ',', default_values_t = [0_usize, 1, 4], value_name = "N,…")]
    shots: Vec<usize>,
    /// How questions are put
    #[arg(long, value_enum, default_value_t = Manner::Auto)]
    prompting: Manner,
    /// Longest answer, in tokens
    #[arg(long, default_value_t = 96, value_name = "N")]
    max_tokens: usize,
    /// Items of each task; 0 takes all
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// What an hour of this machine costs, for the cost of a thousand answers
    #[arg(long, value_name = "MONEY")]
    price_per_hour: Option<f64>,
    /// Write table and plot into an HTML file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Make the best one the base of this recipe, which is written anew or changed in that line only
    #[arg(long, value_name = "FILE")]
    write_base: Option<PathBuf>,
}

/// How questions are put to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Manner {
    /// In the chat template, unless the model was raised here and never tuned.
    Auto,
    /// In the chat template.
    Chat,
    /// As plain text that the model goes on with.
    Plain,
}

impl Manner {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Chat => "chat",
            Self::Plain => "plain",
        }
    }
}

/// One number of one model, with what belongs to the way it was got.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// As it was asked for.
    pub(crate) model: String,
    /// Artifact id, or the name of a folder or file.
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) shots: usize,
    pub(crate) metric: Metric,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) n: u64,
    /// Of one stream, behind its first token.
    pub(crate) tokens_per_second: f64,
    /// Of one stream, the median of a few prompts.
    pub(crate) first_token_seconds: f64,
    /// Of the model's own process.
    pub(crate) peak_rss_bytes: u64,
    /// Files on disk.
    pub(crate) bytes: u64,
    pub(crate) parameters: usize,
    /// Of the machine, when many are asked at once; absent where nothing is answered.
    pub(crate) seconds_per_answer: Option<f64>,
    /// Of a thousand answers, where an hour has a price.
    #[serde(default)]
    pub(crate) cost_per_thousand_answers: Option<f64>,
    /// Whether no other way is better in quality without being slower or larger.
    #[serde(default)]
    pub(crate) pareto: bool,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    // Everything that can be wrong with the words is found before anything is measured.
    let store = context.store()?;
    for model in &arguments.models {
        let (path, _) = hub::resolve(&store, model)?;
        hub::read_config(&path)?;
    }
    if let [model] = &arguments.models[..] {
        let measured = measure(model, arguments, context)?;
        return told(measured, arguments, &store);
    }
    if let Some(recipe) = &arguments.write_base {
        winner::check(recipe)?;
    }
    for task in &arguments.task {
        Task::find(task, context)?;
    }
    let names: Vec<&str> = arguments.models.iter().map(String::as_str).collect();
    let display = context.display("models compare", &names);
    let mut measured = Vec::new();
    for model in &arguments.models {
        display.mark(model, Mark::Running, "");
        let of_one = apart(model, arguments, context)?;
        let rate = of_one.first().map_or(0.0, |one| one.tokens_per_second);
        display.mark(model, Mark::Done, &format!("{rate:.0} tokens/s"));
        measured.extend(of_one);
    }
    display.finish();
    told(measured, arguments, &store)
}

/// Measures one model in a process of its own.
fn apart(model: &str, arguments: &Arguments, context: &Context) -> anyhow::Result<Vec<Measured>> {
    let shots: Vec<String> = arguments.shots.iter().map(usize::to_string).collect();
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command
        .args(["models", "compare", model, "--json", "--quiet"])
        .arg("--task")
        .args(&arguments.task)
        .args(["--shots", &shots.join(",")])
        .args(["--prompting", arguments.prompting.name()])
        .args(["--max-tokens", &arguments.max_tokens.to_string()])
        .args(["--limit", &arguments.limit.to_string()])
        .args(["--threads", &tensor::threads().to_string()])
        .args(["--device", &context.device_name])
        .arg("--home")
        .arg(&context.home);
    let output = command
        .output()
        .context("cannot start this program again")?;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    if !output.status.success() {
        let why = told["error"]["message"].as_str().map(str::to_owned);
        let why = why.unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned());
        return Err(Refusal::failed("model", format!("{model}: {}", why.trim())).into());
    }
    serde_json::from_value(told).with_context(|| format!("{model}: its process told no list"))
}

/// All tasks and ways of asking, on one model, here.
fn measure(model: &str, arguments: &Arguments, context: &Context) -> anyhow::Result<Vec<Measured>> {
    let store = context.store()?;
    let (path, id) = hub::resolve(&store, model)?;
    let parameters = hub::read_config(&path)?.decoder.parameters();
    let raised = artifact::Artifact::open(&path).ok();
    let untuned = raised.is_some_and(|artifact| super::models::stage(&artifact) == "pretrain");
    let chat = match arguments.prompting {
        Manner::Auto => !untuned,
        manner => manner == Manner::Chat,
    };
    let tasks = arguments
        .task
        .iter()
        .map(|name| Ok((name, Task::find(name, context)?.0)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let engine = Engine::start(hub::load(&path, &id, &context.device)?);
    let names: Vec<&str> = arguments.task.iter().map(String::as_str).collect();
    let display = context.display(model, &names);
    let stream = Stream::timed(&engine, tasks.iter().map(|(_, task)| task), chat)?;
    let mut measured = Vec::new();
    for (name, task) in &tasks {
        display.mark(name, Mark::Running, "");
        for way in ways(task, arguments) {
            let (series, seconds_per_answer) =
                answer(task, &engine, way, chat, arguments, display.progress())?;
            for (metric, series) in series {
                let Interval {
                    value,
                    low,
                    high,
                    n,
                } = series.interval(metric, RESAMPLING);
                if n > 0 {
                    measured.push(Measured {
                        model: model.to_owned(),
                        id: id.clone(),
                        task: (*name).clone(),
                        shots: way,
                        metric,
                        value,
                        low,
                        high,
                        n,
                        tokens_per_second: stream.tokens_per_second,
                        first_token_seconds: stream.first_token_seconds,
                        peak_rss_bytes: 0,
                        bytes: on_disk(&path),
                        parameters,
                        seconds_per_answer,
                        cost_per_thousand_answers: None,
                        pareto: false,
                    });
                }
            }
        }
        display.mark(name, Mark::Done, "");
    }
    display.finish();
    let peak = artifact::peak_rss_bytes().unwrap_or(0);
    measured
        .iter_mut()
        .for_each(|one| one.peak_rss_bytes = peak);
    Ok(measured)
}

/// The numbers of examples that make a difference to a task.
fn ways(task: &Task, arguments: &Arguments) -> Vec<usize> {
    match task {
        Task::Questions(_) => arguments.shots.clone(),
        _ => vec![0],
    }
}

/// A task's metrics, and the seconds of an answer when many are asked at once.
type Answered = (Vec<(Metric, Series)>, Option<f64>);

fn answer(
    task: &Task,
    engine: &Engine,
    shots: usize,
    chat: bool,
    arguments: &Arguments,
    progress: &Progress,
) -> anyhow::Result<Answered> {
    let Task::Questions(questions) = task else {
        let limits = (arguments.max_tokens, arguments.limit);
        return Ok((task.measure(engine, limits.0, limits.1, progress)?, None));
    };
    // The same questions whatever the number of examples, so that the rows compare.
    let most = arguments.shots.iter().copied().max().unwrap_or(0);
    let (solved, asked) = questions.split_at((2 * most).min(questions.len() / 2));
    let limit = if arguments.limit == 0 {
        usize::MAX
    } else {
        arguments.limit
    };
    let asked = &asked[..asked.len().min(limit)];
    let settings = Prompting {
        shots,
        chat,
        max_tokens: arguments.max_tokens,
        seed: Seed(0),
        markers: &RefusalMarkers::default(),
    };
    let (prompted, speed) = prompt(engine, solved, asked, &settings, progress)?;
    let series = answers::series(&prompted.judged).into_iter().collect();
    let seconds = (!asked.is_empty()).then(|| speed.seconds / asked.len() as f64);
    Ok((series, seconds))
}

/// Bytes of a model's files.
fn on_disk(path: &std::path::Path) -> u64 {
    if path.is_file() {
        return std::fs::metadata(path).map_or(0, |about| about.len());
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|about| about.is_file())
        .map(|about| about.len())
        .sum()
}

/// Marks the ways that no other beats: (quality, speed, memory) of each model and number of examples.
fn mark_front(measured: &mut [Measured]) {
    let quality = |one: &Measured| {
        if one.metric.higher_is_better() {
            one.value
        } else {
            -one.value
        }
    };
    // Quality is the first metric of the first task: what the user put first.
    let Some(leading) = measured.first().map(|one| (one.task.clone(), one.metric)) else {
        return;
    };
    let ways: Vec<(String, usize, f64, f64, u64)> = measured
        .iter()
        .filter(|one| (&one.task, one.metric) == (&leading.0, leading.1))
        .map(|one| {
            let speed = one.tokens_per_second;
            (
                one.model.clone(),
                one.shots,
                quality(one),
                speed,
                one.peak_rss_bytes,
            )
        })
        .collect();
    for one in measured.iter_mut() {
        let own = ways
            .iter()
            .find(|way| way.0 == one.model && way.1 == one.shots);
        let Some(own) = own else { continue };
        one.pareto = !ways.iter().any(|way| {
            way.2 >= own.2
                && way.3 >= own.3
                && way.4 <= own.4
                && (way.2 > own.2 || way.3 > own.3 || way.4 < own.4)
        });
    }
}

/// The answer: a table, a list, and the file that was asked for.
fn told(
    mut measured: Vec<Measured>,
    arguments: &Arguments,
    store: &Store,
) -> anyhow::Result<Output> {
    if measured.is_empty() {
        return Err(Refusal::failed("task", "nothing in it could be measured")
            .hint("`ontogeny eval --help` says what a task is")
            .into());
    }
    for one in &mut measured {
        let hours = one
            .seconds_per_answer
            .map(|seconds| 1000.0 * seconds / 3600.0);
        one.cost_per_thousand_answers = hours.zip(arguments.price_per_hour).map(|(h, p)| h * p);
    }
    mark_front(&mut measured);
    let (heads, rows) = rows(&measured);
    if let Some(path) = &arguments.html {
        let page = crate::report::comparison(&heads, &rows, &measured);
        artifact::write_atomic(path, page.as_bytes())?;
    }
    let best = winner::of(&measured, store)?;
    let mut text = table(&heads, &rows);
    match (&arguments.write_base, best) {
        (Some(recipe), Some(best)) => {
            best.write(recipe)?;
            text += &format!("\n\n{}\nwritten into {}", best.told(), recipe.display());
        }
        (None, Some(best)) if arguments.models.len() > 1 => {
            let (told, lines) = (best.told(), best.lines());
            text += &format!("\n\n{told}; a recipe goes on from it with\n\n{lines}");
        }
        _ => {}
    }
    Ok(Output::new(text, json!(measured)))
}

fn rows(measured: &[Measured]) -> ([&'static str; 11], Vec<Vec<String>>) {
    let heads = [
        "model",
        "task",
        "shots",
        "metric",
        "value",
        "95 % interval",
        "tokens/s",
        "first token",
        "memory",
        "on disk",
        "1,000 answers",
    ];
    let rows = measured.iter().map(|one| {
        let shown = |value: f64| {
            if one.metric.is_proportion() {
                quantity::percent(value)
            } else {
                format!("{value:.3}")
            }
        };
        let seconds = one
            .seconds_per_answer
            .map(|seconds| quantity::duration(1000.0 * seconds));
        let cost = one
            .cost_per_thousand_answers
            .map(|cost| format!("{cost:.4}"));
        vec![
            format!("{}{}", one.model, if one.pareto { " *" } else { "" }),
            one.task.clone(),
            one.shots.to_string(),
            one.metric.name().replace('_', " "),
            shown(one.value),
            format!("{} to {}", shown(one.low), shown(one.high)),
            format!("{:.0}", one.tokens_per_second),
            format!("{:.0} ms", 1000.0 * one.first_token_seconds),
            quantity::bytes(one.peak_rss_bytes as f64),
            quantity::bytes(one.bytes as f64),
            cost.or(seconds).unwrap_or_else(|| "–".to_owned()),
        ]
    });
    (heads, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(model: &str, value: f64, tokens_per_second: f64, peak_rss_bytes: u64) -> Measured {
        Measured {
            model: model.to_owned(),
            id: String::new(),
            task: "t".to_owned(),
            shots: 0,
            metric: Metric::HeldOutAccuracy,
            value,
            low: value,
            high: value,
            n: 1,
            tokens_per_second,
            first_token_seconds: 0.0,
            peak_rss_bytes,
            bytes: 0,
            parameters: 0,
            seconds_per_answer: None,
            cost_per_thousand_answers: None,
            pareto: false,
        }
    }

    #[test]
    fn the_front_is_what_no_other_beats() {
        let mut all = [
            one("good", 0.9, 10.0, 100),
            one("quick", 0.5, 90.0, 50),
            one("neither", 0.5, 20.0, 60),
            one("small", 0.2, 5.0, 10),
        ];
        mark_front(&mut all);
        assert_eq!(all.map(|one| one.pareto), [true, true, false, true]);
    }
}
