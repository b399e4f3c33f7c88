//! Personal data: addresses, phone numbers and payment card numbers with a valid check digit.

use crate::dice::Dice;
use crate::grammar::one_of;
use crate::names::{FIRST_NAMES, LAST_NAMES};

/// The text with one to three such data in a sentence of their own, and the data.
pub(crate) fn add(text: &str, d: &mut Dice) -> (String, Vec<String>) {
    let mut planted = Vec::new();
    let mut out = text.to_string();
    for _ in 0..d.choose(&[1, 1, 2, 3]) {
        let (value, rules): (String, &[&str]) = match d.below(3) {
            0 => (
                address(d),
                &[
                    "{Write|Send a mail} to <v>.",
                    "Contact: <v>",
                    "My {e-mail|address} is <v>[, please answer soon].",
                    "<<v>> wrote this.",
                ],
            ),
            1 => (
                phone(d),
                &[
                    "{Call|Phone} me on <v>.",
                    "Phone: <v>",
                    "My number is <v>[, after six].",
                    "{Tel.|Mobile} <v>",
                ],
            ),
            _ => (
                card(d),
                &[
                    "Card number <v>, {valid|good} until 0{4|7|9}/2{7|8|9}.",
                    "Please charge my card <v>.",
                    "Paid with <v>.",
                ],
            ),
        };
        let rule = d.pick(rules);
        let said = if rule.starts_with("<<") {
            format!("<{value}> wrote this.")
        } else {
            one_of(&[rule], d, &[("v", &value)])
        };
        match d.below(3) {
            0 => out = format!("{said} {out}"),
            1 if out.contains(". ") => {
                let at = out.find(". ").map_or(out.len(), |i| i + 2);
                out.insert_str(at, &format!("{said} "));
            }
            _ => {
                out.push(d.choose(&[' ', '\n']));
                out.push_str(&said);
            }
        }
        planted.push(value);
    }
    (out, planted)
}

fn address(d: &mut Dice) -> String {
    let (first, last) = (
        d.pick(FIRST_NAMES).to_lowercase(),
        d.pick(LAST_NAMES).to_lowercase(),
    );
    let host = d.pick(&[
        "example.com",
        "example.org",
        "mail.example.net",
        "reef.example",
        "post.example.nl",
    ]);
    match d.below(4) {
        0 => format!("{first}.{last}@{host}"),
        1 => format!("{first}{}@{host}", d.between(1, 99)),
        2 => format!("{}_{last}@{host}", &first[..1]),
        _ => format!("{last}+dive@{host}"),
    }
}

fn digits(n: usize, d: &mut Dice) -> String {
    (0..n)
        .map(|_| char::from(b'0' + d.below(10) as u8))
        .collect()
}

fn phone(d: &mut Dice) -> String {
    match d.below(5) {
        0 => format!("+49 17{} {}", digits(1, d), digits(7, d)),
        1 => format!("+31 6 {} {}", digits(4, d), digits(4, d)),
        2 => format!("06-{}", digits(8, d)),
        3 => format!(
            "(0{}) 555 {} {}",
            d.between(20, 89),
            digits(2, d),
            digits(2, d)
        ),
        _ => format!("+1 {}-555-{}", d.between(201, 989), digits(4, d)),
    }
}

fn card(d: &mut Dice) -> String {
    let mut number = format!("{}{}", d.pick(&["4", "51", "53", "55"]), digits(14, d));
    number.truncate(15);
    let check = (0..10)
        .map(|c| format!("{number}{c}"))
        .find(|n| luhn(n))
        .unwrap_or(number);
    let groups: Vec<&str> = (0..4).map(|i| &check[4 * i..4 * i + 4]).collect();
    groups.join(d.pick(&[" ", "-", ""]))
}

/// The check-digit rule of payment cards.
pub(crate) fn luhn(number: &str) -> bool {
    let digits: Vec<u32> = number.chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, n)| {
            if i % 2 == 1 {
                n * 2 - if *n > 4 { 9 } else { 0 }
            } else {
                *n
            }
        })
        .sum();
    digits.len() == 16 && sum.is_multiple_of(10)
}
