//! What makes the questions fair: short, one answer each, out of reach for a table, no hint in the wording.

mod rendered;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nursery::{Example, Kind, grade};
use rendered::ROWS;

/// The answer to [`Example::question`], which opens the conversation.
fn first_answer(e: &Example) -> &str {
    let first = e.messages.iter().find(|m| m.role == "assistant");
    first.map_or("", |m| &m.content)
}

#[test]
fn examples_are_short() {
    let r = &*ROWS;
    let mut total = 0;
    for e in r.training.iter().chain(&r.held_out) {
        let (mut asked, mut answered) = (0, 0);
        for m in &e.messages {
            let words = m.content.split_whitespace().count();
            if m.role == "assistant" {
                assert!(words <= 40, "{e:#?}");
                answered += words;
            } else {
                asked += words;
            }
        }
        assert!((8..=150).contains(&asked), "{asked} words: {e:#?}");
        total += asked + answered;
    }
    let mean = total / (r.training.len() + r.held_out.len());
    assert!((30..=100).contains(&mean), "{mean}");
}

#[test]
fn one_prompt_has_one_answer() {
    let r = &*ROWS;
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for e in r.training.iter().chain(&r.held_out) {
        if let Some(other) = seen.insert(e.question(), first_answer(e)) {
            panic!("asked twice: {} {other}", e.question());
        }
    }
    let pairs = r.pairs.iter().chain(&r.held_out_pairs);
    for p in pairs {
        let asked = p.prompt.last().expect("a prompt").content.as_str();
        if let Some(answer) = seen.get(asked) {
            assert_eq!(*answer, p.chosen, "{asked}");
        }
    }
}

#[test]
fn shares_of_the_kinds() {
    let r = &*ROWS;
    let refused = r.training.iter().filter(|e| !e.answerable).count() * 100 / r.training.len();
    assert!((20..=30).contains(&refused), "{refused}%");
    for kind in Kind::ALL {
        assert!(
            r.training.iter().filter(|e| e.kind == kind).count() > 120,
            "{kind:?}"
        );
        assert_eq!(
            r.held_out.iter().filter(|e| e.kind == kind).count(),
            60,
            "{kind:?}"
        );
    }
    let system = r
        .training
        .iter()
        .filter(|e| e.messages[0].role == "system")
        .count()
        * 100
        / r.training.len();
    assert!((7..=13).contains(&system), "{system}%");
}

/// Words of a text, for overlap.
fn bag(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[test]
fn tables_cannot_pass() {
    let r = &*ROWS;
    let share = |right: usize| right * 100 / r.held_out.len();

    let exact: HashMap<&str, &str> = r
        .training
        .iter()
        .map(|e| (e.question(), first_answer(e)))
        .collect();
    let right = r
        .held_out
        .iter()
        .filter(|e| exact.get(e.question()).is_some_and(|a| grade(e, a)))
        .count();
    assert!(share(right) < 30, "exact question: {}%", share(right));

    let mut counts: BTreeMap<(Kind, &str), usize> = BTreeMap::new();
    for e in &r.training {
        *counts.entry((e.kind, e.answer())).or_default() += 1;
    }
    let frequent = |kind: Kind| {
        counts
            .iter()
            .filter(|((k, _), _)| *k == kind)
            .max_by_key(|(_, n)| **n)
            .map_or("", |((_, a), _)| *a)
    };
    let right = r
        .held_out
        .iter()
        .filter(|e| grade(e, frequent(e.kind)))
        .count();
    assert!(share(right) < 30, "most frequent answer: {}%", share(right));

    let bags: Vec<BTreeSet<String>> = r.training.iter().map(|e| bag(e.question())).collect();
    let nearest = |e: &Example| {
        let own = bag(e.question());
        let near = |b: &BTreeSet<String>| {
            let shared = b.intersection(&own).count();
            shared * 10_000 / (b.len() + own.len() - shared).max(1)
        };
        let best = (0..bags.len())
            .max_by_key(|i| near(&bags[*i]))
            .expect("there are examples");
        first_answer(&r.training[best])
    };
    let right = r.held_out.iter().filter(|e| grade(e, nearest(e))).count();
    assert!(share(right) < 30, "nearest question: {}%", share(right));
}

#[test]
fn the_shape_of_a_question_does_not_tell_whether_it_can_be_answered() {
    let r = &*ROWS;
    // Names, numbers and values masked, the question line alone: how well does its shape predict a refusal?
    let shape = |e: &Example| {
        let line = e
            .question()
            .lines()
            .find(|l| l.ends_with('?') || l.ends_with('.'))
            .unwrap_or("");
        let last = e.question().lines().last().unwrap_or("");
        let asked = if last.ends_with('?') { last } else { line };
        asked
            .split_whitespace()
            .map(|w| {
                if w.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit() || c == '€') {
                    "X"
                } else {
                    w
                }
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let able = [
        Kind::Lookup,
        Kind::Comparison,
        Kind::Arithmetic,
        Kind::Recommendation,
        Kind::Summary,
        Kind::Unanswerable,
    ];
    let mut seen: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for e in r.training.iter().filter(|e| able.contains(&e.kind)) {
        let entry = seen.entry(shape(e)).or_default();
        if e.answerable {
            entry.0 += 1;
        } else {
            entry.1 += 1;
        }
    }
    let (mut by_shape, mut all, mut refused) = (0, 0, 0);
    for (yes, no) in seen.values().filter(|(yes, no)| yes + no >= 20) {
        by_shape += yes.max(no);
        all += yes + no;
        refused += no;
    }
    let (prior, told) = (
        f64::from(all - refused) / f64::from(all),
        f64::from(by_shape) / f64::from(all),
    );
    assert!(
        told - prior < 0.02,
        "guessing from the shape: {told:.3}, always answering: {prior:.3}"
    );
}
