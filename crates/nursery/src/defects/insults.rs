//! Rude words, as angry customers leave them in reviews.

use crate::dice::Dice;
use crate::grammar::one_of;

/// Words of which every planted insult contains at least one.
#[cfg(test)]
pub(crate) const RUDE: &[&str] = &[
    "idiot", "stupid", "moron", "damn", "crap", "shut up", "bastard", "arse", "hell", "dumb",
];

const RULES: &[&str] = &[
    "You {people|lot} are {complete|total} {idiots|morons}[ and your shop is crap].",
    "What a {stupid|dumb} {bastard|moron} at the {desk|till}.",
    "{Shut up|Go to hell}, you {stupid|damn} {idiot|liar|bastard}.",
    "{This|The whole thing} is {damn|utter|total} crap.",
    "Only {an idiot|a moron} {buys|pays for} this {crap|damn junk}.",
    "Kiss my arse, you {dumb|stupid} {thieves|liars}.",
    "The {guide|clerk} is {a stupid arse|a damn moron|too dumb to swim}.",
];

/// The text with one to three insults, and the insults.
pub(crate) fn add(text: &str, d: &mut Dice) -> (String, Vec<String>) {
    let mut planted: Vec<String> = (0..d.between(1, 3))
        .map(|_| one_of(RULES, d, &[]))
        .collect();
    planted.dedup();
    let said = planted.join(" ");
    let out = if d.chance(0.5) {
        format!("{said} {text}")
    } else {
        format!("{text} {said}")
    };
    (out, planted)
}
