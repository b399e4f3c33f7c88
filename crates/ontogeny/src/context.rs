//! What every command works with: the store, the device, and how it shows what it does.

use std::path::PathBuf;

use artifact::Store;

use crate::cli::Global;
use crate::display::{Display, Mode};
use crate::refusal::Refusal;

/// The circumstances of one command.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Whether the answer is JSON.
    pub(crate) json: bool,
    /// Whether progress is hidden.
    pub(crate) quiet: bool,
    /// Where to compute.
    pub(crate) device: tensor::Device,
    /// The device's name, as it was asked for.
    pub(crate) device_name: String,
    /// Where artifacts live.
    pub(crate) home: PathBuf,
}

impl Context {
    /// Takes the global flags and sets the threads.
    ///
    /// # Errors
    /// A device that is unknown or not built in; no place for artifacts.
    pub(crate) fn new(global: &Global) -> anyhow::Result<Self> {
        if let Some(threads) = global.threads {
            crate::machine::set_threads(threads.into());
        }
        let device = tensor::device::parse(&global.device)?;
        let home = match &global.home {
            Some(home) => home.clone(),
            None => default_home().ok_or_else(|| {
                Refusal::usage("home", "there is no folder for application data")
                    .hint("name one with --home DIR or ONTOGENY_HOME")
            })?,
        };
        Ok(Self {
            json: global.json,
            quiet: global.quiet,
            device,
            device_name: global.device.clone(),
            home,
        })
    }

    /// Opens the artifact store.
    ///
    /// # Errors
    /// When its folders cannot be made.
    pub(crate) fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.home)?)
    }

    /// Starts the display of some work.
    pub(crate) fn display(&self, title: &str, stages: &[&str]) -> Display {
        Display::start(Mode::choose(self.quiet || self.json), title, stages)
    }
}

/// `~/.local/share/ontogeny`, `~/Library/Application Support/ontogeny` or `%LOCALAPPDATA%\ontogeny`.
fn default_home() -> Option<PathBuf> {
    let folder = |variable: &str| {
        std::env::var_os(variable)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let base = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        folder("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        folder("XDG_DATA_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("ontogeny"))
}
