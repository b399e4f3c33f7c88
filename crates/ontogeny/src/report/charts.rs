//! Curves and histograms as inline SVG, drawn with plotters.
//!
//! Colours are sentinels that the style sheet replaces by attribute selectors, so one drawing serves
//! the light and the dark page.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The drawing's own units; the page scales it to its column.
const SIZE: (u32, u32) = (440, 250);
/// Text size in those units.
const TEXT: i32 = 13;
/// Points kept of a curve.
const POINTS: usize = 600;

/// The colour classes of the style sheet: `[stroke="#010101"]` and so on.
const SERIES: [RGBColor; 5] = [
    RGBColor(1, 1, 1),
    RGBColor(2, 2, 2),
    RGBColor(3, 3, 3),
    RGBColor(4, 4, 4),
    RGBColor(5, 5, 5),
];
const GRID: RGBColor = RGBColor(10, 10, 10);
const INK: RGBColor = RGBColor(11, 11, 11);

/// One curve.
pub(super) struct Series<'a> {
    /// Its name in the legend.
    pub(super) name: &'a str,
    /// Its points, x ascending.
    pub(super) points: Vec<(f64, f64)>,
    /// Which colour class (0–4, the last one faint).
    pub(super) tone: usize,
    /// Whether the points themselves are marked.
    pub(super) dots: bool,
}

/// Whether the vertical axis begins at zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    /// It does: lengths compare.
    Zero,
    /// It begins below the lowest point: shapes show.
    Lowest,
}

/// How a value is written on an axis.
pub(super) type Label = fn(f64) -> String;

/// A chart with its title and legend as a `<figure>`; nothing when no series has two points.
pub(super) fn curves(
    title: &str,
    x_name: &str,
    series: &[Series<'_>],
    floor: Floor,
    y_label: Label,
) -> String {
    let drawn: Vec<(&Series<'_>, Vec<(f64, f64)>)> = series
        .iter()
        .map(|one| (one, thin(&one.points)))
        .filter(|(_, points)| points.len() >= 2)
        .collect();
    if drawn.is_empty() {
        return String::new();
    }
    let (xs, mut ys) = bounds(drawn.iter().flat_map(|(_, points)| points.iter().copied()));
    if floor == Floor::Zero {
        ys.0 = ys.0.min(0.0);
    }
    let svg = svg(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(8)
            .margin_right(14)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(xs.0..xs.1, ys.0..ys.1)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_labels(5)
            .y_labels(5)
            .x_desc(x_name)
            .label_style(("sans-serif", TEXT).into_font().color(&INK))
            .axis_desc_style(("sans-serif", TEXT).into_font().color(&INK))
            .x_label_formatter(&|x| crate::quantity::short(*x))
            .y_label_formatter(&|y| y_label(*y))
            .draw()?;
        for (one, points) in &drawn {
            let color = SERIES[one.tone.min(SERIES.len() - 1)];
            chart.draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(2),
            ))?;
            if one.dots {
                chart.draw_series(
                    points
                        .iter()
                        .map(|&point| Circle::new(point, 3, color.filled())),
                )?;
            }
        }
        Ok(())
    });
    let legend: Vec<(&str, usize)> = drawn.iter().map(|(one, _)| (one.name, one.tone)).collect();
    figure(title, &legend, &svg)
}

/// One point of a scatter plot, named beside it, with its 95 % interval.
pub(super) struct Point {
    pub(super) name: String,
    pub(super) at: (f64, f64),
    pub(super) interval: (f64, f64),
    /// Which colour class, as for a series.
    pub(super) tone: usize,
}

/// Points with whiskers and names as a `<figure>`; nothing without points.
pub(super) fn scatter(title: &str, x_name: &str, points: &[Point], y_label: Label) -> String {
    if points.is_empty() {
        return String::new();
    }
    let corners = points.iter().flat_map(|point| {
        let (x, (low, high)) = (point.at.0, point.interval);
        [(0.0, low), (1.3 * x, high)]
    });
    let (xs, ys) = bounds(corners);
    let svg = svg(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(8)
            .margin_right(14)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(xs.0..xs.1, ys.0..ys.1)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_labels(5)
            .y_labels(5)
            .x_desc(x_name)
            .label_style(("sans-serif", TEXT).into_font().color(&INK))
            .axis_desc_style(("sans-serif", TEXT).into_font().color(&INK))
            .x_label_formatter(&|x| crate::quantity::short(*x))
            .y_label_formatter(&|y| y_label(*y))
            .draw()?;
        let style = ("sans-serif", TEXT - 3)
            .into_font()
            .color(&INK)
            .pos(Pos::new(HPos::Left, VPos::Center));
        for point in points {
            let color = SERIES[point.tone.min(SERIES.len() - 1)];
            let ((x, y), (low, high)) = (point.at, point.interval);
            chart.draw_series(LineSeries::new(
                [(x, low), (x, high)],
                color.stroke_width(1),
            ))?;
            chart.draw_series([Circle::new((x, y), 4, color.filled())])?;
            let place = chart.backend_coord(&(x, y));
            area.draw_text(&point.name, &style, (place.0 + 7, place.1))?;
        }
        Ok(())
    });
    figure(title, &[], &svg)
}

