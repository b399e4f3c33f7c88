//! Where the time goes: calls, seconds and floating-point operations of each operation on the CPU.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

static ON: AtomicBool = AtomicBool::new(false);
static ENTRIES: Mutex<BTreeMap<&'static str, Entry>> = Mutex::new(BTreeMap::new());

/// What one operation has taken so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    /// How often it ran.
    pub calls: u64,
    /// Wall-clock seconds, on the thread that called it.
    pub seconds: f64,
    /// Floating-point operations of its products; 0 where it has none to speak of.
    pub flops: f64,
}

/// Begins to measure; until then nothing is.
pub fn start() {
    ON.store(true, Ordering::Relaxed);
}

/// What was measured, by operation.
pub fn entries() -> Vec<(&'static str, Entry)> {
    let entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    entries
        .iter()
        .map(|(&name, &entry)| (name, entry))
        .collect()
}

/// Measures an operation until the value is dropped.
#[must_use]
pub(crate) fn time(name: &'static str, flops: f64) -> Option<Timed> {
    ON.load(Ordering::Relaxed).then(|| Timed {
        name,
        flops,
        since: Instant::now(),
    })
}

/// An operation under way.
#[derive(Debug)]
pub(crate) struct Timed {
    name: &'static str,
    flops: f64,
    since: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs_f64();
        let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(self.name).or_default();
        entry.calls += 1;
        entry.seconds += seconds;
        entry.flops += self.flops;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_counted_once_started() {
        drop(time("profile-test", 1.0));
        start();
        drop(time("profile-test", 2.0));
        drop(time("profile-test", 3.0));
        let (_, entry) = entries()
            .into_iter()
            .find(|(name, _)| *name == "profile-test")
            .expect("it ran");
        assert_eq!((entry.calls, entry.flops), (2, 5.0));
    }
}
