//! Questions with verifiable answers, one file per kind.
//!
//! Every user message carries its own context. The form of an answer follows from the wording of the question, and its
//! content from the context, so that a perfect reader needs no luck. A refusal starts like the answer to the same
//! question would and departs from it where the missing value would stand; nothing in a question's shape tells whether
//! it can be answered.

pub(crate) mod arithmetic;
pub(crate) mod classification;
pub(crate) mod comparison;
pub(crate) mod conversation;
pub(crate) mod extraction;
pub(crate) mod lookup;
pub(crate) mod policy;
pub(crate) mod recommendation;
pub(crate) mod rewrite;
pub(crate) mod summary;
pub(crate) mod unanswerable;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::splits::Split;

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text of the turn.
    pub content: String,
}

/// The kinds of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Read one value.
    Lookup,
    /// Read two values and say which is larger or smaller.
    Comparison,
    /// Read one or two values and multiply, add or subtract.
    Arithmetic,
    /// Name the label of a request.
    Classification,
    /// Turn a message into fields.
    Extraction,
    /// Replace words of the trade by plain ones.
    Rewrite,
    /// State a policy in one sentence of fixed form.
    Summary,
    /// Name the item that suits a need.
    Recommendation,
    /// Any of the above about something that the context does not hold.
    Unanswerable,
}

impl Kind {
    /// All kinds, in the order of the files.
    pub const ALL: [Kind; 9] = [
        Kind::Lookup,
        Kind::Comparison,
        Kind::Arithmetic,
        Kind::Classification,
        Kind::Extraction,
        Kind::Rewrite,
        Kind::Summary,
        Kind::Recommendation,
        Kind::Unanswerable,
    ];
}

/// How an answer is compared with the gold answer; see [`crate::grade`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// Equal after normalisation.
    Exact,
    /// All of `expect` and none of `reject`.
    Contains,
    /// Equal sets of `Name: value` parts.
    Fields,
    /// One label out of a set: `expect` holds it, `reject` the others.
    Choice,
}

/// One row of `instructions.jsonl` or `held_out.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Unique within the file.
    pub id: String,
    /// Optional system message, user message, gold answer.
    pub messages: Vec<Message>,
    /// What is asked.
    pub kind: Kind,
    /// Whether the context holds the answer.
    pub answerable: bool,
    /// How to compare.
    #[serde(rename = "match")]
    pub matching: Matching,
    /// Strings that a right answer contains.
    pub expect: Vec<String>,
    /// Strings that a right answer does not contain.
    pub reject: Vec<String>,
}

impl Example {
    /// The gold answer: the content of the last message.
    #[must_use]
    pub fn answer(&self) -> &str {
        self.messages.last().map_or("", |m| &m.content)
    }

    /// The user's message.
    #[must_use]
    pub fn question(&self) -> &str {
        self.messages
            .iter()
            .find(|m| m.role == "user")
            .map_or("", |m| &m.content)
    }
}

/// A question about a context, with its gold answer, before it is laid out as messages.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub kind: Kind,
    pub matching: Matching,
    pub context: String,
    pub question: String,
    pub answer: String,
    pub expect: Vec<String>,
    pub reject: Vec<String>,
    /// An answer that takes another item's value or invents one, where there is a plausible one.
    pub wrong: Option<String>,
}

/// The end of every refusal; it stands where the value would.
pub(crate) const MISSING: &str = "not in the information I have";

/// Draws one question of the given kind, retrying when a draw does not work out.
pub(crate) fn draw(kind: Kind, split: Split, d: &mut Dice) -> Asked {
    loop {
        let asked = match kind {
            Kind::Lookup if d.chance(0.2) => policy::draw(split, true, d),
            Kind::Lookup => lookup::draw(split, true, d),
            Kind::Comparison => comparison::draw(split, true, d),
            Kind::Arithmetic => arithmetic::draw(split, true, d),
            Kind::Classification => Some(classification::draw(split, d)),
            Kind::Extraction => Some(extraction::draw(split, d)),
            Kind::Rewrite => rewrite::draw(split, d),
            Kind::Summary => summary::draw(split, true, d),
            Kind::Recommendation => recommendation::draw(split, true, d),
            Kind::Unanswerable => unanswerable::draw(split, d),
        };
        if let Some(asked) = asked {
            return asked;
        }
    }
}

/// Share of the training file's rows that ask several questions about one context.
pub(crate) const CONVERSATIONS: f64 = 0.6;

/// How often each kind is drawn for the other rows of the training file, in percent.
pub(crate) const SHARES: [(Kind, u32); 9] = [
    (Kind::Lookup, 10),
    (Kind::Comparison, 14),
    (Kind::Arithmetic, 15),
    (Kind::Classification, 7),
    (Kind::Extraction, 6),
    (Kind::Rewrite, 8),
    (Kind::Summary, 9),
    (Kind::Recommendation, 9),
    (Kind::Unanswerable, 22),
];

const SYSTEM: &[&str] = &[
    "You work in a dive shop. Answer from the text only.",
    "You are the polite clerk of a dive shop.",
    "Answer the question from the given text.",
];

impl Asked {
    /// The prompt: sometimes a system message, then context and question in either order.
    pub(crate) fn prompt(&self, d: &mut Dice) -> Vec<Message> {
        let turn = |role: &str, content: &str| Message {
            role: role.into(),
            content: content.into(),
        };
        let mut messages = Vec::new();
        if d.chance(0.1) {
            messages.push(turn("system", d.pick(SYSTEM)));
        }
        let text = if d.chance(0.2) {
            format!("{}\n{}", self.question, self.context)
        } else {
            format!("{}\n{}", self.context, self.question)
        };
        messages.push(turn("user", &text));
        messages
    }

    pub(crate) fn into_example(self, id: String, d: &mut Dice) -> Example {
        let prompt = self.prompt(d);
        self.answered(id, prompt)
    }

    /// The row in which the answer follows `messages`.
    fn answered(self, id: String, mut messages: Vec<Message>) -> Example {
        messages.push(Message {
            role: "assistant".into(),
            content: self.answer,
        });
        Example {
            id,
            messages,
            kind: self.kind,
            answerable: self.kind != Kind::Unanswerable,
            matching: self.matching,
            expect: self.expect,
            reject: self.reject,
        }
    }

    /// The refusal to a question whose context lacks the answer.
    pub(crate) fn refusal(
        context: String,
        question: String,
        answer: String,
        wrong: Option<String>,
    ) -> Asked {
        Asked {
            kind: Kind::Unanswerable,
            matching: Matching::Contains,
            context,
            question,
            answer,
            expect: Vec::new(),
            reject: Vec::new(),
            wrong,
        }
    }
}
