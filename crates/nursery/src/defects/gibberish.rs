//! Text that is none: random characters, shuffled words, bytes decoded in the wrong encoding.

use crate::dice::Dice;

/// Spoils a text in one of three ways.
pub(crate) fn spoil(text: &str, d: &mut Dice) -> String {
    match d.below(3) {
        0 => noise(d),
        1 => shuffled(text, d),
        _ => wrongly_decoded(text, d),
    }
}

fn noise(d: &mut Dice) -> String {
    let letters: Vec<char> = "abcdefghijklmnopqrstuvwxyzQXZJK0123456789#%&*/\\+=_~^@;:!?"
        .chars()
        .collect();
    let mut out = String::new();
    for _ in 0..d.between(20, 90) {
        for _ in 0..d.between(2, 14) {
            out.push(d.choose(&letters));
        }
        out.push(' ');
    }
    out.trim_end().to_string()
}

/// Only words in lower case, so that no name is made by accident.
fn shuffled(text: &str, d: &mut Dice) -> String {
    let mut words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|w| {
            !w.is_empty()
                && w.chars().all(|c| c.is_ascii_lowercase())
                && !crate::names::SPECIES_SECOND.contains(w)
        })
        .collect();
    words.extend([
        "water", "of", "under", "if", "because", "seven", "loud", "the", "never", "into", "paper",
        "was", "by",
    ]);
    d.shuffle(&mut words);
    words.join(" ")
}

/// UTF-8 read as Latin-1, over and over, as scrapers do.
fn wrongly_decoded(text: &str, d: &mut Dice) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            'a' | 'e' | 'o' | 'u' if d.chance(0.55) => {
                out.push_str(
                    d.pick(&["Ã©", "Ã¤", "Ã¶", "Ã¼", "Ã¨", "Â°", "â€™", "Ã\u{a0}", "ï¿½"]),
                );
            }
            '€' => out.push_str("â‚¬"),
            '.' | ',' if d.chance(0.5) => out.push_str("â€¦"),
            c => out.push(c),
        }
    }
    out
}
