//! Whether an answer is right: normalisation, whole-word containment, refusals, exact match and token F1.
//!
//! The rules are those the embedded world renders its answers for: every `expect` phrase must stand in the answer
//! as whole words, no `reject` phrase may (unless it is part of an expected one), and the answer must refuse
//! exactly when the question cannot be answered. Rows without `expect` are compared with their reference answer.
//! Token F1 is that of Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text" (2016).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::question::{Matching, Question};

/// Phrases by which an answer says that it cannot answer. Compared as whole words after normalisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RefusalMarkers(pub Vec<String>);

impl Default for RefusalMarkers {
    /// The embedded world's own markers, then the plainest general ones.
    fn default() -> Self {
        let phrases = [
            "not in the information I have",
            "I do not know that from",
            "the information I have does not say",
            "I do not know",
            "I don't know",
            "I cannot answer",
            "I can't answer",
            "I am unable to answer",
            "cannot be answered from",
        ];
        Self(phrases.map(str::to_owned).to_vec())
    }
}

impl RefusalMarkers {
    /// True when the answer contains one of the phrases.
    #[must_use]
    pub fn refuses(&self, answer: &str) -> bool {
        let answer = normalise(answer);
        self.0
            .iter()
            .any(|marker| contains_words(&answer, &normalise(marker)))
    }
}

/// The judgement of one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// Right by the rule that applies to the question.
    pub correct: bool,
    /// The answer says that it cannot answer.
    pub refused: bool,
    /// Token F1 against the reference answer, 0 to 1.
    pub f1: f64,
    /// Why it is wrong, in words; empty when it is right.
    pub reason: String,
}

/// Judges `answer` by the rule that `question` carries.
#[must_use]
pub fn grade(question: &Question, answer: &str, markers: &RefusalMarkers) -> Grade {
    let refused = markers.refuses(answer);
    let reason = fault(question, answer, refused);
    Grade {
        correct: reason.is_none(),
        refused,
        f1: token_f1(answer, &question.reference),
        reason: reason.unwrap_or_default(),
    }
}

/// What is wrong with the answer, or nothing.
fn fault(question: &Question, answer: &str, refused: bool) -> Option<String> {
    if answer.trim().is_empty() {
        return Some("the answer is empty".to_owned());
    }
    match question.answerable {
        Some(false) if !refused => {
            return Some("it answers a question that cannot be answered".to_owned());
        }
        Some(true) if refused => {
            return Some("it refuses a question that can be answered".to_owned());
        }
        _ => {}
    }
    let (given, wanted) = (normalise(answer), normalise(&question.reference));
    let expect: Vec<String> = question
        .expect
        .iter()
        .map(|phrase| normalise(phrase))
        .collect();
    if let Some(missing) = expect
        .iter()
        .position(|phrase| !contains_words(&given, phrase))
    {
        return Some(format!("it lacks `{}`", question.expect[missing]));
    }
    let spoils = |phrase: &String| {
        contains_words(&given, phrase) && !expect.iter().any(|e| contains_words(e, phrase))
    };
    if let Some(phrase) = question
        .reject
        .iter()
        .find(|phrase| spoils(&normalise(phrase)))
    {
        return Some(format!("it says `{phrase}`"));
    }
    let keyed =
        !expect.is_empty() || !question.reject.is_empty() || question.answerable == Some(false);
    let agrees = match question.matching {
        Some(Matching::Exact) => given == wanted,
        Some(Matching::Fields) => fields(answer) == fields(&question.reference),
        Some(Matching::Contains | Matching::Choice) | None if keyed => true,
        Some(Matching::Contains) => contains_words(&given, &wanted),
        // A choice counts when the answer opens with it: "refund" and "refund: money back" name the same label.
        Some(Matching::Choice) => contains_words(&given, &wanted) && given.starts_with(&wanted),
        None => given == wanted,
    };
    (!agrees).then(|| format!("it is not `{}`", question.reference.trim()))
}

/// The normal form in which texts are compared: white space collapsed, lower case, straight apostrophes, no final
/// punctuation.
#[must_use]
pub fn normalise(text: &str) -> String {
    let joined = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
        .replace('’', "'");
    joined
        .trim_end_matches(['.', '!', '?', ',', ';', ':', ' '])
        .to_owned()
}

