//! What a command answers on stdout: words for people, one JSON object for programs.

use serde_json::Value;

use crate::refusal::Exit;

/// A command's answer.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// For people; printed as it is, with a line break at its end.
    pub(crate) text: String,
    /// For programs (`--json`).
    pub(crate) json: Value,
    /// An exit code other than 0, where the work is done but a gate was not met.
    pub(crate) exit: Option<Exit>,
}

impl Output {
    /// An answer in both forms.
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self {
            text: text.into(),
            json,
            exit: None,
        }
    }
}

/// A table for the terminal: columns after the first flush right, the heads underlined by a rule.
pub(crate) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let columns = heads.len();
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([heads[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (column, cell) in cells.enumerate().take(columns) {
            let gap = widths[column].saturating_sub(cell.chars().count());
            let (before, after) = if column == 0 { (0, gap) } else { (gap + 2, 0) };
            out.extend(std::iter::repeat_n(' ', before));
            out.push_str(cell);
            out.extend(std::iter::repeat_n(' ', after));
        }
        out.trim_end().to_owned()
    };
    let mut lines = Vec::with_capacity(rows.len() + 2);
    if heads.iter().any(|head| !head.is_empty()) {
        lines.push(line(&mut heads.iter().copied()));
        lines.push("─".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1)));
    }
    lines.extend(
        rows.iter()
            .map(|row| line(&mut row.iter().map(String::as_str))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_flush_right() {
        let drawn = table(
            &["step", "kept"],
            &[
                vec!["length".into(), "4,210".into()],
                vec!["Länge".into(), "7".into()],
            ],
        );
        assert_eq!(
            drawn,
            "step     kept\n─────────────\nlength  4,210\nLänge       7"
        );
    }
}
