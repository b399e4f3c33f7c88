//! Held-out questions, asked as a user would ask them: chat template, greedy decoding, then graded.

use std::collections::BTreeMap;
use std::time::Instant;

use artifact::Progress;
use infer::{Engine, Request, Sampling};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::interval::{Interval, wilson};
use crate::metrics::{Grade, RefusalMarkers, grade};
use crate::question::Question;
use crate::scores::{Metric, Series};

/// A question, the answer given, and the judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Name of the question.
    pub id: String,
    /// Its kind; empty when unknown.
    pub kind: String,
    /// False when the right answer is to refuse.
    pub answerable: bool,
    /// The last user turn.
    pub question: String,
    /// The reference answer.
    pub reference: String,
    /// The answer given.
    pub answer: String,
    /// The judgement.
    pub grade: Grade,
}

/// How fast a batch of answers came; varies from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Tokens generated, over all answers.
    pub tokens: u64,
    /// Wall-clock seconds for all answers together.
    pub seconds: f64,
}

/// Asks every question through the chat template and returns the answers in order, with their speed.
///
/// # Errors
/// A question cannot be encoded, the model fails, or the user interrupts.
pub fn ask(
    engine: &Engine,
    questions: &[Question],
    max_tokens: usize,
    progress: &Progress,
) -> Result<(Vec<String>, Speed)> {
    let prompts: Vec<Vec<u32>> = questions
        .iter()
        .map(|question| Ok(engine.tokenizer().encode_chat(&question.prompt, true)?))
        .collect::<Result<_>>()?;
    complete(engine, prompts, &[], max_tokens, progress)
}

/// Completes every prompt greedily, in one batch; a prompt that leaves no room in the context gets an empty answer.
pub(crate) fn complete(
    engine: &Engine,
    prompts: Vec<Vec<u32>>,
    stop: &[&str],
    max_tokens: usize,
    progress: &Progress,
) -> Result<(Vec<String>, Speed)> {
    progress.check()?;
    let mut answers = vec![String::new(); prompts.len()];
    let mut asked = Vec::new();
    let mut requests = Vec::new();
    for (i, prompt) in prompts.into_iter().enumerate() {
        let room = engine.context().saturating_sub(prompt.len());
        if room > 0 {
            asked.push(i);
            requests.push(Request {
                prompt,
                max_tokens: max_tokens.min(room),
                sampling: Sampling::default(),
                stop: stop.iter().map(|&s| s.to_owned()).collect(),
                ..Request::default()
            });
        }
    }
    if asked.len() < answers.len() {
        progress.note(format!(
            "{} prompts do not fit the context and count as unanswered",
            answers.len() - asked.len()
        ));
    }
    let started = Instant::now();
    let completions = engine.generate_all(requests, progress)?;
    progress.check()?;
    let tokens = completions
        .iter()
        .map(|completion| completion.ids.len() as u64)
        .sum();
    let speed = Speed {
        tokens,
        seconds: started.elapsed().as_secs_f64(),
    };
    for (i, completion) in asked.into_iter().zip(completions) {
        answers[i] = completion.text.trim().to_owned();
    }
    Ok((answers, speed))
}

/// Judges the answers, which are in the order of the questions.
#[must_use]
pub fn judge(questions: &[Question], answers: &[String], markers: &RefusalMarkers) -> Vec<Judged> {
    questions
        .iter()
        .zip(answers)
        .map(|(question, answer)| Judged {
            id: question.id.clone(),
            kind: question.kind.clone(),
            answerable: question.is_answerable(),
            question: question.text().to_owned(),
            reference: question.reference.clone(),
            answer: answer.clone(),
            grade: grade(question, answer, markers),
        })
        .collect()
}

/// The metrics of judged answers; a metric without a single item is left out.
#[must_use]
pub fn series(judged: &[Judged]) -> BTreeMap<Metric, Series> {
    let mut metrics: BTreeMap<Metric, Series> = BTreeMap::new();
    for one in judged {
        let mut push = |metric, success| metrics.entry(metric).or_default().push(&one.id, success);
        if one.answerable {
            push(Metric::HeldOutAccuracy, one.grade.correct);
            push(Metric::NeedlessRefusals, one.grade.refused);
            metrics
                .entry(Metric::TokenF1)
                .or_default()
                .0
                .insert(one.id.clone(), (one.grade.f1, 1.0));
        } else {
            push(Metric::UnanswerableRefused, one.grade.refused);
        }
    }
    metrics
}