/// True when `phrase` stands in `text` as whole words; both are normalised. An empty phrase never does.
///
/// A word ends where a letter or digit meets anything else; a decimal point or thousands comma between digits is
/// inside a word, so `45` does not stand in `45.50`.
#[must_use]
pub fn contains_words(text: &str, phrase: &str) -> bool {
    let wordy = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let joins = |next: Option<char>, second: Option<char>| {
        wordy(next)
            || (matches!(next, Some('.' | ',')) && second.is_some_and(|c| c.is_ascii_digit()))
    };
    !phrase.is_empty()
        && text.match_indices(phrase).any(|(at, _)| {
            let mut before = text[..at].chars().rev();
            let mut after = text[at + phrase.len()..].chars();
            let begins = !wordy(phrase.chars().next()) || !joins(before.next(), before.next());
            let ends = !wordy(phrase.chars().next_back()) || !joins(after.next(), after.next());
            begins && ends
        })
}

/// The words of a text, for token F1: runs of letters and digits in lower case, a decimal point or thousands comma
/// between digits kept.
fn words(text: &str) -> Vec<String> {
    let text = normalise(text);
    text.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == ','))
        .map(|word| word.trim_matches(['.', ',']))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The harmonic mean of precision and recall over the words two texts share, counted with multiplicity.
