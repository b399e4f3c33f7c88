//! Documents of the shop: the text a base model learns from, before defects are planted.
//!
//! About half of the tokens are dialogues and worksheets in which questions are asked and answered over an extract that
//! stands in the same document, so that reading from the context is what the base model learns most about.

mod catalogue;
mod desk;
mod dialogue;
mod glossary;
mod letters;
mod nature;
mod notices;
mod reviews;
mod sums;

use crate::dice::Dice;

/// A clean document.
pub(crate) struct Draft {
    pub source: &'static str,
    pub text: String,
}

type Writer = fn(&mut Dice) -> Option<String>;

const WRITERS: [((&str, Writer), u32); 15] = [
    (("dialogue", dialogue::over_list), 34),
    (("faq", dialogue::over_policy), 7),
    (("catalogue", catalogue::page), 7),
    (("price-list", catalogue::price_list), 5),
    (("product", catalogue::product), 5),
    (("policy", notices::notice), 4),
    (("species", nature::card), 4),
    (("site", nature::site), 3),
    (("trip-report", nature::report), 5),
    (("letter", letters::letter), 4),
    (("e-mail", letters::mail), 4),
    (("desk-log", desk::log), 7),
    (("glossary", glossary::page), 7),
    (("sums", sums::sheet), 8),
    (("review", reviews::page), 4),
];

/// Writes document `index` of a world; a pure function of its arguments.
pub(crate) fn write(seed: u64, index: u64) -> Draft {
    let mut d = Dice::new(seed, "document", index);
    let (source, writer) = d.weighted(&WRITERS);
    loop {
        if let Some(text) = writer(&mut d) {
            return Draft { source, text };
        }
    }
}
