//! Stop texts across token boundaries.

/// Passes text through, holding back what may yet become a stop text.
#[derive(Debug, Default)]
pub(crate) struct StopTexts {
    stops: Vec<String>,
    held: String,
}

impl StopTexts {
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// The text that is certain by now, and whether a stop text came.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min()
        {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let possible = |start: usize| {
            self.stops
                .iter()
                .any(|stop| stop.starts_with(&self.held[start..]))
        };
        let from = (0..self.held.len()).find(|&i| self.held.is_char_boundary(i) && possible(i));
        let rest = self.held.split_off(from.unwrap_or(self.held.len()));
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, when no stop text came of it.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut texts = StopTexts::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut out = Vec::new();
        for piece in pieces {
            let (text, stopped) = texts.push(piece);
            out.push(text);
            if stopped {
                return (out, true);
            }
        }
        out.push(texts.finish());
        (out, false)
    }

    #[test]
    fn a_stop_text_across_pieces() {
        assert_eq!(
            run(&["END"], &["a E", "N", "D b"]),
            (vec!["a ".into(), "".into(), "".into()], true)
        );
    }

    #[test]
    fn what_did_not_become_one_comes_out() {
        assert_eq!(
            run(&["END"], &["a E", "x"]),
            (vec!["a ".into(), "Ex".into(), "".into()], false)
        );
        assert_eq!(
            run(&["END"], &["EEN"]),
            (vec!["E".into(), "EN".into()], false)
        );
    }

    #[test]
    fn the_earliest_of_several_wins_and_none_passes_all() {
        assert_eq!(run(&["b", "ab"], &["xaby"]), (vec!["x".into()], true));
        assert_eq!(run(&[], &["né"]), (vec!["né".into(), "".into()], false));
    }
}
