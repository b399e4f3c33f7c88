//! Customers' reviews of products, trips and courses.

use crate::dice::Dice;
use crate::grammar::{capitalised, one_of};
use crate::lexicon::USES;
use crate::splits::Split;
use crate::world::{Class, Field, Thing, date, person};

/// Two to four reviews.
pub(crate) fn page(d: &mut Dice) -> Option<String> {
    let reviews: Vec<String> = (0..d.between(2, 4)).map(|_| review(d)).collect();
    Some(reviews.join("\n\n"))
}

fn review(d: &mut Dice) -> String {
    let class = d.choose(&[Class::Product, Class::Product, Class::Site, Class::Course]);
    let t = Thing::draw(class, Split::Training, true, d);
    let (x, who, on) = (t.the(), person(Split::Training, d), date(d));
    let price = Field::Price.value(&t);
    let stars = d.between(4, 5).to_string();
    let slots = [
        ("x", x.as_str()),
        ("who", &who),
        ("on", &on),
        ("price", &price),
        ("use", USES[t.used].0),
        ("stars", &stars),
        ("colour", t.colour),
    ];
    let good = d.chance(0.6);
    let middle = match (class, good) {
        (Class::Product, true) => one_of(
            &[
                "I paid <price> and {would do it again|am happy with it}.",
                "It {fits|works} well[, even in <use>].",
                "{Light, strong and easy to use|A good buy}. The <colour> one looks nice.",
            ],
            d,
            &slots,
        ),
        (Class::Product, false) => one_of(
            &[
                "For <price> I {had hoped for more|want better}.",
                "After {two|three} dives {it leaked|a strap broke}.",
                "It is {too heavy|hard to clean}.",
            ],
            d,
            &slots,
        ),
        (_, true) => one_of(
            &[
                "The {guide|teacher} was {kind|patient}[ and knew every fish].",
                "We {saw|learned} a lot.",
                "I will {come|go} again.",
            ],
            d,
            &slots,
        ),
        (_, false) => one_of(
            &[
                "It was {too crowded|much too short}.",
                "The {start|boat} was late[ and nobody told us why].",
                "I {had hoped|paid} for more.",
            ],
            d,
            &slots,
        ),
    };
    let open = if good {
        one_of(
            &[
                "I {like|love} <x>.",
                "<stars> stars for <x>.",
                "My review of <x>: very good.",
                "<x> {made my day|was a pleasure}.",
            ],
            d,
            &slots,
        )
    } else {
        one_of(
            &[
                "I am not happy with <x>.",
                "<x> {was a let-down|did not please me}.",
                "My review of <x>: not good.",
                "Sorry, but <x> is not for me.",
            ],
            d,
            &slots,
        )
    };
    let close = one_of(
        &[
            "<who>, <on>",
            "({by <who>|<who>})",
            "Review by <who>.",
            "<who> on <on>.",
        ],
        d,
        &slots,
    );
    format!("{} {middle} {close}", capitalised(&open))
}
