//! What a run did, stage by stage: begun, finished or found finished, skipped and why.

use std::collections::BTreeSet;
use std::time::Instant;

use artifact::{Artifact, Id, Progress, Store};
use serde_json::{Value, json};

use crate::display::{Display, Mark};

/// One stage of a run.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) stage: &'static str,
    /// Seconds in this run.
    pub(crate) seconds: f64,
    /// What it made or found.
    pub(crate) artifact: Option<Artifact>,
    /// Whether an earlier result was used again.
    pub(crate) reused: bool,
    /// Why it was not needed.
    pub(crate) skipped: Option<String>,
    /// What it made, in a few words.
    pub(crate) remark: String,
}

/// The stages of one run and the display they are shown on.
pub(crate) struct Journal {
    display: Display,
    known: BTreeSet<Id>,
    entries: Vec<Entry>,
    began: Instant,
}

impl Journal {
    /// Opens the journal of a run; what the store holds already counts as reused.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) fn open(display: Display, store: &Store) -> anyhow::Result<Self> {
        let known = store
            .list()?
            .into_iter()
            .map(|artifact| artifact.id)
            .collect();
        Ok(Self {
            display,
            known,
            entries: Vec::new(),
            began: Instant::now(),
        })
    }

    /// Does one stage; `remark` says in a few words what it made.
    ///
    /// # Errors
    /// The stage's own.
    pub(crate) fn stage(
        &mut self,
        stage: &'static str,
        work: impl FnOnce(&Progress) -> anyhow::Result<Artifact>,
        remark: impl FnOnce(&Artifact) -> String,
    ) -> anyhow::Result<Artifact> {
        self.display.mark(stage, Mark::Running, "");
        let began = Instant::now();
        let artifact = work(self.display.progress()).inspect_err(|_| {
            let mark = if crate::interrupt::asked() {
                Mark::Interrupted
            } else {
                Mark::Failed
            };
            self.display.mark(stage, mark, "");
        })?;
        let reused = self.known.contains(&artifact.id);
        let remark = remark(&artifact);
        self.display.mark(
            stage,
            if reused { Mark::Reused } else { Mark::Done },
            &remark,
        );
        self.entries.push(Entry {
            stage,
            seconds: began.elapsed().as_secs_f64(),
            artifact: Some(artifact.clone()),
            reused,
            skipped: None,
            remark,
        });
        Ok(artifact)
    }

    /// Tells something beside the stages.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.display.progress().note(text);
    }

    /// Says that a stage is not needed, and why.
    pub(crate) fn skip(&mut self, stage: &'static str, why: &str) {
        self.display.mark(stage, Mark::Skipped, why);
        self.entries.push(Entry {
            stage,
            seconds: 0.0,
            artifact: None,
            reused: false,
            skipped: Some(why.to_owned()),
            remark: why.to_owned(),
        });
    }

    /// Records a decision that made no artifact.
    pub(crate) fn decide(&mut self, stage: &'static str, passed: bool, remark: &str) {
        self.display.mark(
            stage,
            if passed { Mark::Done } else { Mark::Failed },
            remark,
        );
        self.entries.push(Entry {
            stage,
            seconds: 0.0,
            artifact: None,
            reused: false,
            skipped: None,
            remark: remark.to_owned(),
        });
    }

    /// Seconds since the run began.
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Tokens a second of a training stage of this run, by step.
    pub(crate) fn throughput(&self, stage: &str) -> Vec<(f64, f64)> {
        self.display.throughput(stage)
    }

    /// Gives the terminal back.
    pub(crate) fn close(self) -> Vec<Entry> {
        self.display.finish();
        self.entries
    }
}

/// The `stages` of `run --json`.
pub(crate) fn to_json(entries: &[Entry]) -> Value {
    let stages = entries.iter().map(|entry| {
        json!({
            "stage": entry.stage,
            "seconds": entry.seconds,
            "artifact": entry.artifact.as_ref().map(|artifact| &artifact.id),
            "reused": entry.reused,
            "skipped": entry.skipped,
        })
    });
    stages.collect()
}
