//! The page of a comparison: quality against speed, and the table.

use super::{charts, foot, head, html};
use crate::commands::compare::Measured;
use crate::quantity;

/// Candidates side by side.
pub(crate) fn comparison(heads: &[&str], rows: &[Vec<String>], measured: &[Measured]) -> String {
    let leading = measured.first();
    let of_leading = measured.iter().filter(|one| {
        leading.is_some_and(|first| (&one.task, one.metric) == (&first.task, first.metric))
    });
    let points: Vec<charts::Point> = of_leading
        .map(|one| charts::Point {
            name: format!("{}, {} shots", one.model, one.shots),
            at: (one.tokens_per_second, one.value),
            interval: (one.low, one.high),
            tone: if one.pareto { 0 } else { 4 },
        })
        .collect();
    let label: charts::Label = match leading {
        Some(one) if one.metric.is_proportion() => quantity::percent,
        _ => |value| format!("{value:.2}"),
    };
    let title = leading.map_or_else(String::new, |one| {
        format!("{} on {}", one.metric.name().replace('_', " "), one.task)
    });
    let plot = charts::scatter(&title, "tokens/s of one stream", &points, label);
    let mut out = head(
        "comparison",
        "Which model?",
        "The same questions for every candidate. Those on the Pareto front (*, in colour) are beaten by none in quality, speed and memory at once.",
    );
    out.push_str(&html::section("plot", "Quality and speed", "", &plot));
    out.push_str(&html::section(
        "table",
        "All numbers",
        "",
        &html::table(heads, rows),
    ));
    out.push_str(&foot());
    out
}
