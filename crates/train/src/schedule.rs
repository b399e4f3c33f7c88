//! The learning rate over the steps: a linear warm-up, then a cosine (Loshchilov and Hutter 2017)
//! or a plateau with a linear decay at the end ("warm-up, stable, decay", Hu et al. 2024).

use serde::{Deserialize, Serialize};

/// The shape behind the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to the final share.
    #[default]
    Cosine,
    /// Constant, then linear down to the final share over the last fifth.
    Wsd,
}

/// Share of the steps that the decay of [`Schedule::Wsd`] takes.
const WSD_DECAY: f64 = 0.2;

impl Schedule {
    /// The factor on the peak learning rate at `step` (from 0) of `steps`, ending at `last`.
    pub(crate) fn factor(self, step: u64, steps: u64, warmup: u64, last: f64) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let rest = (steps.saturating_sub(warmup)).max(1) as f64;
        let done = (step - warmup) as f64 / rest;
        let share = match self {
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Self::Wsd => ((1.0 - done) / WSD_DECAY).min(1.0),
        };
        last + (1.0 - last) * share.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_then_down_to_the_last_share() {
        for schedule in [Schedule::Cosine, Schedule::Wsd] {
            let factor = |step| schedule.factor(step, 100, 10, 0.1);
            assert!((factor(0) - 0.1).abs() < 1e-12 && (factor(9) - 1.0).abs() < 1e-12);
            assert!((factor(10) - 1.0).abs() < 1e-12 && factor(99) < 0.2 && factor(99) >= 0.1);
            assert!((10..99).all(|step| factor(step + 1) <= factor(step)));
        }
        assert_eq!(Schedule::Wsd.factor(70, 100, 10, 0.0), 1.0);
    }

    #[test]
    fn all_warm_up_is_no_division_by_zero() {
        assert_eq!(Schedule::Cosine.factor(10, 10, 10, 0.1), 1.0);
    }
}
