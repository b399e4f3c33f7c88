//! What sampling settings do to answers.

use std::collections::BTreeMap;

use infer::{Completion, Dry, Error, Request, Sampling, Settings};

use crate::{engine, request};

fn greedy(sampling: Sampling) -> Request {
    Request {
        sampling,
        max_tokens: 60,
        ..request(3)
    }
}

fn count(answer: &Completion) -> BTreeMap<u32, usize> {
    let mut counts = BTreeMap::new();
    for id in &answer.ids {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}

#[test]
fn penalties_keep_an_answer_from_repeating_itself() {
    let engine = engine(Settings::default());
    let most = |sampling| {
        let answer = engine.generate(greedy(sampling)).unwrap();
        count(&answer).into_values().max().unwrap()
    };
    let free = most(Sampling::default());
    assert!(free > 3, "the answer repeats itself: {free}");
    let none = Sampling::default;
    assert!(
        most(Sampling {
            frequency_penalty: 2.0,
            ..none()
        }) < free
    );
    // Larger than any difference between logits: no token comes twice.
    assert_eq!(
        most(Sampling {
            presence_penalty: 1e4,
            ..none()
        }),
        1
    );
    assert_eq!(
        most(Sampling {
            repetition_penalty: 1e6,
            ..none()
        }),
        1
    );
    let dry = Dry {
        multiplier: 1e4,
        allowed_length: 1,
        breakers: Vec::new(),
        ..Dry::default()
    };
    let answer = engine
        .generate(greedy(Sampling {
            dry: Some(dry),
            ..none()
        }))
        .unwrap();
    let whole = [request(3).prompt, answer.ids].concat();
    let mut pairs: Vec<_> = whole.windows(2).skip(request(3).prompt.len()).collect();
    pairs.sort_unstable();
    assert!(
        pairs.windows(2).all(|two| two[0] != two[1]),
        "a pair comes twice: {whole:?}"
    );
}

#[test]
fn a_bias_decides() {
    let engine = engine(Settings::default());
    let biased = |id, bias| {
        let sampling = Sampling {
            logit_bias: [(id, bias)].into(),
            ..Sampling::default()
        };
        engine.generate(greedy(sampling)).unwrap()
    };
    assert!(biased(77, 1e4).ids.iter().all(|id| *id == 77));
    let usual = *engine
        .generate(greedy(Sampling::default()))
        .unwrap()
        .ids
        .first()
        .unwrap();
    let banned = biased(usual, f32::NEG_INFINITY);
    assert!(banned.ids.iter().all(|id| *id != usual));
    // What is told of a token is the model's own word.
    assert!(
        biased(77, 1e4)
            .logprobs
            .iter()
            .all(|token| token.logprob < -0.1)
    );
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let engine = engine(Settings::default());
    let none = Sampling::default;
    let wrong = [
        (
            "typical_p",
            Sampling {
                typical_p: 0.0,
                ..none()
            },
        ),
        (
            "repetition_penalty",
            Sampling {
                repetition_penalty: 0.0,
                ..none()
            },
        ),
        (
            "presence_penalty",
            Sampling {
                presence_penalty: f32::NAN,
                ..none()
            },
        ),
        (
            "frequency_penalty",
            Sampling {
                frequency_penalty: f32::INFINITY,
                ..none()
            },
        ),
        (
            "logit_bias",
            Sampling {
                logit_bias: [(1, f32::NAN)].into(),
                ..none()
            },
        ),
    ];
    for (name, sampling) in wrong {
        match engine.generate(greedy(sampling)) {
            Err(Error::Sampling { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
