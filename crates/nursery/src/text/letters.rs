//! Letters among the staff and e-mails with customers.

use crate::dice::Dice;
use crate::extract::{Extract, Wish};
use crate::grammar::one_of;
use crate::instructions::{self, Kind, comparison, lookup, policy};
use crate::lexicon::WEEKDAYS;
use crate::policies::Policy;
use crate::splits::Split;
use crate::world::{Class, Thing, date, person};

const TRAINING: Split = Split::Training;

/// A note from one member of staff to another.
pub(crate) fn letter(d: &mut Dice) -> Option<String> {
    let (from, to, about) = (
        person(TRAINING, d),
        person(TRAINING, d),
        person(TRAINING, d),
    );
    let p = Policy::draw(TRAINING, d);
    let items: Vec<Thing> = (0..2)
        .map(|_| Thing::draw(Class::Product, TRAINING, false, d))
        .collect();
    let (n, on, site) = (
        d.between(2, 9).to_string(),
        date(d),
        Thing::draw(Class::Site, TRAINING, false, d).name,
    );
    let rule = p.sentence(d.below(3), d);
    let slots = [
        ("from", from.as_str()),
        ("to", &to),
        ("about", &about),
        ("n", &n),
        ("on", &on),
        ("site", &site),
        ("rule", &rule),
        ("x", &items[0].name),
        ("y", &items[1].name),
        ("day", d.pick(WEEKDAYS)),
        ("topic", p.name()),
    ];
    let mut body = vec![
        one_of(
            &[
                "Please {order|get} <n> of the <x>[ before <day>].",
                "We need <n> more of the <x>.",
                "<n> of the <x> {arrived|came} on <on>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "<about> {called|wrote} about the <y>[ and wants it back by <day>].",
                "The <y> of <about> is {ready|still broken}.",
                "Put the <y> aside for <about>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "On <day> the boat goes to <site>[ with <n> guests].",
                "The trip to <site> is {full|moved to <on>}.",
                "You {guide|lead} the dive at <site> on <on>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "{Remember|Do not forget} our <topic> rules: <rule>",
                "<rule> Tell {everyone|all guests}.",
                "A guest asked about <topic>. I said: <rule>",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "{Thank you|Thanks} for {the help|your work} last week.",
                "The {compressor|boat engine|shop window} {is clean|works} again.",
                "I am {away|on holiday} from <day>.",
            ],
            d,
            &slots,
        ),
    ];
    d.shuffle(&mut body);
    body.truncate(d.between(2, 5) as usize);
    let open = one_of(
        &[
            "Dear <to>,\n",
            "<to>,\n",
            "Hello <to>,\n",
            "Note for <to>, <on>. ",
        ],
        d,
        &slots,
    );
    let close = one_of(
        &[
            "\n<from>",
            "\nRegards, <from>",
            "\nSee you on <day>, <from>",
            "\nThanks! <from>",
        ],
        d,
        &slots,
    );
    Some(format!("{open}{}{close}", body.join(" ")))
}

/// A customer's mail with an extract quoted in it, and the answer of the shop.
pub(crate) fn mail(d: &mut Dice) -> Option<String> {
    let (from, to) = (person(TRAINING, d), person(TRAINING, d));
    let answerable = !d.chance(0.15);
    let asked = match d.below(4) {
        0 => {
            let p = Policy::draw(TRAINING, d);
            let shown = policy::places(d);
            let context = policy::notice(&p, &shown, TRAINING, d);
            policy::ask(&p, &shown, context, answerable, d)
        }
        1 => instructions::draw(Kind::Recommendation, TRAINING, d),
        n => {
            let class = Class::draw(d);
            let wish = Wish {
                class,
                split: TRAINING,
                count: 3,
                fields: &[],
                shown: 2,
                dear: d.chance(0.5),
            };
            let e = Extract::draw(&wish, d)?;
            if n == 2 {
                comparison::ask(&e, answerable, d)?
            } else {
                lookup::ask(&e, answerable, d)?
            }
        }
    };
    let slots = [
        ("from", from.as_str()),
        ("to", to.as_str()),
        ("q", &asked.question),
        ("c", &asked.context),
        ("a", &asked.answer),
    ];
    Some(one_of(
        &[
            "From: <from>\nI {read|found} this on your page:\n<c>\n<q>\n\nFrom: <to>\nDear <from>, {thank you for your mail|thanks for asking}. <a>",
            "Subject: a question\n<c>\n<q>\n{Regards|Best wishes}, <from>\n\nDear <from>,\n<a>\n{Regards|Your dive shop}, <to>",
            "<from> asked: <q>\n{We looked at the list|This is what we have}:\n<c>\n<to> answered: <a>",
        ],
        d,
        &slots,
    ))
}
