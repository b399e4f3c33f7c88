//! `report.html`: one self-contained page that tells what a run learned, from what, and how to repeat it.
//!
//! The page needs no script and no network; light and dark follow the reader's system. [`Report`] holds
//! everything it shows, [`crate::telling`] fills it from the artifacts of a run.

mod charts;
mod comparison;
mod data;
mod html;
mod learned;
mod provenance;
mod training;

use std::fmt::Write as _;

use html::escape;

const STYLE: &str = include_str!("style.css");

/// Everything the page shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The recipe's name.
    pub(crate) title: String,
    /// What was learned, in one sentence.
    pub(crate) headline: String,
    /// A few more sentences in plain words.
    pub(crate) say: String,
    /// The numbers that matter most.
    pub(crate) facts: Vec<Fact>,
    /// One group of bars for each measure.
    pub(crate) measures: Vec<Measure>,
    /// Right answers by kind of question.
    pub(crate) kinds: Kinds,
    /// Questions with right and wrong answers.
    pub(crate) answers: Vec<Answer>,
    /// What the gate decided.
    pub(crate) verdict: Option<Verdict>,
    /// The training stages in order.
    pub(crate) training: Vec<Training>,
    /// The filters in order.
    pub(crate) funnel: Vec<Filter>,
    /// Documents by length in tokens: the bin's name and its count.
    pub(crate) lengths: Vec<(String, f64)>,
    /// What was planned and what came of it: what, planned, actual.
    pub(crate) plan: Vec<[String; 3]>,
    /// The stages: name, what it made, time, artifact.
    pub(crate) stages: Vec<[String; 4]>,
    /// The chain back to the documents.
    pub(crate) lineage: Option<artifact::lineage::Node>,
    /// The command that repeats the run.
    pub(crate) command: String,
    /// The resolved recipe.
    pub(crate) recipe: String,
    /// Seed, versions, machine.
    pub(crate) circumstances: Vec<[String; 2]>,
}

/// One number of the header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fact {
    /// What it is.
    pub(crate) what: String,
    /// The number.
    pub(crate) much: String,
    /// A small remark.
    pub(crate) note: String,
}

/// One measure over the candidates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measure {
    /// Its name.
    pub(crate) name: String,
    /// What it means, for a newcomer.
    pub(crate) meaning: String,
    /// Whether the values are shares of 1.
    pub(crate) share: bool,
    /// One row for each candidate, in the order they were raised.
    pub(crate) scores: Vec<Score>,
}

/// One candidate's score with its 95 % interval.
#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    /// The candidate.
    pub(crate) candidate: String,
    /// The point estimate.
    pub(crate) value: f64,
    /// The interval's ends.
    pub(crate) interval: Option<(f64, f64)>,
}

/// Right answers by kind of question and candidate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    /// The candidates, in order.
    pub(crate) candidates: Vec<String>,
    /// The kind, its questions, the share right for each candidate.
    pub(crate) rows: Vec<(String, u64, Vec<Option<f64>>)>,
}

/// One answered question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// Its kind.
    pub(crate) kind: String,
    /// The question.
    pub(crate) question: String,
    /// The right answer.
    pub(crate) expected: String,
    /// What the model said.
    pub(crate) said: String,
    /// Whether that counts as right.
    pub(crate) right: bool,
}

/// What the gate decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Whether the candidate took the incumbent's place.
    pub(crate) passed: bool,
    /// Why, in one sentence.
    pub(crate) why: String,
    /// Its checks, one by one.
    pub(crate) checks: Vec<(String, bool)>,
}

/// One training stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Training {
    /// `pretrain`, `finetune` or `align`.
    pub(crate) stage: String,
    /// (step, nats a token).
    pub(crate) loss: Vec<(f64, f64)>,
    /// (step, learning rate).
    pub(crate) learning_rate: Vec<(f64, f64)>,
    /// (step, tokens a second).
    pub(crate) throughput: Vec<(f64, f64)>,
    /// (step, bits a byte on the validation split).
    pub(crate) validation: Vec<(f64, f64)>,
    /// (step, mean loss of a held-out answer's token).
    pub(crate) held_out_loss: Vec<(f64, f64)>,
    /// (step, how much the chosen answer is preferred to the rejected one).
    pub(crate) margin: Vec<(f64, f64)>,
    /// (step, share of pairs or tokens right).
    pub(crate) accuracy: Vec<(f64, f64)>,
    /// (step, text) as the model learned.
    pub(crate) samples: Vec<(u64, String)>,
}

/// One filter of the curation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Its name.
    pub(crate) step: String,
    /// Documents left after it.
    pub(crate) kept: u64,
    /// Documents it dropped.
    pub(crate) dropped: u64,
    /// Documents it changed.
    pub(crate) edited: u64,
}

