//! Work on the project itself: the checks CI runs, the fixtures, and the peers.

#[cfg(test)]
mod arrows;
mod ci;
mod fixtures;
mod peers;
mod python;
mod steps;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "xtask", about = "Work on the project itself")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything a change must pass: format, lints, licences, the arrows between the rooms, documentation, tests.
    Ci {
        /// Leave the tests out.
        #[arg(long)]
        without_tests: bool,
    },
    /// Make the reference values under peers/fixtures/ anew with PyTorch, in a virtual environment of their own.
    Fixtures {
        /// Only the generators whose name contains this.
        only: Option<String>,
    },
    /// Let another engine do the same work and compare.
    Peers {
        #[command(subcommand)]
        peer: peers::Peer,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().task {
        Task::Ci { without_tests } => ci::run(without_tests),
        Task::Fixtures { only } => fixtures::run(only.as_deref()),
        Task::Peers { peer } => peers::run(&peer),
    }
}
