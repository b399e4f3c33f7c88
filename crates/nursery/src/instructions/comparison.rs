//! Comparison: read two values, then say which thing wins.

use super::{Asked, Kind, MISSING, Matching};
use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::grammar::{capitalised, one_of};
use crate::splits::Split;
use crate::world::{Class, Field, Thing};

/// A way to compare: the field, what the winner is called, whether the larger number wins, the question's wording.
struct Measure {
    field: Field,
    verdict: &'static str,
    larger: bool,
    verb: &'static str,
    ask: &'static [&'static str],
}

const fn measure(
    field: Field,
    verdict: &'static str,
    larger: bool,
    verb: &'static str,
    ask: &'static [&'static str],
) -> Measure {
    Measure {
        field,
        verdict,
        larger,
        verb,
        ask,
    }
}

const PRODUCT: &[Measure] = &[
    measure(
        Field::Price,
        "is cheaper",
        false,
        "is",
        &["is cheaper", "costs less", "has the lower price"],
    ),
    measure(
        Field::Price,
        "is dearer",
        true,
        "is",
        &["is dearer", "costs more", "has the higher price"],
    ),
    measure(
        Field::Stock,
        "has more in stock",
        true,
        "has",
        &["has more in stock", "do you have more of"],
    ),
    measure(
        Field::Rating,
        "is rated higher",
        true,
        "has",
        &["is rated higher", "has the better rating"],
    ),
    measure(
        Field::Rating,
        "is rated lower",
        false,
        "has",
        &["is rated lower", "has the worse rating"],
    ),
];
const SITE: &[Measure] = &[
    measure(
        Field::Depth,
        "is deeper",
        true,
        "is",
        &["is deeper", "goes down further"],
    ),
    measure(
        Field::Depth,
        "is shallower",
        false,
        "is",
        &["is shallower", "is less deep"],
    ),
];
const SPECIES: &[Measure] = &[
    measure(
        Field::Size,
        "is bigger",
        true,
        "is",
        &["is bigger", "is larger"],
    ),
    measure(
        Field::Size,
        "is smaller",
        false,
        "is",
        &["is smaller", "stays smaller"],
    ),
];
const COURSE: &[Measure] = &[
    measure(
        Field::Price,
        "is cheaper",
        false,
        "is",
        &["is cheaper", "costs less", "has the lower price"],
    ),
    measure(
        Field::Price,
        "is dearer",
        true,
        "is",
        &["is dearer", "costs more", "has the higher price"],
    ),
];

fn measures(class: Class) -> &'static [Measure] {
    match class {
        Class::Product => PRODUCT,
        Class::Site => SITE,
        Class::Species => SPECIES,
        Class::Course => COURSE,
    }
}

/// A comparison over a fresh extract. Not answerable: one of the two is missing from it.
pub(crate) fn draw(split: Split, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let class = Class::draw(d);
    let m = &measures(class)[d.below(measures(class).len())];
    let count = d.choose(&[2, 2, 3]);
    let shown = d.choose(&[1, 2]);
    let extract = Extract::draw(
        &Wish {
            class,
            split,
            count,
            fields: &[m.field],
            shown,
            dear: d.chance(0.5),
        },
        d,
    )?;
    let head = heading(class, d);
    let mut asked = with(&extract, m, answerable, d)?;
    asked.context = format!("{head}{}", extract.text);
    Some(asked)
}

/// Asks a comparison that the extract's fields allow, if any.
pub(crate) fn ask(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let able: Vec<&Measure> = measures(e.class)
        .iter()
        .filter(|m| e.fields.contains(&m.field))
        .collect();
    if able.is_empty() {
        return None;
    }
    with(e, able[d.below(able.len())], answerable, d)
}

fn with(e: &Extract, m: &Measure, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let first = d.below(e.things.len());
    let mut second = d.below(e.things.len() - 1);
    second += usize::from(second >= first);
    let (mut a, mut b) = (e.things[first].clone(), e.things[second].clone());
    let (va, vb) = (m.field.measure(&a)?, m.field.measure(&b)?);
    if !clear(m.field, va, vb) {
        return None;
    }
    let first_missing = d.chance(0.5);
    if !answerable {
        *if first_missing { &mut a } else { &mut b } = e.absent(d)?;
    }
    let (x, y) = (a.the(), b.the());
    let ask = d.pick(m.ask);
    let question = capitalised(&one_of(
        &[
            "Which <ask>, <x> or <y>?",
            "<lead> <ask>: <x> or <y>?",
            "I cannot choose between <x> and <y>. Which <ask>?",
        ],
        d,
        &[
            ("ask", ask),
            ("x", &x),
            ("y", &y),
            (
                "lead",
                if e.class == Class::Product {
                    "Which item"
                } else {
                    "Which one"
                },
            ),
        ],
    ));
    // What is asked for comes first, whichever way it was asked; then the decision needs only the answer's own words.
    let (_, sought) = m.verdict.split_once(' ')?;
    let sought = capitalised(sought);
    let reads = |t: &Thing| format!("{} {} {}", t.the(), m.verb, m.field.value(t));
    // Of the two as they stand now: one may have been replaced by a thing that is not in the extract.
    let order = if m.field.measure(&a) > m.field.measure(&b) {
        "more"
    } else {
        "less"
    };
    let both = format!(
        "{sought}: {} and {}. {} is {order} than {}",
        reads(&a),
        reads(&b),
        m.field.value(&a),
        m.field.value(&b),
    );
    if !answerable {
        let tail = format!("{MISSING}, so I cannot compare them, sorry.");
        let answer = if first_missing {
            format!("{sought}: {x} is {tail}")
        } else {
            format!("{sought}: {} and {y} is {tail}", reads(&a))
        };
        let wrong = format!("{both}, so {x} {}.", m.verdict);
        return Some(Asked::refusal(
            e.text.clone(),
            question,
            answer,
            Some(wrong),
        ));
    }
    let (winner, loser) = if (va > vb) == m.larger {
        (&x, &y)
    } else {
        (&y, &x)
    };
    let say = |w: &str| format!("{both}, so {w} {}.", m.verdict);
    let mut reject = vec![format!("{loser} {}", m.verdict)];
    reject.extend(e.other_values(m.field, &[&a, &b]));
    Some(Asked {
        kind: Kind::Comparison,
        matching: Matching::Contains,
        context: e.text.clone(),
        question,
        answer: say(winner),
        expect: vec![format!("{winner} {}", m.verdict)],
        reject,
        wrong: Some(say(loser)),
    })
}

/// Equally long numbers whose first digits differ; for ratings any two that differ.
fn clear(field: Field, a: u32, b: u32) -> bool {
    if field == Field::Rating {
        return a != b;
    }
    let (p, q) = (a.to_string(), b.to_string());
    p.len() == q.len() && p.as_bytes()[0] != q.as_bytes()[0]
}
