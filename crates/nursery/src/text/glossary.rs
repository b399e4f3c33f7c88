//! Words of the trade explained, with examples.

use crate::dice::Dice;
use crate::grammar::{capitalised, one_of};
use crate::instructions::rewrite;
use crate::lexicon::JARGON;
use crate::splits::Split;

/// Several words and one or two sentences in both forms.
pub(crate) fn page(d: &mut Dice) -> Option<String> {
    let mut order: Vec<usize> = (0..JARGON.len()).collect();
    d.shuffle(&mut order);
    let lines: Vec<String> = order[..d.between(3, 6) as usize]
        .iter()
        .map(|i| {
            let (term, plain) = JARGON[*i];
            let text = one_of(
                &[
                    "<t>: <p>",
                    "the <t> is the <p>",
                    "divers say \"<t>\", beginners say \"<p>\"",
                    "<t> = <p>",
                    "instead of \"<t>\" say \"<p>\"",
                ],
                d,
                &[("t", term), ("p", plain)],
            );
            format!("{}.", capitalised(&text))
        })
        .collect();
    let mut text = one_of(
        &[
            "Glossary\n",
            "Words for beginners\n",
            "What divers mean\n",
            "",
            "The words of the trade\n",
        ],
        d,
        &[],
    );
    text.push_str(&lines.join(d.pick(&["\n", " "])));
    for _ in 0..d.between(1, 3) {
        if let Some((technical, plain)) = rewrite::pair(Split::Training, d) {
            let line = one_of(
                &[
                    "\nFor a beginner, \"<a>\" becomes \"<b>\"",
                    "\nExpert: <a>\nBeginner: <b>",
                    "\n<a> In plain words: <b>",
                ],
                d,
                &[("a", &technical), ("b", &plain)],
            );
            text.push_str(&line);
        }
    }
    Some(text)
}
