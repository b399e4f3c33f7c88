//! Conversations: one context, several questions about it, each answered before the next is asked.

use super::{
    Asked, Example, Message, arithmetic, comparison, lookup, policy, recommendation, summary,
};
use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::policies::Policy;
use crate::splits::Split;
use crate::world::{Class, Field};

/// A context and what is asked about it, in order; no question comes twice.
pub(crate) struct Conversation {
    pub context: String,
    pub turns: Vec<Asked>,
}

impl Conversation {
    /// One row; kind, `expect` and `reject` speak of the last question.
    pub(crate) fn into_example(mut self, id: String, d: &mut Dice) -> Example {
        let last = self.turns.pop().expect("a conversation has turns");
        let mut earlier = self.turns.into_iter();
        let Some(mut first) = earlier.next() else {
            return last.into_example(id, d);
        };
        let turn = |role: &str, content: String| Message {
            role: role.into(),
            content,
        };
        first.context = self.context;
        let mut messages = first.prompt(d);
        messages.push(turn("assistant", first.answer));
        for asked in earlier {
            messages.push(turn("user", asked.question));
            messages.push(turn("assistant", asked.answer));
        }
        messages.push(turn("user", last.question.clone()));
        last.answered(id, messages)
    }
}

/// Draws one.
pub(crate) fn draw(split: Split, d: &mut Dice) -> Conversation {
    loop {
        let wanted = d.between(2, 6) as usize;
        let drawn = if d.chance(0.2) {
            Some(over_policy(split, wanted.min(4), d))
        } else {
            over_list(split, wanted, d)
        };
        if let Some(c) = drawn.filter(|c| c.turns.len() > 1) {
            return c;
        }
    }
}

/// Up to `wanted` questions about a list; nothing when the split has too few names.
pub(crate) fn over_list(split: Split, wanted: usize, d: &mut Dice) -> Option<Conversation> {
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
        Class::Species | Class::Course => &[],
    };
    let dear = !must.contains(&Field::Rental) && d.chance(0.35);
    let wish = Wish {
        class,
        split,
        count,
        fields: must,
        shown,
        dear,
    };
    let e = Extract::draw(&wish, d)?;
    let context = format!("{}{}", heading(class, d), e.text);
    let mut turns: Vec<Asked> = Vec::new();
    for _ in 0..3 * wanted {
        if turns.len() == wanted {
            break;
        }
        let answerable = !d.chance(0.28);
        let asked = match d.below(10) {
            0..3 => lookup::ask(&e, answerable, d),
            3..6 => comparison::ask(&e, answerable, d),
            6..8 => arithmetic::ask(&e, answerable, d),
            _ => recommendation::ask(&e, answerable, d),
        };
        turns.extend(asked.filter(|a| turns.iter().all(|t| t.question != a.question)));
    }
    Some(Conversation { context, turns })
}

/// Up to `wanted` questions about a notice, summaries among them.
pub(crate) fn over_policy(split: Split, wanted: usize, d: &mut Dice) -> Conversation {
    let p = Policy::draw(split, d);
    let shown = policy::places(d);
    let context = policy::notice(&p, &shown, split, d);
    let mut turns: Vec<Asked> = Vec::new();
    for _ in 0..wanted {
        let answerable = !d.chance(0.28);
        let asked = if d.chance(0.35) {
            summary::ask(&p, &shown, context.clone(), answerable, d)
        } else {
            policy::ask(&p, &shown, context.clone(), answerable, d)
        };
        if turns.iter().all(|t| t.answer != asked.answer) {
            turns.push(asked);
        }
    }
    Conversation { context, turns }
}
