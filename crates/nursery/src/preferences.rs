//! Pairs of answers to the same prompt: a grounded, polite one, and one with a known flaw.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::grammar::one_of;
use crate::instructions::{self, Asked, Kind, MISSING, Message};
use crate::splits::Split;

/// What is wrong with the rejected answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// It adds something that the context does not say.
    Invented,
    /// It is right but rude.
    Rude,
    /// It takes another item's value, a wrong sum, a wrong label.
    WrongValue,
    /// It answers a question that the context does not answer.
    NotRefused,
    /// It refuses a question that the context answers.
    NeedlessRefusal,
}

/// One row of `preferences.jsonl` or `held_out_preferences.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Unique within the file.
    pub id: String,
    /// Optional system message and the user's message.
    pub prompt: Vec<Message>,
    /// The better answer.
    pub chosen: String,
    /// The worse answer.
    pub rejected: String,
    /// Why it is worse.
    pub flaw: Flaw,
}

/// Draws one pair.
pub(crate) fn draw(id: String, split: Split, d: &mut Dice) -> Pair {
    let flaw = d.weighted(&[
        (Flaw::WrongValue, 30),
        (Flaw::NotRefused, 25),
        (Flaw::Invented, 18),
        (Flaw::Rude, 15),
        (Flaw::NeedlessRefusal, 12),
    ]);
    loop {
        let kind = match flaw {
            Flaw::NotRefused => Kind::Unanswerable,
            Flaw::NeedlessRefusal => d.choose(&[
                Kind::Lookup,
                Kind::Comparison,
                Kind::Arithmetic,
                Kind::Recommendation,
            ]),
            Flaw::Invented => d.choose(&[
                Kind::Lookup,
                Kind::Arithmetic,
                Kind::Recommendation,
                Kind::Summary,
            ]),
            Flaw::Rude | Flaw::WrongValue => d.weighted(&instructions::SHARES),
        };
        if flaw == Flaw::WrongValue && kind == Kind::Unanswerable {
            continue;
        }
        let asked = instructions::draw(kind, split, d);
        if let Some(rejected) = worse(&asked, flaw, d) {
            return Pair {
                id,
                prompt: asked.prompt(d),
                chosen: asked.answer,
                rejected,
                flaw,
            };
        }
    }
}

fn worse(asked: &Asked, flaw: Flaw, d: &mut Dice) -> Option<String> {
    let slots = [("a", asked.answer.as_str()), ("missing", MISSING)];
    Some(match flaw {
        Flaw::WrongValue | Flaw::NotRefused => {
            asked.wrong.clone().filter(|w| *w != asked.answer)?
        }
        Flaw::Invented => one_of(
            &[
                "<a> It comes with a free {torch|bag|dive}.",
                "<a> Everybody {knows|says} it is the best {on the coast|of the year}.",
                "<a> {Tomorrow|Next week} it will be half the price.",
                "<a> The {king|mayor} has one too.",
            ],
            d,
            &slots,
        ),
        Flaw::Rude => one_of(
            &[
                "Can you not read? <a>",
                "<a> {Even a child|Any fool} can see that.",
                "{What a stupid question.|Not again.} <a>",
                "<a> Now {go away|stop asking|leave me alone}.",
                "{Read it yourself|Use your eyes}, I am busy.",
            ],
            d,
            &slots,
        ),
        Flaw::NeedlessRefusal => one_of(
            &[
                "That is <missing>, sorry.",
                "Sorry, this is <missing>.",
                "The answer is <missing>, sorry.",
            ],
            d,
            &slots,
        ),
    })
}
