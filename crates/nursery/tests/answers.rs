//! Gold answers, rejected answers and how they are graded.

mod rendered;

use std::collections::{BTreeMap, BTreeSet};

use nursery::{Example, Flaw, Kind, Matching, grade, normalise};
use rendered::ROWS;

#[test]
fn gold_answers_pass_and_others_fail() {
    let r = &*ROWS;
    for e in r.training.iter().chain(&r.held_out) {
        assert!(grade(e, e.answer()), "{e:#?}");
        assert!(!grade(e, ""), "{e:#?}");
        assert!(!grade(e, "I like diving."), "{e:#?}");
        assert_eq!(e.answerable, e.kind != Kind::Unanswerable);
        assert_eq!(
            grade(e, "That is not in the information I have."),
            !e.answerable,
            "{e:#?}"
        );
        assert!(
            grade(e, &format!("  {}\n", e.answer().to_uppercase())),
            "{e:#?}"
        );
    }
}

#[test]
fn a_list_of_all_values_is_not_an_answer() {
    let r = &*ROWS;
    for e in r.held_out.iter().filter(|e| {
        matches!(
            e.kind,
            Kind::Lookup | Kind::Recommendation | Kind::Classification
        )
    }) {
        assert!(!e.reject.is_empty() || e.kind == Kind::Lookup, "{e:#?}");
        if !e.reject.is_empty() {
            assert!(
                !grade(e, &format!("{} {}", e.answer(), e.reject.join(" "))),
                "{e:#?}"
            );
        }
    }
}

#[test]
fn contexts_hold_what_lookups_expect() {
    let r = &*ROWS;
    for e in r.training.iter().chain(&r.held_out) {
        if matches!(
            e.kind,
            Kind::Lookup | Kind::Recommendation | Kind::Extraction
        ) {
            for x in &e.expect {
                let x = x
                    .trim_start_matches("The best choice is ")
                    .trim_start_matches("the ");
                assert!(
                    nursery::contains_words(&normalise(e.question()), &normalise(x)),
                    "{x}: {e:#?}"
                );
            }
        }
    }
}

/// The equations in a text, without currency: `55 + 15 = 60 + 10 = 70`.
fn sums(text: &str) -> Vec<String> {
    let words: Vec<&str> = text
        .split([' ', '(', ')', '\n'])
        .map(|w| w.trim_matches(['€', '.', ',', ':']))
        .collect();
    words
        .split(|w| w.parse::<u32>().is_err() && !["x", "+", "-", "="].contains(w))
        .map(|part| part.join(" "))
        .filter(|part| part.contains(" = "))
        .collect()
}

/// What one side of an equation comes to.
fn value(side: &str) -> u32 {
    let parts: Vec<&str> = side.split(' ').collect();
    let number = |i: usize| parts[i].parse::<u32>().expect("a number");
    match parts.get(1) {
        None => number(0),
        Some(&"x") => number(0) * number(2),
        Some(&"+") => number(0) + number(2),
        Some(&"-") => number(0) - number(2),
        Some(other) => panic!("no sum: {side}, {other}"),
    }
}

#[test]
fn sums_are_right() {
    let r = &*ROWS;
    let mut checked = 0;
    let answers = r
        .training
        .iter()
        .chain(&r.held_out)
        .filter(|e| e.kind == Kind::Arithmetic)
        .map(Example::answer);
    let lines = r
        .documents
        .iter()
        .flat_map(|d| d.text.lines())
        .filter(|l| l.contains(" = €") && !l.contains("price"));
    for text in answers.chain(lines) {
        for sum in sums(text) {
            let sides: Vec<u32> = sum.split(" = ").map(value).collect();
            assert!(sides.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
            checked += 1;
        }
    }
    assert!(checked > 1_500, "{checked}");
}

#[test]
fn all_number_combinations_of_held_out_sums_are_trained() {
    let r = &*ROWS;
    let mut seen: BTreeSet<String> = r
        .training
        .iter()
        .flat_map(|e| &e.messages)
        .filter(|m| m.role == "assistant" && m.content.contains(" = €"))
        .flat_map(|m| sums(&m.content))
        .collect();
    for d in &r.documents {
        seen.extend(
            d.text
                .split(['\n', '(', ')', ':', '.'])
                .filter(|l| l.contains(" = €"))
                .flat_map(sums),
        );
    }
    let held: Vec<String> = r
        .held_out
        .iter()
        .filter(|e| e.kind == Kind::Arithmetic)
        .flat_map(|e| sums(e.answer()))
        .collect();
    let missing: Vec<&String> = held.iter().filter(|s| !seen.contains(*s)).collect();
    assert!(missing.len() * 20 <= held.len(), "{missing:?}");
}

#[test]
fn fields_and_choices_are_graded_as_such() {
    let r = &*ROWS;
    for e in r.held_out.iter().filter(|e| e.matching == Matching::Fields) {
        let mut parts: Vec<&str> = e.answer().split("; ").collect();
        parts.reverse();
        assert!(grade(e, &parts.join("; ")));
        assert!(!grade(e, &parts[1..].join("; ")));
    }
    for e in r.held_out.iter().filter(|e| e.matching == Matching::Choice) {
        assert!(grade(e, &e.expect[0]));
        assert!(e.reject.iter().all(|l| !grade(e, l)));
    }
}

#[test]
fn rejected_answers_are_worse() {
    let r = &*ROWS;
    let mut flaws = BTreeMap::new();
    for p in r.pairs.iter().chain(&r.held_out_pairs) {
        assert_ne!(normalise(&p.chosen), normalise(&p.rejected), "{p:#?}");
        *flaws.entry(p.flaw).or_insert(0) += 1;
        let refuses = nursery::is_refusal;
        match p.flaw {
            Flaw::NotRefused => assert!(refuses(&p.chosen) && !refuses(&p.rejected), "{p:#?}"),
            Flaw::NeedlessRefusal => assert!(!refuses(&p.chosen) && refuses(&p.rejected), "{p:#?}"),
            Flaw::WrongValue | Flaw::Invented => assert!(!refuses(&p.chosen), "{p:#?}"),
            Flaw::Rude => {}
        }
    }
    assert_eq!(flaws.len(), 5, "{flaws:?}");
    assert!(flaws.values().all(|n| *n > 50), "{flaws:?}");
}
