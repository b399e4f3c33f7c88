//! The table at the end of a run, and the fields of `run --json`.

use std::path::Path;

use eval::Metric;
use serde_json::{Value, json};

use super::{SHOWN, Story, shown, wording};
use crate::journal;
use crate::output::table;
use crate::quantity::{bytes, duration};

/// What was learned, where the report lies, and the command that serves it.
pub(crate) fn ending(story: &Story<'_>, report: &Path) -> String {
    let judgement = &story.life.judgement;
    let metrics: Vec<Metric> = SHOWN
        .into_iter()
        .filter(|metric| {
            judgement
                .evaluation
                .candidates
                .iter()
                .any(|row| row.metrics.get(metric).is_some_and(|one| one.n > 0))
        })
        .collect();
    let mut heads = vec!["what it learned"];
    heads.extend(metrics.iter().map(|metric| column(*metric)));
    let rows: Vec<Vec<String>> = judgement
        .evaluation
        .candidates
        .iter()
        .map(|row| {
            let mut cells = vec![row.label.clone()];
            cells.extend(metrics.iter().map(|metric| {
                row.metrics
                    .get(metric)
                    .filter(|one| one.n > 0)
                    .map_or_else(|| "–".to_owned(), |one| shown(*metric, one.value))
            }));
            cells
        })
        .collect();
    let mut lines = vec![table(&heads, &rows), String::new()];
    for metric in &metrics {
        if let Some(interval) = story.metric(*metric) {
            let ends = format!(
                "{} to {}",
                shown(*metric, interval.low),
                shown(*metric, interval.high)
            );
            lines.push(format!(
                "{}: {} (95 % interval {ends}, n = {})",
                wording(*metric).0,
                shown(*metric, interval.value),
                interval.n
            ));
        }
    }
    lines.push(String::new());
    lines.push(match &judgement.verdict {
        Some(verdict) => format!("gate    {}", verdict.explanation),
        None => format!("gate    `{}` is this model already", story.recipe.name),
    });
    let memory = story
        .peak_rss_bytes
        .map(|peak| format!(", peak memory {}", bytes(peak as f64)))
        .unwrap_or_default();
    lines.push(format!(
        "time    {} (planned {}){memory}",
        duration(story.seconds),
        duration(story.plan.seconds)
    ));
    lines.push(format!("model   {}", story.life.candidate().id.short()));
    lines.push(format!("report  {}", report.display()));
    let served = if judgement.deployed() {
        story.recipe.name.as_str()
    } else {
        story.life.candidate().id.short()
    };
    lines.push(format!("serve   ontogeny serve {served}"));
    lines.join("\n")
}

fn column(metric: Metric) -> &'static str {
    match metric {
        Metric::HeldOutAccuracy => "right",
        Metric::UnanswerableRefused => "refused",
        Metric::NeedlessRefusals => "needless",
        Metric::CorrectionsLearned => "corrections",
        Metric::PreferenceWinRate => "wins",
        Metric::PreferenceLikelihood => "likelier",
        Metric::BitsPerByte => "bits/byte",
        Metric::TokenF1 => "overlap",
    }
}

/// The object `run --json` prints.
pub(crate) fn summary(story: &Story<'_>, report: &Path) -> Value {
    let judgement = &story.life.judgement;
    let mut measured = serde_json::Map::new();
    for metric in SHOWN {
        if let Some(interval) = story.metric(metric).filter(|interval| interval.n > 0) {
            measured.insert(metric.name().to_owned(), json!(interval.value));
        }
    }
    json!({
        "model": story.life.candidate().id,
        "name": story.recipe.name,
        "report": report,
        "seconds": story.seconds,
        "peak_rss_bytes": story.peak_rss_bytes,
        "plan": story.plan.to_json(),
        "stages": journal::to_json(story.entries),
        "eval": measured,
        "gate": judgement.verdict,
        "deployed": judgement.deployed(),
    })
}
