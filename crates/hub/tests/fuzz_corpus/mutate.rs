//! Damage that a number fixes: bits, cuts, lengths blown up, fields swapped, numbers of a text changed.

use artifact::Seed;
use rand::RngExt;

/// Numbers that are wrong nearly everywhere.
const ODD: [u64; 8] = [
    0,
    1,
    0x7f,
    0xffff,
    u32::MAX as u64,
    1 << 40,
    i64::MAX as u64,
    u64::MAX,
];
/// The same in a text.
const ODD_TEXTS: [&str; 9] = [
    "0",
    "-1",
    "4294967295",
    "18446744073709551615",
    "1e308",
    "1e-400",
    "null",
    "[[[[[]]]]]",
    "\"\\u0000\"",
];
/// Heads are short, and what lies in them matters most.
const HEAD: usize = 4096;

/// A few kinds of damage, one after the other.
pub(crate) fn damaged(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = Seed(seed).rng();
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.len() < 32 {
            break;
        }
        let reach = if rng.random_range(0..4) == 0 {
            bytes.len()
        } else {
            bytes.len().min(HEAD)
        };
        let at = rng.random_range(0..reach - 16);
        let other = rng.random_range(0..reach - 16);
        match rng.random_range(0..8) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => {
                let odd = ODD[rng.random_range(0..ODD.len())].to_le_bytes();
                let place = length_near(&bytes, at);
                bytes[place..place + 8].copy_from_slice(&odd);
            }
            3 => {
                let odd = (ODD[rng.random_range(0..ODD.len())] as u32).to_le_bytes();
                bytes[at..at + 4].copy_from_slice(&odd);
            }
            4 => {
                // Two fields change places: offsets point to each other's tensors.
                let (one, two) = (length_near(&bytes, at), length_near(&bytes, other));
                for byte in 0..8 {
                    bytes.swap(one + byte, two + byte);
                }
            }
            5 => {
                let part = bytes[at..at + 16].to_vec();
                bytes.splice(other..other, part);
            }
            6 => {
                bytes.drain(at..at + rng.random_range(1..16));
            }
            _ => {
                let odd = ODD_TEXTS[rng.random_range(0..ODD_TEXTS.len())];
                replace_number(&mut bytes, at, odd);
            }
        }
    }
    bytes
}

/// The first place from `at` on that looks like a length or an offset: a small number in eight bytes.
fn length_near(bytes: &[u8], at: usize) -> usize {
    let mut places = (at..bytes.len() - 8).take(256);
    let small = |place: &usize| {
        let field = &bytes[*place..*place + 8];
        field[0] != 0 && field[3..].iter().all(|byte| *byte == 0)
    };
    places.find(small).unwrap_or(at)
}

/// Writes something odd in the place of the first number of a text from `at` on.
fn replace_number(bytes: &mut Vec<u8>, at: usize, odd: &str) {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let Some(first) = bytes[at..].iter().position(digit) else {
        return;
    };
    let first = at + first;
    let end = bytes[first..].iter().position(|byte| !digit(byte));
    let end = end.map_or(bytes.len(), |length| first + length);
    bytes.splice(first..end, odd.bytes());
}
