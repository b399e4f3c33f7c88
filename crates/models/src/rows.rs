//! Where each row of a batch stands: its position in its own sequence, and the keys it may see.

use std::sync::Arc;

use tensor::KeyRanges;

/// Positions and key ranges of the `batch · seq` rows of one forward pass.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Position of each row within its own document or sequence.
    pub positions: Arc<[u32]>,
    /// Keys that each row attends, as indices into its batch entry.
    pub ranges: KeyRanges,
    /// Which adapters apply.
    pub adapters: Adapters,
}

/// Which of a model's adapters apply to a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adapters {
    /// All that are attached: a model with its own.
    #[default]
    All,
    /// One, or none, for each batch entry.
    Each(Arc<[Option<usize>]>),
}

impl Rows {
    /// Whole sequences: every row sees its batch entry from the start to itself.
    pub fn causal(batch: usize, seq: usize) -> Self {
        Self::packed(&vec![vec![seq]; batch])
    }

    /// Several documents behind one another in each batch entry; none sees another.
    ///
    /// `lengths[entry]` are the documents' lengths, which together fill the entry.
    pub fn packed(lengths: &[Vec<usize>]) -> Self {
        let (mut positions, mut ranges) = (Vec::new(), Vec::new());
        for entry in lengths {
            let mut lo = 0;
            for &length in entry {
                for i in 0..length as u32 {
                    positions.push(i);
                    ranges.push([lo, lo + i + 1]);
                }
                lo += length as u32;
            }
        }
        Self {
            positions: positions.into(),
            ranges: ranges.into(),
            adapters: Adapters::All,
        }
    }

    /// The ranges when a row sees no more than `window` keys, its own included.
    pub fn within(&self, window: usize) -> KeyRanges {
        let narrowed = |&[lo, hi]: &[u32; 2]| [lo.max(hi.saturating_sub(window as u32)), hi];
        self.ranges.iter().map(narrowed).collect()
    }

    /// Several texts behind one another in each batch entry of `seq` rows, each seeing the whole of itself and nothing
    /// else. Rows behind the last text are padding: at position 0, seeing nothing.
    ///
    /// `lengths[entry]` are the texts' lengths, together at most `seq`.
    pub fn texts(lengths: &[Vec<usize>], seq: usize) -> Self {
        let (mut positions, mut ranges) = (Vec::new(), Vec::new());
        for (entry, lengths) in lengths.iter().enumerate() {
            let mut low = 0;
            for &length in lengths {
                let high = low + length as u32;
                positions.extend(0..length as u32);
                ranges.extend(std::iter::repeat_n([low, high], length));
                low = high;
            }
            positions.resize((entry + 1) * seq, 0);
            ranges.resize((entry + 1) * seq, [0, 0]);
        }
        Self {
            positions: positions.into(),
            ranges: ranges.into(),
            adapters: Adapters::All,
        }
    }

    /// Tokens of any sequences, each a batch entry of its own at `positions[entry]`, behind what a cache holds.
    pub fn single(positions: Arc<[u32]>) -> Self {
        let ranges = positions.iter().map(|&position| [0, position + 1]);
        Self {
            ranges: ranges.collect(),
            positions,
            adapters: Adapters::All,
        }
    }

    /// Rows behind what a cache holds: entry `b` continues at `starts[b]` with `seq` tokens.
    pub fn continued(starts: &[usize], seq: usize) -> Self {
        let positions: Arc<[u32]> = starts
            .iter()
            .flat_map(|&start| (start..start + seq).map(|p| p as u32))
            .collect();
        let ranges = positions
            .iter()
            .map(|&position| [0, position + 1])
            .collect();
        Self {
            positions,
            ranges,
            adapters: Adapters::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_documents_do_not_see_each_other() {
        let rows = Rows::packed(&[vec![2, 3], vec![5]]);
        assert_eq!(&rows.positions[..], &[0, 1, 0, 1, 2, 0, 1, 2, 3, 4]);
        assert_eq!(&rows.ranges[2..6], &[[2, 3], [2, 4], [2, 5], [0, 1]]);
    }

    #[test]
    fn a_window_keeps_the_latest_keys() {
        let rows = Rows::packed(&[vec![2, 3]]);
        assert_eq!(
            &rows.within(2)[..],
            &[[0, 1], [0, 2], [2, 3], [2, 4], [3, 5]]
        );
    }

    #[test]
    fn texts_see_the_whole_of_themselves() {
        let rows = Rows::texts(&[vec![2, 1], vec![4]], 4);
        assert_eq!(&rows.positions[..], &[0, 1, 0, 0, 0, 1, 2, 3]);
        assert_eq!(&rows.ranges[..5], &[[0, 2], [0, 2], [2, 3], [0, 0], [0, 4]]);
    }

    #[test]
    fn continued_rows_see_the_cache() {
        let rows = Rows::continued(&[4, 0], 2);
        assert_eq!(&rows.positions[..], &[4, 5, 0, 1]);
        assert_eq!(&rows.ranges[..], &[[0, 5], [0, 6], [0, 1], [0, 2]]);
    }
}
