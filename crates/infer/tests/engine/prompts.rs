//! Log-probabilities of prompts.

use infer::{Request, Settings};

use crate::{engine, prompt, request, said};

#[test]
fn of_a_prompt_are_those_of_the_same_tokens_scored() {
    let whole = prompt(100, 70, 5);
    let expected = {
        let engine = engine(Settings::default());
        let pair = (whole[..1].to_vec(), whole[1..].to_vec());
        engine.score(&[pair]).unwrap().remove(0)
    };
    for (pass_tokens, blocks) in [(7, None), (512, None), (64, Some(6))] {
        let engine = engine(Settings {
            pass_tokens,
            blocks,
            ..Settings::default()
        });
        let asked = |max_tokens| Request {
            prompt: whole.clone(),
            max_tokens,
            prompt_logprobs: Some(2),
            ..request(4)
        };
        // The second time its blocks are known, and it is read all the same.
        for max_tokens in [5, 0] {
            let answer = engine.generate(asked(max_tokens)).unwrap();
            assert_eq!(answer.ids.len(), max_tokens);
            let bits = answer
                .prompt_logprobs
                .iter()
                .map(|one| one.logprob.to_bits());
            let expected = expected.iter().map(|one| one.to_bits());
            assert!(bits.eq(expected), "{pass_tokens} tokens a pass");
            for (one, id) in answer.prompt_logprobs.iter().zip(&whole[1..]) {
                assert_eq!((one.id, one.top.len()), (*id, 2));
                assert!(one.top[0].1 >= one.top[1].1 && one.top[0].1 >= one.logprob);
            }
        }
        let plain = Request {
            prompt_logprobs: None,
            ..asked(5)
        };
        let with = engine.generate(asked(5)).unwrap();
        assert_eq!(said(&engine.generate(plain).unwrap()), said(&with));
    }
}

#[test]
fn a_prompt_of_one_token_has_none() {
    let engine = engine(Settings::default());
    let answer = engine.generate(Request {
        prompt: vec![9],
        prompt_logprobs: Some(0),
        ..request(1)
    });
    assert!(answer.unwrap().prompt_logprobs.is_empty());
}
