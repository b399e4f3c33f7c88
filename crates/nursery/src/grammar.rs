//! A small text grammar, enough for varied surface forms from short rules.
//!
//! `{a|b|c}` takes one alternative, `[a]` keeps its content half of the time, `<name>` inserts a slot, `a~ x` becomes
//! "a x" or "an x", and `^` sets the next letter in upper case. Groups nest. Slots are inserted as they are.

use crate::dice::Dice;

/// Values for the `<name>` places of a rule.
pub(crate) type Slots<'a> = &'a [(&'a str, &'a str)];

/// Expands one rule.
pub(crate) fn expand(rule: &str, dice: &mut Dice, slots: Slots<'_>) -> String {
    let mut out = String::with_capacity(rule.len() * 2);
    emit(rule, dice, slots, &mut out);
    if out.contains(['~', '^']) {
        polish(&out)
    } else {
        out
    }
}

/// Takes one of the rules and expands it.
pub(crate) fn one_of(rules: &[&str], dice: &mut Dice, slots: Slots<'_>) -> String {
    let rule = dice.pick(rules);
    expand(rule, dice, slots)
}

fn emit(rule: &str, dice: &mut Dice, slots: Slots<'_>, out: &mut String) {
    let mut rest = rule;
    while let Some(at) = rest.find(['{', '[', '<']) {
        out.push_str(&rest[..at]);
        let open = rest.as_bytes()[at];
        let inside = &rest[at + 1..];
        let end = closing(inside, open);
        let body = &inside[..end];
        match open {
            b'<' => match slots.iter().find(|(name, _)| *name == body) {
                Some((_, value)) => out.push_str(value),
                None => {
                    debug_assert!(false, "no slot <{body}> in {rule}");
                    out.push_str(body);
                }
            },
            b'{' => {
                let options = alternatives(body);
                emit(options[dice.below(options.len())], dice, slots, out);
            }
            _ => {
                if dice.chance(0.5) {
                    emit(body, dice, slots, out);
                }
            }
        }
        rest = inside.get(end + 1..).unwrap_or("");
    }
    out.push_str(rest);
}

/// Where the group opened by `open` ends in `inside`.
fn closing(inside: &str, open: u8) -> usize {
    if open == b'<' {
        return inside.find('>').unwrap_or(inside.len());
    }
    let mut depth = 0usize;
    for (i, b) in inside.bytes().enumerate() {
        match b {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return i,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    inside.len()
}

/// The top-level alternatives of a `{…}` body.
fn alternatives(body: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0usize, 0, Vec::new());
    for (i, b) in body.bytes().enumerate() {
        match b {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'|' if depth == 0 => {
                found.push(&body[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    found.push(&body[start..]);
    found
}

/// Resolves `a~` and `^`.
fn polish(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut raise, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '^' => raise = true,
            '~' => {
                let next = text_after_space(&mut chars.clone());
                if next.is_some_and(|n| "aeiouAEIOU8".contains(n)) {
                    out.push('n');
                }
            }
            c if raise => {
                out.extend(c.to_uppercase());
                raise = false;
            }
            c => out.push(c),
        }
    }
    out
}

fn text_after_space(rest: &mut impl Iterator<Item = char>) -> Option<char> {
    rest.find(|c| *c != ' ' && *c != '^')
}

/// "a", "a and b", "a, b and c".
pub(crate) fn and_list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}

/// The text with its first letter in upper case.
pub(crate) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rule: &str) -> Vec<String> {
        let mut seen: Vec<String> = (0..200)
            .map(|i| expand(rule, &mut Dice::new(1, "grammar", i), &[("x", "eel")]))
            .collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn alternatives_nest_and_options_drop() {
        assert_eq!(all("a{b|c[d]}"), ["ab", "ac", "acd"]);
        assert_eq!(all("{|x}y"), ["xy", "y"]);
        assert_eq!(all("[a{b|c}]"), ["", "ab", "ac"]);
    }

    #[test]
    fn slots_articles_and_capitals() {
        assert_eq!(all("a~ <x> and a~ mask"), ["an eel and a mask"]);
        assert_eq!(all("^<x>s. ^{one|one}"), ["Eels. One"]);
        assert_eq!(all("A~ <x>"), ["An eel"]);
    }

    #[test]
    fn lists_read_well() {
        let words = |n: usize| {
            ["a", "b", "c"][..n]
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(and_list(&words(1)), "a");
        assert_eq!(and_list(&words(3)), "a, b and c");
    }
}
