//! Catalogue pages, price lists and descriptions of single products.

use crate::dice::Dice;
use crate::extract::{Extract, Wish, list, sentence};
use crate::grammar::{capitalised, one_of};
use crate::lexicon::{MONTHS, USES};
use crate::names::BRANDS;
use crate::splits::Split;
use crate::world::{Class, Field, Thing, article, person};

fn extract(count: usize, fields: &[Field], shown: usize, d: &mut Dice) -> Option<Extract> {
    let dear = d.chance(0.5);
    Extract::draw(
        &Wish {
            class: Class::Product,
            split: Split::Training,
            count,
            fields,
            shown,
            dear,
        },
        d,
    )
}

/// A page with an introduction, a list, and a closing remark.
pub(crate) fn page(d: &mut Dice) -> Option<String> {
    let e = extract(d.between(4, 7) as usize, &[], d.between(2, 4) as usize, d)?;
    let slots = [("month", d.pick(MONTHS)), ("brand", d.pick(BRANDS))];
    let intro = one_of(
        &[
            "{New|Fresh} {in|for} <month>: {gear|equipment} for {every diver|the whole family}.",
            "Catalogue page {3|5|7|12}. All {items|things} on this page can be {tried|seen} in the shop.",
            "This {month|week} we {show|present} gear from <brand> and {others|other makers}.",
            "What we {sell|have} in the shop [this season]:",
            "{Our divers|The team} {tested|tried} these {items|things} {in the bay|on the reef}. {Here is|This is} what they are like.",
        ],
        d,
        &slots,
    );
    let outro = one_of(
        &[
            "",
            "[All] prices include tax. ^{ask|call} us if you {need|want} more.",
            "Please {ask|look} at the desk {if something is missing|for more}.",
            "{Come|Drop} in and try them on[ before the next trip].",
        ],
        d,
        &[],
    );
    let outro = capitalised(outro.trim_start());
    Some(
        format!("{}\n{}\n{outro}", capitalised(&intro), e.text)
            .trim_end()
            .to_string(),
    )
}

/// Prices only, or prices and stock, of many items, with remarks computed from the list.
pub(crate) fn price_list(d: &mut Dice) -> Option<String> {
    let e = extract(
        d.between(5, 9) as usize,
        &[Field::Price],
        d.between(1, 2) as usize,
        d,
    )?;
    let mut ranked: Vec<&Thing> = e.things.iter().collect();
    ranked.sort_by_key(|t| t.price);
    let [low, second, .., third, high] = ranked[..] else {
        return None;
    };
    let slots = [
        ("low", low.name.as_str()),
        ("high", high.name.as_str()),
        ("month", d.pick(MONTHS)),
    ];
    let title = one_of(
        &[
            "Price list for <month>",
            "Prices[ in <month>]",
            "Our prices[, <month>]",
            "What things cost",
        ],
        d,
        &slots,
    );
    let remark = if low.price == second.price || third.price == high.price {
        String::new()
    } else {
        one_of(
            &[
                "\nThe <low> is the cheapest item on this list.",
                "\nThe <high> is the dearest item here[ and the <low> the cheapest].",
                "\n{Looking for|Do you want} something cheap? Take the <low>.",
                "",
            ],
            d,
            &slots,
        )
    };
    Some(format!(
        "{title}\n{}{remark}",
        list(&e.things, &e.fields, d)
    ))
}

/// One product in several sentences.
pub(crate) fn product(d: &mut Dice) -> Option<String> {
    let t = Thing::draw(Class::Product, Split::Training, true, d);
    let kind = format!("{} {}", article(t.kind), t.kind);
    let who = person(Split::Training, d);
    let need = USES[t.used].0;
    let values: Vec<String> = Class::Product
        .fields()
        .iter()
        .map(|f| f.value(&t))
        .collect();
    let slots = [
        ("x", t.name.as_str()),
        ("kind", &kind),
        ("colour", t.colour),
        ("use", need),
        ("price", &values[0]),
        ("stock", &values[1]),
        ("rating", &values[2]),
        ("rental", &values[4]),
        ("who", &who),
    ];
    let mut parts = vec![
        one_of(
            &[
                "The <x> {costs <price>|is yours for <price>|sells for <price>}.",
                "{Its price is|It costs|We sell it for} <price>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "We have <stock> {of them |}in stock.",
                "There are <stock> of the <x> in stock.",
                "<stock> of them are {left|here}.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "Divers {rate|rated} it <rating> out of 5.",
                "{The|Its} rating is <rating>.",
                "It is rated <rating>[ by our customers].",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "It is best for <use>.",
                "{We|Our staff} recommend it for <use>.",
                "Take it for <use>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "You can rent it for <rental>.",
                "{To rent|Renting} it costs <rental>.",
                "The rental price of the <x> is <rental>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "<who> {uses|likes|owns} {one|it}[ and says it is {light|strong|easy to clean}].",
                "{Rinse|Wash} it in fresh water[ after the dive].",
                "It {comes with|has} {a bag|two years of guarantee}.",
            ],
            d,
            &slots,
        ),
    ];
    d.shuffle(&mut parts);
    parts.truncate(d.between(3, 6) as usize);
    let first = one_of(
        &[
            "The <x> is <kind>[ in <colour>].",
            "<x>: <kind>[ in <colour>].",
            "Meet the <x>, <kind> in <colour>.",
            "About the <x>. It is <kind>[ and comes in <colour>].",
        ],
        d,
        &slots,
    );
    let mut text = format!("{first} {}", parts.join(" "));
    if d.chance(0.35) {
        text.push_str(&format!(
            "\nIn short: {}",
            sentence(&t, &[Field::Price, Field::Rating])
        ));
    }
    Some(text)
}
