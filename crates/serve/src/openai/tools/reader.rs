//! Reads calls out of what a model says, as it says it. What turns out to be no call stays text.

use std::collections::BTreeSet;

use tokenizer::Tokenizer;

use super::Dialect;
use super::object::{Call, Outcome};

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text for the reader.
    Text(String),
    /// A call begins.
    Call {
        /// Which of the answer's calls.
        index: usize,
        /// The function.
        name: String,
    },
    /// More of a call's arguments, as JSON.
    Arguments {
        /// Which of the answer's calls.
        index: usize,
        /// The next characters.
        fragment: String,
    },
}

/// Follows one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    /// `None` takes everything for text.
    dialect: Option<Dialect>,
    names: BTreeSet<String>,
    most: usize,
    /// What was heard and not yet understood.
    held: String,
    state: State,
    calls: usize,
}

#[derive(Debug)]
enum State {
    /// Nothing was said yet.
    Start,
    /// Between calls; a marker may come.
    Text,
    /// Behind a marker, before the object.
    Opened { raw: String },
    /// In a call's object.
    Inside { raw: String, call: Box<Call> },
    /// Behind a call's object.
    Closed,
    /// Nothing more is read.
    Done,
}

impl Reader {
    /// For answers that may hold up to `most` calls of the functions of these `names`.
    pub(crate) fn new(dialect: Dialect, names: BTreeSet<String>, most: usize) -> Reader {
        Reader {
            dialect: Some(dialect),
            names,
            most,
            ..Reader::of_text()
        }
    }

    /// For answers without calls.
    pub(crate) fn of_text() -> Reader {
        Reader {
            dialect: None,
            names: BTreeSet::new(),
            most: 0,
            held: String::new(),
            state: State::Start,
            calls: 0,
        }
    }

    /// How many calls were begun.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Hears a token. Markers may be special tokens, which have no text.
    pub(crate) fn token(&mut self, tokenizer: &Tokenizer, id: u32, text: &str) -> Vec<Piece> {
        let marker = self
            .dialect
            .filter(|_| text.is_empty() && tokenizer.is_special(id))
            .and_then(|dialect| {
                let name = tokenizer.token(id)?;
                [dialect.marker(), dialect.end()]
                    .into_iter()
                    .find(|marker| *marker == name)
            });
        self.push(marker.unwrap_or(text))
    }

    /// Hears more of the answer.
    pub(crate) fn push(&mut self, text: &str) -> Vec<Piece> {
        let Some(dialect) = self.dialect else {
            return if text.is_empty() {
                Vec::new()
            } else {
                vec![Piece::Text(text.to_owned())]
            };
        };
        self.held.push_str(text);
        let mut pieces = Vec::new();
        while self.step(dialect, &mut pieces) {}
        pieces
    }

