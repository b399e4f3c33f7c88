//! What is known of the work in progress, as its events have told it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use artifact::Event;

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not begun.
    Waiting,
    /// At work.
    Running,
    /// Done in this run.
    Done,
    /// Found finished in the store.
    Reused,
    /// Not needed; the remark says why.
    Skipped,
    /// Ended badly.
    Failed,
    /// Stopped by the user; what it did is saved.
    Interrupted,
}

/// One line of the stage list.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) mark: Mark,
    pub(super) remark: String,
    pub(super) begun: Option<Instant>,
    pub(super) seconds: f64,
}

/// How far the current stage's work is, and how fast it goes.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    pub(super) unit: &'static str,
    /// Recent (time, done), for a rate that follows the machine.
    recent: VecDeque<(Instant, u64)>,
}

impl Pace {
    const WINDOW: Duration = Duration::from_secs(15);

    fn new(done: u64, total: Option<u64>, unit: &'static str) -> Self {
        Self {
            done,
            total,
            unit,
            recent: VecDeque::from([(Instant::now(), done)]),
        }
    }

    fn advance(&mut self, done: u64, total: Option<u64>) {
        let now = Instant::now();
        (self.done, self.total) = (done, total);
        self.recent.push_back((now, done));
        while self.recent.len() > 2
            && self
                .recent
                .front()
                .is_some_and(|(at, _)| now - *at > Self::WINDOW)
        {
            self.recent.pop_front();
        }
    }

    /// Units a second over the last seconds.
    pub(super) fn rate(&self) -> Option<f64> {
        let ((began, from), (ended, to)) = (*self.recent.front()?, *self.recent.back()?);
        let seconds = (ended - began).as_secs_f64();
        (seconds > 0.2 && to > from).then(|| (to - from) as f64 / seconds)
    }

    /// Seconds until `total` at the present rate.
    pub(super) fn remaining(&self) -> Option<f64> {
        Some(self.total?.saturating_sub(self.done) as f64 / self.rate()?)
    }

    /// The share done, in 0..=1.
    pub(super) fn share(&self) -> Option<f64> {
        self.total
            .filter(|&total| total > 0)
            .map(|total| (self.done as f64 / total as f64).min(1.0))
    }
}

/// Everything the display draws.
#[derive(Debug)]
pub(super) struct State {
    pub(super) title: String,
    pub(super) began: Instant,
    pub(super) planned: Option<f64>,
    pub(super) stages: Vec<Stage>,
    /// What the room says it is doing.
    pub(super) detail: String,
    pub(super) pace: Option<Pace>,
    /// (step, nats per token) of the current training stage.
    pub(super) loss: Vec<(f64, f64)>,
    /// (step, bits per byte) on the validation split.
    pub(super) validation: Vec<(f64, f64)>,
    /// (stage, step, tokens a second) over the whole command, for the report.
    pub(super) throughput: Vec<(String, f64, f64)>,
    /// The latest value of every metric, in the order first seen.
    pub(super) metrics: Vec<(&'static str, f64)>,
    pub(super) sample: Option<(u64, String)>,
    /// Lines not yet shown.
    pub(super) notes: VecDeque<String>,
}

impl State {
    pub(super) fn new(title: &str, stages: &[&str]) -> Self {
        let stages = stages.iter().map(|name| Stage {
            name: (*name).to_owned(),
            mark: Mark::Waiting,
            remark: String::new(),
            begun: None,
            seconds: 0.0,
        });
        Self {
            title: title.to_owned(),
            began: Instant::now(),
            planned: None,
            stages: stages.collect(),
            detail: String::new(),
            pace: None,
            loss: Vec::new(),
            validation: Vec::new(),
            throughput: Vec::new(),
            metrics: Vec::new(),
            sample: None,
            notes: VecDeque::new(),
        }
    }