#[must_use]
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (given, wanted) = (words(answer), words(reference));
    if given.is_empty() || wanted.is_empty() {
        return f64::from(u8::from(given == wanted));
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in &wanted {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0_usize;
    for word in &given {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    2.0 * shared as f64 / (given.len() + wanted.len()) as f64
}

/// `name: value` pairs, one a line or separated by semicolons, in any order; a JSON object gives the same pairs.
fn fields(text: &str) -> BTreeMap<String, String> {
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text.trim()) {
        return object
            .iter()
            .map(|(name, value)| {
                let value = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                (normalise(name), normalise(&value))
            })
            .collect();
    }
    text.split(['\n', ';'])
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (normalise(name), normalise(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(expect: &[&str], reject: &[&str], answerable: Option<bool>) -> Question {
        Question {
            expect: expect.iter().map(|s| (*s).to_owned()).collect(),
            reject: reject.iter().map(|s| (*s).to_owned()).collect(),
            answerable,
            ..Question::default()
        }
    }

    fn reference(reference: &str, matching: Matching) -> Question {
        Question {
            reference: reference.to_owned(),
            matching: Some(matching),
            ..Question::default()
        }
    }

    fn correct(question: &Question, answer: &str) -> bool {
        grade(question, answer, &RefusalMarkers::default()).correct
    }

    #[test]
    fn normal_form() {
        for (text, normal) in [
            ("  The Price is €1,299.00! ", "the price is €1,299.00"),
            ("It’s 4.5\nstars..", "it's 4.5 stars"),
            ("", ""),
            ("...", ""),
        ] {
            assert_eq!(normalise(text), normal, "{text}");
        }
    }

    #[test]
    fn whole_words_only() {
        for (text, phrase, stands) in [
            ("It costs €45.", "€45", true),
            ("It costs €450.", "€45", false),
            ("It costs €45.50.", "€45", false),
            ("It costs €45, I think", "45", true),
            ("rated 4.15", "4.1", false),
            ("2.45", "45", false),
            ("The Drift 70", "drift 7", false),
            ("THE   drift 7 is", "Drift 7", true),
            ("anything", "", false),
            ("", "anything", false),
        ] {
            assert_eq!(
                contains_words(&normalise(text), &normalise(phrase)),
                stands,
                "{phrase} in {text}"
            );
        }
    }

    #[test]
    fn every_expected_phrase_is_needed() {
        let question = question(&["42", "in stock"], &[], Some(true));
        assert!(correct(&question, "We have 42 in stock."));
        assert!(!correct(&question, "We have 42."));
        assert!(!correct(&question, "We have 420 in stock."));
    }

    #[test]
    fn a_rejected_phrase_spoils_the_answer() {
        let question = question(&["Tern 300"], &["Gull 200"], Some(true));
        assert!(correct(&question, "Take the Tern 300."));
        let graded = grade(
            &question,
            "Take the Tern 300 or the Gull 200.",
            &RefusalMarkers::default(),
        );
        assert!(!graded.correct);
        assert_eq!(graded.reason, "it says `Gull 200`");
    }

    #[test]
    fn a_rejected_phrase_inside_an_expected_one_does_not_count() {
        assert!(correct(
            &question(&["not suitable"], &["suitable"], Some(true)),
            "It is not suitable."
        ));
    }

    #[test]
    fn rejection_is_by_whole_words() {
        assert!(correct(
            &question(&["yes"], &["no"], Some(true)),
            "Yes, and nothing else."
        ));
    }

    #[test]
    fn refusing_is_right_only_when_nothing_can_be_answered() {
        let refusal = "I’m sorry, I don't know that.";
        assert!(correct(&question(&[], &[], Some(false)), refusal));
        assert!(!correct(&question(&[], &[], Some(false)), "It costs 12."));
        assert!(!correct(
            &question(&["12"], &[], Some(true)),
            "I don't know, maybe 12."
        ));
    }

    #[test]
    fn exact_match_after_normalisation() {
        assert!(correct(
            &reference("Blue Fin", Matching::Exact),
            "blue fin."
        ));
        assert!(!correct(
            &reference("Blue Fin", Matching::Exact),
            "the blue fin"
        ));
    }

    #[test]
    fn containment() {
        assert!(correct(
            &reference("blue fin", Matching::Contains),
            "The Blue Fin, I think."
        ));
        assert!(!correct(
            &reference("blue fin", Matching::Contains),
            "The blue fins."
        ));
    }

    #[test]
    fn fields_in_any_order() {
        let question = reference("brand: Tern\nprice: 300", Matching::Fields);
        assert!(correct(&question, "Price: 300\nBrand: tern"));
        assert!(correct(&question, "{\"brand\": \"Tern\", \"price\": 300}"));
        assert!(!correct(&question, "brand: Tern"));
    }

    #[test]
    fn a_choice_opens_the_answer() {
        assert!(correct(
            &reference("refund", Matching::Choice),
            "Refund: the customer wants money back."
        ));
        assert!(!correct(
            &reference("refund", Matching::Choice),
            "Not a refund."
        ));
    }

    #[test]
    fn exact_asks_for_equality_beside_its_phrases() {
        let question = Question {
            reference: "Tern 300".to_owned(),
            matching: Some(Matching::Exact),
            ..question(&["Tern"], &[], Some(true))
        };
        assert!(correct(&question, "tern 300."));
        assert!(!correct(&question, "the Tern"));
    }

    #[test]
    fn rows_that_name_no_comparison_are_compared_exactly() {
        let question = Question {
            reference: "Blue Fin".to_owned(),
            ..Question::default()
        };
        assert!(correct(&question, "blue fin"));
        assert!(!correct(&question, "blue"));
    }

    #[test]
    fn an_empty_answer_is_wrong() {
        assert!(!correct(&reference("", Matching::Exact), " \n"));
        assert!(!correct(&question(&[], &[], Some(false)), ""));
    }

    #[test]
    fn f1_counts_shared_words() {
        assert_eq!(token_f1("a b c", "a b c"), 1.0);
        assert_eq!(token_f1("a b", "c d"), 0.0);
        assert_eq!(token_f1("a a a", "a b c"), 2.0 / 6.0);
        assert_eq!(token_f1("It is 4.5, red.", "4.5 red"), 4.0 / 6.0);
        assert_eq!(token_f1("", ""), 1.0);
        assert_eq!(token_f1("", "a"), 0.0);
    }

    #[test]
    fn own_markers() {
        let markers = RefusalMarkers(vec!["weiß ich nicht".to_owned()]);
        assert!(markers.refuses("Das WEIẞ ich nicht!"));
        assert!(!markers.refuses("I don't know"));
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,60}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once);
        }

        #[test]
        fn f1_is_symmetric_and_bounded(a in "[a-d ]{0,20}", b in "[a-d ]{0,20}") {
            let f1 = token_f1(&a, &b);
            prop_assert!((0.0..=1.0).contains(&f1));
            prop_assert_eq!(f1, token_f1(&b, &a));
        }
    }
}
