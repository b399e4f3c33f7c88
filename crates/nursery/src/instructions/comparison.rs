//! Comparison: read two values, say which is more, then which was asked for.

use super::{Asked, Kind, MISSING, Matching};
use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::grammar::{capitalised, one_of};
use crate::splits::Split;
use crate::world::{Class, Field, Thing};

/// A way to compare: the field, whether the larger number wins, the verb before a value, the question's wording.
struct Measure {
    field: Field,
    larger: bool,
    verb: &'static str,
    ask: &'static [&'static str],
}

const fn measure(
    field: Field,
    larger: bool,
    verb: &'static str,
    ask: &'static [&'static str],
) -> Measure {
    Measure {
        field,
        larger,
        verb,
        ask,
    }
}

/// What a thing with the smaller number is beside one with the larger, and the other way round.
fn labels(field: Field) -> [&'static str; 2] {
    match field {
        Field::Stock => ["less in stock", "more in stock"],
        Field::Rating => ["rated lower", "rated higher"],
        Field::Depth => ["shallower", "deeper"],
        Field::Size => ["smaller", "bigger"],
        _ => ["cheaper", "dearer"],
    }
}

const PRODUCT: &[Measure] = &[
    measure(
        Field::Price,
        false,
        "is",
        &["is cheaper", "costs less", "has the lower price"],
    ),
    measure(
        Field::Price,
        true,
        "is",
        &["is dearer", "costs more", "has the higher price"],
    ),
    measure(
        Field::Stock,
        true,
        "has",
        &["has more in stock", "do you have more of"],
    ),
    measure(
        Field::Rating,
        true,
        "has",
        &["is rated higher", "has the better rating"],
    ),
    measure(
        Field::Rating,
        false,
        "has",
        &["is rated lower", "has the worse rating"],
    ),
];
const SITE: &[Measure] = &[
    measure(
        Field::Depth,
        true,
        "is",
        &["is deeper", "goes down further"],
    ),
    measure(Field::Depth, false, "is", &["is shallower", "is less deep"]),
];
const SPECIES: &[Measure] = &[
    measure(Field::Size, true, "is", &["is bigger", "is larger"]),
    measure(Field::Size, false, "is", &["is smaller", "stays smaller"]),
];
const COURSE: &[Measure] = &[
    measure(
        Field::Price,
        false,
        "is",
        &["is cheaper", "costs less", "has the lower price"],
    ),
    measure(
        Field::Price,
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
    let reads = |t: &Thing| format!("{} {} {}", t.the(), m.verb, m.field.value(t));
    // Of the two as they stand now: one may have been replaced by a thing that is not in the extract.
    let first_is = usize::from(m.field.measure(&a) > m.field.measure(&b));
    let labels = labels(m.field);
    // Both are named behind what they are, so that the end only repeats what was asked for.
    let both = capitalised(&format!(
        "{} and {}: {} is {x}, {} is {y}",
        reads(&a),
        reads(&b),
        labels[first_is],
        labels[1 - first_is],
    ));
    let verdict = |winner: &str| format!("So {} is {winner}", labels[usize::from(m.larger)]);
    if !answerable {
        // In the verb's own words up to the value, so that nothing but the value's absence decides.
        let missing = match m.verb {
            "has" => format!("has no entry, it is {MISSING}"),
            _ => format!("is {MISSING}"),
        };
        let tail = format!("{missing}, so I cannot compare them, sorry.");
        let answer = if first_missing {
            format!("{x} {tail}")
        } else {
            format!("{} and {y} {tail}", reads(&a))
        };
        return Some(Asked::refusal(
            e.text.clone(),
            question,
            capitalised(&answer),
            Some(format!("{both}. {}.", verdict(&x))),
        ));
    }
    let (winner, loser) = if (va > vb) == m.larger {
        (&x, &y)
    } else {
        (&y, &x)
    };
    let say = |w: &str| format!("{both}. {}.", verdict(w));
    let mut reject = vec![verdict(loser)];
    reject.extend(e.other_values(m.field, &[&a, &b]));
    Some(Asked {
        kind: Kind::Comparison,
        matching: Matching::Contains,
        context: e.text.clone(),
        question,
        answer: say(winner),
        expect: vec![verdict(winner)],
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
