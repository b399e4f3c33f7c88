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
        let mut l = Label { id: id(index), defect, of: None, planted: Vec::new() };
        match defect {
            Defect::ExactDuplicate | Defect::NearDuplicate => {
                let Some(of) = original(world, index, &mut d) else { return (finish(index, draft), None) };
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
    Document { id: id(index), text: draft.text, source: format!("nursery/{}", draft.source) }
}

/// An earlier document without a defect.
fn original(world: &World, index: u64, d: &mut Dice) -> Option<u64> {
    (0..50).map(|_| d.below(index as usize) as u64).find(|j| *j < index && plan(world, *j).is_none())
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
