//! The desk's log: messages with their records, requests with their labels, sentences with their plain form.

use crate::dice::Dice;
use crate::grammar::one_of;
use crate::instructions::{self, Kind};
use crate::splits::Split;

/// Two to four tasks of one kind with their results.
pub(crate) fn log(d: &mut Dice) -> Option<String> {
    let kind = d.choose(&[
        Kind::Extraction,
        Kind::Classification,
        Kind::Rewrite,
        Kind::Extraction,
        Kind::Arithmetic,
    ]);
    let title = one_of(
        &[
            "",
            "{Desk log|Log book|Notes of the day}\n",
            "From the desk\n",
        ],
        d,
        &[],
    );
    let (before, between) = d.choose(&[
        ("", "\n"),
        ("Task: ", "\nResult: "),
        ("", "\nAnswer: "),
        ("- ", "\n  "),
    ]);
    let mut entries = Vec::new();
    for _ in 0..d.between(2, 4) {
        let a = instructions::draw(kind, Split::Training, d);
        entries.push(format!(
            "{before}{}\n{}{between}{}",
            a.context, a.question, a.answer
        ));
    }
    Some(format!("{title}{}", entries.join("\n\n")))
}
