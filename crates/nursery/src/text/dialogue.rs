//! Conversations and question lists over an extract or a policy given in the document.

use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::grammar::one_of;
use crate::instructions::{Asked, arithmetic, comparison, lookup, policy, recommendation, summary};
use crate::policies::Policy;
use crate::splits::Split;
use crate::world::{Class, Field, person};

const TRAINING: Split = Split::Training;

/// How the two sides of a conversation are marked.
fn speakers(d: &mut Dice) -> (String, String) {
    match d.below(6) {
        0 => ("Customer".into(), "Clerk".into()),
        1 => ("Question".into(), "Answer".into()),
        2 => ("Q".into(), "A".into()),
        3 => ("Diver".into(), "Shop".into()),
        4 => ("Guest".into(), "Staff".into()),
        _ => (person(TRAINING, d), "Clerk".into()),
    }
}

fn lay_out(head: &str, turns: &[Asked], d: &mut Dice) -> String {
    let (asks, answers) = speakers(d);
    let gap = d.pick(&["\n", "\n\n"]);
    let mut text = head.to_string();
    for t in turns {
        text.push_str(gap);
        text.push_str(&format!("{asks}: {}\n{answers}: {}", t.question, t.answer));
    }
    text
}

/// A list, then three to six questions about it.
pub(crate) fn over_list(d: &mut Dice) -> Option<String> {
    let class = Class::draw(d);
    let count = d.choose(&[2, 3, 3, 4]);
    let shown = if count == 4 { 2 } else { d.choose(&[2, 3]) };
    let must: &[Field] = match class {
        Class::Product => d.choose::<&[Field]>(&[
            &[Field::Use],
            &[Field::Price],
            &[Field::Price],
            &[Field::Rental],
            &[],
        ]),
        Class::Site => d.choose::<&[Field]>(&[&[Field::Use], &[Field::Depth], &[]]),
        _ => &[],
    };
    let dear = !must.contains(&Field::Rental) && d.chance(0.35);
    let e = Extract::draw(
        &Wish {
            class,
            split: TRAINING,
            count,
            fields: must,
            shown,
            dear,
        },
        d,
    )?;
    let who = person(TRAINING, d);
    let intro = one_of(
        &[
            "",
            "",
            "{A customer|A guest|<who>} {stands at the desk|is on the phone} with this list.\n",
            "Notes from {the desk|a call|the shop}.\n",
        ],
        d,
        &[("who", &who)],
    );
    let head = format!("{intro}{}{}", heading(class, d), e.text);
    let mut turns: Vec<Asked> = Vec::new();
    let wanted = d.between(3, 6) as usize;
    for _ in 0..3 * wanted {
        if turns.len() == wanted {
            break;
        }
        let answerable = !d.chance(0.15);
        let asked = match d.below(10) {
            0..4 => lookup::ask(&e, answerable, d),
            4..6 => comparison::ask(&e, answerable, d),
            6..8 => arithmetic::ask(&e, answerable, d),
            _ => recommendation::ask(&e, answerable, d),
        };
        turns.extend(asked.filter(|a| turns.iter().all(|t| t.question != a.question)));
    }
    Some(lay_out(&head, &turns, d))
}

/// A notice, then questions about it and a summary.
pub(crate) fn over_policy(d: &mut Dice) -> Option<String> {
    let p = Policy::draw(TRAINING, d);
    let shown = policy::places(d);
    let context = policy::notice(&p, &shown, TRAINING, d);
    let mut turns: Vec<Asked> = Vec::new();
    for _ in 0..d.between(3, 5) {
        let answerable = !d.chance(0.18);
        let asked = if d.chance(0.35) {
            summary::ask(&p, &shown, context.clone(), answerable, d)
        } else {
            policy::ask(&p, &shown, context.clone(), answerable, d)
        };
        if turns.iter().all(|t| t.answer != asked.answer) {
            turns.push(asked);
        }
    }
    Some(lay_out(&context, &turns, d))
}
