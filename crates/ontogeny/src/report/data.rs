//! What was read: the filter funnel and the lengths of the documents.

use super::Report;
use super::charts::histogram;
use super::html::{Bar, bars};
use crate::quantity::{count, percent};

pub(super) fn section(report: &Report) -> String {
    let mut out = String::new();
    let first = report
        .funnel
        .first()
        .map_or(0, |filter| filter.kept + filter.dropped);
    if first > 0 {
        let drawn: Vec<Bar<'_>> = report
            .funnel
            .iter()
            .map(|filter| {
                let mut words = Vec::new();
                if filter.dropped > 0 {
                    words.push(format!("−{}", count(filter.dropped)));
                }
                if filter.edited > 0 {
                    words.push(format!("{} edited", count(filter.edited)));
                }
                Bar {
                    label: &filter.step,
                    value: filter.kept as f64 / first as f64,
                    interval: None,
                    shown: count(filter.kept),
                    remark: words.join(", "),
                    tone: "a",
                }
            })
            .collect();
        let left = report.funnel.last().map_or(0, |filter| filter.kept);
        out.push_str(&format!(
            "<div class=\"card\"><h3>The filters: {} of {} documents survive ({})</h3>\n{}</div>\n",
            count(left),
            count(first),
            percent(left as f64 / first as f64),
            bars(&drawn)
        ));
    }
    let lengths = histogram("Length of the documents", "tokens", &report.lengths);
    if !lengths.is_empty() {
        out.push_str(&format!("<div class=\"grid\">\n{lengths}</div>\n"));
    }
    out
}
