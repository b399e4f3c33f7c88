//! Words and their hashes, shared by the filters that compare texts.

/// The words of a text: runs of letters, marks and digits, in lower case.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// A 64-bit hash, the same on every machine (FNV-1a with a final mix).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let start = 0xCBF2_9CE4_8422_2325;
    mix(bytes.iter().fold(start, |state, &byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
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
