//! Answers of a given form: which tokens a grammar lets follow, by `llguidance` (an Earley parser over the bytes, walked along
//! a trie of the vocabulary).

use std::sync::{Arc, OnceLock};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use tokenizer::Tokenizer;

use crate::{Error, Result};

/// The form that an answer must have. It may be cut off by its length or by a stop text, and only then lacks its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Grammar {
    /// JSON that a schema allows. Unless the schema says otherwise under `x-guidance`, it is written on one line, with a space
    /// behind commas and colons, so that no model can go on writing white space.
    JsonSchema(Value),
    /// Text that matches a regular expression as a whole.
    Regex(String),
    /// One of several texts.
    Choice(Vec<String>),
    /// Text that a context-free grammar allows, in Lark's notation as `llguidance` reads it.
    Lark(String),
}

/// The vocabulary as grammars see it; made once for each model, with the first grammar.
#[derive(Default)]
pub(crate) struct Grammars(OnceLock<std::result::Result<ParserFactory, String>>);

/// Follows one answer through its grammar.
pub(crate) struct Constraint {
    matcher: Matcher,
    mask: SimpleVob,
}

impl Grammars {
    /// Begins an answer.
    ///
    /// # Errors
    /// [`Error::Grammar`] when the grammar cannot be read, or cannot be followed with this vocabulary.
    pub(crate) fn begin(&self, grammar: &Grammar, tokenizer: &Tokenizer) -> Result<Constraint> {
        let factory = self.0.get_or_init(|| factory(tokenizer));
        let wrong = |problem: String| Error::Grammar { problem };
        let factory = factory.as_ref().map_err(|problem| wrong(problem.clone()))?;
        let top = match grammar {
            Grammar::JsonSchema(schema) => TopLevelGrammar::from_json_schema(on_one_line(schema)),
            Grammar::Regex(regex) => TopLevelGrammar::from_regex(regex),
            Grammar::Choice(texts) if texts.is_empty() => {
                return Err(wrong("there is no text to choose".to_owned()));
            }
            Grammar::Choice(texts) => {
                let each: Vec<String> = texts.iter().map(|text| escaped(text)).collect();
                TopLevelGrammar::from_regex(&each.join("|"))
            }
            Grammar::Lark(lark) => TopLevelGrammar::from_lark(lark.clone()),
        };
        let mut matcher = Matcher::new(factory.create_parser(top));
        match matcher.get_error() {
            Some(problem) => Err(wrong(problem)),
            None => {
                let mask = matcher.compute_mask_or_eos();
                let mask = mask.map_err(|error| wrong(error.to_string()))?;
                Ok(Constraint { matcher, mask })
            }
        }
    }
}

fn factory(tokenizer: &Tokenizer) -> std::result::Result<ParserFactory, String> {
    let count = tokenizer.vocab_size() as u32;
    let word = |id| {
        if !tokenizer.is_special(id) {
            return tokenizer.token_bytes(id);
        }
        // Marked, so that no text matches it.
        let name = tokenizer.token(id).unwrap_or_default();
        [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat()
    };
    let words: Vec<Vec<u8>> = (0..count).map(word).collect();
    let mut ends: Vec<TokenId> = vec![tokenizer.end_of_text(), tokenizer.end_of_turn()];
    ends.dedup();
    if let Some(end) = ends.iter().find(|end| **end >= count) {
        return Err(format!(
            "the token {end} that ends a text is outside the vocabulary"
        ));
    }
    let trie = TokTrie::from(&TokRxInfo::new(count, ends[0]), &words).with_eos_tokens(&ends);
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
    factory.quiet();
    Ok(factory)
}

/// The schema, with white space settled where it leaves that open.
fn on_one_line(schema: &Value) -> Value {
    const OPTIONS: &str = "x-guidance";
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut()
        && !fields.contains_key(OPTIONS)
    {
        let options = json!({
            "whitespace_flexible": false,
            "item_separator": ", ",
            "key_separator": ": ",
        });
        fields.insert(OPTIONS.to_owned(), options);
    }
    schema
}

/// A regular expression for the text itself.
fn escaped(text: &str) -> String {
    let mut regex = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_punctuation() {
            regex.push('\\');
        }
        regex.push(character);
    }
    regex
}

impl Constraint {
    /// The tokens that may come next, a bit for each.
    pub(crate) fn allowed(&self) -> &[u32] {
        self.mask.as_slice()
    }

    /// A token was chosen. Returns whether anything may follow it.
    ///
    /// # Errors
    /// [`Error::Grammar`] when the grammar grows beyond its limits.
    pub(crate) fn take(&mut self, id: u32) -> Result<bool> {
        let wrong = |problem: String| Error::Grammar { problem };
        self.matcher
            .consume_token(id)
            .map_err(|error| wrong(error.to_string()))?;
        if self.matcher.is_stopped() {
            return Ok(false);
        }
        self.mask = self
            .matcher
            .compute_mask_or_eos()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(true)
    }
}
