//! Known defects planted in the documents, with labels, so that curation can be scored by precision and recall.

mod copies;
mod gibberish;
mod insults;
mod language;
mod pages;
mod personal;

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::text;
use crate::{DefectRates, World};

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// The text of an earlier document, byte for byte.
    ExactDuplicate,
    /// The text of an earlier document with a few words changed.
    NearDuplicate,
    /// Navigation, cookie notices and footers around the text, or nothing else.
    Boilerplate,
    /// Random characters, shuffled words or wrongly decoded text.
    Gibberish,
    /// French, Spanish, German or Dutch.
    WrongLanguage,
    /// Rude words.
    Insult,
    /// E-mail addresses, phone numbers or payment card numbers in an otherwise good document.
    PersonalData,
}

impl Defect {
    /// All defects, in the order of [`DefectRates`].
    pub const ALL: [Defect; 7] = [
        Defect::ExactDuplicate,
        Defect::NearDuplicate,
        Defect::Boilerplate,
        Defect::Gibberish,
        Defect::WrongLanguage,
        Defect::Insult,
        Defect::PersonalData,
    ];
}

/// One row of `labels.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Id of the defective document.
    pub id: String,
    /// What is wrong with it.
    pub defect: Defect,
    /// For duplicates, the id of the document that was copied.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<String>,
    /// The planted strings, where they are parts of the text: what redaction or a line filter should find.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub planted: Vec<String>,
}

/// One row of `documents/*.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `doc-000123`.
    pub id: String,
    /// The text.
    pub text: String,
    /// Which kind of page it is, `nursery/dialogue` and so on.
    pub source: String,
}

fn id(index: u64) -> String {
    format!("doc-{index:06}")
}

/// Which defect document `index` has, if any: a pure function of the world and the index.
fn plan(world: &World, index: u64) -> Option<Defect> {
    let rates = world.defects.list();
    let mut d = Dice::new(world.seed, "defect", index);
    let draw = f64::from(d.between(0, 999_999)) / 1e6;
    let mut low = 0.0;
    for (defect, rate) in Defect::ALL.into_iter().zip(rates) {
        low += rate;
        if draw < low {
            return Some(defect);
        }
    }
    None
}

/// Document `index` with its defect, if it has one.
pub(crate) fn document(world: &World, index: u64) -> (Document, Option<Label>) {
    let clean = |i: u64| text::write(world.seed, i);
    let mut d = Dice::new(world.seed, "planting", index);
    let mut label = None;
    let mut draft = clean(index);
    if let Some(defect) = plan(world, index) {
        let mut l = Label {
            id: id(index),
            defect,
            of: None,
            planted: Vec::new(),
        };
        match defect {
            Defect::ExactDuplicate | Defect::NearDuplicate => {
                let Some(of) = original(world, index, &mut d) else {
                    return (finish(index, draft), None);
                };
                draft = clean(of);
                l.of = Some(id(of));
                if defect == Defect::NearDuplicate {
                    draft.text = copies::nearly(&draft.text, &mut d);
                }
            }
            Defect::Boilerplate => (draft.text, l.planted) = pages::wrap(&draft.text, &mut d),
            Defect::Gibberish => draft.text = gibberish::spoil(&draft.text, &mut d),
            Defect::WrongLanguage => draft.text = language::foreign(&mut d),
            Defect::Insult => (draft.text, l.planted) = insults::add(&draft.text, &mut d),
            Defect::PersonalData => (draft.text, l.planted) = personal::add(&draft.text, &mut d),
        }
        label = Some(l);
    }
    (finish(index, draft), label)
}

fn finish(index: u64, draft: text::Draft) -> Document {
    Document {
        id: id(index),
        text: draft.text,
        source: format!("nursery/{}", draft.source),
    }
}

