//! Classification: the label of a customer's request.

use super::{Asked, Kind, Matching};
use crate::dice::Dice;
use crate::grammar::{capitalised, expand, one_of};
use crate::splits::Split;
use crate::world::{Class, Thing, date, person};

/// The labels.
pub(crate) const LABELS: &[&str] = &["booking", "return", "repair", "rental", "price", "safety"];

const WORDINGS: &[&[&str]] = &[
    &[
        "{Please book|I want to book|We would like} {two|three|four} {seats|places} on the boat to <site>[ on <date>].",
        "Is there {still |}a {seat|place} on the trip to <site> on <date>?",
        "{Can|Could} I {join|come on} the dive at <site>[ on <date>]?",
        "Put me down for <course>[ on <date>].",
        "I would like to {sign up for|join} <course>[, starting <date>].",
    ],
    &[
        "<item> {is too small|does not fit|is the wrong colour}. {I want my money back.|Can I send it back?}",
        "I {bought|got} <item> on <date> and {do not want it any more|have not used it}. Will you take it back?",
        "{How|Where} do I send <item> back?",
        "I would like to {give back|send back} <item>[ and get a refund].",
        "My {mother|brother|friend} {bought|gave} me <item> but I already own one. Can I have a refund?",
    ],
    &[
        "<item> {leaks|is broken|does not work}[ since <date>]. Can you {mend|fix} it?",
        "{Something|A part} came off <item>. {Can you fix it?|Who can mend it?}",
        "The strap of <item> broke at <site>. Can you mend it?",
        "Water gets into <item>. Please have a look at it.",
        "<item> {makes a strange noise|lost a screw} and needs {fixing|a new part}.",
    ],
    &[
        "{Can|Could} I {borrow|hire|rent} <item> for the {week|weekend|day}?",
        "I do not own any gear. Can I {hire|rent|borrow} <item> on <date>?",
        "We need <item> for {one day|two days} only[, for <site>]. Do you lend it?",
        "Do you {hire out|lend} <item>?",
        "I want to {hire|borrow} <item> until <date>.",
    ],
    &[
        "{How much is|What does} <item>{| cost}?",
        "Is there a discount on <item>?",
        "What do you {ask|charge} for <item> these days?",
        "Is <item> cheaper {now|this month|if I pay today}?",
        "How many euros is <course>?",
    ],
    &[
        "{Is it safe|Is it dangerous} to dive at <site> {with a cold|after a meal|alone}?",
        "My ears hurt after <site>. {Should I see a doctor?|What should I do?}",
        "How strong is the current at <site>? I am {worried|afraid}.",
        "May I fly [home ]the day after a dive at <site>?",
        "I felt dizzy on <date> after diving at <site>. {Is that bad?|Is that normal?}",
    ],
];

/// A request from a customer, with its label.
pub(crate) fn request(split: Split, d: &mut Dice) -> (String, usize) {
    let label = d.below(LABELS.len());
    let thing = |class, d: &mut Dice| Thing::draw(class, split, false, d).the();
    let (item, site, course) = (
        thing(Class::Product, d),
        thing(Class::Site, d),
        thing(Class::Course, d),
    );
    let (who, on) = (person(split, d), date(d));
    let slots = [
        ("item", item.as_str()),
        ("site", site.as_str()),
        ("course", course.as_str()),
        ("date", &on),
        ("who", &who),
    ];
    let body = capitalised(&one_of(WORDINGS[label], d, &slots));
    let before = expand(
        "{|||Hello, I am <who>. |Good {morning|day}. |This is <who>. |Hello! }",
        d,
        &slots,
    );
    let after = expand(
        "{|||| Regards, <who>.| Thank you, <who>.| Thanks!}",
        d,
        &slots,
    );
    (format!("{before}{body}{}", after), label)
}

/// Asks for the label of a request.
pub(crate) fn draw(split: Split, d: &mut Dice) -> Asked {
    let (text, label) = request(split, d);
    let question = one_of(
        &[
            "Which label fits: booking, return, repair, rental, price or safety?",
            "What is this about: booking, return, repair, rental, price or safety?",
            "Label this {message|request}: booking, return, repair, rental, price or safety.",
        ],
        d,
        &[],
    );
    let say = |label: &str| format!("The label is {label}.");
    Asked {
        kind: Kind::Classification,
        matching: Matching::Choice,
        context: format!(
            "{}{text}",
            expand("{|Message: |Request: |A customer writes: }", d, &[])
        ),
        question,
        answer: say(LABELS[label]),
        expect: vec![LABELS[label].to_string()],
        reject: LABELS
            .iter()
            .filter(|l| **l != LABELS[label])
            .map(ToString::to_string)
            .collect(),
        wrong: Some(say(LABELS[(label + 1) % LABELS.len()])),
    }
}
