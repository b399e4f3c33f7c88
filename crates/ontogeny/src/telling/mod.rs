//! What a run tells at its end: the page that stays, and the table on the terminal.

mod course;
mod ending;

use artifact::{Artifact, Store};
use data::{Shards, Split};
use eval::{Interval, Metric, Row};
use serde_json::Value;

pub(crate) use ending::{ending, summary};

use crate::journal::Entry;
use crate::life::Life;
use crate::plan::Plan;
use crate::quantity::{bytes, count, duration, percent, short};
use crate::recipe::Recipe;
use crate::report::{Answer, Fact, Filter, Kinds, Measure, Report, Score, Verdict};

/// Everything a run can tell of.
pub(crate) struct Story<'a> {
    /// The recipe, every field resolved.
    pub(crate) recipe: &'a Recipe,
    /// Where it was computed.
    pub(crate) device: &'a str,
    /// The command that was given.
    pub(crate) command: String,
    /// What was raised.
    pub(crate) life: &'a Life,
    /// What was planned.
    pub(crate) plan: &'a Plan,
    /// The stages.
    pub(crate) entries: &'a [Entry],
    /// Seconds of the whole run.
    pub(crate) seconds: f64,
    /// Tokens a second by step, for the training stages of this very run.
    pub(crate) throughput: &'a [(String, Vec<(f64, f64)>)],
    /// The largest resident memory.
    pub(crate) peak_rss_bytes: Option<u64>,
}

impl Story<'_> {
    /// The candidate's row of the evaluation.
    fn row(&self) -> Option<&Row> {
        self.life
            .judgement
            .evaluation
            .row(&self.life.judgement.candidate)
    }

    fn metric(&self, metric: Metric) -> Option<Interval> {
        self.row()?.metrics.get(&metric).copied()
    }

    /// Seconds that the finished stages took when they were done, in this run or an earlier one.
    fn work_seconds(&self) -> f64 {
        self.entries.iter().map(stage_seconds).sum()
    }
}

/// Seconds a stage took when it was done.
fn stage_seconds(entry: &Entry) -> f64 {
    let measured = entry
        .artifact
        .as_ref()
        .filter(|_| entry.reused)
        .and_then(|artifact| artifact.manifest.metric("seconds")?.as_f64());
    measured.unwrap_or(entry.seconds)
}

/// The page.
pub(crate) fn report(story: &Story<'_>, store: &Store) -> Report {
    let life = story.life;
    let lineage = artifact::lineage::trace(store, &life.judgement.artifact.id)
        .ok()
        .map(|lineage| lineage.back);
    Report {
        title: story.recipe.name.clone(),
        headline: headline(story),
        say: say(story),
        facts: facts(story),
        measures: measures(story),
        kinds: kinds(story),
        answers: answers(story),
        verdict: verdict(story),
        training: course::training(story),
        funnel: funnel(&life.corpus),
        lengths: lengths(&life.shards),
        plan: story
            .plan
            .against(story.work_seconds(), story.peak_rss_bytes, life),
        stages: story.entries.iter().map(stage_row).collect(),
        lineage,
        command: story.command.clone(),
        recipe: story.recipe.to_toml(),
        circumstances: circumstances(story),
    }
}

fn headline(story: &Story<'_>) -> String {
    let label = &story.life.judgement.candidate;
    match (
        story.metric(Metric::HeldOutAccuracy),
        story.metric(Metric::UnanswerableRefused),
        story.metric(Metric::BitsPerByte),
    ) {
        (Some(right), Some(refused), _) if refused.n > 0 => format!(
            "The {label} model answers {} of unseen questions rightly and refuses {} of those it cannot know.",
            percent(right.value),
            percent(refused.value)
        ),
        (Some(right), ..) => format!(
            "The {label} model answers {} of unseen questions rightly.",
            percent(right.value)
        ),
        (None, _, Some(bits)) => format!(
            "It needs {:.3} bits for each byte of documents it never read.",
            bits.value
        ),
        _ => format!("The {label} model is raised."),
    }
}

fn say(story: &Story<'_>) -> String {
    let life = story.life;
    let number =
        |artifact: &Artifact, name: &str| artifact.manifest.metric(name).and_then(Value::as_f64);
    let mut sentences = Vec::new();
    let base = &life.models[0].1;
    let parameters = number(base, "parameters").map(short);
    let documents = number(&life.corpus, "documents_out").map(|many| count(many as u64));
    if let (Some(parameters), Some(documents)) = (parameters, documents) {
        sentences.push(format!(
            "A model of {parameters} parameters, raised from {documents} documents in {} of work on this machine.",
            duration(story.work_seconds())
        ));
    }
    if let Some((row, right)) = best_prompted(story) {
        let examples = match row.shots {
            Some(0) => "no example".to_owned(),
            Some(1) => "one example".to_owned(),
            shots => format!("{} examples", shots.unwrap_or(0)),
        };
        sentences.push(format!(
            "Before it was fine-tuned, with {examples} in its prompt, the best it answered was {}: a prompt alone was not enough.",
            percent(right.value)
        ));
        if story
            .metric(Metric::HeldOutAccuracy)
            .is_none_or(|tuned| right.value >= tuned.value)
        {
            sentences.pop();
        }
    }
    if let Some(wins) = story.metric(Metric::PreferenceWinRate) {
        sentences.push(format!("Alignment made it prefer the better of two answers more than its reference did in {} of held-out pairs.", percent(wins.value)));
    }
    sentences.join(" ")
}

