//! Lookup in running text: one parameter of a policy.

use super::{Asked, Kind, MISSING, Matching};
use crate::dice::Dice;
use crate::grammar::one_of;
use crate::policies::{Policy, TOPICS};
use crate::splits::Split;
use crate::world::person;

/// A notice with two or three sentences of the rules and sometimes a sentence that is none; the order is drawn.
pub(crate) fn notice(policy: &Policy, shown: &[usize], split: Split, d: &mut Dice) -> String {
    let mut sentences: Vec<String> = shown.iter().map(|i| policy.sentence(*i, d)).collect();
    if d.chance(0.35) {
        let who = person(split, d);
        let extra = one_of(
            &[
                "^<who> will {help|answer} you[ at the desk].",
                "Ask <who>[ at the desk].",
                "Thank you[ for your help]!",
                "We wish you good dives.",
            ],
            d,
            &[("who", &who)],
        );
        let at = d.below(sentences.len() + 1);
        sentences.insert(at, extra);
    }
    let title = if d.chance(0.5) {
        format!("Our {} rules: ", policy.name())
    } else {
        String::new()
    };
    format!("{title}{}", sentences.join(" "))
}

/// Two or three places of parameters, in drawn order.
pub(crate) fn places(d: &mut Dice) -> Vec<usize> {
    let mut shown = vec![0, 1, 2];
    d.shuffle(&mut shown);
    shown.truncate(d.choose(&[2, 2, 3]));
    shown
}

/// Asks for one parameter. Not answerable: the notice does not hold it.
pub(crate) fn draw(split: Split, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let policy = Policy::draw(split, d);
    let mut shown = places(d);
    if !answerable {
        shown.truncate(2);
    }
    let context = notice(&policy, &shown, split, d);
    Some(ask(&policy, &shown, context, answerable, d))
}

/// The question over a notice that is already written.
pub(crate) fn ask(
    policy: &Policy,
    shown: &[usize],
    context: String,
    answerable: bool,
    d: &mut Dice,
) -> Asked {
    let noun = if answerable {
        policy.noun(d.choose(shown))
    } else {
        let other = TOPICS[(policy.topic + 1 + d.below(TOPICS.len() - 1)) % TOPICS.len()]
            .parameters[d.below(3)]
        .noun;
        (0..3)
            .find(|i| !shown.contains(i))
            .filter(|_| d.chance(0.5))
            .map_or(other, |i| policy.noun(i))
    };
    let question = one_of(
        &[
            "What is the <noun>?",
            "{Could you tell|Can you tell} me the <noun>?",
            "{Please tell|Tell} me the <noun>.",
            "I would like to know the <noun>.",
        ],
        d,
        &[("noun", noun)],
    );
    let say = |v: &str| format!("The {noun} is {v}.");
    let place = (0..3).find(|i| policy.noun(*i) == noun && shown.contains(i));
    let other = shown
        .iter()
        .find(|i| Some(**i) != place)
        .map_or("€25", |i| policy.values[*i].as_str());
    match place {
        Some(i) => Asked {
            kind: Kind::Lookup,
            matching: Matching::Contains,
            context,
            question,
            answer: say(&policy.values[i]),
            expect: vec![policy.values[i].clone()],
            reject: shown
                .iter()
                .filter(|j| **j != i)
                .map(|j| policy.values[*j].clone())
                .collect(),
            wrong: Some(say(other)),
        },
        None => Asked::refusal(
            context,
            question,
            say(&format!("{MISSING}, sorry")),
            Some(say(other)),
        ),
    }
}
