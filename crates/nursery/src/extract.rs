//! A few entities shown with some of their fields, in one of many list formats: the context of a question, and the body
//! of catalogue pages and price lists.

use crate::dice::Dice;
use crate::grammar::{and_list, capitalised, one_of};
use crate::lexicon::USES;
use crate::splits::Split;
use crate::world::{Class, Field, Thing};

/// Entities, the fields shown for each, and the text that shows them.
pub(crate) struct Extract {
    pub class: Class,
    pub split: Split,
    pub things: Vec<Thing>,
    pub fields: Vec<Field>,
    pub text: String,
}

/// What to draw.
pub(crate) struct Wish<'a> {
    pub class: Class,
    pub split: Split,
    pub count: usize,
    /// Fields that must be shown.
    pub fields: &'a [Field],
    /// How many fields in all, at most.
    pub shown: usize,
    /// Three-digit prices.
    pub dear: bool,
}

impl Extract {
    /// Draws an extract, or nothing when the split has too few names for so many distinct entities.
    pub(crate) fn draw(wish: &Wish<'_>, d: &mut Dice) -> Option<Extract> {
        let mut things: Vec<Thing> = Vec::new();
        for _ in 0..40 * wish.count {
            if things.len() == wish.count {
                break;
            }
            let t = Thing::draw(wish.class, wish.split, wish.dear, d);
            if things.iter().all(|o| o.key != t.key) {
                things.push(t);
            }
        }
        if things.len() < wish.count {
            return None;
        }
        let mut fields = wish.fields.to_vec();
        let mut others: Vec<Field> = wish
            .class
            .fields()
            .iter()
            .copied()
            .filter(|f| !fields.contains(f))
            .collect();
        d.shuffle(&mut others);
        // A small price beside a larger rental price would read like a mistake.
        if !wish.dear && wish.class == Class::Product {
            let priced =
                fields.contains(&Field::Price) || !fields.contains(&Field::Rental) && d.chance(0.5);
            others.retain(|f| *f != if priced { Field::Rental } else { Field::Price });
        }
        others.truncate(wish.shown.saturating_sub(fields.len()));
        fields.extend(others);
        d.shuffle(&mut fields);
        if fields.contains(&Field::Use) {
            distinct_uses(&mut things, d);
        }
        let text = list(&things, &fields, d);
        Some(Extract {
            class: wish.class,
            split: wish.split,
            things,
            fields,
            text,
        })
    }

    /// Another entity of the class than those shown.
    pub(crate) fn absent(&self, d: &mut Dice) -> Option<Thing> {
        (0..40)
            .map(|_| Thing::draw(self.class, self.split, false, d))
            .find(|t| self.things.iter().all(|o| o.key != t.key))
    }

    /// The values of `field` for all things but those named, for reject lists.
    pub(crate) fn other_values(&self, field: Field, not: &[&Thing]) -> Vec<String> {
        let own: Vec<String> = not.iter().map(|t| field.value(t)).collect();
        let mut found: Vec<String> = Vec::new();
        for t in self
            .things
            .iter()
            .filter(|t| not.iter().all(|n| n.name != t.name))
        {
            let v = field.value(t);
            if !own.contains(&v) && !found.contains(&v) {
                found.push(v);
            }
        }
        found
    }
}

fn distinct_uses(things: &mut [Thing], d: &mut Dice) {
    let low = if things.iter().any(|t| t.class == Class::Site) {
        2
    } else {
        0
    };
    let mut uses: Vec<usize> = (low..USES.len()).collect();
    d.shuffle(&mut uses);
    for (t, u) in things.iter_mut().zip(uses) {
        t.used = u;
    }
}

/// Shows the things in one of the list formats.
pub(crate) fn list(things: &[Thing], fields: &[Field], d: &mut Dice) -> String {
    let phrases = |t: &Thing| fields.iter().map(|f| f.phrase(t)).collect::<Vec<_>>();
    let lines = |f: &dyn Fn(&Thing) -> String, sep: &str| {
        things.iter().map(f).collect::<Vec<_>>().join(sep)
    };
    match d.weighted(&[(0, 20), (1, 16), (2, 24), (3, 12), (4, 12), (5, 10), (6, 6)]) {
        0 => lines(
            &|t| format!("- {}: {}", t.name, phrases(t).join(", ")),
            "\n",
        ),
        1 => lines(
            &|t| format!("* {} ({})", t.name, phrases(t).join("; ")),
            "\n",
        ),
        2 => lines(&|t| sentence(t, fields), " "),
        3 => lines(
            &|t| format!("| {} | {} |", t.name, phrases(t).join(" | ")),
            "\n",
        ),
        4 => lines(
            &|t| {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|f| format!("{} {}", f.noun(), f.value(t)))
                    .collect();
                format!("+ {} = {}", t.name, parts.join(", "))
            },
            "\n",
        ),
        5 => fields
            .iter()
            .map(|f| {
                let parts: Vec<String> = things
                    .iter()
                    .map(|t| format!("{} ({})", t.name, f.value(t)))
                    .collect();
                format!("{}: {}.", capitalised(f.noun()), parts.join(", "))
            })
            .collect::<Vec<_>>()
            .join("\n"),
        _ => {
            let head: Vec<&str> = fields.iter().map(|f| f.noun()).collect();
            let row = |t: &Thing| {
                let cells: Vec<String> = fields.iter().map(|f| f.value(t)).collect();
                format!("| {} | {} |", t.name, cells.join(" | "))
            };
            format!("| name | {} |\n{}", head.join(" | "), lines(&row, "\n"))
        }
    }
}

/// "The Thalor Drift costs €45, is rated 4.3 and comes in teal."
pub(crate) fn sentence(t: &Thing, fields: &[Field]) -> String {
    let clauses: Vec<String> = fields.iter().map(|f| f.clause(t)).collect();
    capitalised(&format!("{} {}.", t.the(), and_list(&clauses)))
}

/// A heading for a list, or nothing.
pub(crate) fn heading(class: Class, d: &mut Dice) -> String {
    if d.chance(0.55) {
        return String::new();
    }
    let what = class.plural();
    let text = one_of(
        &[
            "{Our|The} <what>:",
            "{From|This is} {our|the} list of <what>:",
            "{Our|Some of our} <what>:",
            "List of <what>:",
        ],
        d,
        &[("what", what)],
    );
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_shows_every_name_and_value() {
        for i in 0..2_000 {
            let mut d = Dice::new(3, "extract", i);
            let class = Class::draw(&mut d);
            let wish = Wish {
                class,
                split: Split::Training,
                count: 3,
                fields: &[],
                shown: 3,
                dear: d.chance(0.5),
            };
            let e = Extract::draw(&wish, &mut d).expect("training has names enough");
            for t in &e.things {
                assert!(e.text.contains(&t.name), "{}", e.text);
                for f in &e.fields {
                    assert!(e.text.contains(&f.value(t)), "{:?} in {}", f, e.text);
                }
            }
        }
    }

    #[test]
    fn absent_things_are_absent() {
        for i in 0..500 {
            let mut d = Dice::new(4, "absent", i);
            let wish = Wish {
                class: Class::Product,
                split: Split::HeldOut,
                count: 3,
                fields: &[],
                shown: 2,
                dear: false,
            };
            let e = Extract::draw(&wish, &mut d).expect("held-out products are enough");
            let other = e.absent(&mut d).expect("another product exists");
            assert!(!e.text.contains(&other.name));
        }
    }
}
