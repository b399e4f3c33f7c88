//! Texts too short to teach anything, or longer than asked for.

use serde::{Deserialize, Serialize};

use super::{Filter, Outcome};
use crate::document::Document;

/// The bounds, in characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the filter runs.
    pub enabled: bool,
    /// Shorter texts are dropped.
    pub min_characters: usize,
    /// Longer texts are dropped; 0 sets no bound (sources cut at `max_document_bytes` anyway).
    pub max_characters: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            min_characters: 16,
            max_characters: 0,
        }
    }
}

/// The filter.
pub struct Length {
    config: Config,
}

impl Length {
    /// The filter with its config.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
        }
    }
}

impl Filter for Length {
    fn step(&self) -> &'static str {
        "length"
    }

    fn apply(&self, document: &mut Document) -> Outcome {
        let Config {
            min_characters,
            max_characters,
            ..
        } = self.config;
        let count = document.text.chars().count();
        Outcome::drop_if(if count < min_characters {
            Some(format!("{count} characters, fewer than {min_characters}"))
        } else if max_characters > 0 && count > max_characters {
            Some(format!("{count} characters, more than {max_characters}"))
        } else {
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::drops;
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let filter = Length::new(&Config {
            enabled: true,
            min_characters: 3,
            max_characters: 5,
        });
        let dropped = ["", "éé", "ééé", "ééééé", "éééééé"].map(|text| drops(&filter, text));
        assert_eq!(dropped, [true, true, false, false, true]);
    }
}
