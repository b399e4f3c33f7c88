//! Sheets of small sums as the till makes them.

use crate::dice::Dice;
use crate::grammar::one_of;
use crate::instructions::arithmetic::addition;
use crate::splits::Split;
use crate::world::{Class, Thing};

/// Several sums, bare or with a few words.
pub(crate) fn sheet(d: &mut Dice) -> Option<String> {
    let title = one_of(
        &[
            "",
            "{Till|Cash desk}, {morning|evening}\n",
            "Sums for the {new|young} clerk\n",
            "Totals\n",
        ],
        d,
        &[],
    );
    let bare = d.chance(0.4);
    let lines: Vec<String> = (0..d.between(5, 10)).map(|_| line(bare, d)).collect();
    Some(format!("{title}{}", lines.join("\n")))
}

fn line(bare: bool, d: &mut Dice) -> String {
    let (p, q) = (5 * d.between(1, 12), 5 * d.between(1, 12));
    let t = Thing::draw(Class::Product, Split::Training, false, d);
    let (sum, words) = match d.below(3) {
        0 => {
            let n = d.between(2, 4);
            (
                format!("{n} x €{p} = €{}", n * p),
                format!("{n} days with {}", t.the()),
            )
        }
        1 => (
            format!("{} = €{}", addition(p, q), p + q),
            format!("{} and a small part", t.the()),
        ),
        _ => {
            let off = d.choose(&[5, 10, 20]);
            let p = if p > off { p } else { p + off };
            (
                format!("€{p} - €{off} = €{}", p - off),
                format!("{} with a €{off} voucher", t.the()),
            )
        }
    };
    if bare {
        format!("{sum}.")
    } else {
        one_of(
            &["For <w>: <s>.", "<s> (<w>)."],
            d,
            &[("w", &words), ("s", &sum)],
        )
    }
}
