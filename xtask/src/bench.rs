//! The kernels' benches against their references, and against what they reached before.
//!
//! A kernel's time says little on a machine that others share; its ratio to the reference in the same run says more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::steps::{cargo, root, run as run_step};

/// Ratios reached before: for each machine, for each kernel.
const STORED: &str = "crates/kernels/benches/ratios.json";
/// The share of its ratio that a kernel may lose before it is reported.
const TOLERANCE: f64 = 0.1;

/// Runs the benches whose name contains `filter`, prints each kernel's ratio to its reference, and compares with the
/// stored ones, or stores them.
///
/// # Errors
/// A bench fails, or a kernel lost more than a tenth of its stored ratio.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn run(filter: Option<&str>, store: bool) -> anyhow::Result<()> {
    let measured = tempfile::tempdir()?;
    let mut bench = cargo(&["bench", "-p", "kernels", "--bench", "kernels", "--"]);
    bench.args(filter).env("CRITERION_HOME", measured.path());
    run_step(&mut bench)?;
    let found = medians(measured.path())?;
    if found.is_empty() {
        bail!("no kernel's name contains {:?}", filter.unwrap_or_default());
    }
    let path = root().join(STORED);
    let mut stored = read(&path)?;
    let machine = machine();
    println!(
        "{:<28} {:>12} {:>12} {:>8} {:>8}",
        machine, "kernel, µs", "plain, µs", "ratio", "stored"
    );
    let mut lost = Vec::new();
    for (name, [kernel, plain]) in &found {
        let ratio = plain / kernel;
        let before = stored[&machine][name].as_f64();
        let mark = match before {
            Some(before) if ratio < before * (1.0 - TOLERANCE) => {
                lost.push(format!("{name}: {ratio:.1} instead of {before:.1}"));
                "slower"
            }
            Some(before) if ratio > before * (1.0 + TOLERANCE) => "faster",
            _ => "",
        };
        println!(
            "{name:<28} {:>12.2} {:>12.2} {ratio:>8.1} {:>8} {mark}",
            kernel / 1e3,
            plain / 1e3,
            before.map_or_else(String::new, |before| format!("{before:.1}"))
        );
    }
    if store {
        for (name, [kernel, plain]) in &found {
            stored[&machine][name] = json!((plain / kernel * 10.0).round() / 10.0);
        }
        std::fs::write(&path, format!("{stored:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(());
    }
    if stored[&machine].is_null() {
        println!("nothing is stored for this machine: `cargo xtask bench --store` does that");
    }
    if lost.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {} kernels lost more than a tenth of their ratio to the reference:\n  {}",
        lost.len(),
        found.len(),
        lost.join("\n  ")
    )
}

fn read(path: &Path) -> anyhow::Result<Value> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            serde_json::from_str(&text).with_context(|| format!("{} holds no JSON", path.display()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(json!({})),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Median nanoseconds of each kernel and of its reference, from the files that criterion leaves.
fn medians(home: &Path) -> anyhow::Result<BTreeMap<String, [f64; 2]>> {
    let mut found: BTreeMap<String, [f64; 2]> = BTreeMap::new();
    for folder in folders(home)? {
        for (at, side) in ["kernel", "reference"].into_iter().enumerate() {
            let new = folder.join(side).join("new");
            let read = |file: &str| -> anyhow::Result<Value> {
                let path = new.join(file);
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Ok(serde_json::from_str(&text)?)
            };
            if !new.is_dir() {
                continue;
            }
            let name = read("benchmark.json")?;
            let name = name["group_id"].as_str().context("a bench has a group")?;
            let estimates = read("estimates.json")?;
            let median = estimates["median"]["point_estimate"].as_f64();
            found.entry(name.to_owned()).or_default()[at] = median.context("a median")?;
        }
    }
    Ok(found)
}

fn folders(parent: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(parent)
        .with_context(|| format!("criterion left nothing in {}", parent.display()))?;
    let folders = entries.flatten().map(|entry| entry.path());
    Ok(folders.filter(|path| path.is_dir()).collect())
}

/// What the processor calls itself, and the instruction set that was asked for if any: ratios of one say nothing about
/// another.
fn machine() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or(std::env::consts::ARCH, |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    match std::env::var("ONTOGENY_ISA") {
        Ok(isa) => format!("{name}, {isa}"),
        Err(_) => name.to_owned(),
    }
}
