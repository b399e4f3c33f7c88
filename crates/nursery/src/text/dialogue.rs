//! Conversations and question lists over an extract or a policy given in the document.

use crate::dice::Dice;
use crate::grammar::one_of;
use crate::instructions::{Asked, conversation};
use crate::splits::Split;
use crate::world::person;

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

/// A list, then four to eight questions about it.
pub(crate) fn over_list(d: &mut Dice) -> Option<String> {
    let wanted = d.between(4, 8) as usize;
    let c = conversation::over_list(TRAINING, wanted, d)?;
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
    Some(lay_out(&format!("{intro}{}", c.context), &c.turns, d))
}

/// A notice, then questions about it and a summary.
pub(crate) fn over_policy(d: &mut Dice) -> Option<String> {
    let wanted = d.between(3, 5) as usize;
    let c = conversation::over_policy(TRAINING, wanted, d);
    Some(lay_out(&c.context, &c.turns, d))
}
