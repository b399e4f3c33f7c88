//! Summary: the parameters of a policy in one sentence of fixed form, in the order of the notice.

use super::{Asked, Kind, MISSING, Matching, policy};
use crate::dice::Dice;
use crate::grammar::{and_list, one_of};
use crate::policies::{Policy, TOPICS, term};
use crate::splits::Split;

/// Asks to sum up a policy. Not answerable: the notice is about another topic.
pub(crate) fn draw(split: Split, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let p = Policy::draw(split, d);
    let shown = policy::places(d);
    let context = policy::notice(&p, &shown, split, d);
    Some(ask(&p, &shown, context, answerable, d))
}

/// The request over a notice that is already written.
pub(crate) fn ask(
    p: &Policy,
    shown: &[usize],
    context: String,
    answerable: bool,
    d: &mut Dice,
) -> Asked {
    let topic = if answerable {
        p.name()
    } else {
        TOPICS[(p.topic + 1 + d.below(TOPICS.len() - 1)) % TOPICS.len()].name
    };
    let question = one_of(
        &[
            "Sum up the <topic> policy[ in one sentence].",
            "Summarise the <topic> policy[, please].",
            "{What is|Give me} the <topic> policy in short{|, please}.",
            "Please put the <topic> policy in one sentence.",
        ],
        d,
        &[("topic", topic)],
    );
    let say = |rest: &str| format!("The {topic} policy is {rest}.");
    let values: Vec<String> = shown.iter().map(|i| p.values[*i].clone()).collect();
    if !answerable {
        let wrong = say(&p.terms(shown));
        return Asked::refusal(
            context,
            question,
            say(&format!("{MISSING}, sorry")),
            Some(wrong),
        );
    }
    let swapped: Vec<String> = shown
        .iter()
        .zip(values.iter().cycle().skip(1))
        .map(|(i, v)| term(p.noun(*i), v))
        .collect();
    Asked {
        kind: Kind::Summary,
        matching: Matching::Contains,
        context,
        question,
        answer: say(&p.terms(shown)),
        expect: shown
            .iter()
            .map(|i| format!("{} of {}", p.noun(*i), p.values[*i]))
            .collect(),
        reject: Vec::new(),
        wrong: Some(say(&and_list(&swapped))),
    }
}
