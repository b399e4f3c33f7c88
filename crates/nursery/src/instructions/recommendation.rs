//! Recommendation: the item or site whose use meets a need that is named or described.

use super::{Asked, Kind, MISSING, Matching};
use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::grammar::{capitalised, one_of};
use crate::lexicon::USES;
use crate::splits::Split;
use crate::world::{Class, Field};

/// A recommendation over a fresh extract. Not answerable: nothing in it meets the need.
pub(crate) fn draw(split: Split, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let class = if d.chance(0.75) {
        Class::Product
    } else {
        Class::Site
    };
    let (count, shown) = (d.choose(&[2, 3, 3]), d.choose(&[1, 2]));
    let extract = Extract::draw(
        &Wish {
            class,
            split,
            count,
            fields: &[Field::Use],
            shown,
            dear: d.chance(0.5),
        },
        d,
    )?;
    let head = heading(class, d);
    let mut asked = ask(&extract, answerable, d)?;
    asked.context = format!("{head}{}", extract.text);
    Some(asked)
}

/// Asks for a recommendation if the extract shows uses.
pub(crate) fn ask(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    if !e.fields.contains(&Field::Use) {
        return None;
    }
    let chosen = &e.things[d.below(e.things.len())];
    let used = if answerable {
        chosen.used
    } else {
        let low = if e.class == Class::Site { 2 } else { 0 };
        let free: Vec<usize> = (low..USES.len())
            .filter(|u| e.things.iter().all(|t| t.used != *u))
            .collect();
        d.choose(&free)
    };
    let (word, needs) = USES[used];
    let need = d.pick(needs);
    let what = if e.class == Class::Site {
        "dive site"
    } else {
        "item"
    };
    let question = capitalised(&one_of(
        &[
            "Which <what> do you recommend for <word>?",
            "Which <what> is {right|good} for <word>?",
            "I need {something|a~ <what>} for <word>. What do you recommend?",
            "<need>. Which <what> do you recommend?",
            "^<need>. Which <what> is right for me?",
            "Which <what> should I take? ^<need>.",
        ],
        d,
        &[("what", what), ("word", word), ("need", &capitalised(need))],
    ));
    // Item by item, whether it is for that, until one is: the answer shows what it rests on.
    let mut read: Vec<String> = Vec::new();
    for t in &e.things {
        let suits = if t.used == used { "yes" } else { "no" };
        read.push(format!("{} ({}) {suits}", t.name, USES[t.used].0));
        if t.used == used {
            break;
        }
    }
    let read = read.join(", ");
    let say = |x: &str| format!("For {word}: {read}. The best choice is {x}.");
    if !answerable {
        let answer = say(&format!("{MISSING}, sorry"));
        return Some(Asked::refusal(
            e.text.clone(),
            question,
            answer,
            Some(say(&chosen.the())),
        ));
    }
    let reject: Vec<String> = e
        .things
        .iter()
        .filter(|t| t.name != chosen.name)
        .map(|t| format!("The best choice is {}", t.the()))
        .collect();
    let other = e.things.iter().find(|t| t.name != chosen.name);
    Some(Asked {
        kind: Kind::Recommendation,
        matching: Matching::Contains,
        context: e.text.clone(),
        question,
        answer: say(&chosen.the()),
        expect: vec![format!("The best choice is {}", chosen.the())],
        reject,
        wrong: other.map(|t| say(&t.the())),
    })
}
