//! How it learned: the curves of every training stage, and what the model wrote on the way.

use std::fmt::Write as _;

use super::Report;
use super::charts::{Floor, Series, curves as draw};
use super::html::escape;
use crate::quantity::{count, short};

pub(super) fn curves(report: &Report) -> String {
    let mut out = String::new();
    for stage in &report.training {
        let line = |name: &'static str, points: &[(f64, f64)], tone| Series {
            name,
            points: points.to_vec(),
            tone,
            dots: false,
        };
        let smooth = smoothed(&stage.loss);
        let drawn = [
            draw(
                "Loss",
                "step",
                &[
                    line("as measured", &stage.loss, 4),
                    line("smoothed", &smooth, 0),
                ],
                Floor::Lowest,
                |y| format!("{y:.2}"),
            ),
            draw(
                "Validation",
                "step",
                &[Series {
                    name: "bits per byte",
                    points: stage.validation.clone(),
                    tone: 1,
                    dots: true,
                }],
                Floor::Lowest,
                |y| format!("{y:.2}"),
            ),
            draw(
                "Held-out loss",
                "step",
                &[Series {
                    name: "answers it was not taught",
                    points: stage.held_out_loss.clone(),
                    tone: 1,
                    dots: true,
                }],
                Floor::Lowest,
                |y| format!("{y:.2}"),
            ),
            draw(
                "Preference margin",
                "step",
                &[line("chosen over rejected", &stage.margin, 3)],
                Floor::Zero,
                |y| format!("{y:.1}"),
            ),
            draw(
                "Held-out pairs",
                "step",
                &[Series {
                    name: "share won against the reference",
                    points: stage.accuracy.clone(),
                    tone: 1,
                    dots: true,
                }],
                Floor::Lowest,
                |y| format!("{y:.2}"),
            ),
            draw(
                "Learning rate",
                "step",
                &[line("", &stage.learning_rate, 3)],
                Floor::Zero,
                scientific,
            ),
            draw(
                "Throughput",
                "step",
                &[line("tokens a second", &stage.throughput, 0)],
                Floor::Zero,
                short,
            ),
        ]
        .concat();
        if !drawn.is_empty() {
            let _ = write!(
                out,
                "<h3>{}</h3>\n<div class=\"grid\">\n{drawn}</div>\n",
                escape(name(&stage.stage))
            );
        }
    }
    out
}

fn name(stage: &str) -> &str {
    match stage {
        "pretrain" => "Pre-training",
        "finetune" => "Fine-tuning",
        "align" => "Alignment",
        other => other,
    }
}

/// `8e-4`, and a plain zero.
fn scientific(value: f64) -> String {
    if value.abs() < 1e-12 {
        "0".to_owned()
    } else {
        format!("{value:.0e}")
    }
}

/// The mean over a window of about a thirtieth of the curve around each point: no lag, no drift at the ends.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = points.len() / 60;
    let mean = |place: usize| {
        let reach = half.min(place).min(points.len() - 1 - place);
        let window = &points[place - reach..=place + reach];
        window.iter().map(|(_, y)| y).sum::<f64>() / window.len() as f64
    };
    points
        .iter()
        .enumerate()
        .map(|(place, &(x, _))| (x, mean(place)))
        .collect()
}

pub(super) fn samples(report: &Report) -> String {
    let mut out = String::new();
    for stage in report
        .training
        .iter()
        .filter(|stage| !stage.samples.is_empty())
    {
        let _ = writeln!(
            out,
            "<div class=\"card\"><h3>{}</h3>",
            escape(name(&stage.stage))
        );
        for (step, text) in spread(&stage.samples) {
            let _ = writeln!(
                out,
                "<div class=\"sample\"><span class=\"step\">step {}</span><blockquote>{}</blockquote></div>",
                count(*step),
                escape(text.trim())
            );
        }
        out.push_str("</div>\n");
    }
    out
}

/// At most six samples, the first and the last among them.
fn spread(samples: &[(u64, String)]) -> Vec<&(u64, String)> {
    const SHOWN: usize = 6;
    if samples.len() <= SHOWN {
        return samples.iter().collect();
    }
    (0..SHOWN)
        .map(|place| &samples[place * (samples.len() - 1) / (SHOWN - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_constant_and_follows_a_step() {
        let flat: Vec<(f64, f64)> = (0..500).map(|x| (f64::from(x), 3.0)).collect();
        assert!(smoothed(&flat).iter().all(|(_, y)| (y - 3.0).abs() < 1e-12));
        let step: Vec<(f64, f64)> = (0..500)
            .map(|x| (f64::from(x), if x < 250 { 3.0 } else { 1.0 }))
            .collect();
        assert!((smoothed(&step)[499].1 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_first_and_last_samples_are_shown() {
        let samples: Vec<(u64, String)> = (0..40).map(|step| (step, String::new())).collect();
        let shown: Vec<u64> = spread(&samples).iter().map(|(step, _)| *step).collect();
        assert_eq!((shown.len(), shown[0], shown[5]), (6, 0, 39));
    }
}
