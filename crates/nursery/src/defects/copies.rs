//! Near duplicates: a few small words added or left out, a remark at the end.

use crate::dice::Dice;

/// The text with one change for every forty words, and at least one.
pub(crate) fn nearly(text: &str, d: &mut Dice) -> String {
    let mut out = text.to_string();
    let changes = 1 + text.split_whitespace().count() / 40;
    for _ in 0..changes {
        let places: Vec<usize> = out
            .as_bytes()
            .windows(3)
            .enumerate()
            .filter(|(_, w)| w[0].is_ascii_lowercase() && w[1] == b' ' && w[2].is_ascii_lowercase())
            .map(|(i, _)| i + 1)
            .collect();
        match (d.below(3), out.find(" the ")) {
            (0, Some(at)) => out.replace_range(at..at + 4, ""),
            (1 | 2, _) if !places.is_empty() => {
                let (at, word) = (
                    d.choose(&places),
                    d.pick(&[" also", " now", " really", " just", " still"]),
                );
                out.insert_str(at, word);
            }
            _ => out.push_str(d.pick(&[" Updated.", " (Copy.)", " Read again.", " New version."])),
        }
    }
    if out == text {
        format!("{text} Updated.")
    } else {
        out
    }
}
