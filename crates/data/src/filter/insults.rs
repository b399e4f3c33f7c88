//! Documents with rude words. A short list of English words, meant for corpora that must stay polite.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::words::{hash, words};
use super::{Filter, Outcome};
use crate::document::Document;

/// What counts and how much is borne.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs; off unless a recipe asks for it, since quotations and novels need such words.
    pub enabled: bool,
    /// Documents with more such words are dropped.
    pub max_words: usize,
    /// Further words to count.
    pub extra_words: Vec<String>,
}

const WORDS: &str = "arse arsehole asshole bastard bastards bitch bitches bollocks bullshit crap crappy cunt damn \
    damned dickhead dumb dumbass fuck fucked fucking fucker goddamn idiot idiotic idiots imbecile imbeciles jackass \
    moron moronic morons piss pissed prick scumbag shit shitty shithead slut stupid stupidly twat wanker whore";
const PHRASES: [&str; 3] = ["go to hell", "shut up", "screw you"];

/// The filter.
pub struct Insults {
    max_words: usize,
    words: HashSet<u64>,
    phrases: Vec<Vec<u64>>,
}

impl Insults {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let extra = config.extra_words.iter().map(|word| word.to_lowercase());
        let single = WORDS.split_whitespace().map(str::to_owned).chain(extra);
        let single = single.map(|word| hash(word.as_bytes())).collect();
        let phrases = PHRASES.map(words).to_vec();
        Self {
            max_words: config.max_words,
            words: single,
            phrases,
        }
    }
}

impl Filter for Insults {
    fn step(&self) -> &'static str {
        "insults"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        let words = words(&document.text);
        let single = words
            .iter()
            .filter(|word| self.words.contains(*word))
            .count();
        let starts = |at: &usize| {
            self.phrases
                .iter()
                .any(|phrase| words[*at..].starts_with(phrase))
        };
        let phrases = (0..words.len()).filter(starts).count();
        let count = single + phrases;
        Outcome::drop_if((count > self.max_words).then(|| format!("{count} rude words")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::drops;
    use super::*;

    #[test]
    fn cases() {
        let filter = Insults::new(&Config {
            extra_words: vec!["Landlubber".to_owned()],
            ..Config::default()
        });
        for rude in [
            "You IDIOTS!",
            "oh, shut up now",
            "go to hell",
            "what a landlubber",
        ] {
            assert!(drops(&filter, rude), "{rude}");
        }
        for polite in [
            "The shutter is up",
            "a scrap of paper",
            "Hello from the shell",
        ] {
            assert!(!drops(&filter, polite), "{polite}");
        }
        assert!(!drops(
            &Insults::new(&Config {
                max_words: 1,
                ..Config::default()
            }),
            "stupid weather"
        ));
    }
}
