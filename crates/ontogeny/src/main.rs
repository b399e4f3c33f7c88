//! The `ontogeny` command: flags become a recipe, a recipe becomes stages, and the terminal shows them.
//!
//! Read on in [`life`]: the seven stages in order, on one screen.

mod cli;
mod commands;
mod context;
mod display;
mod failure;
mod interrupt;
mod journal;
mod judgement;
mod life;
mod machine;
mod output;
mod plan;
mod profile;
mod quantity;
mod recipe;
mod refusal;
mod remark;
mod report;
mod sources;
mod telling;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use cli::Cli;
use commands::serve::Log;
use context::Context;
use refusal::{Exit, Refusal};

/// Page faults of large tensors are a visible share of a training step with the system's allocator; the binary is
/// measured with this one in place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let wants_json = std::env::args().any(|argument| argument == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error, wants_json),
    };
    log_to_stderr(cli.command.log());
    let profile = cli.global.profile.then(profile::Profile::start);
    let outcome = Context::new(&cli.global).and_then(|context| cli.command.execute(&context));
    if let Some(profile) = profile {
        interrupt::restore_terminal();
        // Printing to a closed pipe is nobody's fault.
        let _ = writeln!(std::io::stderr(), "{}", profile.finish());
    }
    match outcome {
        Ok(output) => {
            if cli.global.json {
                write_stdout(&format!("{:#}", output.json));
            } else if !output.text.is_empty() {
                write_stdout(&output.text);
            }
            output
                .exit
                .map_or(ExitCode::SUCCESS, |exit| ExitCode::from(exit as u8))
        }
        Err(error) => refuse(&failure::refusal(&error), wants_json),
    }
}

/// Logs of the rooms, on stderr, by the level in `ONTOGENY_LOG` (warnings by default, and what a server does where its log
/// is asked for).
fn log_to_stderr(form: Option<Log>) {
    let level = if form.is_some() {
        "warn,serve=info"
    } else {
        "warn"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("ONTOGENY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match form {
        Some(Log::Json) => log.json().flatten_event(true).with_span_list(false).init(),
        Some(Log::Text) | None => log.compact().init(),
    }
}

fn misused(error: &clap::Error, json: bool) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) || !json
    {
        // Printing to a closed pipe is nobody's fault.
        let _ = error.print();
        return ExitCode::from(error.exit_code().clamp(0, 255) as u8);
    }
    let whole = error.render().to_string();
    let message = whole
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    refuse(
        &Refusal::usage("usage", message).hint("see ontogeny --help"),
        true,
    )
}

fn refuse(refusal: &Refusal, json: bool) -> ExitCode {
    if json {
        write_stdout(&format!("{:#}", refusal.to_json()));
    } else {
        interrupt::restore_terminal();
        let mut stderr = std::io::stderr().lock();
        let label = if refusal.exit == Exit::Interrupted {
            "stopped"
        } else {
            "error"
        };
        let _ = writeln!(stderr, "{label}: {}", refusal.message);
        if let Some(hint) = &refusal.hint {
            let _ = writeln!(stderr, "  → {hint}");
        }
    }
    ExitCode::from(refusal.exit as u8)
}

fn write_stdout(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that went away (`| head`) is no failure of the command.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush());
}
