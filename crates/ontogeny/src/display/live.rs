//! The live panel: stages, progress, the loss curve and the model's latest words, redrawn in place.

use std::io::{Stderr, stderr};
use std::sync::{Mutex, PoisonError};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Axis, Block, Chart, Clear, Dataset, GraphType, LineGauge, Paragraph, Widget as _, Wrap,
};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::plain::pace_line;
use super::state::{Mark, Stage, State};
use crate::quantity;

/// Columns of the stage list.
const LIST_WIDTH: u16 = 34;
/// Lines of the model's text.
const SAMPLE_LINES: u16 = 4;
/// Points drawn of a curve; a terminal shows no more.
const POINTS: usize = 400;

/// The panel on stderr, at the place of the cursor.
pub(super) struct Panel {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Panel {
    /// Opens the panel below the cursor.
    pub(super) fn open(state: &Mutex<State>) -> std::io::Result<Self> {
        let stages = state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stages
            .len() as u16;
        let height = 1 + stages.max(8) + 1 + SAMPLE_LINES + 1;
        let options = TerminalOptions {
            viewport: Viewport::Inline(height),
        };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(stderr()), options)?;
        terminal.hide_cursor()?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            crate::interrupt::restore_terminal();
            before(panic);
        }));
        Ok(Self { terminal })
    }

    /// Redraws; with `last`, clears the panel and leaves the finished stages as lines.
    pub(super) fn draw(&mut self, state: &mut State, last: bool) -> std::io::Result<()> {
        let width = self.terminal.size()?.width;
        for note in state.notes.drain(..) {
            let lines = (note.chars().count() as u16).div_ceil(width.max(1)).max(1);
            self.terminal.insert_before(lines, |buffer| {
                Paragraph::new(note)
                    .wrap(Wrap { trim: false })
                    .render(buffer.area, buffer);
            })?;
        }
        if last {
            // Drawn over rather than cleared: clearing would ask the terminal where its cursor is.
            let mut top = 0;
            self.terminal.draw(|frame| {
                top = frame.area().y;
                frame.render_widget(Clear, frame.area());
            })?;
            self.terminal.set_cursor_position((0, top))?;
            self.terminal.show_cursor()?;
            return Ok(());
        }
        self.terminal.draw(|frame| panel(frame, state))?;
        Ok(())
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody to tell.
        let _ = self.terminal.show_cursor();
    }
}

fn panel(frame: &mut Frame<'_>, state: &State) {
    let stages = state.stages.len() as u16;
    let [title, middle, gauge, sample] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(stages.max(8)),
        Constraint::Length(1),
        Constraint::Min(SAMPLE_LINES),
    ])
    .areas(frame.area());
    frame.render_widget(heading(state), title);
    let [list, chart] =
        Layout::horizontal([Constraint::Length(LIST_WIDTH), Constraint::Min(0)]).areas(middle);
    frame.render_widget(
        Paragraph::new(state.stages.iter().map(stage_line).collect::<Vec<_>>()),
        list,
    );
    draw_curve(frame, state, chart);
    draw_gauge(frame, state, gauge);
    draw_sample(frame, state, sample);
}

fn heading(state: &State) -> Line<'_> {
    let elapsed = quantity::duration(state.began.elapsed().as_secs_f64());
    let mut words = vec![
        " ontogeny ".bold().reversed(),
        "  ".into(),
        state.title.as_str().bold(),
        format!("   {elapsed}").into(),
    ];
    if let Some(planned) = state.planned {
        words.push(format!(" of about {}", quantity::duration(planned)).dim());
    }
    if crate::interrupt::asked() {
        words.push("   saving, then stopping (Ctrl-C again: at once)".yellow());
    }
    Line::from(words)
}

fn stage_line(stage: &Stage) -> Line<'_> {
    let (mark, style) = match stage.mark {
        Mark::Waiting => ("·", Style::new().add_modifier(Modifier::DIM)),
        Mark::Running => (
            "▸",
            Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD),
        ),
        Mark::Done => ("✓", Style::new().fg(Color::Green)),
        Mark::Reused => ("=", Style::new().fg(Color::Green)),
        Mark::Skipped => ("–", Style::new().add_modifier(Modifier::DIM)),
        Mark::Failed => ("✗", Style::new().fg(Color::Red)),
        Mark::Interrupted => ("‖", Style::new().fg(Color::Yellow)),
    };
    let time = match stage.mark {
        Mark::Waiting => String::new(),
        Mark::Running => quantity::duration(
            stage
                .begun
                .map_or(0.0, |begun| begun.elapsed().as_secs_f64()),
        ),
        Mark::Done | Mark::Failed | Mark::Interrupted => quantity::duration(stage.seconds),
        Mark::Reused => "as before".to_owned(),
        Mark::Skipped => "skipped".to_owned(),
    };
    Line::from(vec![
        Span::styled(format!(" {mark} {:<12}", stage.name), style),
        Span::styled(format!("{time:>14}"), style),
    ])
}