    /// The answer is over.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        let mut text = String::new();
        match std::mem::replace(&mut self.state, State::Done) {
            State::Start | State::Text => text = std::mem::take(&mut self.held),
            State::Opened { raw } => text = raw,
            State::Inside { raw, call } if !call.told => text = raw,
            State::Inside { .. } | State::Closed | State::Done => {}
        }
        if text.is_empty() {
            Vec::new()
        } else {
            vec![Piece::Text(text)]
        }
    }

    /// Understands some of what is held; whether it may understand more.
    fn step(&mut self, dialect: Dialect, pieces: &mut Vec<Piece>) -> bool {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Start => {
                let heard = self.held.trim_start();
                let may_be_marker = !heard.is_empty() && dialect.marker().starts_with(heard);
                if heard.is_empty() || (dialect.begins_bare() && may_be_marker) {
                    self.state = State::Start;
                    return false;
                }
                if dialect.begins_bare() && heard.starts_with('{') {
                    self.state = State::Opened { raw: String::new() };
                }
                true
            }
            State::Text => self.text(dialect.marker(), pieces),
            State::Opened { mut raw } => {
                let at = self
                    .held
                    .find(|character: char| !character.is_whitespace() && character != '[');
                let Some(at) = at else {
                    raw.push_str(&std::mem::take(&mut self.held));
                    self.state = State::Opened { raw };
                    return false;
                };
                raw.extend(self.held.drain(..at));
                if self.held.starts_with('{') {
                    self.state = State::Inside {
                        raw,
                        call: Box::default(),
                    };
                } else {
                    pieces.push(Piece::Text(raw));
                }
                true
            }
            State::Inside { raw, call } => self.inside(dialect, raw, call, pieces),
            State::Closed => self.closed(dialect),
            State::Done => {
                self.state = State::Done;
                self.held.clear();
                false
            }
        }
    }

    /// Tells text up to the next marker, holding back what may be the beginning of one.
    fn text(&mut self, marker: &str, pieces: &mut Vec<Piece>) -> bool {
        let (until, found) = match self.held.find(marker) {
            Some(at) => (at, true),
            None => {
                let part = (1..marker.len())
                    .rev()
                    .find(|&length| self.held.ends_with(&marker[..length]));
                (self.held.len() - part.unwrap_or(0), false)
            }
        };
        // White space before a call is not part of the text.
        let told = self.held[..until].trim_end().len();
        let text: String = self.held.drain(..told).collect();
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        if !found {
            return false;
        }
        let raw = self.held.drain(..until - told + marker.len()).collect();
        self.state = State::Opened { raw };
        true
    }

    fn inside(
        &mut self,
        dialect: Dialect,
        mut raw: String,
        mut call: Box<Call>,
        pieces: &mut Vec<Piece>,
    ) -> bool {
        let index = self.calls;
        let heard = std::mem::take(&mut self.held);
        let mut rest = heard.chars();
        let mut fragment = String::new();
        let mut outcome = Outcome::More;
        while outcome == Outcome::More {
            let Some(character) = rest.next() else { break };
            raw.push(character);
            outcome = call.hear(character, &mut fragment);
            let known = |name: &String| self.names.contains(name);
            if call.name.as_ref().is_some_and(|name| !known(name)) {
                outcome = Outcome::Wrong;
            }
        }
        self.held = rest.as_str().to_owned();
        if outcome == Outcome::Wrong && !call.told {
            // Without an end that could be found, what follows is text as well.
            pieces.push(Piece::Text(raw));
            if dialect.begins_bare() {
                self.dialect = None;
                if !self.held.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut self.held)));
                }
                return false;
            }
            return true;
        }
        if outcome == Outcome::End && call.name.is_none() {
            pieces.push(Piece::Text(raw));
            return true;
        }
        if let Some(name) = call
            .name
            .clone()
            .filter(|_| !call.told && (!fragment.is_empty() || outcome == Outcome::End))
        {
            call.told = true;
            pieces.push(Piece::Call { index, name });
            fragment = call.before.split_off(0) + &fragment;
            if fragment.is_empty() {
                fragment.push_str("{}");
            }
        } else if !call.told {
            // The arguments came before the name.
            call.before.push_str(&std::mem::take(&mut fragment));
        }
        if !fragment.is_empty() {
            pieces.push(Piece::Arguments { index, fragment });
        }
        match outcome {
            Outcome::More => {
                self.state = State::Inside { raw, call };
                false
            }
            Outcome::End | Outcome::Wrong => {
                self.calls += 1;
                self.state = if self.calls >= self.most {
                    State::Done
                } else {
                    State::Closed
                };
                true
            }
        }
    }

    /// What stands between a call and the next, or the text behind it.
    fn closed(&mut self, dialect: Dialect) -> bool {
        let end = dialect.end();
        let between = |character: char| character.is_whitespace() || ",;]".contains(character);
        let heard = self.held.trim_start_matches(between);
        if heard.is_empty()
            || (!end.is_empty() && heard.len() < end.len() && end.starts_with(heard))
        {
            self.state = State::Closed;
            return false;
        }
        if let Some(rest) = heard.strip_prefix(end).filter(|_| !end.is_empty()) {
            self.held = rest.to_owned();
            self.state = State::Closed;
            return true;
        }
        let bare = end.is_empty() && heard.starts_with('{');
        self.held = heard.to_owned();
        self.state = if bare {
            State::Opened { raw: String::new() }
        } else {
            State::Text
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Calls<'text> = &'text [(&'text str, &'text str)];

    /// The text, and each call's name and arguments.
    fn read(dialect: Dialect, most: usize, parts: &[&str]) -> (String, Vec<(String, String)>) {
        let names = ["f", "g"].map(str::to_owned).into();
        let mut reader = Reader::new(dialect, names, most);
        let mut pieces: Vec<Piece> = parts.iter().flat_map(|part| reader.push(part)).collect();
        pieces.extend(reader.finish());
        let (mut text, mut calls) = (String::new(), Vec::new());
        for piece in pieces {
            match piece {
                Piece::Text(more) => text.push_str(&more),
                Piece::Call { index, name } => {
                    assert_eq!(index, calls.len());
                    calls.push((name, String::new()));
                }
                Piece::Arguments { index, fragment } => calls[index].1.push_str(&fragment),
            }
        }
        (text, calls)
    }

    #[test]
    fn calls_are_read_whole_or_in_any_pieces() {
        let cases: &[(Dialect, &str, &str, Calls)] = &[
            (Dialect::Hermes, "Hi there", "Hi there", &[]),
            (
                Dialect::Hermes,
                "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": \"}\\\"{\", \"y\": [1, {}]}}\n</tool_call>",
                "Let me see.",
                &[("f", "{\"x\": \"}\\\"{\", \"y\": [1, {}]}")],
            ),
            (
                Dialect::Hermes,
                "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"g\"}</tool_call>\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
                "",
                &[("g", "{\"a\": 1}"), ("f", "{}")],
            ),
            (
                Dialect::Hermes,
                "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 2}\"}</tool_call> Done.",
                "Done.",
                &[("f", "{\"a\": 2}")],
            ),
            (
                Dialect::Hermes,
                "a < b <tool_call>not a call</tool_call>",
                "a < b <tool_call>not a call</tool_call>",
                &[],
            ),
            (
                Dialect::Hermes,
                "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
                "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
                &[],
            ),
            (
                Dialect::Llama,
                "{\"name\": \"f\", \"parameters\": {\"ü\": null}}",
                "",
                &[("f", "{\"ü\": null}")],
            ),
            (
                Dialect::Llama,
                "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}",
                "",
                &[("f", "{}"), ("g", "{}")],
            ),
            (
                Dialect::Llama,
                "{\"a\": {\"b\": 1}} is JSON",
                "{\"a\": {\"b\": 1}} is JSON",
                &[],
            ),
            (
                Dialect::Llama,
                "Hello {\"name\": \"f\"}",
                "Hello {\"name\": \"f\"}",
                &[],
            ),
            (
                Dialect::Mistral,
                "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"x\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
                "",
                &[("f", "{\"x\": 1}"), ("g", "{}")],
            ),
        ];
        for (dialect, said, text, calls) in cases {
            let expected: Vec<_> = calls
                .iter()
                .map(|(name, arguments)| ((*name).to_owned(), (*arguments).to_owned()))
                .collect();
            let whole = read(*dialect, 9, &[said]);
            assert_eq!(whole, ((*text).to_owned(), expected), "{said}");
            let characters: Vec<String> = said.chars().map(String::from).collect();
            for size in [1, 2, 5] {
                let parts: Vec<String> = characters.chunks(size).map(<[_]>::concat).collect();
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                assert_eq!(read(*dialect, 9, &parts), whole, "{said} by {size}");
            }
        }
    }

    #[test]
    fn only_so_many_calls_are_told() {
        let said =
            "<tool_call>{\"name\": \"f\"}</tool_call><tool_call>{\"name\": \"g\"}</tool_call>";
        assert_eq!(read(Dialect::Hermes, 1, &[said]).1.len(), 1);
    }

    #[test]
    fn a_call_that_is_cut_off_keeps_what_was_told() {
        let (text, calls) = read(
            Dialect::Hermes,
            9,
            &["<tool_call>{\"name\": \"f\", \"arguments\": {\"x\": 1"],
        );
        assert_eq!((text.as_str(), calls[0].1.as_str()), ("", "{\"x\": 1"));
        let (text, calls) = read(Dialect::Hermes, 9, &["<tool_call>{\"na"]);
        assert_eq!((text.as_str(), calls.len()), ("<tool_call>{\"na", 0));
    }
}
