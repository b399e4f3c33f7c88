//! The same ids as Python's `tokenizers` and the same conversations as Python's `jinja2`, on 10,000 strings.
//!
//! Needs a Python with both packages, named by `ONTOGENY_PYTHON`; without it the test says that it was skipped.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use artifact::Seed;
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use tokenizer::{Message, Tokenizer};

const STRINGS: usize = 10_000;
const CONVERSATIONS: usize = 200;

/// One random string: a few pieces, each of another nature.
fn string(rng: &mut impl Rng) -> String {
    let mut text = String::new();
    for _ in 0..rng.random_range(0..6) {
        let length = rng.random_range(1..12);
        match rng.random_range(0..10) {
            0 => text.push_str(support::SENTENCES[rng.random_range(0..support::SENTENCES.len())]),
            1 => text.extend((0..length).map(|_| rng.random_range('a'..='z'))),
            2 => write!(text, " {}", rng.next_u64()).unwrap(),
            // Any scalar value of the first planes: every script, private use, unassigned.
            3 => text.extend((0..length).map(|_| rng.random_range('\0'..='\u{2FFFF}'))),
            4 => text.extend((0..length).map(|_| rng.random_range('\u{1F300}'..='\u{1FAFF}'))),
            // Letters under combining marks.
            5 => text.extend((0..length).flat_map(|_| {
                [
                    rng.random_range('a'..='z'),
                    rng.random_range('\u{300}'..='\u{36F}'),
                ]
            })),
            6 => text.extend((0..length).map(|_| rng.random_range('\0'..='\u{9F}'))),
            7 => {
                let spaces = [
                    ' ', ' ', '\n', '\t', '\r', '\u{85}', '\u{A0}', '\u{2003}', '\u{200B}',
                    '\u{3000}', '\u{FEFF}', '\u{180E}',
                ];
                text.extend((0..length).map(|_| spaces[rng.random_range(0..spaces.len())]));
            }
            // Bytes that are not UTF-8, as a reader repairs them.
            8 => {
                let bytes: Vec<u8> = (0..length).map(|_| rng.next_u32() as u8).collect();
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            // Lone surrogates, as a reader replaces them.
            _ => {
                let units: Vec<u16> = (0..length)
                    .map(|_| rng.random_range(0xD7F0..0xE010))
                    .collect();
                text.push_str(&String::from_utf16_lossy(&units));
            }
        }
        if rng.random_range(0..40) == 0 {
            text.push_str("<|im_end|>");
        }
    }
    text
}

fn text_case(tokenizer: &Tokenizer, text: &str) -> Value {
    let plain = tokenizer.encode(text).unwrap();
    let decoded = tokenizer.decode(&plain).unwrap();
    assert_eq!(decoded, text);
    json!({"text": text, "plain": plain, "marked": tokenizer.encode_special(text).unwrap(), "decoded": decoded})
}

fn conversation_case(tokenizer: &Tokenizer, rng: &mut impl Rng) -> Value {
    let roles = ["system", "user", "assistant"];
    let messages: Vec<_> = (0..rng.random_range(0..6))
        .map(|_| {
            Message::new(
                roles[rng.random_range(0..3)],
                string(rng).replace("<|im_end|>", ""),
            )
        })
        .collect();
    let prompt = rng.random_range(0..2) == 0;
    let rendered = tokenizer.chat_template().render(&messages, prompt).unwrap();
    let ids = tokenizer.encode_chat(&messages, prompt).unwrap();
    json!({"messages": messages, "prompt": prompt, "rendered": rendered, "ids": ids})
}

#[test]
fn python_agrees() {
    let Some(python) = std::env::var_os("ONTOGENY_PYTHON") else {
        eprintln!(
            "skipped: ONTOGENY_PYTHON names no Python with the packages tokenizers and jinja2"
        );
        return;
    };
    let tokenizer = support::train(580).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(folder.path()).unwrap();
    let mut rng = Seed(20_260_731).rng();
    let mut cases: Vec<_> = (0..STRINGS)
        .map(|_| text_case(&tokenizer, &string(&mut rng)))
        .collect();
    cases.extend((0..CONVERSATIONS).map(|_| conversation_case(&tokenizer, &mut rng)));

    let script = Path::new("tests/python_parity.py");
    let mut child = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for case in &cases {
        writeln!(input, "{case}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["first"], Value::Null);
    assert_eq!(
        result["agreed"],
        json!({"text": STRINGS, "messages": CONVERSATIONS})
    );
}