/// A histogram: counts over equal or unequal bins given by their left edges.
pub(super) fn histogram(title: &str, x_name: &str, bins: &[(String, f64)]) -> String {
    if bins.iter().all(|(_, count)| *count <= 0.0) {
        return String::new();
    }
    let highest = bins.iter().map(|(_, count)| *count).fold(0.0, f64::max) * 1.08;
    let svg = svg(|area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(8)
            .margin_right(14)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..bins.len() as f64, 0.0..highest)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .y_labels(5)
            .label_style(("sans-serif", TEXT).into_font().color(&INK))
            .y_label_formatter(&|y| crate::quantity::short(*y))
            .draw()?;
        chart.draw_series(bins.iter().enumerate().map(|(bin, (_, count))| {
            let left = bin as f64;
            Rectangle::new(
                [(left + 0.08, 0.0), (left + 0.92, *count)],
                SERIES[0].filled(),
            )
        }))?;
        let every = bins.len().div_ceil(8);
        let style = ("sans-serif", TEXT)
            .into_font()
            .color(&INK)
            .pos(Pos::new(HPos::Center, VPos::Top));
        for (bin, (name, _)) in bins.iter().enumerate().filter(|(bin, _)| bin % every == 0) {
            let place = chart.backend_coord(&(bin as f64 + 0.5, 0.0));
            area.draw_text(name, &style, (place.0, place.1 + 4))?;
        }
        let style = ("sans-serif", TEXT)
            .into_font()
            .color(&INK)
            .pos(Pos::new(HPos::Center, VPos::Bottom));
        area.draw_text(x_name, &style, (SIZE.0 as i32 / 2 + 26, SIZE.1 as i32 - 2))?;
        Ok(())
    });
    figure(title, &[], &svg)
}

fn figure(title: &str, legend: &[(&str, usize)], svg: &str) -> String {
    use super::html::escape;
    let legend: String = legend
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, tone)| format!("<span class=\"key t{tone}\">{}</span>", escape(name)))
        .collect();
    format!(
        "<figure><figcaption><b>{}</b> {legend}</figcaption>{svg}</figure>\n",
        escape(title)
    )
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn svg(draw: impl Fn(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn) -> String {
    let mut out = String::new();
    {
        let area = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
        if let Err(error) = draw(&area).and_then(|()| Ok(area.present()?)) {
            return format!(
                "<p class=\"lead\">this chart could not be drawn: {}</p>",
                super::html::escape(&error.to_string())
            );
        }
    }
    // The page scales the drawing: its size in pixels would fix it.
    let fixed = format!("width=\"{}\" height=\"{}\" ", SIZE.0, SIZE.1);
    out.replacen(&fixed, "role=\"img\" ", 1)
}

/// At most [`POINTS`] points, the last one among them.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let stride = finite.len().div_ceil(POINTS).max(1);
    let mut kept: Vec<(f64, f64)> = finite.iter().step_by(stride).copied().collect();
    if let (Some(last), true) = (finite.last(), finite.len() % stride != 1 && stride > 1) {
        kept.push(*last);
    }
    kept
}

type Range = (f64, f64);

fn bounds(points: impl Iterator<Item = (f64, f64)>) -> (Range, Range) {
    let mut x = (f64::INFINITY, f64::NEG_INFINITY);
    let mut y = x;
    for point in points {
        x = (x.0.min(point.0), x.1.max(point.0));
        y = (y.0.min(point.1), y.1.max(point.1));
    }
    let margin = ((y.1 - y.0) * 0.06).max(y.1.abs() * 1e-3).max(1e-9);
    let floor = if y.0 >= 0.0 {
        (y.0 - margin).max(0.0)
    } else {
        y.0 - margin
    };
    ((x.0, x.1.max(x.0 + 1e-9)), (floor, y.1 + margin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_one_scalable_svg_with_themable_colours() {
        let points = (0..5000)
            .map(|step| (f64::from(step), 8.0 / f64::from(step + 1)))
            .collect();
        let figure = curves(
            "Loss",
            "step",
            &[Series {
                name: "training <loss>",
                points,
                tone: 0,
                dots: false,
            }],
            Floor::Lowest,
            |y| format!("{y:.1}"),
        );
        assert!(
            figure.contains("viewBox=\"0 0 440 250\"") && !figure.contains("width=\"440\" height")
        );
        assert!(figure.contains("#010101") && figure.contains("training &lt;loss&gt;"));
        assert!(figure.len() < 40_000, "{} bytes", figure.len());
    }

    #[test]
    fn curves_without_points_are_left_out() {
        let nan = Series {
            name: "x",
            points: vec![(0.0, f64::NAN), (1.0, f64::NAN)],
            tone: 0,
            dots: true,
        };
        assert_eq!(
            curves("x", "step", &[nan], Floor::Zero, |y| y.to_string()),
            ""
        );
        assert_eq!(histogram("x", "tokens", &[("1".into(), 0.0)]), "");
    }

    #[test]
    fn flat_curves_have_room() {
        let flat = Series {
            name: "x",
            points: vec![(0.0, 2.0), (1.0, 2.0)],
            tone: 0,
            dots: false,
        };
        assert!(
            curves("x", "step", &[flat], Floor::Lowest, |y| format!("{y:.2}")).contains("polyline")
        );
    }
}
