//! The display where there is no terminal: a line when something happens, and one every few seconds.

use std::time::{Duration, Instant};

use super::state::State;
use crate::quantity;

/// How often a line tells how far the current stage is.
const EVERY: Duration = Duration::from_secs(5);

/// Writes lines to stderr.
pub(super) struct Log {
    last: Instant,
    detail: String,
}

impl Log {
    pub(super) fn new() -> Self {
        Self {
            last: Instant::now(),
            detail: String::new(),
        }
    }

    pub(super) fn write(&mut self, state: &mut State) {
        for note in state.notes.drain(..) {
            eprintln!("{note}");
        }
        if state.detail != self.detail && !state.detail.is_empty() {
            self.detail.clone_from(&state.detail);
            eprintln!("  {:<10} {}", name(state), state.detail);
            self.last = Instant::now();
        }
        if self.last.elapsed() >= EVERY && state.pace.is_some() {
            self.last = Instant::now();
            eprintln!("  {:<10} {}", name(state), pace_line(state, true));
        }
    }
}

fn name(state: &State) -> &str {
    state.current().map_or("", |stage| stage.name.as_str())
}

/// `1,200/4,000 steps  30 %  5.1/s  loss 2.31  9 min 10 s left`; the share only `with_share`.
pub(super) fn pace_line(state: &State, with_share: bool) -> String {
    let Some(pace) = &state.pace else {
        return String::new();
    };
    let bytes = pace.unit == "bytes";
    let mut words = vec![match pace.total {
        Some(total) if bytes => format!(
            "{} of {}",
            quantity::bytes(pace.done as f64),
            quantity::bytes(total as f64)
        ),
        None if bytes => quantity::bytes(pace.done as f64),
        Some(total) => format!(
            "{}/{} {}",
            quantity::count(pace.done),
            quantity::count(total),
            pace.unit
        ),
        None => format!("{} {}", quantity::count(pace.done), pace.unit),
    }];
    if let Some(share) = pace.share().filter(|_| with_share) {
        words.push(format!("{:.0} %", share * 100.0));
    }
    if let Some(rate) = pace.rate() {
        words.push(if bytes {
            format!("{}/s", quantity::bytes(rate))
        } else {
            format!("{}/s", quantity::short(rate))
        });
    }
    for (name, value) in &state.metrics {
        match *name {
            "loss" => words.push(format!("loss {value:.3}")),
            "validation_bits_per_byte" => words.push(format!("{value:.3} bits/byte")),
            "tokens_per_second" => words.push(format!("{} tokens/s", quantity::short(*value))),
            "accuracy" => words.push(format!("accuracy {}", quantity::percent(*value))),
            "reward_margin" => words.push(format!("margin {value:.2}")),
            _ => {}
        }
    }
    if let Some(seconds) = pace.remaining() {
        words.push(format!("{} left", quantity::duration(seconds)));
    }
    words.join("  ")
}
