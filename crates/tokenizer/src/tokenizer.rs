//! The tokenizer itself: text to ids and back.

use std::sync::Arc;

use serde_json::Value;
use tokenizers::DecoderWrapper;

use crate::chat::{CHATML, ChatTemplate};
use crate::error::{Error, Result};
use crate::folder::{named_token, template_source};
use crate::markers::{Marker, Markers};
use crate::stream::{ByteTable, DecodeStream};

/// What ends a document, in the vocabularies we know; the config's `eos_token` where none is present.
const ENDS_OF_TEXT: [&str; 4] = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"];
/// What ends a turn of a conversation, in the vocabularies we know; the config's `eos_token` where none is present.
const ENDS_OF_TURN: [&str; 5] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|end|>",
];

/// No vocabulary is larger; a file that tells of one is broken.
const MOST_TOKENS: u32 = 1 << 24;

/// A tokenizer with its chat template. Clones share everything.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Takes special tokens in the text for what they are.
    marking: tokenizers::Tokenizer,
    /// Takes the same characters as ordinary text.
    plain: tokenizers::Tokenizer,
    config: Value,
    template: ChatTemplate,
    markers: Markers,
    /// The bytes of every token, where the vocabulary is byte-level.
    bytes: Option<ByteTable>,
    end_of_text: u32,
    end_of_turn: u32,
}

impl Tokenizer {
    /// Builds everything that is derived from the library's tokenizer and the config.
    pub(crate) fn assemble(mut marking: tokenizers::Tokenizer, config: Value) -> Result<Self> {
        marking.with_padding(None);
        marking
            .with_truncation(None)
            .map_err(Error::library("switch truncation off"))?;
        marking.set_encode_special_tokens(false);
        let last = marking.get_vocab(true).into_values().max().unwrap_or(0);
        if last >= MOST_TOKENS {
            return Err(Error::Library {
                operation: "use the tokenizer",
                problem: format!("it has a token {last}; ids below {MOST_TOKENS} are expected"),
            });
        }
        let mut plain = marking.clone();
        plain.set_encode_special_tokens(true);

        let specials = marking
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special);
        let markers = Markers::new(specials.map(|(id, token)| Marker {
            id,
            text: token.content,
            strips_left: token.lstrip,
            strips_right: token.rstrip,
        }));
        let named = |name| named_token(&config, name).unwrap_or_default().to_owned();
        let source = template_source(&config).unwrap_or(CHATML);
        let template = ChatTemplate::new(source, &named("bos_token"), &named("eos_token"))?;

        let eos = named_token(&config, "eos_token").and_then(|token| marking.token_to_id(token));
        let first = |known: &[&str]| known.iter().find_map(|token| marking.token_to_id(token));
        let end_of_text = first(&ENDS_OF_TEXT).or(eos).ok_or_else(|| Error::Library {
            operation: "use the tokenizer",
            problem: format!("it has none of the tokens {ENDS_OF_TEXT:?} and its config names no eos_token; add one"),
        })?;
        let end_of_turn = first(&ENDS_OF_TURN).or(eos).unwrap_or(end_of_text);
        let byte_level = matches!(marking.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let bytes = byte_level.then(|| ByteTable::new(&marking));
        let inner = Inner {
            marking,
            plain,
            config,
            template,
            markers,
            bytes,
            end_of_text,
            end_of_turn,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The ids of `text`, all of it taken as ordinary characters; nothing is added before or after.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .plain
            .encode_fast(text, false)
            .map_err(Error::library("encode"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of each text, in the order given; encoded in parallel, equal to [`Tokenizer::encode`] of each.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        let texts = texts.to_vec();
        let encodings = self
            .inner
            .plain
            .encode_batch_fast(texts, false)
            .map_err(Error::library("encode"))?;
        Ok(encodings
            .iter()
            .map(|encoding| encoding.get_ids().to_vec())
            .collect())
    }

    /// The ids of `text` in which special tokens count as such. Only for text that no user wrote.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn encode_special(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .marking
            .encode_fast(text, false)
            .map_err(Error::library("encode"))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `ids` without the special tokens; bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner
            .marking
            .decode(ids, true)
            .map_err(Error::library("decode"))
    }

    /// The text of `ids`, special tokens written out.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String> {
        self.inner
            .marking
            .decode(ids, false)
            .map_err(Error::library("decode"))
    }

    /// Decodes one token after another, as a model makes them.
    #[must_use]
    pub fn decode_stream(&self) -> DecodeStream {
        DecodeStream::new(self.clone())
    }

    /// A token as the vocabulary writes it (`Ġhello`); `None` for an id that is not in it.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.marking.id_to_token(id)
    }

    /// The bytes of text that a token stands for: none for special tokens and ids that are not in the vocabulary. Where the
    /// vocabulary is not byte-level, what SentencePiece writes for spaces and single bytes is read as such.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        if let Some(table) = &self.inner.bytes {
            return table.get(id).to_vec();
        }
        let token = match self.token(id) {
            Some(token) if !self.is_special(id) => token,
            _ => return Vec::new(),
        };
        let byte = token
            .strip_prefix("<0x")
            .and_then(|rest| rest.strip_suffix('>'));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => vec![byte],
            None => token.replace('\u{2581}', " ").into_bytes(),
        }
    }

    /// The id of a token as the vocabulary writes it.
    #[must_use]
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.marking.token_to_id(token)
    }

    /// Whether an id is a special token.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.markers.contains(id)
    }

    /// How many tokens there are, special ones included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.marking.get_vocab_size(true)
    }

    /// The token that ends a document.
    #[must_use]
    pub fn end_of_text(&self) -> u32 {
        self.inner.end_of_text
    }

    /// The token that ends a turn of a conversation.
    #[must_use]
    pub fn end_of_turn(&self) -> u32 {
        self.inner.end_of_turn
    }

    /// How conversations are written.
    #[must_use]
    pub fn chat_template(&self) -> &ChatTemplate {
        &self.inner.template
    }

    /// The value of `tokenizer_config.json`.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.inner.config
    }

    /// The text of `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Library`] when the library refuses.
    pub fn to_json(&self) -> Result<String> {
        self.inner
            .marking
            .to_string(true)
            .map_err(Error::library("write the tokenizer"))
    }

    pub(crate) fn markers(&self) -> &Markers {
        &self.inner.markers
    }

    pub(crate) fn byte_table(&self) -> Option<&ByteTable> {
        self.inner.bytes.as_ref()
    }

    /// The library's tokenizer: the one that knows special tokens, or the one that does not.
    pub(crate) fn library(&self, marking: bool) -> &tokenizers::Tokenizer {
        if marking {
            &self.inner.marking
        } else {
            &self.inner.plain
        }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}
