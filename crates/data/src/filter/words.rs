//! Words and their hashes, shared by the filters that compare texts.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const START: u64 = 0xCBF2_9CE4_8422_2325;
const STEP: u64 = 0x0100_0000_01B3;

/// The hashes of a text's words in order: runs of letters, marks and digits, in lower case.
pub(crate) fn words(text: &str) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(text.len() / 6);
    let (mut state, mut inside) = (START, false);
    let eat = |state: &mut u64, byte: u8| *state = (*state ^ u64::from(byte)).wrapping_mul(STEP);
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            eat(&mut state, character.to_ascii_lowercase() as u8);
            inside = true;
        } else if !character.is_ascii() && character.is_alphanumeric() {
            for lower in character.to_lowercase() {
                let mut bytes = [0; 4];
                lower
                    .encode_utf8(&mut bytes)
                    .bytes()
                    .for_each(|byte| eat(&mut state, byte));
            }
            inside = true;
        } else if inside {
            hashes.push(mix(state));
            (state, inside) = (START, false);
        }
    }
    if inside {
        hashes.push(mix(state));
    }
    hashes
}

/// A 64-bit hash, the same on every machine (FNV-1a with a final mix). Of a lower-case word it is the one that
/// [`words`] gives.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(START, |state, &byte| {
        (state ^ u64::from(byte)).wrapping_mul(STEP)
    }))
}

/// Spreads every bit over the whole word (the finaliser of SplitMix64).
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// The hash of a run of words from the hashes of the words; order counts.
pub(crate) fn run(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0, |state, &word| mix(state.rotate_left(23) ^ word))
}

/// A map whose keys are hashes already.
pub(crate) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Same>>;

/// Takes a hash for what it is.
#[derive(Default)]
pub(crate) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_spacing_and_punctuation_do_not_count() {
        assert_eq!(words("The REEF, is  calm."), words("the reef is calm"));
        assert_eq!(words("Él está Größe"), words("él ESTÁ größe!"));
        assert_eq!(words("reef"), [hash(b"reef")]);
        assert!(words(" ,.").is_empty());
        assert_ne!(words("a b"), words("ab"));
    }
}
