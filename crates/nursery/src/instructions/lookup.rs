//! Lookup: copy the value that belongs to the named entity.

use super::{Asked, Kind, MISSING, Matching};
use crate::dice::Dice;
use crate::extract::{Extract, Wish, heading};
use crate::grammar::{capitalised, one_of};
use crate::splits::Split;
use crate::world::{Class, Field, Thing};

/// A lookup over a fresh extract. Not answerable: the entity or the field is missing from it.
pub(crate) fn draw(split: Split, answerable: bool, d: &mut Dice) -> Option<Asked> {
    let class = Class::draw(d);
    let count = d.choose(&[2, 3, 3, 4]);
    let shown = if count == 4 { 2 } else { d.choose(&[2, 3]) };
    let extract = Extract::draw(
        &Wish {
            class,
            split,
            count,
            fields: &[],
            shown,
            dear: d.chance(0.5),
        },
        d,
    )?;
    let head = heading(class, d);
    let mut asked = ask(&extract, answerable, d)?;
    asked.context = format!("{head}{}", extract.text);
    Some(asked)
}

/// Asks for one field of one entity; the context is the extract's text.
pub(crate) fn ask(e: &Extract, answerable: bool, d: &mut Dice) -> Option<Asked> {
    if answerable {
        let thing = &e.things[d.below(e.things.len())];
        let field = d.choose(&e.fields);
        return Some(found(e, thing, field, d));
    }
    if d.chance(0.5) {
        let thing = e.absent(d)?;
        let field = d.choose(&e.fields);
        Some(missing(e, &thing, field, d))
    } else {
        let absent: Vec<Field> = e
            .class
            .fields()
            .iter()
            .copied()
            .filter(|f| !e.fields.contains(f))
            .collect();
        let field = (!absent.is_empty()).then(|| d.choose(&absent))?;
        let thing = e.things[d.below(e.things.len())].clone();
        Some(missing(e, &thing, field, d))
    }
}

fn found(e: &Extract, thing: &Thing, field: Field, d: &mut Dice) -> Asked {
    let (question, form) = question(field, thing, d);
    let value = field.value(thing);
    let reject = e.other_values(field, &[thing]);
    let wrong = reject.first().map(|v| form.say(thing, field, v));
    Asked {
        kind: Kind::Lookup,
        matching: Matching::Contains,
        context: e.text.clone(),
        question,
        answer: form.say(thing, field, &value),
        expect: vec![value],
        reject,
        wrong,
    }
}

fn missing(e: &Extract, thing: &Thing, field: Field, d: &mut Dice) -> Asked {
    let (question, form) = question(field, thing, d);
    let answer = form.say(thing, field, &format!("{MISSING}, sorry"));
    let wrong = form.say(thing, field, &field.value(thing));
    Asked::refusal(e.text.clone(), question, answer, Some(wrong))
}

/// The two answer forms; which one is due follows from the order of entity and field in the question.
#[derive(Clone, Copy)]
enum Form {
    FieldFirst,
    ThingFirst,
}

impl Form {
    fn say(self, thing: &Thing, field: Field, value: &str) -> String {
        let (x, noun) = (thing.the(), field.noun());
        match self {
            Form::FieldFirst => format!("The {noun} of {x} is {value}."),
            Form::ThingFirst => format!("For {x} the {noun} is {value}."),
        }
    }
}

fn question(field: Field, thing: &Thing, d: &mut Dice) -> (String, Form) {
    let x = thing.the();
    let slots = [("x", x.as_str()), ("noun", field.noun())];
    let pick = d.below(10);
    let text = if pick < 3 {
        return (
            capitalised(&one_of(
                &[
                    "for <x>, what is the <noun>?",
                    "{I am|We are} {looking at|thinking about|asking about} <x>. What is the <noun>?",
                    "About <x>: what is the <noun>?",
                ],
                d,
                &slots,
            )),
            Form::ThingFirst,
        );
    } else if pick < 7 {
        one_of(
            &[
                "What is the <noun> of <x>?",
                "{Please tell|Please give|Tell|Give} me the <noun> of <x>.",
                "{Could|Can} you tell me the <noun> of <x>?",
                "Do you know the <noun> of <x>[, please]?",
                "I would like to know the <noun> of <x>.",
            ],
            d,
            &slots,
        )
    } else {
        one_of(own_words(field, thing.class), d, &slots)
    };
    (text, Form::FieldFirst)
}

/// Wordings that belong to one field only.
fn own_words(field: Field, class: Class) -> &'static [&'static str] {
    match (field, class) {
        (Field::Price, _) => &[
            "How much {does <x> cost|is <x>}?",
            "What does <x> cost[, please]?",
            "What do I pay for <x>?",
        ],
        (Field::Rental, _) => &[
            "How much is it to rent <x>?",
            "What do you charge to rent <x>?",
        ],
        (Field::Stock, _) => &[
            "How many of <x> do you have?",
            "How many of <x> are in stock?",
        ],
        (Field::Rating, _) => &["How do divers rate <x>?", "How good is <x>?"],
        (Field::Use, _) => &["What is <x> best for?", "What should I use <x> for?"],
        (Field::Colour, _) => &["What colour is <x>?", "Which colour does <x> have?"],
        (Field::Kind, _) => &["What kind of thing is <x>?", "What sort of gear is <x>?"],
        (Field::Depth, Class::Site) => &["How deep is <x>?", "How far down does <x> go?"],
        (Field::Depth, _) => &["How deep does <x> live?", "At what depth do I find <x>?"],
        (Field::Visibility, _) => &[
            "How far can one see at <x>?",
            "How clear is the water at <x>?",
        ],
        (Field::Boat, _) => &[
            "How long is the boat trip to <x>?",
            "How far is <x> by boat?",
        ],
        (Field::Size, _) => &["How {big|large|long} is <x>?", "How big does <x> get?"],
        (Field::Season, _) => &["When can I see <x>?", "In which season is <x> here?"],
        (Field::Food, _) => &["What does <x> eat?", "What does <x> live on?"],
        (Field::Days, _) => &["How many days does <x> take?", "How long does <x> take?"],
        (Field::Age, _) => &["How old must I be for <x>?", "From what age is <x>?"],
    }
}
