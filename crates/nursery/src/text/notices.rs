//! Notices with the rules of one or two topics and their short form.

use crate::dice::Dice;
use crate::grammar::one_of;
use crate::instructions::policy;
use crate::lexicon::MONTHS;
use crate::policies::Policy;
use crate::splits::Split;

/// A notice for the wall.
pub(crate) fn notice(d: &mut Dice) -> Option<String> {
    let mut blocks = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..d.between(1, 3) {
        let p = Policy::draw(Split::Training, d);
        if seen.contains(&p.topic) {
            continue;
        }
        seen.push(p.topic);
        let shown = policy::places(d);
        let text = policy::notice(&p, &shown, Split::Training, d);
        let short = match d.below(3) {
            0 => format!("\nThe {} policy is {}.", p.name(), p.terms(&shown)),
            1 => format!("\nIn short, we have {}.", p.terms(&shown)),
            _ => String::new(),
        };
        blocks.push(format!("{text}{short}"));
    }
    let month = d.pick(MONTHS);
    let title = one_of(
        &[
            "{Notice|To all guests|Please read}[ (<month>)]\n",
            "Rules of the shop[, from <month>]\n",
            "{Good to know|House rules}\n",
            "",
        ],
        d,
        &[("month", month)],
    );
    let close = one_of(
        &[
            "",
            "\nThank you[ for reading].",
            "\nThe team[ of the dive shop]",
        ],
        d,
        &[],
    );
    Some(format!("{title}{}{close}", blocks.join("\n")))
}