/// Share answered right by kind of question.
#[must_use]
pub fn by_kind(judged: &[Judged]) -> BTreeMap<String, Interval> {
    let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for one in judged.iter().filter(|one| !one.kind.is_empty()) {
        let (right, n) = counts.entry(&one.kind).or_default();
        *right += u64::from(one.grade.correct);
        *n += 1;
    }
    counts
        .into_iter()
        .map(|(kind, (right, n))| (kind.to_owned(), wilson(right, n)))
        .collect()
}

/// Up to `limit` examples, half of them wrong answers where there are so many, spread over the kinds.
#[must_use]
pub fn examples(judged: &[Judged], limit: usize) -> Vec<Judged> {
    let wrong = spread(judged.iter().filter(|one| !one.grade.correct));
    let right = spread(judged.iter().filter(|one| one.grade.correct));
    let wrongs = wrong
        .len()
        .min((limit / 2).max(limit.saturating_sub(right.len())));
    let rights = limit - wrongs;
    wrong
        .into_iter()
        .take(wrongs)
        .chain(right.into_iter().take(rights))
        .cloned()
        .collect()
}

/// One of each kind, then a second of each, and so on.
fn spread<'a>(judged: impl Iterator<Item = &'a Judged>) -> Vec<&'a Judged> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ranked: Vec<(usize, &Judged)> = judged
        .map(|one| {
            let rank = seen.entry(&one.kind).or_default();
            *rank += 1;
            (*rank, one)
        })
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizer::Message;

    fn question(id: &str, kind: &str, reference: &str, answerable: bool) -> Question {
        Question {
            id: id.into(),
            prompt: vec![Message {
                role: "user".into(),
                content: format!("{id}?"),
            }],
            reference: reference.into(),
            kind: kind.into(),
            answerable: Some(answerable),
            expect: if answerable {
                vec![reference.into()]
            } else {
                Vec::new()
            },
            ..Question::default()
        }
    }

    fn judged() -> Vec<Judged> {
        let questions = [
            question("a", "lookup", "7", true),
            question("b", "lookup", "8", true),
            question("c", "sum", "9", true),
            question("d", "unknown", "I do not know", false),
            question("e", "unknown", "I do not know", false),
        ];
        let answers = [
            "It is 7.",
            "It is 9.",
            "I do not know.",
            "I do not know.",
            "It is 7.",
        ];
        judge(
            &questions,
            &answers.map(str::to_owned),
            &RefusalMarkers::default(),
        )
    }

    #[test]
    fn answerable_and_unanswerable_questions_are_counted_apart() {
        let metrics = series(&judged());
        let share = |metric| {
            let values = &metrics[&metric].0;
            (
                values.values().map(|(value, _)| *value).sum::<f64>(),
                values.len(),
            )
        };
        assert_eq!(share(Metric::HeldOutAccuracy), (1.0, 3));
        assert_eq!(share(Metric::NeedlessRefusals), (1.0, 3));
        assert_eq!(share(Metric::UnanswerableRefused), (1.0, 2));
        assert_eq!(metrics[&Metric::TokenF1].0.len(), 3);
    }

    #[test]
    fn a_metric_without_items_is_left_out() {
        let only = judge(
            &[question("a", "", "7", true)],
            &["7".to_owned()],
            &RefusalMarkers::default(),
        );
        assert!(!series(&only).contains_key(&Metric::UnanswerableRefused));
    }

    #[test]
    fn kinds_are_counted_apart() {
        let kinds = by_kind(&judged());
        assert_eq!((kinds["lookup"].value, kinds["lookup"].n), (0.5, 2));
        assert_eq!(kinds["sum"].value, 0.0);
        assert_eq!(kinds["unknown"].value, 0.5);
    }

    #[test]
    fn examples_show_both_sides() {
        let shown = examples(&judged(), 4);
        assert_eq!(shown.iter().filter(|one| one.grade.correct).count(), 2);
        assert_eq!(shown.len(), 4);
        assert_eq!(examples(&judged(), 100).len(), 5);
        assert!(examples(&judged(), 0).is_empty());
    }

    #[test]
    fn examples_fill_up_with_what_there_is() {
        let all_right: Vec<Judged> = judged()
            .into_iter()
            .filter(|one| one.grade.correct)
            .collect();
        assert_eq!(examples(&all_right, 2).len(), 2);
        let all_wrong: Vec<Judged> = judged()
            .into_iter()
            .filter(|one| !one.grade.correct)
            .collect();
        assert_eq!(examples(&all_wrong, 3).len(), 3);
    }
}
