//! Whether an answer is right, decided on strings alone.
//!
//! Both sides are normalised: trimmed, white space collapsed, letters folded to lower case, final punctuation dropped.
//! Then, for every kind of match,
//! - each string of `expect` must occur in the answer as whole words,
//! - no string of `reject` may, unless it is also part of an expected string,
//! - a refusal marker must occur if and only if the question is not answerable.
//!
//! `exact` asks in addition for equality with the gold answer, and `fields` for the same set of `Name: value` parts
//! in any order. A word ends where a letter or digit meets anything else; a decimal point or thousands comma between
//! digits is inside a word, so "45" is not found in "45.50".

use crate::instructions::{Example, Matching};

/// Phrases of which a refusal always contains at least one; no answer to an answerable question does.
pub const REFUSAL_MARKERS: &[&str] = &[
    "not in the information I have",
    "I do not know that from",
    "the information I have does not say",
];

/// Judges `answer` against the example's gold answer and its `expect` and `reject` lists.
#[must_use]
pub fn grade(example: &Example, answer: &str) -> bool {
    let given = normalise(answer);
    let refused = is_refusal(answer);
    if refused == example.answerable {
        return false;
    }
    let expect: Vec<String> = example.expect.iter().map(|e| normalise(e)).collect();
    if !expect.iter().all(|e| contains_words(&given, e)) {
        return false;
    }
    let rejected = example
        .reject
        .iter()
        .map(|r| normalise(r))
        .any(|r| contains_words(&given, &r) && !expect.iter().any(|e| contains_words(e, &r)));
    if rejected {
        return false;
    }
    match example.matching {
        Matching::Exact => given == normalise(example.answer()),
        Matching::Fields => fields(&given) == fields(&normalise(example.answer())),
        Matching::Contains | Matching::Choice => true,
    }
}

/// True when the text contains one of [`REFUSAL_MARKERS`].
#[must_use]
pub fn is_refusal(text: &str) -> bool {
    let text = normalise(text);
    REFUSAL_MARKERS
        .iter()
        .any(|m| contains_words(&text, &normalise(m)))
}

/// Trimmed, white space collapsed, lower case, without final punctuation.
#[must_use]
pub fn normalise(text: &str) -> String {
    let joined = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase();
    joined
        .trim_end_matches(['.', '!', '?', ',', ';', ':', ' '])
        .to_string()
}

/// Whether `needle` occurs in `text` as whole words. Both must be normalised. An empty needle never occurs.
#[must_use]
pub fn contains_words(text: &str, needle: &str) -> bool {
    if needle.is_empty() {
        return false;
    }
    text.match_indices(needle).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + needle.len()..]);
        let starts =
            needle.chars().next().is_none_or(|c| !c.is_alphanumeric()) || !joins_before(before);
        let ends = needle
            .chars()
            .next_back()
            .is_none_or(|c| !c.is_alphanumeric())
            || !joins_after(after);
        starts && ends
    })
}

fn joins_before(before: &str) -> bool {
    let mut back = before.chars().rev();
    match back.next() {
        Some(c) if c.is_alphanumeric() => true,
        Some('.' | ',') => back.next().is_some_and(|c| c.is_ascii_digit()),
        _ => false,
    }
}

fn joins_after(after: &str) -> bool {
    let mut on = after.chars();
    match on.next() {
        Some(c) if c.is_alphanumeric() => true,
        Some('.' | ',') => on.next().is_some_and(|c| c.is_ascii_digit()),
        _ => false,
    }
}

fn fields(text: &str) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = text
        .split([';', '\n'])
        .filter_map(|part| part.split_once(':'))
        .map(|(k, v)| (k.trim().to_string(), v.trim().to_string()))
        .collect();
    parts.sort();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_only() {
        let has = |t: &str, n: &str| contains_words(&normalise(t), &normalise(n));
        assert!(has("It costs €45.", "€45"));
        assert!(!has("It costs €450.", "€45"));
        assert!(!has("It costs €45.50.", "€45"));
        assert!(has("It costs €45, I think", "45"));
        assert!(!has("rated 4.15", "4.1"));
        assert!(!has("The Drift 70", "drift 7"));
        assert!(has("THE   drift 7 is", "Drift 7"));
        assert!(!has("anything", ""));
        assert!(!has("2.45", "45"));
    }

    #[test]
    fn markers_survive_case_and_spacing() {
        assert!(is_refusal(
            "Sorry,  that is NOT in the  information I have!"
        ));
        assert!(!is_refusal("The price of the Thalor Drift is €45."));
    }
}
