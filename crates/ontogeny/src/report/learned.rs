//! What was learned: bars with intervals, the table by kind, the gate, answers.

use std::fmt::Write as _;

use super::html::{Bar, bars, escape, table};
use super::{Measure, Report};
use crate::quantity::{count, percent};

const TONES: [&str; 4] = ["muted", "c", "a", "b"];

pub(super) fn measures(report: &Report) -> String {
    let mut out = String::new();
    let card = |measure: &Measure| {
        let (name, meaning) = (escape(&measure.name), escape(&measure.meaning));
        format!(
            "<div class=\"card\"><h3>{name}</h3>\n<p class=\"lead\">{meaning}</p>\n{}</div>\n",
            one(measure)
        )
    };
    // What the model is for comes first and large, the rest side by side.
    if let Some((first, rest)) = report.measures.split_first() {
        out.push_str(&card(first));
        if !rest.is_empty() {
            let _ = write!(
                out,
                "<div class=\"grid compact\">\n{}</div>\n",
                rest.iter().map(card).collect::<String>()
            );
        }
    }
    if !report.kinds.rows.is_empty() {
        let mut heads = vec!["Kind of question", "n"];
        heads.extend(report.kinds.candidates.iter().map(String::as_str));
        let rows: Vec<Vec<String>> = report
            .kinds
            .rows
            .iter()
            .map(|(kind, items, shares)| {
                let mut row = vec![kind.replace('_', " "), count(*items)];
                row.extend(
                    shares
                        .iter()
                        .map(|share| share.map_or_else(|| "–".to_owned(), percent)),
                );
                row
            })
            .collect();
        let _ = write!(
            out,
            "<div class=\"card\"><h3>By kind of question</h3>\n{}</div>\n",
            table(&heads, &rows)
        );
    }
    out
}

fn one(measure: &Measure) -> String {
    let longest = if measure.share {
        1.0
    } else {
        let ends = measure.scores.iter().map(|score| {
            score
                .interval
                .map_or(score.value, |(_, high)| high.max(score.value))
        });
        ends.fold(0.0, f64::max).max(1e-12) * 1.04
    };
    let drawn: Vec<Bar<'_>> = measure
        .scores
        .iter()
        .map(|score| {
            let number = |value: f64| {
                if measure.share {
                    format!("{:.1}", value * 100.0)
                } else {
                    format!("{value:.3}")
                }
            };
            let interval = score
                .interval
                .map(|(low, high)| format!("{}–{}", number(low), number(high)));
            Bar {
                label: &score.candidate,
                value: score.value / longest,
                interval: score
                    .interval
                    .map(|(low, high)| (low / longest, high / longest)),
                shown: if measure.share {
                    percent(score.value)
                } else {
                    number(score.value)
                },
                remark: interval.unwrap_or_default(),
                tone: tone(&score.candidate),
            }
        })
        .collect();
    bars(&drawn)
}

/// One colour for each way of raising a candidate, the same in every chart.
fn tone(candidate: &str) -> &'static str {
    let place = match candidate {
        name if name.contains("tuned") => 1,
        name if name.contains("aligned") => 2,
        name if name.contains("incumbent") => 3,
        _ => 0,
    };
    TONES[place]
}

pub(super) fn gate(report: &Report) -> String {
    let Some(verdict) = &report.verdict else {
        return String::new();
    };
    let (class, word) = if verdict.passed {
        ("verdict", "Passed.")
    } else {
        ("verdict no", "Not passed.")
    };
    let mut out = format!(
        "<div class=\"card {class}\"><p style=\"margin:0\"><b class=\"word\">{word}</b> {}</p>",
        escape(&verdict.why)
    );
    if !verdict.checks.is_empty() {
        out.push_str("<ul>");
        for (check, passed) in &verdict.checks {
            let (class, sign) = if *passed {
                ("right", "✓")
            } else {
                ("wrong", "✗")
            };
            let _ = write!(
                out,
                "<li><span class=\"{class}\">{sign}</span> {}</li>",
                escape(check)
            );
        }
        out.push_str("</ul>");
    }
    out.push_str("</div>\n");
    out
}

pub(super) fn answers(report: &Report) -> String {
    let card = |right: bool, title: &str| {
        let mut out = String::new();
        for answer in report.answers.iter().filter(|answer| answer.right == right) {
            let (class, word) = if right {
                ("right", "✓")
            } else {
                ("wrong", "✗")
            };
            let _ = write!(
                out,
                "<div class=\"answer\"><span class=\"tag\">{}</span><span class=\"q\">{}</span><p class=\"said\"><span class=\"{class}\">{word}</span> {}</p>",
                escape(&answer.kind.replace('_', " ")),
                escape(&answer.question),
                escape(&answer.said)
            );
            if !right || answer.expected.trim() != answer.said.trim() {
                let _ = write!(
                    out,
                    "<p class=\"wanted\">expected: {}</p>",
                    escape(&answer.expected)
                );
            }
            out.push_str("</div>\n");
        }
        if out.is_empty() {
            out
        } else {
            format!("<div class=\"card\"><h3>{title}</h3>\n{out}</div>\n")
        }
    };
    let both = [card(true, "Right"), card(false, "Wrong")].concat();
    if both.is_empty() {
        both
    } else {
        format!("<div class=\"grid\">\n{both}</div>\n")
    }
}
