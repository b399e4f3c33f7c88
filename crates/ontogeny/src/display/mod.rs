//! What a person sees while a command works: a live panel on a terminal, plain lines elsewhere.
//!
//! Everything here goes to stderr; results belong on stdout. Rooms report through
//! [`artifact::Progress`]; this module keeps the [`state::State`] those events describe and
//! draws it, [`live`] with ratatui or [`plain`] line by line.

mod live;
mod plain;
mod state;

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use artifact::{Event, Progress};

pub(crate) use state::Mark;
use state::State;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A panel that redraws itself.
    Live,
    /// Lines.
    Plain,
    /// Nothing.
    Silent,
}

impl Mode {
    /// Live on a terminal, plain elsewhere, silent when asked.
    pub(crate) fn choose(quiet: bool) -> Self {
        if quiet {
            Self::Silent
        } else if std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
        {
            Self::Live
        } else {
            Self::Plain
        }
    }
}

/// The display of one command; dropping it leaves the terminal as it was found.
pub(crate) struct Display {
    state: Arc<Mutex<State>>,
    progress: Progress,
    finished: Arc<AtomicBool>,
    painter: Option<JoinHandle<()>>,
}

impl Display {
    /// Starts showing the work called `title`, which passes through `stages` in order.
    pub(crate) fn start(mode: Mode, title: &str, stages: &[&str]) -> Self {
        let state = Arc::new(Mutex::new(State::new(title, stages)));
        let finished = Arc::new(AtomicBool::new(false));
        let sink = Arc::clone(&state);
        let progress = Progress::new(move |event: &Event| {
            sink.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(event);
        });
        let painter = (mode != Mode::Silent).then(|| {
            let (state, finished) = (Arc::clone(&state), Arc::clone(&finished));
            std::thread::spawn(move || paint(mode, &state, &finished))
        });
        crate::interrupt::watch(progress.interrupt_flag());
        Self {
            state,
            progress,
            finished,
            painter,
        }
    }

    /// Where the rooms report to.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Tells how long the whole is planned to take.
    pub(crate) fn planned(&self, seconds: f64) {
        self.state().planned = Some(seconds);
    }

    /// Marks a stage as begun, finished, reused or skipped, with a word on it.
    pub(crate) fn mark(&self, stage: &str, mark: Mark, remark: &str) {
        self.state().mark(stage, mark, remark);
    }

    /// Tokens a second of a stage, by step.
    pub(crate) fn throughput(&self, stage: &str) -> Vec<(f64, f64)> {
        let state = self.state();
        state
            .throughput
            .iter()
            .filter(|(name, ..)| name == stage)
            .map(|(_, step, rate)| (*step, *rate))
            .collect()
    }

    /// Draws the last state and gives the terminal back.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&mut self) {
        self.finished.store(true, Ordering::SeqCst);
        if let Some(painter) = self.painter.take() {
            // A painter that panicked has nothing left to draw; the work itself is unharmed.
            let _ = painter.join();
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.stop();
    }
}

fn paint(mode: Mode, state: &Mutex<State>, finished: &AtomicBool) {
    let mut panel = if mode == Mode::Live {
        live::Panel::open(state).ok()
    } else {
        None
    };
    let mut log = plain::Log::new();
    loop {
        let last = finished.load(Ordering::SeqCst);
        {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut panel {
                Some(open) => {
                    if open.draw(&mut state, last).is_err() {
                        panel = None;
                    }
                }
                None => log.write(&mut state),
            }
        }
        if last {
            return;
        }
        std::thread::sleep(Duration::from_millis(120));
    }
}
