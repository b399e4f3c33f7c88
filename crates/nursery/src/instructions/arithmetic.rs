//! Small sums spelled out: days of rental, two prices together, a voucher. The combinations of numbers are few enough
//! that all occur in training; the entities in a held-out question are new.

use super::{Asked, Kind, MISSING, Matching};
use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::grade::{contains_words, normalise};
use crate::grammar::{capitalised, one_of};
use crate::splits::Split;
use crate::world::{Class, Field, Thing};

/// A sum over a fresh extract. Not answerable: an entity is missing from it.
pub(crate) fn draw(split: Split, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let field = d.choose(&[Field::Price, Field::Price, Field::Rental]);
    let (count, shown) = (d.choose(&[2, 2, 3]), d.choose(&[1, 2]));
    let class = Class::Product;
    let extract = Extract::draw(
        &Wish {
            class,
            split,
            count,
            fields: &[field],
            shown,
            dear: false,
        },
        d,
    )?;
    let head = heading(class, d);
    let mut asked = with(&extract, field, answerable, d)?;
    asked.context = format!("{head}{}", extract.text);
    Some(asked)
}

/// Asks a sum that the extract's fields allow, if any.
pub(crate) fn ask(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let able: Vec<Field> = e
        .fields
        .iter()
        .copied()
        .filter(|f| matches!(f, Field::Price | Field::Rental))
        .collect();
    if able.is_empty() || e.class != Class::Product || e.things.iter().any(|t| t.price > 60) {
        return None;
    }
    with(e, d.choose(&able), answerable, d)
}

fn with(e: &Extract, field: Field, answerable: bool, d: &mut Dice) -> Option<Asked> {
    if field == Field::Rental {
        rental(e, answerable, d)
    } else if d.chance(0.55) {
        together(e, answerable, d)
    } else {
        voucher(e, answerable, d)
    }
}

fn subject(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Thing> {
    if answerable {
        Some(e.things[d.below(e.things.len())].clone())
    } else {
        e.absent(d)
    }
}

fn rental(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let t = subject(e, answerable, d)?;
    let n = d.between(2, 4);
    let (x, days) = (t.the(), n.to_string());
    let question = one_of(
        &[
            "How much is it to rent <x> for <n> days?",
            "I {need|want} <x> for <n> days. What is the rental?",
            "What do <n> days with <x> cost?",
            "What do I pay to rent <x> for <n> days[, please]?",
        ],
        d,
        &[("x", &x), ("n", &days)],
    );
    let total = n * t.rental;
    let say = |n: u32, total: u32| format!("{x} is {n} x €{} = €{total}.", t.rental);
    Some(done(
        e,
        answerable,
        question,
        &x,
        say(n, total),
        total,
        say(n, total + 10),
        &[&t],
        Field::Rental,
    ))
}

fn voucher(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let t = subject(e, answerable, d)?;
    let off = d.choose(&[5, 10, 20]);
    // With half the price off, the total would also stand in the sum as an operand.
    if t.price <= off || t.price == 2 * off {
        return None;
    }
    let (x, v) = (t.the(), format!("€{off}"));
    let question = one_of(
        &[
            "What does <x> cost with a <v> voucher?",
            "I have a voucher of <v>. What do I pay for <x>?",
            "How much is <x> after <v> off?",
            "With <v> off, how much is <x>?",
        ],
        d,
        &[("x", &x), ("v", &v)],
    );
    let total = t.price - off;
    let say = |total: u32| format!("{x} is €{} - {v} = €{total}.", t.price);
    Some(done(
        e,
        answerable,
        question,
        &x,
        say(total),
        total,
        say(total + 5),
        &[&t],
        Field::Price,
    ))
}

fn together(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let first = d.below(e.things.len());
    let mut second = d.below(e.things.len() - 1);
    second += usize::from(second >= first);
    let (mut a, mut b) = (e.things[first].clone(), e.things[second].clone());
    let first_missing = d.chance(0.5);
    if !answerable {
        *if first_missing { &mut a } else { &mut b } = e.absent(d)?;
    }
    let (x, y) = (a.the(), b.the());
    let question = capitalised(&one_of(
        &[
            "What do <x> and <y> cost together?",
            "How much are <x> and <y> together?",
            "I {take|would like} <x> and <y>. What do I pay?",
            "What is the total for <x> and <y>?",
        ],
        d,
        &[("x", &x), ("y", &y)],
    ));
    let total = a.price + b.price;
    let say = |total: u32| {
        format!(
            "{x} is €{p} and {y} is €{q}, so {} = €{total}.",
            addition(a.price, b.price),
            p = a.price,
            q = b.price
        )
    };
    let refused = if first_missing {
        x.clone()
    } else {
        format!("{x} is €{} and {y}", a.price)
    };
    Some(done(
        e,
        answerable,
        question,
        &refused,
        say(total),
        total,
        say(total + 5),
        &[&a, &b],
        Field::Price,
    ))
}

/// The sum without its result; where two fives carry, tens and fives are added apart first: `€55 + €15 = 60 + 10`.
pub(crate) fn addition(p: u32, q: u32) -> String {
    let fives = p % 10 + q % 10;
    if fives == 10 {
        format!("€{p} + €{q} = {} + {fives}", p + q - fives)
    } else {
        format!("€{p} + €{q}")
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the three sums end in the same row"
)]
fn done(
    e: &Extract,
    answerable: bool,
    question: String,
    refused: &str,
    answer: String,
    total: u32,
    wrong: String,
    used: &[&Thing],
    field: Field,
) -> Asked {
    let wrong = Some(capitalised(&wrong));
    if !answerable {
        let answer = capitalised(&format!("{refused} is {MISSING}, sorry."));
        return Asked::refusal(e.text.clone(), question, answer, wrong);
    }
    let expect = vec![format!("€{total}")];
    // Another item's value may by chance be an operand or the total, which a right answer says.
    let said = normalise(&answer);
    let reject = e
        .other_values(field, used)
        .into_iter()
        .filter(|v| !contains_words(&said, &normalise(v)))
        .collect();
    Asked {
        kind: Kind::Arithmetic,
        matching: Matching::Contains,
        context: e.text.clone(),
        question,
        answer: capitalised(&answer),
        expect,
        reject,
        wrong,
    }
}
