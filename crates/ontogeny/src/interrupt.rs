//! Ctrl-C: the first asks the work to save itself and stop, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// Flags of the work in progress that want to know of an interruption.
static WATCHERS: Mutex<Vec<Arc<AtomicBool>>> = Mutex::new(Vec::new());
static INSTALLED: Once = Once::new();
static ASKED: AtomicBool = AtomicBool::new(false);

/// Sets `flag` at the first Ctrl-C (or SIGTERM); the second ends the process with 130.
pub(crate) fn watch(flag: Arc<AtomicBool>) {
    if ASKED.load(Ordering::SeqCst) {
        flag.store(true, Ordering::SeqCst);
    }
    WATCHERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(flag);
    INSTALLED.call_once(|| {
        // Where no handler can be installed, Ctrl-C ends the process; a killed run resumes too.
        let _ = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                restore_terminal();
                std::process::exit(130);
            }
            for flag in WATCHERS
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
            {
                flag.store(true, Ordering::SeqCst);
            }
        });
    });
}

/// Whether Ctrl-C was pressed.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Shows the cursor and resets colours; harmless where nothing was changed.
pub(crate) fn restore_terminal() {
    use std::io::IsTerminal as _;
    if std::io::stderr().is_terminal() {
        let _ = crossterm::terminal::disable_raw_mode();
        let _ = crossterm::execute!(
            std::io::stderr(),
            crossterm::cursor::Show,
            crossterm::style::ResetColor
        );
    }
}