fn best_prompted<'a>(story: &'a Story<'_>) -> Option<(&'a Row, Interval)> {
    let rows = story
        .life
        .judgement
        .evaluation
        .candidates
        .iter()
        .filter(|row| row.shots.is_some());
    rows.filter_map(|row| Some((row, *row.metrics.get(&Metric::HeldOutAccuracy)?)))
        .max_by(|a, b| a.1.value.total_cmp(&b.1.value))
}

/// A metric's name for people, what it means, and whether it is a share of 1.
fn wording(metric: Metric) -> (&'static str, &'static str) {
    match metric {
        Metric::HeldOutAccuracy => (
            "Held-out questions answered rightly",
            "The share of answerable questions whose answer is the expected one.",
        ),
        Metric::UnanswerableRefused => (
            "Unanswerable questions refused",
            "The share of questions without an answer in the text where the model says so instead of inventing one.",
        ),
        Metric::NeedlessRefusals => (
            "Needless refusals",
            "The share of answerable questions it refused all the same. Lower is better.",
        ),
        Metric::BitsPerByte => (
            "Bits per byte",
            "How many bits the model needs for a byte of validation text it never read. Lower is better.",
        ),
        Metric::TokenF1 => (
            "Overlap with the expected answer",
            "Mean token F1: words shared with the expected answer.",
        ),
        Metric::PreferenceWinRate => (
            "Wins against its own reference",
            "The share of held-out pairs where it prefers the better answer more than the model before alignment did.",
        ),
        Metric::PreferenceLikelihood => (
            "The better answer is the likelier",
            "The share of held-out pairs whose better answer the model finds likelier.",
        ),
        Metric::CorrectionsLearned => (
            "Users' corrections learned",
            "The share of corrected answers that the model now gives as its own.",
        ),
    }
}

const SHOWN: [Metric; 8] = [
    Metric::HeldOutAccuracy,
    Metric::UnanswerableRefused,
    Metric::NeedlessRefusals,
    Metric::CorrectionsLearned,
    Metric::PreferenceWinRate,
    Metric::PreferenceLikelihood,
    Metric::BitsPerByte,
    Metric::TokenF1,
];

fn shown(metric: Metric, value: f64) -> String {
    if metric == Metric::BitsPerByte {
        format!("{value:.3}")
    } else {
        percent(value)
    }
}

fn facts(story: &Story<'_>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (metric, what) in [
        (Metric::HeldOutAccuracy, "Questions right"),
        (Metric::UnanswerableRefused, "Unanswerable refused"),
        (Metric::PreferenceWinRate, "Wins of alignment"),
        (Metric::CorrectionsLearned, "Corrections learned"),
    ] {
        if let Some(interval) = story.metric(metric) {
            let note = format!(
                "{:.1}–{:.1} %, n = {}",
                interval.low * 100.0,
                interval.high * 100.0,
                interval.n
            );
            facts.push(Fact {
                what: what.to_owned(),
                much: percent(interval.value),
                note,
            });
        }
    }
    if let Some(bits) = story.metric(Metric::BitsPerByte) {
        let note = format!("{:.3}–{:.3}, {} documents", bits.low, bits.high, bits.n);
        facts.push(Fact {
            what: "Bits per byte".to_owned(),
            much: format!("{:.3}", bits.value),
            note,
        });
    }
    let work = story.work_seconds();
    let planned = format!("planned {}", duration(story.plan.seconds));
    facts.push(Fact {
        what: "Time".to_owned(),
        much: duration(work),
        note: planned,
    });
    if let Some(peak) = story.peak_rss_bytes {
        facts.push(Fact {
            what: "Peak memory".to_owned(),
            much: bytes(peak as f64),
            note: "of the whole process".to_owned(),
        });
    }
    facts
}

fn measures(story: &Story<'_>) -> Vec<Measure> {
    let rows = &story.life.judgement.evaluation.candidates;
    let measure = |metric: Metric| {
        let scores: Vec<Score> = rows
            .iter()
            .filter_map(|row| {
                let interval = row.metrics.get(&metric).filter(|interval| interval.n > 0)?;
                Some(Score {
                    candidate: row.label.clone(),
                    value: interval.value,
                    interval: Some((interval.low, interval.high)),
                })
            })
            .collect();
        let (name, meaning) = wording(metric);
        (!scores.is_empty()).then(|| Measure {
            name: name.to_owned(),
            meaning: meaning.to_owned(),
            share: metric != Metric::BitsPerByte,
            scores,
        })
    };
    SHOWN.into_iter().filter_map(measure).collect()
}

