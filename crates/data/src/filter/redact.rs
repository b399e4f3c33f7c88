//! Personal data that can be told by its form: e-mail addresses, telephone numbers and payment card numbers (13 to
//! 19 digits with a valid Luhn check digit). Each is replaced by a placeholder.

use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use super::{Filter, Outcome};
use crate::document::Document;

/// What is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// E-mail addresses, by `[email]`.
    pub emails: bool,
    /// Telephone numbers, by `[phone]`.
    pub phones: bool,
    /// Payment card numbers, by `[card]`.
    pub cards: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            emails: true,
            phones: true,
            cards: true,
        }
    }
}

const EMAIL: &str = r"(?i)[a-z0-9][a-z0-9._%+\-]*@[a-z0-9\-]+(?:\.[a-z0-9\-]+)*\.[a-z]{2,}";
const CARD: &str = r"(?-u:\b)[3-6](?:[ \-]?[0-9]){12,18}(?-u:\b)";
/// Digits and word borders are ASCII ones, which the fast engine handles in any text.
/// International; area code in brackets; area code and number; five pairs; North American.
const PHONE: &str = r"\+[0-9]{1,3}(?:[ .\-/]?\(?[0-9]{1,7}\)?){2,6}(?-u:\b)|\(0?[0-9]{2,4}\)[ .\-]?[0-9]{2,4}(?:[ .\-]?[0-9]{2,4}){1,3}(?-u:\b)|(?-u:\b)0[0-9]{1,4}[\-/ ][0-9]{6,9}(?-u:\b)|(?-u:\b)0[0-9]{2,4}(?:[\-/ ][0-9]{2,4}){2,4}(?-u:\b)|(?-u:\b)0[0-9](?:[ .\-][0-9]{2}){4}(?-u:\b)|(?-u:\b)[0-9]{3}[\-.][0-9]{3}[\-.][0-9]{4}(?-u:\b)";

/// The filter.
pub struct Redact {
    config: Config,
    email: Regex,
    card: Regex,
    phone: Regex,
}

impl Redact {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let compile = |pattern| {
            Regex::new(pattern).expect("the pattern is a constant that the tests compile")
        };
        Self {
            config: config.clone(),
            email: compile(EMAIL),
            card: compile(CARD),
            phone: compile(PHONE),
        }
    }
}

fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> {
    text.chars().filter_map(|character| character.to_digit(10))
}

/// The check of ISO/IEC 7812-1, annex B: from the right, every second digit counts double.
fn luhn(number: &str) -> bool {
    let sum: u32 = digits(number)
        .rev()
        .enumerate()
        .map(|(index, digit)| match index % 2 {
            0 => digit,
            _ if digit > 4 => 2 * digit - 9,
            _ => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

impl Filter for Redact {
    fn step(&self) -> &'static str {
        "redact"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        let text = &mut document.text;
        let mut changed = false;
        let mut replace = |text: &mut String,
                           pattern: &Regex,
                           placeholder: &str,
                           is_one: &dyn Fn(&str) -> bool| {
            let new = pattern.replace_all(text, |found: &Captures<'_>| {
                let whole = &found[0];
                if is_one(whole) {
                    placeholder.to_owned()
                } else {
                    whole.to_owned()
                }
            });
            if new != text.as_str() {
                changed = true;
                *text = new.into_owned();
            }
        };
        if self.config.emails && text.contains('@') {
            replace(text, &self.email, "[email]", &|_| true);
        }
        // A number of either kind needs seven digits; most texts have fewer.
        let may_have_numbers = text.bytes().filter(u8::is_ascii_digit).count() >= 7;
        if self.config.cards && may_have_numbers {
            replace(text, &self.card, "[card]", &luhn);
        }
        if self.config.phones && may_have_numbers {
            replace(text, &self.phone, "[phone]", &|number| {
                (8..=15).contains(&digits(number).count())
            });
        }
        Outcome::edited(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::apply;
    use super::*;

    #[test]
    fn what_is_replaced() {
        let filter = Redact::new(&Config::default());
        for (text, expected) in [
            ("Mail a.b+dive@mail.example.co.uk.", "Mail [email]."),
            ("<l_kaya@reef.example> wrote", "<[email]> wrote"),
            ("card 4111 1111 1111 1111, ok", "card [card], ok"),
            (
                "card 4111-1111-1111-1111 and 378282246310005",
                "card [card] and [card]",
            ),
            ("Call +49 171 2345678 now", "Call [phone] now"),
            ("+31 6 1234 5678 or 06-12345678.", "[phone] or [phone]."),
            ("(030) 555 12 34, +1 415-555-1234", "[phone], [phone]"),
            ("415-555-1234 / 06 12 34 56 78", "[phone] / [phone]"),
        ] {
            assert_eq!(
                apply(&filter, text),
                (Outcome::Edited, expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_left() {
        let filter = Redact::new(&Config::default());
        for text in [
            "Order 4111 1111 1111 1112 is no card",
            "On 01/02/2024 and 2024-02-01 at 10:30, 1,000,000 people",
            "It costs 249.00 or 1 249 000, version 1.2.3.4",
            "3.14159265358979 and 20231105123456",
            "pages 100-120, 555-1234, user@host",
            "ISBN 978-3-16-148410-0",
            "2 x €60 = €120, 3 x €15 = €45, 4 x €50 = €200",
        ] {
            assert_eq!(
                apply(&filter, text),
                (Outcome::Keep, text.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn each_kind_can_be_left_alone() {
        let off = Config {
            emails: false,
            phones: false,
            cards: false,
        };
        let text = "a@b.example, 415-555-1234, 4111 1111 1111 1111";
        assert_eq!(apply(&Redact::new(&off), text).1, text);
    }
}
