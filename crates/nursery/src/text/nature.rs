//! Animals of the reef, dive sites, and reports of trips.

use crate::dice::Dice;
use crate::extract::sentence;
use crate::grammar::{capitalised, one_of};
use crate::lexicon::{FOODS, HABITS, MONTHS, USES};
use crate::splits::Split;
use crate::world::{Class, Field, Thing, article, date, pair_on, person};

const TRAINING: Split = Split::Training;

fn animal(d: &mut Dice) -> Thing {
    Thing::draw(Class::Species, TRAINING, false, d)
}

fn place(d: &mut Dice) -> Thing {
    Thing::draw(Class::Site, TRAINING, false, d)
}

/// A card about one animal.
pub(crate) fn card(d: &mut Dice) -> Option<String> {
    let t = animal(d);
    let other = animal(d);
    let (habit, more) = (d.pick(HABITS), d.pick(FOODS));
    let [depth, size] = [Field::Depth, Field::Size].map(|f| f.value(&t));
    let slots = [
        ("x", t.name.as_str()),
        ("a", article(&t.name)),
        ("depth", &depth),
        ("size", &size),
        ("season", t.season),
        ("food", t.food),
        ("colour", t.colour),
        ("habit", habit),
        ("other", &other.name),
        ("more", more),
    ];
    let mut parts = vec![
        one_of(
            &[
                "It lives at <depth>.",
                "{You find it|It is found} at {a depth of |}<depth>.",
                "The depth of the <x> is <depth>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "It grows to <size>.",
                "{Most|Adults} {are|measure} <size>[ long].",
                "The size of the <x> is <size>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "It is seen in <season>.",
                "^<season> is {its season|the time to look for it}.",
                "{Come|Look for it} in <season>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "It eats <food>.",
                "Its food is <food>.",
                "<food>: that is what it eats.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "The <x> <habit>.",
                "It <habit>.",
                "[Divers say that] it <habit>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "{Do not|Never} touch it.",
                "It is not {dangerous|shy}.",
                "{People|Beginners} often take it for the <other>.",
                "It shares its home with the <other>.",
            ],
            d,
            &slots,
        ),
    ];
    d.shuffle(&mut parts);
    parts.truncate(d.between(3, 6) as usize);
    let first = one_of(
        &[
            "The <x> is <colour>.",
            "Species card: the <x>. Its colour is <colour>.",
            "<a> <x> is easy to know: it is <colour>.",
            "Animals of our reef: the <x>.",
        ],
        d,
        &slots,
    );
    let body: Vec<String> = parts.iter().map(|p| capitalised(p.trim_start())).collect();
    Some(format!("{} {}", capitalised(&first), body.join(" ")))
}

/// A note on one dive site and what was seen there.
pub(crate) fn site(d: &mut Dice) -> Option<String> {
    let t = place(d);
    let seen = (0..20)
        .map(|_| animal(d))
        .find(|a| pair_on(TRAINING, &a.name, &t.name))?;
    let fields = [Field::Depth, Field::Visibility, Field::Boat];
    let mut shown = fields[..d.between(2, 3) as usize].to_vec();
    d.shuffle(&mut shown);
    let use_word = USES[t.used].0;
    let slots = [
        ("x", t.name.as_str()),
        ("animal", seen.name.as_str()),
        ("use", use_word),
        ("season", seen.season),
    ];
    let more = one_of(
        &[
            "The <animal> is {often |}seen at <x>[ in <season>].",
            "It is best for <use>.",
            "{We|Our guides} recommend it for <use>, and the <animal> {lives|hides} there.",
            "{Stay close to|Follow} the {guide|rope}. The current can be {strong|weak}.",
        ],
        d,
        &slots,
    );
    let title = one_of(
        &["", "Dive site: <x>. ", "<x>\n", "Briefing for <x>. "],
        d,
        &slots,
    );
    let end = one_of(
        &[
            "",
            " Boats leave at {8|9|10|2} o'clock.",
            " {Bring|Take} a torch.",
            " We go there {twice|once} a week.",
        ],
        d,
        &[],
    );
    Some(format!("{title}{} {more}{end}", sentence(&t, &shown)))
}

/// A report of a day out.
pub(crate) fn report(d: &mut Dice) -> Option<String> {
    let (who, guide, t) = (person(TRAINING, d), person(TRAINING, d), place(d));
    let animals: Vec<Thing> = (0..40)
        .map(|_| animal(d))
        .filter(|a| pair_on(TRAINING, &a.name, &t.name))
        .take(2)
        .collect();
    let [a, b] = &animals[..] else { return None };
    if a.name == b.name {
        return None;
    }
    let gear = Thing::draw(Class::Product, TRAINING, true, d);
    let [depth, sight, boat] = [Field::Depth, Field::Visibility, Field::Boat].map(|f| f.value(&t));
    let (size, on, minutes) = (Field::Size.value(a), date(d), d.between(25, 60).to_string());
    let slots = [
        ("who", who.as_str()),
        ("guide", &guide),
        ("site", &t.name),
        ("a", &a.name),
        ("b", &b.name),
        ("gear", &gear.name),
        ("depth", &depth),
        ("sight", &sight),
        ("boat", &boat),
        ("size", &size),
        ("on", &on),
        ("min", &minutes),
        ("eats", a.food),
        ("colour", b.colour),
        ("month", d.pick(MONTHS)),
    ];
    let mut text = one_of(
        &[
            "On <on> {we dived|our group dived} at <site>.",
            "Trip report, <on>, by <who>. ^{we went to|the boat took us to} <site>.",
            "<who> writes: on <on> I {dived|was} at <site> with <guide>.",
        ],
        d,
        &slots,
    );
    let mut middle = vec![
        one_of(
            &[
                "The {boat trip|ride} {took|lasted} <boat>.",
                "After <boat> by boat we were there.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "We {went down|dived} to <depth>.",
                "The {deepest point|bottom} was at <depth>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "The visibility was <sight>.",
                "{We could see for|One could see} <sight>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "{Near|Under} {a rock|the wall} we {met|found|saw} the <a>, about <size> long.",
                "The <a> was {looking for|eating} <eats>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "^{later|then} a <colour> <b> came {by|out of its hole}.",
                "{Our guide|<guide>} {showed us|pointed at} the <b>, which was <colour>.",
            ],
            d,
            &slots,
        ),
        one_of(
            &[
                "I {used|tried} the <gear> and was {happy|pleased} with it.",
                "My <gear> {worked well|was a good choice}.",
                "After <min> minutes we came up.",
            ],
            d,
            &slots,
        ),
    ];
    let keep = d.between(3, 6) as usize;
    while middle.len() > keep {
        let drop = d.below(middle.len());
        middle.remove(drop);
    }
    for m in middle {
        text.push(' ');
        text.push_str(&m);
    }
    let end = one_of(
        &[
            "",
            " We will {come back|return} in <month>.",
            " Thank you, <guide>!",
            " {A good day|What a dive}.",
        ],
        d,
        &slots,
    );
    Some(text + &end)
}
