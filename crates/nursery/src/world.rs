//! The entities of the world and their fields. Values are drawn anew for every document, so an answer has to be read
//! from the text at hand; what an entity is called is a combination of words that lies on one side of the split.

use crate::dice::Dice;
use crate::lexicon::*;
use crate::names::*;
use crate::splits::{Split, split_of};

/// The classes of entities a list may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Product,
    Site,
    Species,
    Course,
}

/// A property of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Kind,
    Price,
    Rental,
    Stock,
    Rating,
    Use,
    Colour,
    Depth,
    Visibility,
    Boat,
    Size,
    Season,
    Food,
    Days,
    Age,
}

/// One entity with the values drawn for one document.
#[derive(Clone, Debug)]
pub(crate) struct Thing {
    pub class: Class,
    /// "Thalor Drift", without article.
    pub name: String,
    /// The word that tells it from the others in a list: series, first word of a site, and so on.
    pub key: &'static str,
    pub kind: &'static str,
    pub price: u32,
    pub rental: u32,
    pub stock: u32,
    /// Tenths: 43 is 4.3.
    pub rating: u32,
    pub used: usize,
    pub colour: &'static str,
    /// Depth, visibility, trip minutes, size in cm, days, minimum age: whatever the class calls for.
    pub depth: u32,
    pub visibility: u32,
    pub boat: u32,
    pub size: u32,
    pub season: &'static str,
    pub food: &'static str,
    pub days: u32,
    pub age: u32,
}

impl Class {
    pub(crate) fn fields(self) -> &'static [Field] {
        use Field::*;
        match self {
            Class::Product => &[Price, Stock, Rating, Use, Rental, Colour, Kind],
            Class::Site => &[Depth, Visibility, Boat, Use],
            Class::Species => &[Depth, Size, Season, Food, Colour],
            Class::Course => &[Price, Days, Age, Rating],
        }
    }

    /// "items", for list headings.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Class::Product => "items",
            Class::Site => "dive sites",
            Class::Species => "animals",
            Class::Course => "courses",
        }
    }

    pub(crate) fn draw(d: &mut Dice) -> Class {
        d.weighted(&[
            (Class::Product, 60),
            (Class::Site, 14),
            (Class::Species, 14),
            (Class::Course, 12),
        ])
    }
}

impl Field {
    /// The noun used in questions and answers: "the price of the Thalor Drift".
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Field::Kind => "type",
            Field::Price => "price",
            Field::Rental => "rental price",
            Field::Stock => "stock",
            Field::Rating => "rating",
            Field::Use => "best use",
            Field::Colour => "colour",
            Field::Depth => "depth",
            Field::Visibility => "visibility",
            Field::Boat => "boat trip",
            Field::Size => "size",
            Field::Season => "season",
            Field::Food => "food",
            Field::Days => "length",
            Field::Age => "minimum age",
        }
    }

    /// The value as answers quote it.
    pub(crate) fn value(self, t: &Thing) -> String {
        match self {
            Field::Kind => t.kind.to_string(),
            Field::Price => format!("€{}", t.price),
            Field::Rental => format!("€{} a day", t.rental),
            Field::Stock => t.stock.to_string(),
            Field::Rating => format!("{}.{}", t.rating / 10, t.rating % 10),
            Field::Use => USES[t.used].0.to_string(),
            Field::Colour => t.colour.to_string(),
            Field::Depth => format!("{} m", t.depth),
            Field::Visibility => format!("{} m", t.visibility),
            Field::Boat => format!("{} minutes", t.boat),
            Field::Size => format!("{} cm", t.size),
            Field::Season => t.season.to_string(),
            Field::Food => t.food.to_string(),
            Field::Days => format!("{} days", t.days),
            Field::Age => t.age.to_string(),
        }
    }

    /// A short labelled phrase for lists: "12 in stock".
    pub(crate) fn phrase(self, t: &Thing) -> String {
        let v = self.value(t);
        match self {
            Field::Kind | Field::Days => v,
            Field::Price => format!("price {v}"),
            Field::Rental => format!("rental {v}"),
            Field::Stock => format!("{v} in stock"),
            Field::Rating => format!("rated {v}"),
            Field::Use => format!("best for {v}"),
            Field::Colour => format!("colour {v}"),
            Field::Depth => format!("depth {v}"),
            Field::Visibility => format!("visibility {v}"),
            Field::Boat => format!("{v} by boat"),
            Field::Size => format!("size {v}"),
            Field::Season => format!("seen in {v}"),
            Field::Food => format!("eats {v}"),
            Field::Age => format!("from age {v}"),
        }
    }

    /// A verb phrase for running text: "costs €45".
    pub(crate) fn clause(self, t: &Thing) -> String {
        let v = self.value(t);
        match self {
            Field::Kind => format!("is {} {v}", article(&v)),
            Field::Price => format!("costs {v}"),
            Field::Rental => format!("rents for {v}"),
            Field::Stock => format!("has {v} in stock"),
            Field::Rating => format!("is rated {v}"),
            Field::Use => format!("is best for {v}"),
            Field::Colour if t.class == Class::Product => format!("comes in {v}"),
            Field::Colour => format!("is {v}"),
            Field::Depth if t.class == Class::Site => format!("goes down to {v}"),
            Field::Depth => format!("lives at {v}"),
            Field::Visibility => format!("has a visibility of {v}"),
            Field::Boat => format!("is {v} away by boat"),
            Field::Size => format!("grows to {v}"),
            Field::Season => format!("is seen in {v}"),
            Field::Food => format!("eats {v}"),
            Field::Days => format!("takes {v}"),
            Field::Age => format!("starts at age {v}"),
        }
    }

    /// A number that two things can be compared by.
    pub(crate) fn measure(self, t: &Thing) -> Option<u32> {
        match self {
            Field::Price => Some(t.price),
            Field::Stock => Some(t.stock),
            Field::Rating => Some(t.rating),
            Field::Depth => Some(t.depth),
            Field::Size => Some(t.size),
            _ => None,
        }
    }
}