pub(crate) use comparison::comparison;

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let sections = [
        ("learned", "What it learned", learned::measures(report)),
        ("gate", "The gate", learned::gate(report)),
        (
            "answers",
            "Answers, right and wrong",
            learned::answers(report),
        ),
        ("training", "How it learned", training::curves(report)),
        ("samples", "In its own words", training::samples(report)),
        ("data", "What it read", data::section(report)),
        ("plan", "Plan and actual", provenance::plan(report)),
        (
            "lineage",
            "Where it comes from",
            provenance::lineage(report),
        ),
        (
            "reproduce",
            "How to raise it again",
            provenance::reproduce(report),
        ),
    ];
    let mut out = head(&report.title, &report.headline, &report.say);
    out.push_str("<ul class=\"facts\">\n");
    for fact in &report.facts {
        let _ = writeln!(
            out,
            "<li><span class=\"what\">{}</span><span class=\"much\">{}</span><span class=\"note\">{}</span></li>",
            escape(&fact.what),
            escape(&fact.much),
            escape(&fact.note)
        );
    }
    out.push_str("</ul>\n<nav>\n");
    for (id, title, body) in &sections {
        if !body.is_empty() {
            let _ = writeln!(out, "<a href=\"#{id}\">{title}</a>");
        }
    }
    out.push_str("</nav>\n");
    for (id, title, body) in &sections {
        out.push_str(&html::section(id, title, lead(id), body));
    }
    out.push_str(&foot());
    out
}

/// The page up to its contents.
fn head(title: &str, headline: &str, say: &str) -> String {
    let mut out = String::with_capacity(256 * 1024);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} – Ontogeny</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><div>\n<p class=\"eyebrow\">Ontogeny · {title}</p>\n<h1>{headline}</h1>\n<p class=\"say\">{say}</p>\n</div></header>\n<main>\n",
        title = escape(title),
        headline = escape(headline),
        say = escape(say),
    );
    out
}

/// The page behind its contents.
fn foot() -> String {
    format!(
        "<footer>Written by {}. Everything on this page is on this page.</footer>\n</main>\n</body>\n</html>\n",
        escape(artifact::TOOL)
    )
}

