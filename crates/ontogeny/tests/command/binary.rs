//! The built command, run as a user runs it: a home of its own, no terminal, nothing from the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a command ended with.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The one JSON object on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!(
                "{error} in stdout:\n{}\nstderr:\n{}",
                self.stdout, self.stderr
            )
        })
    }

    /// The same, when the command must have ended well.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(
            self.code,
            Some(0),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self.json()
    }
}

/// The command with its home and arguments, not yet started.
pub(crate) fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ontogeny"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ONTOGENY_")) {
        command.env_remove(name);
    }
    command
        .env("COLUMNS", "100")
        .env("ONTOGENY_HOME", home)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(home: &Path, arguments: &[&str]) -> Ended {
    ended(
        command(home, arguments)
            .output()
            .expect("the command starts"),
    )
}

/// What an ended process left.
pub(crate) fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8 output");
    Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The recipe of a model that is raised in seconds.
pub(crate) fn tiny() -> PathBuf {
    std::env::current_dir()
        .expect("cargo runs tests in their package's folder")
        .join("tests/command/tiny.toml")
}

/// Writes the folder of a model that knows nothing, made in no time.
pub(crate) fn untrained(folder: &Path, seed: u64) {
    std::fs::create_dir_all(folder).expect("made");
    let text = "The reef is deep and the reef is wide, 12 fish swim in the reef. ".repeat(40);
    let config = tokenizer::TrainConfig {
        vocab_size: 280,
        min_frequency: 2,
    };
    let silent = artifact::Progress::silent();
    let tokenizer = tokenizer::Tokenizer::train([text].into_iter(), &config, &silent);
    let decoder = models::decoder::Decoder::init(
        &models::decoder::Config::from_depth(1, 288, 128),
        models::InitialWeights::Normal,
        tensor::Precision::F32,
        artifact::Seed(seed),
        &tensor::Device::flex(),
    );
    hub::save(folder, &decoder, &tokenizer.expect("it trains")).expect("it is saved");
}

/// A path as an argument.
pub(crate) fn word(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