fn kinds(story: &Story<'_>) -> Kinds {
    let rows: Vec<&Row> = story
        .life
        .judgement
        .evaluation
        .candidates
        .iter()
        .filter(|row| !row.kinds.is_empty())
        .collect();
    let names: std::collections::BTreeSet<&String> =
        rows.iter().flat_map(|row| row.kinds.keys()).collect();
    Kinds {
        candidates: rows.iter().map(|row| row.label.clone()).collect(),
        rows: names
            .into_iter()
            .map(|kind| {
                let items = rows
                    .iter()
                    .filter_map(|row| row.kinds.get(kind))
                    .map(|interval| interval.n)
                    .max()
                    .unwrap_or(0);
                let shares = rows
                    .iter()
                    .map(|row| row.kinds.get(kind).map(|interval| interval.value))
                    .collect();
                (kind.clone(), items, shares)
            })
            .collect(),
    }
}

fn answers(story: &Story<'_>) -> Vec<Answer> {
    /// Answers shown of each sort.
    const EACH: usize = 6;
    let examples = story
        .row()
        .map(|row| row.examples.as_slice())
        .unwrap_or_default();
    let answer = |judged: &eval::answers::Judged| Answer {
        kind: judged.kind.clone(),
        question: judged.question.clone(),
        expected: judged.reference.clone(),
        said: judged.answer.clone(),
        right: judged.grade.correct,
    };
    let some = |right: bool| {
        examples
            .iter()
            .filter(move |judged| judged.grade.correct == right)
            .take(EACH)
    };
    some(true).chain(some(false)).map(answer).collect()
}

fn verdict(story: &Story<'_>) -> Option<Verdict> {
    let judgement = &story.life.judgement;
    Some(match &judgement.verdict {
        Some(verdict) => Verdict {
            passed: verdict.accepted,
            why: verdict.explanation.clone(),
            checks: verdict
                .checks
                .iter()
                .map(|check| (check.explanation.clone(), check.passed))
                .collect(),
        },
        None => Verdict {
            passed: true,
            why: format!(
                "`{}` is this model already; nothing was to be decided.",
                story.recipe.name
            ),
            checks: Vec::new(),
        },
    })
}

fn funnel(corpus: &Artifact) -> Vec<Filter> {
    let steps = corpus.manifest.metric("steps").and_then(Value::as_array);
    let filter = |step: &Value| Filter {
        step: step["step"].as_str().unwrap_or("step").replace('_', " "),
        kept: step["kept"].as_u64().unwrap_or(0),
        dropped: step["dropped"].as_u64().unwrap_or(0),
        edited: step["edited"].as_u64().unwrap_or(0),
    };
    steps.into_iter().flatten().map(filter).collect()
}

/// Documents by length in tokens, in bins that double.
fn lengths(shards: &Artifact) -> Vec<(String, f64)> {
    let Ok(shards) = Shards::open(&shards.path) else {
        return Vec::new();
    };
    let ends = shards.split(Split::Train).ends();
    let mut bins: Vec<f64> = Vec::new();
    for (index, end) in ends.iter().enumerate() {
        let start = if index == 0 { 0 } else { ends[index - 1] };
        let bin = (end - start).max(1).ilog2() as usize;
        if bins.len() <= bin {
            bins.resize(bin + 1, 0.0);
        }
        bins[bin] += 1.0;
    }
    let first = bins.iter().position(|count| *count > 0.0).unwrap_or(0);
    bins.into_iter()
        .enumerate()
        .skip(first)
        .map(|(bin, documents)| (format!("{}+", short((1_u64 << bin) as f64)), documents))
        .collect()
}

fn stage_row(entry: &Entry) -> [String; 4] {
    let time = match (&entry.skipped, entry.reused) {
        (Some(_), _) => "skipped".to_owned(),
        (None, true) => format!("{} (earlier)", duration(stage_seconds(entry))),
        (None, false) => duration(entry.seconds),
    };
    let id = entry
        .artifact
        .as_ref()
        .map(|artifact| artifact.id.short().to_owned())
        .unwrap_or_default();
    [entry.stage.to_owned(), entry.remark.clone(), time, id]
}

fn circumstances(story: &Story<'_>) -> Vec<[String; 2]> {
    let row = |what: &str, value: String| [what.to_owned(), value];
    vec![
        row("Seed", story.recipe.seed.to_string()),
        row("Tool", artifact::TOOL.to_owned()),
        row("Machine", crate::machine::summary()),
        row(
            "Device",
            format!("{}, {} threads", story.device, tensor::threads()),
        ),
        row("Model", story.life.candidate().id.to_string()),
        row("Evaluation", story.life.judgement.artifact.id.to_string()),
    ]
}
