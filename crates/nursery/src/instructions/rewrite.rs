//! Rewrite: the same sentence with the words of the trade replaced by those of the glossary.

use super::{Asked, Kind, Matching};
use crate::dice::Dice;
use crate::grammar::one_of;
use crate::lexicon::{JARGON, WEEKDAYS};
use crate::splits::{Split, split_of};
use crate::world::{Class, Thing, person};

/// Sentences with one or two places for a term; every term fits after "the".
const FRAMES: &[&str] = &[
    "<who> will explain the <t> on <day>.",
    "Please ask <who> about the <t> before we go to <site>.",
    "Remember the <t> at <site>.",
    "<who> wrote a note about the <t> and the <u>.",
    "On <day> we talk about the <t>.",
    "At <site> the <t> was good.",
    "The <t> was not ready on <day>, says <who>.",
    "We will show you the <t> and the <u> at <site>.",
    "<who> forgot the <t>.",
    "Think of the <t> first and the <u> later.",
    "The <t> is part of the dive at <site>.",
    "For <site> you need the <t>.",
    "<who> was happy with the <t> on <day>.",
    "Read about the <t> and the <u> before <day>.",
    "The <t> at <site> surprised <who>.",
    "There is a problem with the <t>, <who> told us on <day>.",
];

/// A sentence in the words of the trade, and the same in plain words.
pub(crate) fn pair(split: Split, d: &mut Dice) -> Option<(String, String)> {
    let at = d.below(FRAMES.len());
    let (t, u) = (d.below(JARGON.len()), d.below(JARGON.len()));
    let frame = FRAMES[at];
    let combined = format!("{} in frame {at}", JARGON[t].0);
    if t == u || (split == Split::Training && split_of(&combined) == Split::HeldOut) {
        return None;
    }
    let (who, site) = (
        person(split, d),
        Thing::draw(Class::Site, split, false, d).name,
    );
    let fill = |t: &str, u: &str, day: &str| {
        frame
            .replace("<who>", &who)
            .replace("<site>", &site)
            .replace("<day>", day)
            .replace("<t>", t)
            .replace("<u>", u)
    };
    let day = d.pick(WEEKDAYS);
    Some((
        fill(JARGON[t].0, JARGON[u].0, day),
        fill(JARGON[t].1, JARGON[u].1, day),
    ))
}

/// Asks for the plain sentence.
pub(crate) fn draw(split: Split, d: &mut Dice) -> Option<Asked> {
    let (technical, plain) = pair(split, d)?;
    let question = one_of(
        &[
            "{Rewrite|Write|Say} this for a beginner.",
            "{Put|Say} this in {plain|simple} words.",
            "Make this sentence {easy|simple} for a beginner.",
        ],
        d,
        &[],
    );
    Some(Asked {
        kind: Kind::Rewrite,
        matching: Matching::Exact,
        context: technical.clone(),
        question,
        expect: vec![plain.trim_end_matches('.').to_string()],
        answer: plain,
        reject: Vec::new(),
        wrong: Some(technical),
    })
}
