//! Decoding one token at a time without ever emitting half a character.

use std::collections::BTreeMap;

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::tokenizer::step_decode_stream;

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// The bytes that each token stands for, in a byte-level vocabulary; special tokens stand for none.
pub(crate) struct ByteTable(Vec<Box<[u8]>>);

impl ByteTable {
    pub(crate) fn new(tokenizer: &tokenizers::Tokenizer) -> Self {
        let bytes_of = alphabet();
        let added = tokenizer.get_added_tokens_decoder();
        let count = tokenizer
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |&last| last + 1);
        let table = (0..count).map(|id| match (added.get(&id), tokenizer.id_to_token(id)) {
            (Some(token), _) if token.special => Box::default(),
            (Some(token), _) => token.content.as_bytes().into(),
            (None, Some(token)) => {
                let bytes: Option<Vec<u8>> = token
                    .chars()
                    .map(|character| bytes_of.get(&character).copied())
                    .collect();
                bytes.unwrap_or_else(|| token.into_bytes()).into()
            }
            (None, None) => Box::default(),
        });
        Self(table.collect())
    }

    pub(crate) fn get(&self, id: u32) -> &[u8] {
        self.0.get(id as usize).map_or(&[], |bytes| bytes)
    }
}

/// The byte behind each character of the byte-level alphabet: printable Latin-1 stands for itself, and the other
/// bytes follow each other from U+0100 (GPT-2's `bytes_to_unicode`).
fn alphabet() -> BTreeMap<char, u8> {
    let itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..=255u8)
        .filter(|&byte| !itself(byte))
        .zip('\u{100}'..)
        .map(|(byte, character)| (character, byte));
    let map: BTreeMap<_, _> = (0..=255u8)
        .filter(|&byte| itself(byte))
        .map(|byte| (char::from(byte), byte))
        .chain(others)
        .collect();
    debug_assert!(
        ByteLevel::alphabet()
            .iter()
            .all(|character| map.contains_key(character))
    );
    map
}

/// An incremental decoder. What [`DecodeStream::push`] and [`DecodeStream::finish`] return, put together, is
/// [`Tokenizer::decode`] of all ids pushed.
#[derive(Clone, Debug)]
pub struct DecodeStream {
    tokenizer: Tokenizer,
    /// Bytes of a character that is not complete yet; byte-level vocabularies.
    pending: Vec<u8>,
    /// The library's state; other vocabularies.
    ids: Vec<u32>,
    prefix: String,
    prefix_index: usize,
}

impl DecodeStream {
    pub(crate) fn new(tokenizer: Tokenizer) -> Self {
        Self {
            tokenizer,
            pending: Vec::new(),
            ids: Vec::new(),
            prefix: String::new(),
            prefix_index: 0,
        }
    }

    /// Adds a token; returns the text that is certain by now, if any. Bytes that cannot become a character give
    /// U+FFFD at once.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn push(&mut self, id: u32) -> Result<Option<String>> {
        let Some(table) = self.tokenizer.byte_table() else {
            return step_decode_stream(
                self.tokenizer.library(true),
                vec![id],
                true,
                &mut self.ids,
                &mut self.prefix,
                &mut self.prefix_index,
            )
            .map_err(Error::library("decode"));
        };
        self.pending.extend_from_slice(table.get(id));
        let mut text = String::new();
        let mut keep = 0;
        let mut chunks = self.pending.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            text.push_str(chunk.valid());
            let broken = chunk.invalid();
            let unfinished =
                std::str::from_utf8(broken).is_err_and(|error| error.error_len().is_none());
            if unfinished && chunks.peek().is_none() {
                keep = broken.len();
            } else if !broken.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.pending.drain(..self.pending.len() - keep);
        Ok((!text.is_empty()).then_some(text))
    }

    /// What is still held back, the incomplete character as U+FFFD.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn finish(mut self) -> Result<Option<String>> {
        let text = if self.tokenizer.byte_table().is_some() {
            String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
        } else {
            let all = self.tokenizer.decode(&self.ids)?;
            all.strip_prefix(&self.prefix)
                .unwrap_or_default()
                .to_owned()
        };
        Ok((!text.is_empty()).then_some(text))
    }
}
