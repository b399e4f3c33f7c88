//! Work on the project itself: the checks CI runs, the fixtures, and the peers.

#[cfg(test)]
mod arrows;
mod bench;
mod ci;
mod fixtures;
mod gpu;
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
    /// Every kernel beside its plain reference; a ratio more than a tenth below the stored one is reported.
    Bench {
        /// Only kernels whose name contains this.
        filter: Option<String>,
        /// Store the ratios for this machine instead of comparing.
        #[arg(long)]
        store: bool,
    },
    /// Make the reference values under peers/fixtures/ anew with PyTorch, in a virtual environment of their own.
    Fixtures {
        /// Only the generators whose name contains this.
        only: Option<String>,
    },
    /// A GPU in one command: builds its backend, checks each operation against the CPU, trains a GPT of 124 million
    /// parameters in bf16, and prints tokens/s and the share of the peak beside torch.compile.
    Gpu {
        /// cuda, vulkan, metal or rocm, with :N for the Nth.
        #[arg(default_value = "cuda")]
        device: String,
        /// Steps of each run.
        #[arg(long, default_value_t = 20)]
        steps: usize,
        /// The GPU's peak in TFLOP/s of dense bf16 products, where it is not a known one.
        #[arg(long)]
        peak_tflops: Option<f64>,
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
        Task::Bench { filter, store } => bench::run(filter.as_deref(), store),
        Task::Fixtures { only } => fixtures::run(only.as_deref()),
        Task::Gpu {
            device,
            steps,
            peak_tflops,
        } => gpu::run(&device, steps, peak_tflops),
        Task::Peers { peer } => peers::run(&peer),
    }
}
