//! Everything a change must pass before it lands.

use std::process::{Command, Stdio};

use crate::steps::{self, Steps, cargo, root};

/// Runs every check, prints the time of each, and fails when one failed.
pub(crate) fn run(without_tests: bool) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    steps.step("format", || {
        steps::run(&mut cargo(&["fmt", "--all", "--check"]))
    });
    steps.step("lints", || {
        steps::run(&mut cargo(&[
            "clippy",
            "--workspace",
            "--release",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    });
    if installed("cargo-deny") {
        steps.step("licences", || {
            steps::run(deny().args(["bans", "licenses", "sources"]))
        });
        match advisories() {
            Some(outcome) => steps.step("advisories", || outcome),
            None => steps.left_out("advisories", "their database cannot be fetched from here"),
        }
    } else {
        steps.left_out(
            "licences, advisories",
            "cargo-deny is not installed (cargo install cargo-deny --locked)",
        );
    }
    steps.step("documentation", || {
        steps::run(
            cargo(&["doc", "--workspace", "--no-deps", "--release"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    });
    // The arrows between the rooms are a test of this package, so they are among these.
    if !without_tests {
        steps.step("tests", || {
            steps::run(&mut cargo(&["test", "--release", "--workspace"]))
        });
    }
    steps.finish()
}

fn deny() -> Command {
    let mut command = Command::new("cargo-deny");
    command
        .args(["--log-level", "warn", "check"])
        .current_dir(root());
    command
}

/// Whether a dependency has a known vulnerability; nothing when the database is out of reach.
fn advisories() -> Option<anyhow::Result<()>> {
    let output = match deny().arg("advisories").output() {
        Ok(output) => output,
        Err(error) => return Some(Err(error.into())),
    };
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Some(Ok(()));
    }
    (!told.contains("failed to fetch advisory database"))
        .then(|| Err(anyhow::anyhow!("{}", told.trim())))
}

/// True when a program can be started.
fn installed(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}