fn draw_gauge(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let text = pace_line(state, false);
    let [bar, words] =
        Layout::horizontal([Constraint::Length(LIST_WIDTH), Constraint::Min(0)]).areas(area);
    match state.pace.as_ref().and_then(super::state::Pace::share) {
        Some(share) => frame.render_widget(
            LineGauge::default()
                .filled_style(Style::new().fg(Color::Cyan))
                .unfilled_style(Style::new().fg(Color::DarkGray))
                .label(format!(" {:>3.0} %", share * 100.0))
                .ratio(share),
            bar,
        ),
        None => frame.render_widget(Paragraph::new(format!(" {}", state.detail)).dim(), bar),
    }
    let words_text = if text.is_empty() {
        state.detail.clone()
    } else {
        text
    };
    frame.render_widget(Paragraph::new(format!("  {words_text}")), words);
}

fn draw_curve(frame: &mut Frame<'_>, state: &State, area: Rect) {
    if state.loss.len() < 2 || area.width < 20 {
        return;
    }
    let thin = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let stride = points.len().div_ceil(POINTS).max(1);
        points
            .iter()
            .step_by(stride)
            .chain(points.last())
            .copied()
            .collect()
    };
    let (loss, validation) = (thin(&state.loss), thin(&state.validation));
    let everything = || loss.iter().chain(&validation);
    let (low, high) = everything().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(low, high), &(_, y)| (low.min(y), high.max(y)),
    );
    let (first, last) = everything().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(first, last), &(x, _)| (first.min(x), last.max(x)),
    );
    let curve = |name: &'static str, color| {
        Dataset::default()
            .name(name)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(Style::new().fg(color))
    };
    let mut datasets = vec![curve("loss", Color::Cyan).data(&loss)];
    if !validation.is_empty() {
        datasets.push(curve("validation bits/byte", Color::Yellow).data(&validation));
    }
    let chart = Chart::new(datasets)
        .block(Block::new())
        .x_axis(
            Axis::default()
                .bounds([first, last.max(first + 1.0)])
                .style(Style::new().fg(Color::DarkGray)),
        )
        .y_axis(
            Axis::default()
                .bounds([low, high.max(low + 1e-6)])
                .labels([format!("{low:.2}"), format!("{high:.2}")])
                .style(Style::new().fg(Color::DarkGray)),
        );
    frame.render_widget(chart, area);
}

fn draw_sample(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let Some((step, text)) = &state.sample else {
        return;
    };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let paragraph = Paragraph::new(vec![
        Line::from(format!(
            " in its own words, at step {}",
            quantity::count(*step)
        ))
        .dim(),
        Line::from(format!(" {words}")).italic(),
    ])
    .wrap(Wrap { trim: false });
    frame.render_widget(paragraph, area);
}

#[cfg(test)]
mod tests {
    use artifact::Event;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn the_panel_shows_stage_pace_curve_and_words() {
        let mut state = State::new(
            "quickstart",
            &[
                "data",
                "tokenizer",
                "pretrain",
                "finetune",
                "align",
                "evaluate",
            ],
        );
        state.mark("data", Mark::Done, "");
        state.mark("tokenizer", Mark::Reused, "");
        state.mark("pretrain", Mark::Running, "");
        for step in 0..50 {
            state.take(&Event::Metric {
                name: "loss",
                step,
                value: 8.0 / (1.0 + step as f64),
            });
        }
        state.take(&Event::Tick {
            done: 50,
            total: Some(200),
            unit: "steps",
        });
        state.take(&Event::Sample {
            step: 50,
            text: "The reef\nis calm <today>".into(),
        });
        let mut terminal = Terminal::new(TestBackend::new(100, 16)).expect("a test terminal");
        terminal.draw(|frame| panel(frame, &state)).expect("draws");
        let screen = terminal.backend().to_string();
        for word in [
            "quickstart",
            "✓ data",
            "= tokenizer",
            "▸ pretrain",
            "25 %",
            "50/200 steps",
            "The reef is calm <today>",
            "8.00",
            "0.16",
        ] {
            assert!(screen.contains(word), "{word} is not on\n{screen}");
        }
    }
}
