//! Plan against actual, the lineage, and how to raise the model again.

use std::fmt::Write as _;

use artifact::lineage::Node;

use super::Report;
use super::html::{escape, table};

pub(super) fn plan(report: &Report) -> String {
    let mut out = String::new();
    if !report.plan.is_empty() {
        let rows: Vec<Vec<String>> = report.plan.iter().map(|row| row.to_vec()).collect();
        let _ = writeln!(
            out,
            "<div class=\"card\">{}</div>",
            table(&["", "Planned", "Actual"], &rows)
        );
    }
    if !report.stages.is_empty() {
        let rows: Vec<Vec<String>> = report.stages.iter().map(|row| row.to_vec()).collect();
        let _ = writeln!(
            out,
            "<div class=\"card\">{}</div>",
            table(&["Stage", "What it made", "Time", "Artifact"], &rows)
        );
    }
    out
}

pub(super) fn lineage(report: &Report) -> String {
    let Some(root) = &report.lineage else {
        return String::new();
    };
    let mut out = String::from("<div class=\"card\"><ul class=\"tree\">\n");
    node(root, &mut out);
    out.push_str("</ul></div>\n");
    out
}

fn node(at: &Node, out: &mut String) {
    let kind = at.kind.as_deref().unwrap_or("removed");
    let role = at
        .role
        .as_deref()
        .filter(|role| *role != kind)
        .map(|role| format!("{role}: "))
        .unwrap_or_default();
    let names = if at.names.is_empty() {
        String::new()
    } else {
        format!(
            " <span class=\"tag\">{}</span>",
            escape(&at.names.join(", "))
        )
    };
    let _ = write!(
        out,
        "<li>{}<b>{}</b> <span class=\"id\">{}</span>{names}",
        escape(&role),
        escape(kind),
        escape(at.id.short())
    );
    if at.repeated {
        out.push_str(" <span class=\"id\">(as above)</span>");
    }
    if !at.branches.is_empty() {
        out.push_str("<ul>\n");
        for branch in &at.branches {
            node(branch, out);
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</li>\n");
}

pub(super) fn reproduce(report: &Report) -> String {
    if report.command.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = report
        .circumstances
        .iter()
        .map(|row| row.to_vec())
        .collect();
    format!(
        "<div class=\"card\"><pre>{}</pre>\n{}\n<details><summary>The recipe, every field resolved</summary><pre>{}</pre></details></div>\n",
        escape(&report.command),
        table(&["", ""], &rows).replace("<thead><tr><th></th><th></th></tr></thead>\n", ""),
        escape(&report.recipe)
    )
}
