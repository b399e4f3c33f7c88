//! Blocks, waiting requests, keys, deadlines, cancelling.

use std::time::{Duration, Instant};

use infer::{Delta, Error, Request, Settings};

use crate::{NO_TOKEN, engine, prompt, request, said, stats_when};

/// A request that goes on until the context is full.
fn endless(number: usize) -> Request {
    Request {
        prompt: prompt(40, 0, number),
        max_tokens: 1000,
        stop_ids: vec![NO_TOKEN],
        ..Request::default()
    }
}

#[test]
fn a_prompt_that_came_before_is_not_read_again() {
    let engine = engine(Settings::default());
    let asked = |number| Request {
        prompt: prompt(100, 70, number),
        ..request(4)
    };
    let first = engine.generate(asked(1)).unwrap();
    let one = stats_when(&engine, |stats| {
        stats.running == 0 && stats.tokens_written > 0
    });
    assert_eq!((one.prompt_tokens, one.prompt_tokens_shared), (100, 0));
    assert_eq!(one.blocks_in_use, 0);
    assert_eq!(
        one.blocks_cached,
        (100 + first.ids.len() - 1) / tensor::BLOCK
    );
    let again = engine.generate(asked(1)).unwrap();
    assert_eq!(said(&again), said(&first));
    engine.generate(asked(2)).unwrap();
    let three = stats_when(&engine, |stats| {
        stats.running == 0 && stats.prompt_tokens == 300
    });
    assert_eq!(three.prompt_tokens_shared, 96 + 64);
    assert_eq!(three.blocks, three.blocks_cached + three.blocks_free);
}

#[test]
fn prompts_that_come_together_are_read_once() {
    let engine = engine(Settings::default());
    let hold = engine.submit(endless(100));
    hold.recv().unwrap();
    let before = stats_when(&engine, |stats| stats.running == 1).prompt_tokens_shared;
    let asked: Vec<Request> = (0..8)
        .map(|number| Request {
            prompt: prompt(100, 96, number),
            ..request(number)
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|one| engine.submit(one)).collect();
    for answer in answers {
        assert!(matches!(answer.iter().last(), Some(Delta::Done { .. })));
    }
    drop(hold);
    let stats = stats_when(&engine, |stats| stats.running == 0);
    assert_eq!(stats.prompt_tokens_shared - before, 7 * 96);
}

#[test]
fn clients_that_vanish_leave_no_block_behind() {
    let engine = engine(Settings {
        sequences: 4,
        blocks: Some(24),
        ..Settings::default()
    });
    for number in 0..1000 {
        let answer = engine.submit(endless(number % 50));
        match number % 4 {
            0 => {}
            1 => drop(answer.recv_timeout(Duration::from_micros(300))),
            2 => drop(answer.recv()),
            _ => (0..3).for_each(|_| drop(answer.recv())),
        }
        drop(answer);
    }
    let stats = stats_when(&engine, |stats| {
        stats.running + stats.waiting == 0 && stats.cancelled == 1000
    });
    assert_eq!((stats.blocks_in_use, stats.blocks), (0, 24));
    assert_eq!(stats.blocks_free + stats.blocks_cached, 24);
    assert!(engine.generate(request(3)).is_ok());
}

#[test]
fn cancelling_frees_the_place_at_once() {
    let engine = engine(Settings {
        sequences: 1,
        ..Settings::default()
    });
    let first = engine.submit(endless(1));
    first.recv().unwrap();
    let second = engine.submit(endless(2));
    stats_when(&engine, |stats| (stats.running, stats.waiting) == (1, 1));
    drop(first);
    assert!(matches!(second.recv(), Ok(Delta::Token { .. })));
}

#[test]
fn more_than_may_wait_are_refused_and_told_when_to_come_back() {
    let engine = engine(Settings {
        sequences: 1,
        queue: Some(2),
        ..Settings::default()
    });
    let first = engine.submit(endless(1));
    first.recv().unwrap();
    stats_when(&engine, |stats| stats.running == 1);
    let waiting = [2, 3].map(|number| engine.submit(endless(number)));
    match engine.generate(endless(4)) {
        Err(Error::Overloaded {
            waiting,
            retry_after,
        }) => {
            assert_eq!(waiting, 2);
            assert!(retry_after >= Duration::from_secs(1));
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    for answer in waiting {
        assert!(matches!(answer.iter().last(), Some(Delta::Done { .. })));
    }
    assert!(engine.generate(request(1)).is_ok());
}

#[test]
fn who_waits_beyond_the_deadline_is_told() {
    let engine = engine(Settings {
        sequences: 1,
        ..Settings::default()
    });
    let over = Request {
        deadline: Some(Instant::now()),
        ..request(1)
    };
    assert!(matches!(engine.generate(over), Err(Error::Expired { .. })));
    let in_time = Request {
        deadline: Some(Instant::now() + Duration::from_secs(60)),
        ..request(1)
    };
    assert!(engine.generate(in_time).is_ok());
}

#[test]
fn a_key_with_one_request_does_not_wait_for_all_of_another() {
    let engine = engine(Settings {
        sequences: 1,
        ..Settings::default()
    });
    let hold = engine.submit(endless(1));
    hold.recv().unwrap();
    let of = |key: &str, number| {
        engine.submit(Request {
            key: Some(key.to_owned()),
            ..request(number)
        })
    };
    let many: Vec<_> = (0..10).map(|number| of("many", number)).collect();
    let one = of("one", 3);
    stats_when(&engine, |stats| stats.waiting == 11);
    drop(hold);
    assert!(matches!(one.iter().last(), Some(Delta::Done { .. })));
    let unanswered = many
        .iter()
        .filter(|answer| answer.try_recv().is_err())
        .count();
    assert!(unanswered >= 7, "{unanswered} of the other key's 10 waited");
}
