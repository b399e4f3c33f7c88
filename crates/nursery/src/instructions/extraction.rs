//! Extraction: a message to the desk becomes name, item, quantity and date.

use super::{Asked, Kind, Matching};
use crate::dice::Dice;
use crate::grammar::{expand, one_of};
use crate::splits::Split;
use crate::world::{Class, Thing, date, person};

/// A message and its record.
pub(crate) struct Order {
    pub message: String,
    pub name: String,
    pub item: String,
    pub quantity: String,
    pub date: String,
}

impl Order {
    pub(crate) fn draw(split: Split, d: &mut Dice) -> Order {
        let (name, item, quantity, date) = (
            person(split, d),
            Thing::draw(Class::Product, split, false, d).name,
            d.between(2, 9).to_string(),
            date(d),
        );
        let slots = [
            ("name", name.as_str()),
            ("item", item.as_str()),
            ("n", quantity.as_str()),
            ("date", date.as_str()),
        ];
        let message = one_of(
            &[
                "{Hello|Hi|Good morning}, this is <name>. Please {reserve|keep|put aside} <n> of the <item> {for|until} <date>.",
                "I {need|would like|want to order} <n> of the <item>[, please]. I {come by|will be there} on <date>. {Regards|Thanks}, <name>",
                "On <date> {our club needs|we need|I need} <n> of the <item>. My name is <name>.",
                "<name> {called|rang|wrote}: <n> of the <item>, to be {collected|sent} on <date>.",
                "For <date> I would like <n> of the <item>. {My name is|Please write down the name} <name>.",
                "{Could|Can} you send <n> of the <item> by <date>? {Thank you|Many thanks}, <name>",
                "My name is <name> and I {order|take} <n> of the <item>. {Delivery|Pick-up} on <date>[, please].",
            ],
            d,
            &slots,
        );
        Order {
            message,
            name,
            item,
            quantity,
            date,
        }
    }

    pub(crate) fn record(&self) -> String {
        format!(
            "Name: {}; Item: {}; Quantity: {}; Date: {}",
            self.name, self.item, self.quantity, self.date
        )
    }
}

/// Asks for the record of a message.
pub(crate) fn draw(split: Split, d: &mut Dice) -> Asked {
    let order = Order::draw(split, d);
    let question = expand(
        "{Fill in|Give me|Extract|Write down} {the name, item, quantity and date|name, item, quantity and date}.",
        d,
        &[],
    );
    let wrong_quantity = if order.quantity == "9" { "4" } else { "9" };
    let wrong = format!(
        "Name: {}; Item: {}; Quantity: {wrong_quantity}; Date: {}",
        order.name, order.item, order.date
    );
    let answer = order.record();
    Asked {
        kind: Kind::Extraction,
        matching: Matching::Fields,
        context: format!(
            "{}{}",
            expand("{||Message: |Note: }", d, &[]),
            order.message
        ),
        question,
        expect: vec![order.name, order.item, order.quantity, order.date],
        answer,
        reject: Vec::new(),
        wrong: Some(wrong),
    }
}
