//! Training, saving and loading.

mod support;

use std::fs;
use std::sync::atomic::Ordering;

use artifact::Progress;
use serde_json::json;
use tokenizer::{Error, Tokenizer, TrainConfig};

#[test]
fn special_tokens_come_first_and_ids_are_stable() {
    let tokenizer = support::train(500).unwrap();
    assert_eq!(tokenizer.vocab_size(), 500);
    for (id, token) in tokenizer::SPECIAL_TOKENS.iter().enumerate() {
        assert_eq!(tokenizer.id_of(token), Some(id as u32));
        assert_eq!(tokenizer.token(id as u32).as_deref(), Some(*token));
        assert!(tokenizer.is_special(id as u32));
    }
    assert_eq!((tokenizer.end_of_text(), tokenizer.end_of_turn()), (0, 2));
    assert_eq!(tokenizer.token(500), None);
    assert!(!tokenizer.is_special(3));
}

#[test]
fn training_twice_gives_identical_files() {
    let files = || {
        let folder = tempfile::tempdir().unwrap();
        support::train(580).unwrap().save(folder.path()).unwrap();
        ["tokenizer.json", "tokenizer_config.json"]
            .map(|name| fs::read(folder.path().join(name)).unwrap())
    };
    assert_eq!(files(), files());
}

#[test]
fn digits_stand_alone_and_spaces_go_with_words() {
    let tokenizer = support::train(500).unwrap();
    let tokens = |text: &str| -> Vec<_> {
        tokenizer
            .encode(text)
            .unwrap()
            .into_iter()
            .map(|id| tokenizer.token(id).unwrap())
            .collect()
    };
    assert_eq!(tokens(" costs 249"), ["Ġcosts", "Ġ", "2", "4", "9"]);
    assert_eq!(tokens(" the the"), ["Ġthe", "Ġthe"]);
}

#[test]
fn vocabularies_that_cannot_be() {
    let error = support::train(258).unwrap_err();
    assert!(matches!(error, Error::VocabularyTooSmall { .. }));
    assert!(error.to_string().contains("259"), "{error}");
    let Error::VocabularyTooLarge { largest, .. } = support::train(50_000).unwrap_err() else {
        panic!("too large")
    };
    assert_eq!(support::train(largest).unwrap().vocab_size(), largest);
    assert!(support::train(largest + 1).is_err());
    let none = Tokenizer::train(
        std::iter::empty(),
        &TrainConfig::default(),
        &Progress::silent(),
    );
    assert!(matches!(none, Err(Error::NoText)));
}

#[test]
fn an_interrupt_ends_training() {
    let progress = Progress::silent();
    progress.interrupt_flag().store(true, Ordering::Relaxed);
    let texts = std::iter::repeat_with(|| "for ever and ever".to_owned());
    let error = Tokenizer::train(texts, &TrainConfig::default(), &progress).unwrap_err();
    assert!(matches!(
        error,
        Error::Artifact(artifact::Error::Interrupted)
    ));
}

#[test]
fn what_is_saved_loads_the_same() {
    let tokenizer = support::train(500).unwrap();
    let folder = tempfile::tempdir().unwrap();
    tokenizer.save(folder.path()).unwrap();
    for path in [
        folder.path().to_owned(),
        folder.path().join("tokenizer.json"),
    ] {
        let loaded = Tokenizer::load(&path).unwrap();
        assert_eq!(loaded.to_json().unwrap(), tokenizer.to_json().unwrap());
        assert_eq!(loaded.chat_template().source(), tokenizer::CHATML);
        for text in support::SENTENCES {
            assert_eq!(
                loaded.encode(text).unwrap(),
                tokenizer.encode(text).unwrap()
            );
        }
    }
}

#[test]
fn files_that_are_not_tokenizers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("tokenizer.json") && error.contains("expected"),
        "{error}"
    );
}

#[test]
fn configs_as_others_write_them() {
    let json = support::train(400).unwrap().to_json().unwrap();
    let config = json!({
        "eos_token": {"content": "<|im_end|>", "lstrip": false},
        "chat_template": [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D{{ eos_token }}"}],
    });
    let tokenizer = Tokenizer::from_json(json.as_bytes(), config).unwrap();
    assert_eq!(
        tokenizer.chat_template().render(&[], false).unwrap(),
        "D<|im_end|>"
    );
    assert!(Tokenizer::from_json(json.as_bytes(), json!({"chat_template": "{{"})).is_err());
}

#[test]
fn long_runs_neither_fail_nor_stall() {
    let tokenizer = support::train(400).unwrap();
    for unit in [" ", "a", "\n", "0", "é", "-", " \t"] {
        let text = unit.repeat(300_000 / unit.len());
        let ids = tokenizer.encode(&text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{unit:?}");
    }
}

#[test]
fn a_batch_equals_its_parts() {
    let tokenizer = support::train(500).unwrap();
    let batch = tokenizer.encode_batch(&support::SENTENCES).unwrap();
    let parts: Vec<_> = support::SENTENCES
        .iter()
        .map(|text| tokenizer.encode(text).unwrap())
        .collect();
    assert_eq!(batch, parts);
}
