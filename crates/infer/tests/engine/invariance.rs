//! The same bits, whatever else the engine does and however it goes about it.

use artifact::Progress;
use hub::LoadedModel;
use infer::{Adapter, Engine, Error, Request, Sampling, Settings};
use tokenizer::{Tokenizer, TrainConfig};

use crate::{engine, model, model_of, request, said, stats_when};

type Said = (String, Vec<(u32, u32, Vec<u32>)>);

/// Each request alone in an engine that shares and guesses nothing.
fn alone() -> Vec<Said> {
    let engine = engine(Settings {
        sequences: 1,
        share_prefixes: false,
        lookup: 0,
        ..Settings::default()
    });
    let each = (0..33).map(|number| said(&engine.generate(request(number)).unwrap()));
    each.collect()
}

fn together(engine: &Engine) -> Vec<Said> {
    let requests: Vec<Request> = (0..33).map(request).collect();
    let answers = engine.generate_all(requests, &Progress::silent()).unwrap();
    answers.iter().map(said).collect()
}

#[test]
fn alone_or_with_32_others_and_in_any_chunks() {
    let alone = alone();
    for pass_tokens in [1, 7, 64, 10_000] {
        for share_prefixes in [false, true] {
            let engine = engine(Settings {
                sequences: 33,
                pass_tokens,
                share_prefixes,
                ..Settings::default()
            });
            let kind = format!("{pass_tokens} tokens a pass, sharing {share_prefixes}");
            assert_eq!(together(&engine), alone, "{kind}");
            // And once more, when much of it is known.
            assert_eq!(together(&engine), alone, "{kind}, again");
            let stats = stats_when(&engine, |stats| stats.running == 0);
            assert_eq!(stats.prompt_tokens_shared > 0, share_prefixes, "{kind}");
        }
    }
}

#[test]
fn with_blocks_for_little_more_than_one() {
    let alone = alone();
    for blocks in [5, 8, 13] {
        let engine = engine(Settings {
            sequences: 33,
            blocks: Some(blocks),
            ..Settings::default()
        });
        assert_eq!(together(&engine), alone, "{blocks} blocks");
        let stats = stats_when(&engine, |stats| stats.running == 0);
        assert!(stats.blocks_evicted > 0, "{stats:?}");
        assert_eq!(stats.blocks_in_use, 0);
    }
}

#[test]
fn answers_that_make_room_for_earlier_ones_go_on_where_they_were() {
    let long = |number: usize| Request {
        max_tokens: 90,
        ..request(3 * number + 1)
    };
    let one = engine(Settings::default());
    let alone: Vec<Said> = (0..6)
        .map(|i| said(&one.generate(long(i)).unwrap()))
        .collect();
    let few = engine(Settings {
        blocks: Some(9),
        ..Settings::default()
    });
    let answers = few.generate_all((0..6).map(long).collect(), &Progress::silent());
    let together: Vec<Said> = answers.unwrap().iter().map(said).collect();
    assert_eq!(together, alone);
    let stats = stats_when(&few, |stats| stats.running == 0);
    assert!(stats.set_back > 0, "{stats:?}");
}

#[test]
fn adapters_share_no_blocks_with_each_other() {
    let settings = Settings {
        sequences: 33,
        ..Settings::default()
    };
    let kinds = [Adapter::None, Adapter::Number(0), Adapter::Number(1)];
    let each: Vec<Vec<Said>> = kinds
        .iter()
        .map(|kind| together(&engine(settings.clone()).with_adapter(*kind, "alone")))
        .collect();
    assert_ne!(each[0], each[1]);
    assert_ne!(each[1], each[2]);
    let shared = Engine::with_settings(model(), settings);
    for round in 0..2 {
        let handles = kinds.map(|kind| shared.with_adapter(kind, "together"));
        let waiting: Vec<Vec<_>> = handles
            .iter()
            .map(|handle| {
                (0..33)
                    .map(|number| handle.submit(request(number)))
                    .collect()
            })
            .collect();
        for (handle, each) in handles.iter().zip(&each) {
            assert_eq!(&together(handle), each, "round {round}");
        }
        drop(waiting);
    }
}

#[test]
fn guesses_change_no_token() {
    let alone = alone();
    for lookup in [1, 4, 12] {
        for sequences in [1, 33] {
            let engine = engine(Settings {
                sequences,
                lookup,
                ..Settings::default()
            });
            assert_eq!(
                together(&engine),
                alone,
                "{lookup} guesses, {sequences} sequences"
            );
            let stats = stats_when(&engine, |stats| stats.running == 0);
            if sequences == 1 {
                assert!(stats.tokens_guessed_right > 0, "{stats:?}");
                assert!(
                    stats.tokens_guessed > stats.tokens_guessed_right,
                    "{stats:?}"
                );
            }
        }
    }
}

#[test]
fn a_draft_model_changes_no_token() {
    let alone = alone();
    for (seed, sequences, blocks) in [(7, 1, None), (8, 1, None), (7, 4, Some(7)), (8, 3, None)] {
        for lookup in [0, 4] {
            let settings = Settings {
                sequences,
                blocks,
                lookup,
                ..Settings::default()
            };
            let engine = Engine::with_draft(model(), model_of(seed), settings).unwrap();
            let kind = format!("seed {seed}, {sequences} sequences, {lookup} by look-up");
            assert_eq!(together(&engine), alone, "{kind}");
            assert_eq!(together(&engine), alone, "{kind}, again");
            let stats = stats_when(&engine, |stats| stats.running == 0);
            assert!(
                stats.tokens_guessed > stats.tokens_guessed_right,
                "{stats:?}"
            );
        }
    }
}

/// Were a key or a value of the draft model missing or another's, it would guess wrong.
#[test]
fn a_model_guesses_itself() {
    let greedy = |number: usize| Request {
        sampling: Sampling::default(),
        ..request(number)
    };
    for (sequences, blocks, pass_tokens) in [(1, None, 512), (3, Some(9), 512), (4, None, 19)] {
        let settings = Settings {
            sequences,
            blocks,
            pass_tokens,
            lookup: 0,
            ..Settings::default()
        };
        let engine = Engine::with_draft(model(), model(), settings).unwrap();
        for _ in 0..2 {
            let requests = (0..33).map(greedy).collect();
            engine.generate_all(requests, &Progress::silent()).unwrap();
        }
        let stats = stats_when(&engine, |stats| stats.running + stats.waiting == 0);
        assert!(stats.tokens_guessed > 500, "{stats:?}");
        assert_eq!(
            stats.tokens_guessed_right, stats.tokens_guessed,
            "{stats:?}"
        );
    }
}

#[test]
fn a_draft_model_of_other_tokens_is_refused() {
    let texts = (0..40).map(|i| format!("Other words {i}, altogether other ones {}.", 7 * i));
    let train = TrainConfig {
        vocab_size: 270,
        min_frequency: 1,
    };
    let other = LoadedModel {
        tokenizer: Tokenizer::train(texts, &train, &Progress::silent()).unwrap(),
        ..model()
    };
    let refused = Engine::with_draft(model(), other, Settings::default());
    assert!(matches!(refused, Err(Error::Draft { .. })));
}
