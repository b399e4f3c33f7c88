//! `--profile`: where a command's time went.

use std::time::Instant;

use tensor::Precision;
use tensor::profile::{Entry, entries, start};

use crate::output::table;
use crate::quantity::{duration, short};

/// A measurement under way.
#[derive(Debug)]
pub(crate) struct Profile {
    since: Instant,
}

impl Profile {
    /// Begins.
    pub(crate) fn start() -> Self {
        start();
        Self {
            since: Instant::now(),
        }
    }

    /// The table: each operation's share of the time, and the rate of its products beside this machine's peak.
    pub(crate) fn finish(self) -> String {
        let total = self.since.elapsed().as_secs_f64();
        let mut entries = entries();
        entries.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        let measured: f64 = entries.iter().map(|(_, entry)| entry.seconds).sum();
        entries.push((
            "everything else",
            Entry {
                seconds: (total - measured).max(0.0),
                ..Entry::default()
            },
        ));
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|(name, entry)| {
                let rate = entry.flops / entry.seconds;
                vec![
                    (*name).to_owned(),
                    short(entry.calls as f64),
                    format!("{:.2}", entry.seconds),
                    format!("{:.1} %", 100.0 * entry.seconds / total),
                    if entry.flops > 0.0 {
                        format!("{:.0}", rate / 1e9)
                    } else {
                        String::new()
                    },
                ]
            })
            .collect();
        let peak = |precision| tensor::peak_flops_per_second(precision) / 1e9;
        format!(
            "{}\n\nin all {}; this machine's peak: {:.0} GFLOP/s in f32, {:.0} in bf16",
            table(
                &["operation", "calls", "seconds", "share", "GFLOP/s"],
                &rows
            ),
            duration(total),
            peak(Precision::F32),
            peak(Precision::Bf16),
        )
    }
}
