//! The unit that curation works on.

/// One document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The id that its row carries, or the first 32 hex characters of BLAKE3(file ‖ place ‖ text).
    pub id: String,
    /// The text, at most the config's `max_document_bytes` long.
    pub text: String,
    /// Where it comes from: the row's own `source`, or the file and the place in it.
    pub source: String,
}

impl Document {
    /// A document without an id of its own.
    pub(crate) fn at(file: &str, place: u64, text: String) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(file.as_bytes())
            .update(&place.to_le_bytes())
            .update(text.as_bytes());
        let id = hasher.finalize().to_hex()[..32].to_owned();
        Self {
            id,
            text,
            source: format!("{file}:{place}"),
        }
    }
}

/// A rough token count before there is a tokenizer: four bytes each, the usual yield of byte-level BPE on English.
pub(crate) fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(4)
}
