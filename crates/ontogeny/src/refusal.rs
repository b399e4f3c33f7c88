//! How a command ends when it does not end well: one message, its remedy, one exit code.

use std::fmt;

/// The exit codes of the command line, as `cli.md` fixes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed.
    Failed = 1,
    /// The command or its recipe was wrong; nothing was started.
    Usage = 2,
    /// A gate or a target was not met; the work itself is done and kept.
    Gate = 3,
    /// Interrupted; the work so far is saved.
    Interrupted = 130,
}

/// A command's unhappy end.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// A stable word for programs: `usage`, `recipe`, `data`, `store`, `budget`, `gate`, …
    pub(crate) kind: &'static str,
    /// What happened, in one sentence.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The process's exit code.
    pub(crate) exit: Exit,
}

impl Refusal {
    /// A failure of the work itself (exit code 1).
    pub(crate) fn failed(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            exit: Exit::Failed,
        }
    }

    /// A wrong command or recipe (exit code 2).
    pub(crate) fn usage(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            exit: Exit::Usage,
        }
    }

    /// The same refusal with its remedy.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The object `--json` prints: `{"error": {"kind", "message", "hint"}}`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": { "kind": self.kind, "message": self.message, "hint": self.hint } })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
