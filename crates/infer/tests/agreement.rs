//! What the engine says of a token does not depend on what else it is doing, and is what the
//! trainer's forward says.

use artifact::{Progress, Seed};
use hub::LoadedModel;
use infer::{Engine, Error, FinishReason, Request, Sampling};
use models::InitialWeights;
use models::decoder::{Config, Decoder};
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};

fn engine() -> Engine {
    let texts = (0..40).map(|i| {
        format!(
            "The {i} divers saw {} fish by the reef, and {} turtles.",
            i * 3,
            i % 7
        )
    });
    let train = TrainConfig {
        vocab_size: 290,
        min_frequency: 1,
    };
    let tokenizer =
        Tokenizer::train(texts, &train, &Progress::silent()).expect("the text supports 290 tokens");
    let config = Config::from_depth(2, tokenizer.vocab_size(), 64);
    let decoder = Decoder::init(
        &config,
        InitialWeights::Normal,
        Precision::F32,
        Seed(7),
        &Device::flex(),
    );
    Engine::start(LoadedModel {
        decoder,
        tokenizer,
        id: "tiny".to_owned(),
    })
}

fn request(length: usize, temperature: f32) -> Request {
    Request {
        prompt: (0..length as u32)
            .map(|i| 5 + (i * 37 + length as u32) % 200)
            .collect(),
        max_tokens: 12,
        sampling: Sampling {
            temperature,
            seed: length as u64,
            ..Sampling::default()
        },
        stop_ids: vec![289],
        logprobs: Some(2),
        ..Request::default()
    }
}

#[test]
fn generated_logprobs_are_scored_logprobs_bit_for_bit() {
    let engine = engine();
    let requests: Vec<Request> = (1..40).map(|length| request(length, 1.0)).collect();
    let together = engine
        .generate_all(requests.clone(), &Progress::silent())
        .expect("all are valid");
    let pairs: Vec<_> = requests
        .iter()
        .zip(&together)
        .map(|(r, c)| (r.prompt.clone(), c.ids.clone()))
        .collect();
    let scores = engine.score(&pairs).expect("all fit");
    for ((request, completion), scores) in requests.into_iter().zip(&together).zip(scores) {
        let said: Vec<u32> = completion
            .logprobs
            .iter()
            .map(|token| token.logprob.to_bits())
            .collect();
        assert_eq!(
            said,
            scores
                .iter()
                .map(|score| score.to_bits())
                .collect::<Vec<_>>()
        );
        let alone = engine.generate(request).expect("valid");
        assert_eq!(
            (alone.ids, alone.text),
            (completion.ids.clone(), completion.text.clone())
        );
    }
}

#[test]
fn limits_and_refusals() {
    let engine = engine();
    let long = engine
        .generate(Request {
            max_tokens: 1000,
            ..request(60, 0.0)
        })
        .expect("clamped");
    assert_eq!(
        (long.finish_reason, long.ids.len()),
        (FinishReason::Length, 4)
    );
    let none = engine
        .generate(Request {
            max_tokens: 0,
            ..request(5, 0.0)
        })
        .expect("nothing asked");
    assert_eq!(
        (none.finish_reason, none.ids.len()),
        (FinishReason::Length, 0)
    );
    let error = |request| engine.generate(request).expect_err("refused");
    assert_eq!(
        error(request(64, 0.0)),
        Error::ContextOverflow {
            prompt_tokens: 64,
            context: 64
        }
    );
    assert_eq!(error(request(0, 0.0)), Error::EmptyPrompt);
    let wild = Request {
        prompt: vec![5, 1_000_000],
        ..request(2, 0.0)
    };
    assert!(matches!(
        error(wild),
        Error::TokenOutOfRange { id: 1_000_000, .. }
    ));
    assert!(matches!(
        error(request(3, f32::NAN)),
        Error::Sampling {
            field: "temperature",
            ..
        }
    ));
    assert!(
        engine.generate(request(3, 0.0)).is_ok(),
        "the engine goes on"
    );
}

#[test]
fn a_stop_text_ends_the_answer_before_it() {
    let engine = engine();
    let free = engine.generate(request(9, 0.0)).expect("valid");
    let tail: String = free.text.chars().skip(2).take(2).collect();
    let stopped = engine
        .generate(Request {
            stop: vec![tail.clone()],
            ..request(9, 0.0)
        })
        .expect("valid");
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    assert_eq!(Some(stopped.text.as_str()), free.text.split(&tail).next());
}