pub(crate) fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']) {
        "an"
    } else {
        "a"
    }
}

impl Thing {
    /// "the Thalor Drift", "Turtle Wall", "the velvet goby", "the Night Explorer course".
    pub(crate) fn the(&self) -> String {
        match self.class {
            Class::Site => self.name.clone(),
            Class::Course => format!("the {} course", self.name),
            Class::Product | Class::Species => format!("the {}", self.name),
        }
    }

    /// Draws a name on the given side of the split and fresh values. `dear` gives three-digit prices.
    pub(crate) fn draw(class: Class, split: Split, dear: bool, d: &mut Dice) -> Thing {
        let (name, key) = name(class, split, d);
        let price = if class == Class::Course || dear {
            5 * d.between(20, 199)
        } else {
            5 * d.between(1, 12)
        };
        Thing {
            class,
            name,
            key,
            kind: d.pick(if dear { DEAR_KINDS } else { CHEAP_KINDS }),
            price,
            rental: 5 * d.between(1, 12),
            stock: d.between(10, 99),
            rating: d.between(30, 49),
            used: if class == Class::Site {
                2 + d.below(USES.len() - 2)
            } else {
                d.below(USES.len())
            },
            colour: d.pick(COLOURS),
            depth: d.between(10, 59),
            visibility: d.between(5, 40),
            boat: 5 * d.between(2, 15),
            size: d.between(10, 99),
            season: d.pick(SEASONS),
            food: d.pick(FOODS),
            days: d.between(2, 9),
            age: d.between(10, 18),
        }
    }
}

fn name(class: Class, split: Split, d: &mut Dice) -> (String, &'static str) {
    loop {
        let (name, key) = match class {
            Class::Product => {
                let series = d.pick(SERIES);
                (format!("{} {series}", d.pick(BRANDS)), series)
            }
            Class::Site => two(SITE_FIRST, SITE_SECOND, d),
            Class::Species => two(SPECIES_FIRST, SPECIES_SECOND, d),
            Class::Course => two(COURSE_FIRST, COURSE_SECOND, d),
        };
        if split_of(&name) == split {
            return (name, key);
        }
    }
}

fn two(first: &[&'static str], second: &[&'static str], d: &mut Dice) -> (String, &'static str) {
    let key = d.pick(first);
    (format!("{key} {}", d.pick(second)), key)
}

/// A customer or member of staff on the given side of the split.
pub(crate) fn person(split: Split, d: &mut Dice) -> String {
    loop {
        let name = format!("{} {}", d.pick(FIRST_NAMES), d.pick(LAST_NAMES));
        if split_of(&name) == split {
            return name;
        }
    }
}

/// Whether an animal may be reported from a site on this side of the split.
pub(crate) fn pair_on(split: Split, species: &str, site: &str) -> bool {
    split == Split::HeldOut || split_of(&format!("{species} at {site}")) == Split::Training
}

/// "14 May".
pub(crate) fn date(d: &mut Dice) -> String {
    format!("{} {}", d.between(1, 28), d.pick(MONTHS))
}

/// Every name of every class on one side of the split, for checks.
#[must_use]
pub fn names(split: Split) -> Vec<String> {
    let mut all = Vec::new();
    for (firsts, seconds) in [
        (BRANDS, SERIES),
        (SITE_FIRST, SITE_SECOND),
        (SPECIES_FIRST, SPECIES_SECOND),
        (COURSE_FIRST, COURSE_SECOND),
        (FIRST_NAMES, LAST_NAMES),
    ] {
        for a in firsts {
            all.extend(seconds.iter().map(|b| format!("{a} {b}")));
        }
    }
    all.retain(|n| split_of(n) == split);
    all
}
