//! One way to write each text: Unicode NFC, `\n` line ends, no control or invisible characters, no spaces at line
//! ends, no more than one blank line in a row.

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::{Filter, Outcome};
use crate::document::Document;

/// Which clean-ups are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// How many blank lines may follow each other.
    pub max_blank_lines: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            max_blank_lines: 1,
        }
    }
}

/// The filter.
pub struct Normalise {
    config: Config,
}

impl Normalise {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
        }
    }

    /// Whether a text is visibly clean: plain ASCII without anything that [`Normalise::clean`] changes.
    fn is_clean(&self, text: &str) -> bool {
        let plain = |byte: u8| byte == b'\n' || (b' '..=b'~').contains(&byte);
        text.bytes().all(plain)
            && self.config.max_blank_lines >= 1
            && !text.contains(" \n")
            && !text.contains("\n\n\n")
            && !text.starts_with('\n')
            && !text.ends_with([' ', '\n'])
    }

    fn clean(&self, text: &str) -> String {
        let visible: String = text
            .replace("\r\n", "\n")
            .replace(['\r', '\u{2028}', '\u{2029}', '\u{85}'], "\n")
            .chars()
            .filter_map(|character| {
                if character == '\n' {
                    Some('\n')
                } else {
                    visible(character)
                }
            })
            .collect();
        // After that, since a character that goes may have stood between two that compose.
        let text: String = match is_nfc_quick(visible.chars()) {
            IsNormalized::Yes => visible,
            _ => visible.nfc().collect(),
        };
        let mut out = String::with_capacity(text.len());
        let mut blank = 0;
        for line in text.split('\n') {
            let start = out.len();
            out.push_str(line);
            out.truncate(out.trim_end_matches([' ', '\t']).len().max(start));
            blank = if out.len() == start { blank + 1 } else { 0 };
            if blank <= self.config.max_blank_lines {
                out.push('\n');
            }
        }
        let kept = out.trim_end().len();
        out.truncate(kept);
        let lead = out.len() - out.trim_start_matches('\n').len();
        out.drain(..lead);
        out
    }
}

/// The character to write, if any. Joiners stay, since scripts and emoji need them.
fn visible(character: char) -> Option<char> {
    match character {
        '\t' => Some('\t'),
        '\u{A0}' | '\u{202F}' | '\u{2007}' => Some(' '),
        '\u{FEFF}' | '\u{200B}' | '\u{AD}' | '\u{2060}' => None,
        '\u{FFFE}' | '\u{FFFF}' => None,
        other if other.is_control() => None,
        other => Some(other),
    }
}

impl Filter for Normalise {
    fn step(&self) -> &'static str {
        "normalise"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        if self.is_clean(&document.text) {
            return Outcome::Keep;
        }
        let clean = self.clean(&document.text);
        // White space at the end of a file is no edit worth telling.
        let changed = clean != document.text.trim_end();
        document.text = clean;
        Outcome::edited(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::apply;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cases() {
        let filter = Normalise::new(&Config::default());
        let cases = [
            ("plain\n", "plain", false),
            ("e\u{301}t\u{e9}", "\u{e9}t\u{e9}", true),
            ("a\r\nb\rc", "a\nb\nc", true),
            ("a \t\nb", "a\nb", true),
            ("a\n\n\n\n\nb", "a\n\nb", true),
            ("\n\n  indented stays", "  indented stays", true),
            ("x\u{0}\u{7}\u{1b}y\u{FEFF}\u{200B}", "xy", true),
            ("10\u{A0}000", "10 000", true),
            ("👩\u{200D}🔧", "👩\u{200D}🔧", false),
            ("   ", "", false),
        ];
        for (text, expected, edited) in cases {
            let (outcome, got) = apply(&filter, text);
            assert_eq!(
                (got.as_str(), outcome),
                (expected, Outcome::edited(edited)),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn twice_is_once(text in r"(\PC|\s|\r\n|[\x00-\x1f]){0,80}") {
            let filter = Normalise::new(&Config::default());
            let once = filter.clean(&text);
            prop_assert_eq!(filter.clean(&once), once);
        }
    }
}