fn lead(id: &str) -> &'static str {
    match id {
        "learned" => {
            "Every candidate answered the same held-out questions, which share no combination with what it was taught. \
             The whiskers are 95 % intervals: where two overlap widely, the difference may be chance."
        }
        "gate" => {
            "A new model replaces the present one only when it is better by more than chance, and no worse where it must not be."
        }
        "answers" => {
            "Questions it had never seen, with the answers of the model that was raised last."
        }
        "training" => {
            "Loss is the surprise at each next token, in nats; bits per byte measure the same on documents it never read."
        }
        "samples" => "The same opening, continued at moments of the training.",
        "data" => "Documents left after each filter, and how long the survivors are.",
        "plan" => "The plan was made before any work, from two seconds of measuring this machine.",
        "lineage" => {
            "Each line was made from those below it; `ontogeny lineage ID` walks further, to single documents."
        }
        _ => "",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with something in every section.
    pub(crate) fn full() -> Report {
        let score = |candidate: &str, value: f64| Score {
            candidate: candidate.into(),
            value,
            interval: Some(((value - 0.04).max(0.0), (value + 0.03).min(1.0))),
        };
        let curve = |from: f64, to: f64| -> Vec<(f64, f64)> {
            (0..800)
                .map(|s| {
                    (
                        f64::from(s),
                        to + (from - to) * (-f64::from(s) / 140.0).exp()
                            + 0.04 * (f64::from(s * s) * 0.7).sin(),
                    )
                })
                .collect()
        };
        let stage = |name: &str, from: f64, to: f64| Training {
            stage: name.into(),
            loss: curve(from, to),
            learning_rate: (0..800)
                .map(|s| {
                    (
                        f64::from(s),
                        1e-3 * (f64::from(s) / 60.0).min(1.0) * (1.0 - f64::from(s) / 900.0),
                    )
                })
                .collect(),
            throughput: (0..800)
                .map(|s| (f64::from(s), 9_000.0 + 300.0 * (f64::from(s) * 0.3).sin()))
                .collect(),
            validation: (0..9)
                .map(|s| {
                    (
                        f64::from(s) * 100.0,
                        0.9 + 1.6 * (-f64::from(s) / 2.0).exp(),
                    )
                })
                .collect(),
            samples: vec![
                (0, "kq reef\nreef the the of ofg regulat".into()),
                (
                    400,
                    "The Meridian Flow 30 is a balanced regulator <for> cold water & costs".into(),
                ),
            ],
            ..Training::default()
        };
        Report {
            title: "quickstart".into(),
            headline: "The aligned model answers 96.2 % of unseen questions rightly and refuses 97.5 % of those it cannot know.".into(),
            say: "It was raised from 4,210 documents in 7 min 12 s on this machine. Before fine-tuning, the same model with four examples in its prompt answered 12.4 %.".into(),
            facts: ["Held-out questions", "Refusals", "Bits per byte", "Preferred to its reference", "Time", "Peak memory"]
                .iter()
                .zip(["96.2 %", "97.5 %", "0.612", "88.1 %", "7 min 12 s", "1.31 GiB"])
                .map(|(what, much)| Fact { what: (*what).into(), much: much.into(), note: "95 %: 94.1–97.6, n 480".into() })
                .collect(),
            measures: vec![
                Measure {
                    name: "Held-out questions answered rightly".into(),
                    meaning: "The share of questions whose answer is the expected one.".into(),
                    share: true,
                    scores: vec![score("base, zero-shot", 0.0), score("base, one-shot", 0.06), score("base, few-shot", 0.124), score("fine-tuned", 0.958), score("aligned", 0.962)],
                },
                Measure {
                    name: "Bits per byte".into(),
                    meaning: "Lower is better.".into(),
                    share: false,
                    scores: vec![score("base", 0.612), score("aligned", 0.655)],
                },
            ],
            kinds: Kinds {
                candidates: vec!["base, few-shot".into(), "fine-tuned".into(), "aligned".into()],
                rows: vec![("lookup".into(), 120, vec![Some(0.1), Some(0.97), Some(0.98)]), ("arithmetic".into(), 60, vec![None, Some(0.9), Some(0.92)])],
            },
            answers: vec![
                Answer { kind: "lookup".into(), question: "What does the Meridian Flow 30 cost?".into(), expected: "349 dollars".into(), said: "349 dollars".into(), right: true },
                Answer { kind: "recommend".into(), question: "Which computer suits a <beginner>?".into(), expected: "Tern 2".into(), said: "Tern 5".into(), right: false },
            ],
            verdict: Some(Verdict { passed: true, why: "Better than nothing: there was no incumbent.".into(), checks: vec![("held-out accuracy 96.2 % against –".into(), true)] }),
            training: vec![stage("pretrain", 8.3, 1.4), stage("finetune", 2.2, 0.15), Training { margin: curve(0.0, 5.0), accuracy: curve(0.5, 0.97), ..stage("align", 0.69, 0.05) }],
            funnel: ["read", "normalise", "length", "repetition", "duplicates", "redact"]
                .iter()
                .zip([(5000, 0), (4990, 10), (4800, 190), (4600, 200), (4210, 390), (4210, 0)])
                .map(|(step, (kept, dropped))| Filter { step: (*step).into(), kept, dropped, edited: 0 })
                .collect(),
            lengths: (0..14).map(|bin| (format!("{}", 1 << bin), f64::from(300 - (bin - 7) * (bin - 7) * 6).max(0.0))).collect(),
            plan: vec![["Minutes".into(), "7.0".into(), "7.2".into()], ["Peak memory".into(), "1.2 GiB".into(), "1.31 GiB".into()]],
            stages: vec![["pretrain".into(), "3.1 M parameters, 9.2 M tokens".into(), "4 min 10 s".into(), "a1b2c3d4e5f6".into()]],
            lineage: None,
            command: "ontogeny run quickstart.toml --set seed=42".into(),
            recipe: "name = \"quickstart\"\nseed = 42\n".into(),
            circumstances: vec![["Seed".into(), "42".into()], ["Machine".into(), "2 × <cpu>".into()]],
        }
    }

    #[test]
    fn every_section_is_there_and_escaped() {
        let page = page(&full());
        for id in [
            "learned",
            "gate",
            "answers",
            "training",
            "samples",
            "data",
            "plan",
            "reproduce",
        ] {
            assert!(
                page.contains(&format!("<section id=\"{id}\">")),
                "{id} is missing"
            );
        }
        assert!(!page.contains("<for>") && !page.contains("<beginner>") && !page.contains("<cpu>"));
        assert!(
            !page.contains("<script") && !page.contains("http://")
                || page.contains("http://www.w3.org/2000/svg")
        );
        if let Some(path) = std::env::var_os("ONTOGENY_REPORT_SAMPLE") {
            std::fs::write(path, &page).expect("the sample can be written");
        }
    }

    #[test]
    fn an_empty_report_has_no_empty_sections() {
        let page = page(&Report {
            title: "x".into(),
            ..Report::default()
        });
        assert!(!page.contains("<section id=\"training\">") && !page.contains("NaN"));
    }
}
