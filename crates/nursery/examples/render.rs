//! Renders a default world and prints what was written: `cargo run --release -p nursery --example render DIR [SEED]`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(|| std::env::temp_dir().join("nursery"), PathBuf::from);
    let seed = args.next().map_or(Ok(1), |s| s.parse())?;
    let start = Instant::now();
    let summary = nursery::render(
        &nursery::World {
            seed,
            ..nursery::World::default()
        },
        &dir,
    )?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string_pretty(&summary)?)?;
    writeln!(
        out,
        "{:.2} s into {}",
        start.elapsed().as_secs_f64(),
        dir.display()
    )?;
    Ok(())
}
