//! Prints two documents, questions and pairs of every kind: `cargo run --release -p nursery --example peek [SEED] [EACH]`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let seed = args.next().map_or(Ok(1), |s| s.parse())?;
    let each: usize = args.next().map_or(Ok(2), |s| s.parse())?;
    let dir = std::env::temp_dir().join(format!("nursery-peek-{}", std::process::id()));
    let world = nursery::World {
        seed,
        documents: 2_000,
        instructions: 1_000,
        ..nursery::World::default()
    };
    nursery::render(&world, &dir)?;
    let mut out = std::io::stdout().lock();
    let mut labels = BTreeMap::new();
    for label in rows(&dir.join("labels.jsonl"))? {
        labels.insert(
            label["id"].to_string(),
            label["defect"].as_str().unwrap_or("").to_string(),
        );
    }
    let mut shown = BTreeMap::<String, usize>::new();
    for row in rows(&dir.join("documents/part-000.jsonl"))? {
        let source = row["source"].as_str().unwrap_or("");
        let group = labels
            .get(&row["id"].to_string())
            .map_or(source, String::as_str)
            .to_string();
        let n = shown.entry(group.clone()).or_default();
        *n += 1;
        if *n <= each {
            writeln!(
                out,
                "=== {group} {}\n{}\n",
                row["id"],
                row["text"].as_str().unwrap_or("")
            )?;
        }
    }
    for file in ["instructions.jsonl", "held_out.jsonl", "preferences.jsonl"] {
        let mut shown = BTreeMap::<String, usize>::new();
        for row in rows(&dir.join(file))? {
            let group = row["kind"]
                .as_str()
                .or(row["flaw"].as_str())
                .unwrap_or("")
                .to_string();
            let n = shown.entry(group.clone()).or_default();
            *n += 1;
            if *n > each {
                continue;
            }
            writeln!(out, "=== {file}: {group}")?;
            for m in row["messages"]
                .as_array()
                .or(row["prompt"].as_array())
                .into_iter()
                .flatten()
            {
                writeln!(
                    out,
                    "[{}] {}",
                    m["role"].as_str().unwrap_or(""),
                    m["content"].as_str().unwrap_or("")
                )?;
            }
            for key in ["expect", "reject", "chosen", "rejected"] {
                if !row[key].is_null() {
                    writeln!(out, "{key}: {}", row[key])?;
                }
            }
            writeln!(out)?;
        }
    }
    fs::remove_dir_all(&dir)?;
    Ok(())
}

fn rows(path: &Path) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    for line in BufReader::new(fs::File::open(path)?).lines() {
        found.push(serde_json::from_str(&line?)?);
    }
    Ok(found)
}
