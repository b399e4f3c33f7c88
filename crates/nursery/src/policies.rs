//! The shop's rules. Each topic has three parameters with a name, a unit and several ways of saying it; values are drawn
//! per document, and a topic with its three values is one combination for the split.

use crate::dice::Dice;
use crate::grammar::and_list;
use crate::splits::{Split, split_of};
use crate::world::article;

/// Name, values with unit, sentences with `<v>`.
pub(crate) struct Parameter {
    pub noun: &'static str,
    unit: Unit,
    pub sentences: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Unit {
    Days,
    Hours,
    Euro,
    Metres,
    Months,
    People,
}

impl Unit {
    fn draw(self, d: &mut Dice) -> String {
        match self {
            Unit::Days => format!("{} days", d.choose(&[3, 5, 7, 10, 14, 21, 30])),
            Unit::Hours => format!("{} hours", d.choose(&[2, 6, 12, 18, 24, 36, 48])),
            Unit::Euro => format!("€{}", 5 * d.between(1, 12)),
            Unit::Metres => format!("{} m", d.choose(&[12, 18, 20, 25, 30, 40])),
            Unit::Months => format!("{} months", d.choose(&[3, 6, 9, 12, 24])),
            Unit::People => format!("{} people", d.between(3, 9)),
        }
    }
}

/// One topic of the rules.
pub(crate) struct Topic {
    pub name: &'static str,
    pub parameters: [Parameter; 3],
}

const fn p(noun: &'static str, unit: Unit, sentences: &'static [&'static str]) -> Parameter {
    Parameter {
        noun,
        unit,
        sentences,
    }
}

pub(crate) const TOPICS: &[Topic] = &[
    Topic {
        name: "returns",
        parameters: [
            p(
                "return period",
                Unit::Days,
                &[
                    "You can return unused items within <v>.",
                    "Unused items may come back within <v>.",
                    "We take unused items back for <v>.",
                ],
            ),
            p(
                "box fee",
                Unit::Euro,
                &[
                    "We keep <v> for an opened box.",
                    "An opened box costs <v>.",
                    "For an opened box we charge <v>.",
                ],
            ),
            p(
                "refund time",
                Unit::Days,
                &[
                    "The money is back with you after <v>.",
                    "Refunds arrive after <v>.",
                    "We pay the money back after <v>.",
                ],
            ),
        ],
    },
    Topic {
        name: "rental",
        parameters: [
            p(
                "deposit",
                Unit::Euro,
                &[
                    "Please leave <v> as a deposit.",
                    "We hold a deposit of <v>.",
                    "You get <v> back when the gear is back.",
                ],
            ),
            p(
                "late fee",
                Unit::Euro,
                &[
                    "Gear that comes back late costs <v> more.",
                    "If you are late, we charge <v>.",
                    "Each late day costs <v>.",
                ],
            ),
            p(
                "rental limit",
                Unit::Days,
                &[
                    "You may keep the gear for <v>.",
                    "Gear is lent for at most <v>.",
                    "After <v> the gear must be back.",
                ],
            ),
        ],
    },
    Topic {
        name: "booking",
        parameters: [
            p(
                "cancellation limit",
                Unit::Hours,
                &[
                    "You can cancel a trip up to <v> before.",
                    "Cancel at least <v> ahead.",
                    "Trips can be cancelled until <v> before we leave.",
                ],
            ),
            p(
                "no-show fee",
                Unit::Euro,
                &[
                    "Those who do not come pay <v>.",
                    "If you do not show up, we charge <v>.",
                    "An empty seat costs <v>.",
                ],
            ),
            p(
                "group size",
                Unit::People,
                &[
                    "A boat takes at most <v>.",
                    "We dive in groups of <v>.",
                    "No group is larger than <v>.",
                ],
            ),
        ],
    },
    Topic {
        name: "repair",
        parameters: [
            p(
                "repair time",
                Unit::Days,
                &[
                    "A repair takes <v>.",
                    "Your gear is ready after <v>.",
                    "We mend most things in <v>.",
                ],
            ),
            p(
                "inspection fee",
                Unit::Euro,
                &[
                    "Looking at your gear costs <v>.",
                    "We charge <v> to find the fault.",
                    "The first check costs <v>.",
                ],
            ),
            p(
                "guarantee",
                Unit::Months,
                &[
                    "Our work is guaranteed for <v>.",
                    "If it fails within <v>, we mend it again.",
                    "We stand by a repair for <v>.",
                ],
            ),
        ],
    },
    Topic {
        name: "safety",
        parameters: [
            p(
                "no-fly time",
                Unit::Hours,
                &[
                    "Wait <v> before you fly.",
                    "Do not fly for <v> after a dive.",
                    "Stay on the ground for <v> after diving.",
                ],
            ),
            p(
                "depth limit",
                Unit::Metres,
                &[
                    "Nobody dives below <v>.",
                    "Stay above <v>.",
                    "The deepest point allowed is <v>.",
                ],
            ),
            p(
                "rest time",
                Unit::Hours,
                &[
                    "Rest for <v> between two dives.",
                    "Leave <v> between dives.",
                    "The next dive is <v> later.",
                ],
            ),
        ],
    },
    Topic {
        name: "training",
        parameters: [
            p(
                "exam fee",
                Unit::Euro,
                &[
                    "The exam costs <v>.",
                    "You pay <v> for the exam.",
                    "We charge <v> for each exam.",
                ],
            ),
            p(
                "retake wait",
                Unit::Days,
                &[
                    "You can try the exam again after <v>.",
                    "A second try is possible after <v>.",
                    "Those who fail wait <v>.",
                ],
            ),
            p(
                "pool time",
                Unit::Hours,
                &[
                    "You spend <v> in the pool.",
                    "There are <v> of pool practice.",
                    "Pool practice takes <v>.",
                ],
            ),
        ],
    },
];

/// A topic with the values drawn for one document.
pub(crate) struct Policy {
    pub topic: usize,
    pub values: [String; 3],
}

impl Policy {
    pub(crate) fn draw(split: Split, d: &mut Dice) -> Policy {
        loop {
            let topic = d.below(TOPICS.len());
            let values = [0, 1, 2].map(|i| TOPICS[topic].parameters[i].unit.draw(d));
            let distinct =
                values[0] != values[1] && values[1] != values[2] && values[0] != values[2];
            if distinct && split_of(&combination(topic, &values)) == split {
                return Policy { topic, values };
            }
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        TOPICS[self.topic].name
    }

    pub(crate) fn noun(&self, i: usize) -> &'static str {
        TOPICS[self.topic].parameters[i].noun
    }

    /// One of the sentences that state parameter `i`.
    pub(crate) fn sentence(&self, i: usize, d: &mut Dice) -> String {
        d.pick(TOPICS[self.topic].parameters[i].sentences)
            .replace("<v>", &self.values[i])
    }

    /// "a return period of 14 days and a box fee of €10" for the parameters at the given places.
    pub(crate) fn terms(&self, shown: &[usize]) -> String {
        let parts: Vec<String> = shown
            .iter()
            .map(|i| term(self.noun(*i), &self.values[*i]))
            .collect();
        and_list(&parts)
    }
}

/// "a return period of 14 days".
pub(crate) fn term(noun: &str, value: &str) -> String {
    format!("{} {noun} of {value}", article(noun))
}

/// The string whose hash decides the side of a policy.
pub(crate) fn combination(topic: usize, values: &[String; 3]) -> String {
    format!("{}: {}", TOPICS[topic].name, values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_keep_to_their_side() {
        for split in [Split::Training, Split::HeldOut] {
            for i in 0..500 {
                let p = Policy::draw(split, &mut Dice::new(1, "policy", i));
                assert_eq!(split_of(&combination(p.topic, &p.values)), split);
            }
        }
    }

    #[test]
    fn parameter_names_are_unique() {
        let mut nouns: Vec<&str> = TOPICS
            .iter()
            .flat_map(|t| t.parameters.iter().map(|p| p.noun))
            .collect();
        let count = nouns.len();
        nouns.sort_unstable();
        nouns.dedup();
        assert_eq!(nouns.len(), count);
    }
}
