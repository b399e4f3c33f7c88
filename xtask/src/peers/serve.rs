//! Answering many at once, beside llama.cpp's server, on the same file and with the same requests.

mod load;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::inference::{llama, model, server};
use crate::steps::{cargo, root, run as run_step};
use load::{Load, Measured};

/// A server that has not answered by then is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tokens of the longest prompt with its answer, and a little room.
const CONTEXT: usize = 1_152;

/// Both servers' programs and what they serve.
struct Servers {
    ours: PathBuf,
    theirs: PathBuf,
    file: PathBuf,
}

/// Runs both servers in turns at each number of streams and prints what clients saw.
///
/// # Errors
/// A download, a build or a request fails.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(super) fn run(streams: &[usize], rounds: usize, requests: usize) -> anyhow::Result<()> {
    let servers = Servers {
        theirs: server()?,
        file: model(&llama()?, "Q4_0")?,
        ours: built()?,
    };
    let tokens = servers.text()?;
    println!(
        "{:>7} {:<10} {:>9} {:>12} {:>12} {:>14}",
        "streams", "server", "tokens/s", "first p50 s", "first p99 s", "from start s"
    );
    for &streams in streams {
        let load = Load::new(&tokens, streams, requests)?;
        let (mut ours, mut theirs) = (Measured::default(), Measured::default());
        for _ in 0..rounds.max(1) {
            for (mine, all) in [(true, &mut ours), (false, &mut theirs)] {
                let running = servers.start(mine, streams)?;
                all.from_start.push(running.first_token()?);
                load.run(&running.url, &running.name()?, all)?;
            }
        }
        for (name, measured) in [("ontogeny", &ours), ("llama.cpp", &theirs)] {
            println!(
                "{streams:>7} {name:<10} {:>9.1} {:>12.3} {:>12.3} {:>14.3}",
                measured.rate(),
                measured.first_token(0.50),
                measured.first_token(0.99),
                measured.start(),
            );
        }
        let ratio = |part: fn(&Measured) -> f64| part(&ours) / part(&theirs);
        println!(
            "{streams:>7} {:<10} {:>9.2} {:>12.2} {:>12.2} {:>14.2}",
            "ratio",
            ratio(Measured::rate),
            ratio(|measured| measured.first_token(0.50)),
            ratio(|measured| measured.first_token(0.99)),
            ratio(Measured::start),
        );
    }
    Ok(())
}

/// Our binary, built now: `cargo run` would count into the time from the start.
fn built() -> anyhow::Result<PathBuf> {
    run_step(&mut cargo(&["build", "--release", "-p", "ontogeny"]))?;
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => root().join(target),
        None => root().join("target"),
    };
    let binary = target.join("release/ontogeny");
    if !binary.is_file() {
        bail!("no {}", binary.display());
    }
    Ok(binary)
}

impl Servers {
    fn start(&self, ours: bool, streams: usize) -> anyhow::Result<Running> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let home = tempfile::tempdir()?;
        let mut command = if ours {
            let mut command = Command::new(&self.ours);
            command
                .arg("serve")
                .arg(&self.file)
                .args(["--bind", &format!("127.0.0.1:{port}")])
                .args(["--slots", &streams.to_string()])
                .arg("--no-store-prompts")
                .arg("--home")
                .arg(home.path());
            command
        } else {
            let mut command = Command::new(&self.theirs);
            command
                .arg("-m")
                .arg(&self.file)
                .args(["--host", "127.0.0.1", "--port", &port.to_string()])
                .args(["-np", &streams.to_string()])
                .args(["-c", &(streams * CONTEXT).to_string()])
                .args(["-ngl", "0", "-fa", "on"]);
            command
        };
        let began = Instant::now();
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Running {
            child,
            began,
            url: format!("http://127.0.0.1:{port}"),
            _home: home,
        })
    }

    /// A natural text as tokens: this project's own documents, by the peer's tokenizer.
    fn text(&self) -> anyhow::Result<Vec<u64>> {
        let mut text = String::new();
        for name in ["docs/log.md", "docs/benchmarks.md", "ARCHITECTURE.md"] {
            text += &read(&root().join(name))?;
        }
        let running = self.start(false, 1)?;
        running.first_token()?;
        let told = load::post(
            &format!("{}/tokenize", running.url),
            &json!({ "content": text }),
        )?;
        let tokens = told["tokens"].as_array().context("no tokens")?;
        tokens
            .iter()
            .map(|token| token.as_u64().context("a token that is no number"))
            .collect()
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A server, ended when dropped.
struct Running {
    child: Child,
    began: Instant,
    url: String,
    _home: tempfile::TempDir,
}

impl Running {
    /// Seconds from the process's start to its first token.
    fn first_token(&self) -> anyhow::Result<f64> {
        let body = json!({"model": "any", "prompt": "Once", "max_tokens": 1, "temperature": 0});
        while self.began.elapsed() < PATIENCE {
            let body = match self.name() {
                Ok(name) => {
                    let mut body = body.clone();
                    body["model"] = json!(name);
                    body
                }
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
            };
            if load::post(&format!("{}/v1/completions", self.url), &body).is_ok() {
                return Ok(self.began.elapsed().as_secs_f64());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} did not answer in {} s", self.url, PATIENCE.as_secs())
    }

    /// What the model is called.
    fn name(&self) -> anyhow::Result<String> {
        let url = format!("{}/v1/models", self.url);
        let text = ureq::get(url).call()?.body_mut().read_to_string()?;
        let models: Value = serde_json::from_str(&text)?;
        let name = models["data"][0]["id"].as_str().context("no model")?;
        Ok(name.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
