//! The few pieces of HTML the report is made of; every text passes through [`escape`].

use std::fmt::Write as _;

/// Text made safe inside elements and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in HTML; a model may well write them.
            control if control.is_control() && !matches!(control, '\n' | '\t') => {
                out.push('\u{fffd}');
            }
            other => out.push(other),
        }
    }
    out
}

/// `<section id><h2>title</h2>…</section>`, or nothing where there is nothing to show.
pub(super) fn section(id: &str, title: &str, lead: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let lead = if lead.is_empty() {
        String::new()
    } else {
        format!("<p class=\"lead\">{}</p>\n", escape(lead))
    };
    format!(
        "<section id=\"{id}\">\n<h2>{}</h2>\n{lead}{body}\n</section>\n",
        escape(title)
    )
}

/// A table; columns after the first are numbers and set flush right.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for head in heads {
        let _ = write!(out, "<th>{}</th>", escape(head));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// One horizontal bar with an optional 95 % interval; `value`, `low` and `high` in 0..=1.
pub(super) struct Bar<'a> {
    /// What it stands for.
    pub(super) label: &'a str,
    /// The bar's length.
    pub(super) value: f64,
    /// The interval drawn over its end.
    pub(super) interval: Option<(f64, f64)>,
    /// The number beside it.
    pub(super) shown: String,
    /// A small remark after the number.
    pub(super) remark: String,
    /// A colour class: `a`, `b`, `c`, `d`, `muted`.
    pub(super) tone: &'a str,
}

/// Bars under one another.
pub(super) fn bars(bars: &[Bar<'_>]) -> String {
    let mut out = String::from("<div class=\"bars\">\n");
    for bar in bars {
        let share = |value: f64| value.clamp(0.0, 1.0) * 100.0;
        let _ = write!(
            out,
            "<div class=\"bar {}\"><span class=\"label\">{}</span><span class=\"track\"><span class=\"fill\" style=\"width:{:.2}%\"></span>",
            bar.tone,
            escape(bar.label),
            share(bar.value)
        );
        if let Some((low, high)) = bar.interval {
            let _ = write!(
                out,
                "<span class=\"whisker\" style=\"left:{:.2}%;width:{:.2}%\"></span>",
                share(low),
                (share(high) - share(low)).max(0.0)
            );
        }
        let _ = writeln!(
            out,
            "</span><span class=\"value\">{} <small>{}</small></span></div>",
            escape(&bar.shown),
            escape(&bar.remark)
        );
    }
    out.push_str("</div>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_model_writes_becomes_markup() {
        assert_eq!(
            escape("<script>alert(\"1\" & '2')</script>\u{7}"),
            "&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;\u{fffd}"
        );
        assert!(table(&["a"], &[vec!["<b>".into()]]).contains("&lt;b&gt;"));
        let bar = Bar {
            label: "<i>",
            value: 2.0,
            interval: Some((0.5, 0.4)),
            shown: "<".into(),
            remark: String::new(),
            tone: "a",
        };
        let drawn = bars(&[bar]);
        assert!(
            !drawn.contains("<i>")
                && drawn.contains("width:100.00%")
                && drawn.contains("width:0.00%"),
            "{drawn}"
        );
    }
}
