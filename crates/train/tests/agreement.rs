//! The trainer's forward, with gradients, says of a token what the serving engine says of it.

use artifact::{Progress, Seed};
use hub::LoadedModel;
use infer::{Engine, Request, Sampling};
use models::decoder::{Config, Decoder};
use models::{InitialWeights, Rows};
use tensor::{Device, Module, Precision, Tensor, TensorData};
use tokenizer::{Tokenizer, TrainConfig};

#[test]
fn trainer_and_engine_agree_to_the_bit() {
    let texts = (0..40).map(|i| format!("The {i} divers saw {} fish by the reef.", i * 3));
    let train = TrainConfig {
        vocab_size: 280,
        min_frequency: 1,
    };
    let tokenizer = Tokenizer::train(texts, &train, &Progress::silent()).expect("enough text");
    let config = Config::from_depth(2, tokenizer.vocab_size(), 96);
    let device = Device::flex().autodiff();
    for precision in [Precision::F32, Precision::Bf16] {
        let weights = InitialWeights::Normal;
        let trained = Decoder::init(&config, weights, precision, Seed(7), &device);
        let trained = trained.set_require_grad(true);
        let engine = Engine::start(LoadedModel {
            decoder: trained.valid(),
            tokenizer: tokenizer.clone(),
            id: "tiny".to_owned(),
        });
        let requests: Vec<Request> = (1..34)
            .map(|length: u32| Request {
                prompt: (0..length).map(|i| 5 + (i * 37 + length) % 200).collect(),
                max_tokens: 40,
                sampling: Sampling {
                    temperature: 1.0,
                    seed: u64::from(length),
                    ..Sampling::default()
                },
                stop_ids: vec![279],
                logprobs: Some(0),
                ..Request::default()
            })
            .collect();
        let served = engine
            .generate_all(requests.clone(), &Progress::silent())
            .expect("all are valid");
        for (request, answer) in requests.iter().zip(served) {
            let whole = [&request.prompt[..], &answer.ids].concat();
            let inputs: Vec<i32> = whole[..whole.len() - 1]
                .iter()
                .map(|&id| id as i32)
                .collect();
            let seq = inputs.len();
            let tokens = Tensor::from_data(TensorData::new(inputs, [1, seq]), &device);
            let hidden = trained.forward(tokens, &Rows::causal(1, seq), None); // [1, seq, hidden]
            let said = trained.token_logprobs(hidden, &whole[1..]);
            let said: Vec<u32> = said[request.prompt.len() - 1..]
                .iter()
                .map(|logprob| logprob.to_bits())
                .collect();
            let served: Vec<u32> = answer
                .logprobs
                .iter()
                .map(|token| token.logprob.to_bits())
                .collect();
            assert_eq!(
                said,
                served,
                "{precision:?}, prompt of {}",
                request.prompt.len()
            );
        }
    }
}
