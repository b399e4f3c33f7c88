//! Penalties for lengthening a run of tokens that stood before ([`Dry`]).

use std::collections::BTreeMap;

use tokenizer::Tokenizer;

use crate::Dry;

/// Beyond this length a run's penalty grows no more, lest it overflow.
const LONGEST: usize = 64;

/// A sequence's runs.
#[derive(Debug)]
pub(super) struct Runs {
    dry: Dry,
    /// For each token so far, whether it ends all runs.
    breaks: Vec<bool>,
}

impl Runs {
    pub(super) fn new(dry: Dry) -> Self {
        Self {
            dry,
            breaks: Vec::new(),
        }
    }

    pub(super) fn changes(
        &mut self,
        tokens: &[u32],
        tokenizer: &Tokenizer,
        changes: &mut Vec<(u32, f32)>,
    ) {
        if self.dry.multiplier == 0.0 {
            return;
        }
        for id in &tokens[self.breaks.len()..] {
            let text = tokenizer.decode_with_special(&[*id]).unwrap_or_default();
            let breaks = self
                .dry
                .breakers
                .iter()
                .any(|breaker| text.contains(breaker.as_str()));
            self.breaks.push(breaks);
        }
        let range = match self.dry.range {
            0 => tokens.len(),
            range => range.min(tokens.len()),
        };
        let from = tokens.len() - range;
        for (id, length) in runs(&tokens[from..], &self.breaks[from..]) {
            if length >= self.dry.allowed_length.max(1) {
                let grown = (length - self.dry.allowed_length).min(LONGEST) as i32;
                changes.push((id, -self.dry.multiplier * self.dry.base.powi(grown)));
            }
        }
    }
}

/// For each token that once followed the latest ones: how many of these agreed then, at most.
fn runs(tokens: &[u32], breaks: &[bool]) -> BTreeMap<u32, usize> {
    let longest = breaks.iter().rev().take_while(|breaks| !**breaks).count();
    let mut found = BTreeMap::new();
    if longest == 0 {
        return found;
    }
    let backwards: Vec<u32> = tokens.iter().rev().copied().collect();
    // How far the sequence from each place on agrees with its beginning, in one walk (Gusfield's Z-algorithm).
    let mut agree = vec![0; backwards.len()];
    let (mut left, mut right) = (0, 0);
    for at in 1..backwards.len() {
        let mut length = if at < right {
            agree[at - left].min(right - at)
        } else {
            0
        };
        while at + length < backwards.len() && backwards[length] == backwards[at + length] {
            length += 1;
        }
        agree[at] = length;
        if at + length > right {
            (left, right) = (at, at + length);
        }
        let length = length.min(longest);
        if length > 0 {
            let longest = found.entry(backwards[at - 1]).or_insert(0);
            *longest = length.max(*longest);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_they_agree() {
        let none = |count| vec![false; count];
        let tokens = [5, 1, 2, 3, 9, 1, 2, 4, 5, 1, 2];
        assert_eq!(runs(&tokens, &none(11)), [(3, 3), (4, 2)].into());
        let mut breaks = none(11);
        breaks[8] = true;
        assert_eq!(runs(&tokens, &breaks), [(3, 2), (4, 2)].into());
        breaks[10] = true;
        assert_eq!(runs(&tokens, &breaks), BTreeMap::new());
        assert_eq!(runs(&[7, 7, 7], &none(3)), [(7, 2)].into());
    }
}
