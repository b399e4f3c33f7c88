//! Lines that recur in very many documents: headers, footers and disclaimers whatever their wording. Counted while
//! the documents stream by, so the first copies stay; a line goes once it stood in too large a share of them.
//!
//! Counts live in two rows of fixed size and the smaller one is believed (Cormode and Muthukrishnan 2005, count-min
//! sketch), so memory does not grow with the corpus.

use serde::{Deserialize, Serialize};

use super::words::{hash, mix};
use super::{History, Outcome};
use crate::document::Document;

/// When a line is one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// A line in fewer documents is left alone…
    pub min_documents: u32,
    /// …and so is one in a smaller share of the documents so far…
    pub min_share: f64,
    /// …and a shorter one.
    pub min_characters: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            min_documents: 200,
            min_share: 0.05,
            min_characters: 12,
        }
    }
}

/// Counters per row; a power of two.
const COUNTERS: usize = 1 << 21;

/// The filter.
pub struct RepeatedLines {
    config: Config,
    rows: [Vec<u32>; 2],
    documents: u64,
}

impl RepeatedLines {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            rows: [vec![0; COUNTERS], vec![0; COUNTERS]],
            documents: 0,
        }
    }

    fn places(line: u64) -> [usize; 2] {
        [line, mix(line ^ 0x9E37_79B9_7F4A_7C15)].map(|hash| hash as usize & (COUNTERS - 1))
    }

    fn count(&self, line: u64) -> u32 {
        let [first, second] = Self::places(line);
        self.rows[0][first].min(self.rows[1][second])
    }

    fn is_long(&self, line: &str) -> bool {
        line.trim()
            .chars()
            .nth(self.config.min_characters.saturating_sub(1))
            .is_some()
    }
}

impl History for RepeatedLines {
    fn step(&self) -> &'static str {
        "repeated_lines"
    }

    /// The hash of every line; 0 for those too short to count.
    fn fingerprint(&self, document: &Document) -> Vec<u64> {
        document
            .text
            .lines()
            .map(|line| {
                if self.is_long(line) {
                    hash(line.trim().as_bytes())
                } else {
                    0
                }
            })
            .collect()
    }

    fn apply(&mut self, document: &mut Document, lines: &[u64]) -> Outcome {
        self.documents += 1;
        let mut distinct: Vec<_> = lines.iter().copied().filter(|&line| line != 0).collect();
        distinct.sort_unstable();
        distinct.dedup();
        for line in distinct {
            for (row, place) in self.rows.iter_mut().zip(Self::places(line)) {
                row[place] = row[place].saturating_add(1);
            }
        }
        let share = (self.config.min_share * self.documents as f64) as u32;
        let limit = share.max(self.config.min_documents);
        let goes = |line: u64| line != 0 && self.count(line) > limit;
        if !lines.iter().any(|&line| goes(line)) {
            return Outcome::Keep;
        }
        let kept = document
            .text
            .lines()
            .zip(lines)
            .filter(|&(_, &line)| !goes(line));
        document.text = kept
            .map(|(text, _)| text)
            .collect::<Vec<_>>()
            .join("\n")
            .trim_matches('\n')
            .to_owned();
        if document.text.trim().is_empty() {
            return Outcome::Drop("nothing but lines of many other documents".to_owned());
        }
        Outcome::Edited
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{document, remember};
    use super::*;

    #[test]
    fn a_footer_goes_once_it_is_known() {
        let mut filter = RepeatedLines::new(&Config {
            min_documents: 3,
            min_share: 0.1,
            ..Config::default()
        });
        let outcomes: Vec<_> = (0..6)
            .map(|n| {
                remember(
                    &mut filter,
                    &format!("document number {n}\nSent from the harbour office"),
                )
            })
            .collect();
        assert_eq!(outcomes[..3], [Outcome::Keep, Outcome::Keep, Outcome::Keep]);
        assert_eq!(
            outcomes[3..],
            [Outcome::Edited, Outcome::Edited, Outcome::Edited]
        );
        assert!(matches!(
            remember(&mut filter, "Sent from the harbour office"),
            Outcome::Drop(_)
        ));

        let mut last = document("one more document\n\nSent from the harbour office");
        let lines = filter.fingerprint(&last);
        filter.apply(&mut last, &lines);
        assert_eq!(last.text, "one more document");
    }

    #[test]
    fn a_line_repeated_inside_one_document_counts_once() {
        let mut filter = RepeatedLines::new(&Config {
            min_documents: 3,
            min_share: 0.0,
            ..Config::default()
        });
        assert_eq!(
            remember(&mut filter, &"the same line again\n".repeat(9)),
            Outcome::Keep
        );
    }

    #[test]
    fn short_lines_are_left_alone() {
        let mut filter = RepeatedLines::new(&Config {
            min_documents: 1,
            min_share: 0.0,
            ..Config::default()
        });
        assert!((0..9).all(|_| remember(&mut filter, "Answer:") == Outcome::Keep));
    }
}