    /// The stage at work.
    pub(super) fn current(&self) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.mark == Mark::Running)
    }

    pub(super) fn mark(&mut self, name: &str, mark: Mark, remark: &str) {
        let Some(stage) = self.stages.iter_mut().find(|stage| stage.name == name) else {
            return;
        };
        stage.mark = mark;
        remark.clone_into(&mut stage.remark);
        match mark {
            Mark::Running => {
                stage.begun = Some(Instant::now());
                self.detail.clear();
                self.pace = None;
                self.metrics.clear();
                self.loss.clear();
                self.validation.clear();
            }
            _ => {
                stage.seconds = stage
                    .begun
                    .map_or(0.0, |begun| begun.elapsed().as_secs_f64());
                let line = line(stage);
                self.notes.push_back(line);
            }
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Stage { stage, detail } => {
                self.detail = if detail.is_empty() {
                    stage.clone()
                } else {
                    detail.clone()
                };
                self.pace = None;
                self.loss.clear();
                self.validation.clear();
            }
            Event::Tick { done, total, unit } => match &mut self.pace {
                Some(pace) if pace.unit == *unit && pace.done <= *done => {
                    pace.advance(*done, *total);
                }
                pace => *pace = Some(Pace::new(*done, *total, unit)),
            },
            Event::Metric { name, step, value } => self.metric(name, *step, *value),
            Event::Sample { step, text } => self.sample = Some((*step, text.clone())),
            Event::Note { text } => self.notes.push_back(text.clone()),
            Event::StageDone { .. } => self.pace = None,
        }
    }

    fn metric(&mut self, name: &'static str, step: u64, value: f64) {
        match self.metrics.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.metrics.push((name, value)),
        }
        let point = (step as f64, value);
        match name {
            "loss" if value.is_finite() => self.loss.push(point),
            "tokens_per_second" if value.is_finite() => {
                let stage = self
                    .current()
                    .map(|stage| stage.name.clone())
                    .unwrap_or_default();
                self.throughput.push((stage, point.0, value));
            }
            "validation_bits_per_byte" if value.is_finite() => self.validation.push(point),
            _ => {}
        }
    }
}

/// A finished stage in one line.
fn line(stage: &Stage) -> String {
    let time = crate::quantity::duration(stage.seconds);
    let remark = if stage.remark.is_empty() {
        String::new()
    } else {
        format!("  {}", stage.remark)
    };
    match stage.mark {
        Mark::Done => format!("✓ {:<10} {time:>12}{remark}", stage.name),
        Mark::Reused => format!("= {:<10} {:>12}{remark}", stage.name, "as before"),
        Mark::Skipped => format!("– {:<10} {:>12}{remark}", stage.name, "skipped"),
        Mark::Failed => format!("✗ {:<10} {time:>12}{remark}", stage.name),
        Mark::Interrupted => format!("‖ {:<10} {time:>12}  saved", stage.name),
        Mark::Waiting | Mark::Running => format!("  {:<10}{remark}", stage.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_move_the_state() {
        let mut state = State::new("quickstart", &["data", "pretrain"]);
        state.mark("data", Mark::Running, "");
        state.mark("data", Mark::Done, "4,210 documents");
        state.mark("pretrain", Mark::Running, "");
        state.take(&Event::Tick {
            done: 10,
            total: Some(40),
            unit: "steps",
        });
        state.take(&Event::Metric {
            name: "loss",
            step: 10,
            value: 2.5,
        });
        state.take(&Event::Metric {
            name: "loss",
            step: 11,
            value: 2.25,
        });
        state.take(&Event::Sample {
            step: 10,
            text: "a reef".into(),
        });
        assert_eq!(
            state.current().map(|stage| stage.name.as_str()),
            Some("pretrain")
        );
        assert_eq!(state.pace.as_ref().and_then(Pace::share), Some(0.25));
        assert_eq!(state.metrics, [("loss", 2.25)]);
        assert_eq!(state.loss.len(), 2);
        assert!(
            state.notes[0].starts_with("✓ data") && state.notes[0].ends_with("4,210 documents")
        );
    }

    #[test]
    fn a_stage_that_starts_over_gets_a_new_pace() {
        let mut state = State::new("x", &["a"]);
        state.take(&Event::Tick {
            done: 9,
            total: Some(10),
            unit: "steps",
        });
        state.take(&Event::Tick {
            done: 1,
            total: Some(5),
            unit: "questions",
        });
        assert_eq!(
            state.pace.map(|pace| (pace.done, pace.unit)),
            Some((1, "questions"))
        );
    }
}