/// An earlier document without a defect.
fn original(world: &World, index: u64, d: &mut Dice) -> Option<u64> {
    (0..50)
        .map(|_| d.below(index as usize) as u64)
        .find(|j| *j < index && plan(world, *j).is_none())
}

impl DefectRates {
    /// The rates in the order of [`Defect::ALL`].
    #[must_use]
    pub fn list(&self) -> [f64; 7] {
        [
            self.exact_duplicate,
            self.near_duplicate,
            self.boilerplate,
            self.gibberish,
            self.wrong_language,
            self.insult,
            self.personal_data,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(defect: Defect) -> Vec<(Document, Label, Document)> {
        let mut world = World {
            documents: 400,
            ..World::default()
        };
        world.defects = DefectRates {
            exact_duplicate: 0.1,
            near_duplicate: 0.1,
            boilerplate: 0.1,
            gibberish: 0.1,
            wrong_language: 0.1,
            insult: 0.1,
            personal_data: 0.1,
        };
        (0..world.documents)
            .filter_map(|i| {
                let (document, label) = document(&world, i);
                let label = label.filter(|l| l.defect == defect)?;
                let of = label
                    .of
                    .as_ref()
                    .map_or(i, |of| of[4..].parse().expect("ids end in a number"));
                Some((document, label, finish(of, text::write(world.seed, of))))
            })
            .collect()
    }

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    #[test]
    fn exact_duplicates_are_exact_and_point_back() {
        let found = planted(Defect::ExactDuplicate);
        assert!(found.len() > 20);
        for (copy, label, original) in found {
            assert_eq!(copy.text, original.text);
            assert_eq!(label.of, Some(original.id.clone()));
            assert!(original.id < copy.id);
        }
    }

    #[test]
    fn near_duplicates_differ_a_little() {
        for (copy, _, original) in planted(Defect::NearDuplicate) {
            assert_ne!(copy.text, original.text);
            let (a, b) = (words(&copy.text), words(&original.text));
            let shared = a.iter().filter(|w| b.contains(w)).count();
            assert!(
                shared * 100 >= a.len() * 80,
                "{}\n---\n{}",
                copy.text,
                original.text
            );
        }
    }

    #[test]
    fn planted_strings_stand_in_the_text() {
        for defect in [Defect::Boilerplate, Defect::Insult, Defect::PersonalData] {
            let found = planted(defect);
            assert!(found.len() > 20);
            for (document, label, clean) in found {
                assert!(!label.planted.is_empty());
                for p in &label.planted {
                    assert!(
                        document.text.contains(p.as_str()),
                        "{p} in {}",
                        document.text
                    );
                    assert!(!clean.text.contains(p.as_str()));
                }
            }
        }
    }

    #[test]
    fn insults_hold_rude_words() {
        for (_, label, _) in planted(Defect::Insult) {
            for p in &label.planted {
                assert!(
                    insults::RUDE.iter().any(|r| p.to_lowercase().contains(r)),
                    "{p}"
                );
            }
        }
    }

    #[test]
    fn cards_pass_the_check_digit() {
        let mut cards = 0;
        for (_, label, _) in planted(Defect::PersonalData) {
            for p in &label.planted {
                let digits = p.chars().filter(char::is_ascii_digit).count();
                if digits == 16 {
                    assert!(personal::luhn(p), "{p}");
                    cards += 1;
                }
            }
        }
        assert!(cards > 5);
    }

    #[test]
    fn the_check_digit_rule() {
        assert!(personal::luhn("4242 4242 4242 4242"));
        assert!(!personal::luhn("4242 4242 4242 4243"));
        assert!(!personal::luhn("42"));
    }

    #[test]
    fn gibberish_and_other_languages_replace_the_text() {
        for (document, _, clean) in planted(Defect::Gibberish) {
            assert_ne!(document.text, clean.text);
        }
        for (document, _, _) in planted(Defect::WrongLanguage) {
            assert!(language::is_foreign(&document.text), "{}", document.text);
        }
    }
}
