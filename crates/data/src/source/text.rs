//! Plain text and Markdown: a file is a document; a long one is cut into pieces of bounded size.

use std::io::Read;

use super::bytes::Bytes;
use super::{Config, Row, utf8};
use crate::error::Result;

/// The pieces of one text file.
pub(crate) struct Pieces {
    bytes: Bytes,
    config: Config,
    buffer: Vec<u8>,
    place: u64,
    ended: bool,
}

impl Pieces {
    pub(crate) fn new(bytes: Bytes, config: &Config) -> Self {
        Self {
            bytes,
            config: config.clone(),
            buffer: Vec::new(),
            place: 0,
            ended: false,
        }
    }

    fn fill(&mut self) -> Result<()> {
        let wanted = self.config.max_document_bytes + 1;
        while !self.ended && self.buffer.len() < wanted {
            let more = (wanted - self.buffer.len()) as u64;
            let read = self.bytes.by_ref().take(more).read_to_end(&mut self.buffer);
            let count = read.map_err(|error| self.bytes.explain(error));
            match count {
                Ok(count) => self.ended = count == 0,
                Err(error) => {
                    self.ended = true;
                    self.buffer.clear();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Iterator for Pieces {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.fill() {
            return Some(Err(error));
        }
        if self.buffer.is_empty() {
            return None;
        }
        let end = cut(&self.buffer, self.config.max_document_bytes);
        let rest = self.buffer.split_off(end);
        let piece = std::mem::replace(&mut self.buffer, rest);
        self.place += 1;
        let place = self.place;
        if piece.contains(&0) {
            if place == 1 {
                self.ended = true;
                self.buffer.clear();
                let utf16 = piece.starts_with(&[0xFF, 0xFE]) || piece.starts_with(&[0xFE, 0xFF]);
                let reason = if utf16 {
                    "UTF-16, convert it to UTF-8"
                } else {
                    "binary, it has NUL bytes"
                };
                return Some(Ok(Row::Unreadable { reason }));
            }
            return Some(Ok(Row::Bad {
                line: place,
                reason: "a piece with NUL bytes".to_owned(),
            }));
        }
        Some(Ok(match utf8(piece, self.config.max_invalid_fraction) {
            Some((text, repaired)) => Row::Text {
                text,
                place,
                id: None,
                source: None,
                repaired,
            },
            None if place == 1 && self.buffer.is_empty() => Row::Unreadable {
                reason: "not UTF-8",
            },
            None => Row::Bad {
                line: place,
                reason: "a piece that is not UTF-8".to_owned(),
            },
        }))
    }
}

/// Where to end a piece of at most `max` bytes: after a blank line, a line end or a space in its second half, else at
/// a character boundary.
pub(crate) fn cut(bytes: &[u8], max: usize) -> usize {
    if bytes.len() <= max {
        return bytes.len();
    }
    let half = max / 2;
    let window = &bytes[half..max];
    let blank = window
        .windows(2)
        .rposition(|pair| pair == b"\n\n")
        .map(|at| at + 2);
    let after = |byte: u8| {
        window
            .iter()
            .rposition(|&found| found == byte)
            .map(|at| at + 1)
    };
    if let Some(at) = blank.or_else(|| after(b'\n')).or_else(|| after(b' ')) {
        return half + at;
    }
    // A UTF-8 character has at most three continuation bytes; more than that is no UTF-8 and may be cut anywhere.
    let continues = |&at: &usize| bytes[at] & 0xC0 == 0x80;
    let back = (0..4).map(|back| max - back).find(|at| !continues(at));
    back.unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::cut;
    use proptest::prelude::*;

    #[test]
    fn prefers_blank_lines_then_lines_then_spaces() {
        assert_eq!(cut(b"aaaa bb\n\nc d\nefg", 14), 9);
        assert_eq!(cut(b"aaaa bbbbb\ncc ddddd", 14), 11);
        assert_eq!(cut(b"aaaa bbbbbbb ccccc", 14), 13);
        assert_eq!(cut(b"aaaaaaaaaaaaaaaaaa", 14), 14);
        assert_eq!(cut(b"aaa", 14), 3);
    }

    proptest! {
        #[test]
        fn never_splits_a_character(text in r"[a\né海🐢 ]{1,60}", max in 8usize..64) {
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let end = cut(rest.as_bytes(), max);
                prop_assert!(end > 0 && end <= max && rest.is_char_boundary(end));
                rest = &rest[end..];
            }
        }
    }
}
