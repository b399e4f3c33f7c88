//! Decoding, all at once and token by token.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use std::sync::LazyLock;
use tokenizer::Tokenizer;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| support::train(400).unwrap());

fn streamed(ids: &[u32]) -> Vec<String> {
    let mut stream = TOKENIZER.decode_stream();
    let mut parts: Vec<_> = ids
        .iter()
        .filter_map(|id| stream.push(*id).unwrap())
        .collect();
    parts.extend(stream.finish().unwrap());
    parts
}

#[test]
fn a_turtle_comes_whole() {
    let ids = TOKENIZER.encode("🐙").unwrap();
    assert!(ids.len() > 1);
    assert_eq!(streamed(&ids), ["🐙"]);
    // Cut short, it is one broken character, and only at the end.
    assert_eq!(streamed(&ids[..1]), ["\u{FFFD}"]);
}

#[test]
fn special_tokens_are_silent() {
    let mut ids = TOKENIZER
        .encode_special("<|im_start|>Hi<|im_end|>")
        .unwrap();
    assert_eq!(TOKENIZER.decode(&ids).unwrap(), "Hi");
    ids.insert(1, 2);
    assert_eq!(streamed(&ids).concat(), "Hi");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn text_survives_the_round_trip(text in r"(\PC|\s|[\x00-\x1f]){0,60}") {
        let ids = TOKENIZER.encode(&text).unwrap();
        prop_assert_eq!(&TOKENIZER.decode(&ids).unwrap(), &text);
        prop_assert_eq!(streamed(&ids).concat(), text);
    }

    #[test]
    fn any_ids_stream_as_they_decode(ids in prop::collection::vec(0u32..400, 0..80)) {
        prop_assert_eq!(streamed(&ids).concat(), TOKENIZER.decode(&ids).unwrap());
    }
}
