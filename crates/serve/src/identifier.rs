//! Names for answers and requests: unguessable, so that knowing an answer's id is enough to rate it.

/// `prefix` followed by 128 random bits in hexadecimal.
pub(crate) fn random(prefix: &str) -> String {
    format!("{prefix}{:016x}{:016x}", random_bits(), random_bits())
}

/// 64 bits from the operating system's generator.
pub(crate) fn random_bits() -> u64 {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    u64::from_le_bytes(bytes)
}
