//! Progress events: what a stage says while it works, for the terminal, the console and the logs alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::error::{Error, Result};

/// One event. Serialised with an `event` field naming the kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A stage began.
    Stage {
        /// Its name: `data`, `tokenizer`, `pretrain`, …
        stage: String,
        /// What it works on, for a person.
        detail: String,
    },
    /// Work moved on inside the running stage.
    Tick {
        /// Units done.
        done: u64,
        /// Units in all, where known.
        total: Option<u64>,
        /// What is counted: `bytes`, `documents`, `steps`, `tokens`.
        unit: &'static str,
    },
    /// A measured value.
    Metric {
        /// `loss`, `learning_rate`, `tokens_per_second`, `gradient_norm`, `validation_bits_per_byte`,
        /// `reward_margin` or `accuracy`.
        name: &'static str,
        /// The step it belongs to.
        step: u64,
        /// The value.
        value: f64,
    },
    /// Text the model wrote as it learns.
    Sample {
        /// The step it belongs to.
        step: u64,
        /// The text.
        text: String,
    },
    /// Something a person should know, such as files that were skipped.
    Note {
        /// The text.
        text: String,
    },
    /// A stage ended.
    StageDone {
        /// Its name.
        stage: String,
        /// Wall-clock seconds it took.
        seconds: f64,
        /// The artifact it made, where it made one.
        artifact: Option<String>,
        /// Whether an earlier result was used again.
        reused: bool,
    },
}

/// Where events go, and whether the user asked to stop. Clones share both.
#[derive(Clone)]
pub struct Progress {
    sink: Arc<dyn Fn(&Event) + Send + Sync>,
    interrupt: Arc<AtomicBool>,
}

impl Progress {
    /// Sends every event to `sink`, which may be called from any thread.
    pub fn new(sink: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            sink: Arc::new(sink),
            interrupt: Arc::default(),
        }
    }

    /// Sends events nowhere.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Sends one event.
    pub fn emit(&self, event: Event) {
        (self.sink)(&event);
    }

    /// A stage begins.
    pub fn stage(&self, stage: impl Into<String>, detail: impl Into<String>) {
        self.emit(Event::Stage {
            stage: stage.into(),
            detail: detail.into(),
        });
    }

    /// `done` of `total` units are done.
    pub fn tick(&self, done: u64, total: Option<u64>, unit: &'static str) {
        self.emit(Event::Tick { done, total, unit });
    }

    /// A measured value at a step.
    pub fn metric(&self, name: &'static str, step: u64, value: f64) {
        self.emit(Event::Metric { name, step, value });
    }

    /// Text written by the model at a step.
    pub fn sample(&self, step: u64, text: impl Into<String>) {
        self.emit(Event::Sample {
            step,
            text: text.into(),
        });
    }

    /// A remark for the user.
    pub fn note(&self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    /// A stage ended.
    pub fn stage_done(
        &self,
        stage: impl Into<String>,
        seconds: f64,
        artifact: Option<String>,
        reused: bool,
    ) {
        self.emit(Event::StageDone {
            stage: stage.into(),
            seconds,
            artifact,
            reused,
        });
    }

    /// Whether the user asked to stop. Stages look at every step, save, and return [`Error::Interrupted`].
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// `Err(Error::Interrupted)` once the user asked to stop: `progress.check()?` in a loop that has nothing to save.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        if self.interrupted() {
            Err(Error::Interrupted)
        } else {
            Ok(())
        }
    }

    /// The flag that a Ctrl-C handler sets.
    #[must_use]
    pub fn interrupt_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupt)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::silent()
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress")
            .field("interrupted", &self.interrupted())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn events_arrive_in_order_with_stable_names() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&seen);
        let progress = Progress::new(move |event| {
            copy.lock()
                .unwrap()
                .push(serde_json::to_value(event).unwrap());
        });
        progress.stage("data", "3 files");
        progress.tick(1, Some(3), "documents");
        progress.stage_done("data", 0.5, None, true);
        let names: Vec<_> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|event| event["event"].clone())
            .collect();
        assert_eq!(names, ["stage", "tick", "stage_done"]);
    }

    #[test]
    fn interrupt_is_shared_by_clones() {
        let progress = Progress::silent();
        let clone = progress.clone();
        assert!(clone.check().is_ok());
        progress.interrupt_flag().store(true, Ordering::Relaxed);
        assert!(matches!(clone.check(), Err(Error::Interrupted)));
    }
}
