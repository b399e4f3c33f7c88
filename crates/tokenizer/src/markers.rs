//! The special tokens of a vocabulary, and finding them in a text.

/// A special token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) id: u32,
    pub(crate) text: String,
    /// Whether it swallows the whitespace before it.
    pub(crate) strips_left: bool,
    /// Whether it swallows the whitespace after it.
    pub(crate) strips_right: bool,
}

/// All special tokens, longest text first, so that the first fit is the longest.
#[derive(Clone, Debug)]
pub(crate) struct Markers(Vec<Marker>);

impl Markers {
    pub(crate) fn new(markers: impl Iterator<Item = Marker>) -> Self {
        let mut all: Vec<_> = markers.filter(|marker| !marker.text.is_empty()).collect();
        all.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then(a.id.cmp(&b.id)));
        Self(all)
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.0.iter().any(|marker| marker.id == id)
    }

    /// The marker that `text` begins with.
    pub(crate) fn at_start(&self, text: &str) -> Option<&Marker> {
        self.0.iter().find(|marker| text.starts_with(&marker.text))
    }

    /// The text with `shield` set before every place where a marker begins.
    pub(crate) fn shield(&self, text: &str, shield: char) -> String {
        let mut shielded = String::with_capacity(text.len());
        for (index, character) in text.char_indices() {
            if self.at_start(&text[index..]).is_some() {
                shielded.push(shield);
            }
            shielded.push(character);
        }
        shielded
    }
}
