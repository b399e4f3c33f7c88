//! Batches of packed sequences: several documents or conversations behind one another in a row of
//! the context's length, none seeing another.

use std::sync::Arc;

use models::Rows;
use tensor::lm_loss::Targets;
use tensor::{Device, Int, Tensor, TensorData};

/// A sequence to learn from: inputs, the token that follows each, and how much that counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sequence {
    pub(crate) inputs: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) weights: Vec<f32>,
}

impl Sequence {
    /// Next-token prediction over `tokens`, counting the targets that `counts` says.
    pub(crate) fn new(tokens: &[u32], counts: impl Fn(usize) -> bool) -> Self {
        let last = tokens.len().saturating_sub(1);
        Self {
            inputs: tokens[..last].to_vec(),
            targets: tokens[tokens.len() - last..].to_vec(),
            weights: (1..=last)
                .map(|target| f32::from(u8::from(counts(target))))
                .collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }
}

/// `rows` rows of `context` tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    pub(crate) context: usize,
    pub(crate) inputs: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) weights: Vec<f32>,
    /// The lengths of the sequences in each row; together they fill it.
    pub(crate) lengths: Vec<Vec<usize>>,
}

impl Batch {
    pub(crate) fn new(context: usize) -> Self {
        Self {
            context,
            ..Self::default()
        }
    }

    /// Adds a row of sequences, padded with a sequence that counts nothing.
    ///
    /// # Panics
    /// When they are longer than the row: callers choose what fits.
    pub(crate) fn push_row<'a>(&mut self, sequences: impl IntoIterator<Item = &'a Sequence>) {
        let mut lengths = Vec::new();
        for sequence in sequences {
            self.inputs.extend_from_slice(&sequence.inputs);
            self.targets.extend_from_slice(&sequence.targets);
            self.weights.extend_from_slice(&sequence.weights);
            lengths.push(sequence.len());
        }
        let padding = self
            .context
            .checked_sub(lengths.iter().sum())
            .expect("a row's sequences fit its context");
        if padding > 0 {
            lengths.push(padding);
        }
        self.lengths.push(lengths);
        let full = self.lengths.len() * self.context;
        self.inputs.resize(full, 0);
        self.targets.resize(full, 0);
        self.weights.resize(full, 0.0);
    }

    /// All sequences that fit the context, first fit in the given order, in batches of at most `rows` rows.
    pub(crate) fn packed(sequences: &[Sequence], context: usize, rows: usize) -> Vec<Self> {
        let lengths: Vec<usize> = sequences.iter().map(Sequence::len).collect();
        let packed = first_fit(&lengths, context);
        let batches = packed.chunks(rows.max(1)).map(|rows| {
            let mut batch = Self::new(context);
            for row in rows {
                batch.push_row(row.iter().map(|&index| &sequences[index]));
            }
            batch
        });
        batches.collect()
    }

    pub(crate) fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Number of targets that count.
    pub(crate) fn counted(&self) -> usize {
        self.weights.iter().filter(|weight| **weight != 0.0).count()
    }

    pub(crate) fn tokens(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i32> = self.inputs.iter().map(|&id| id as i32).collect();
        Tensor::from_data(TensorData::new(ids, [self.rows(), self.context]), device)
    }

    pub(crate) fn layout(&self) -> Rows {
        Rows::packed(&self.lengths)
    }

    /// The targets with their weights times `factor`.
    pub(crate) fn targets(&self, factor: f32, z_loss: f32) -> Targets {
        Targets {
            ids: Arc::from(&self.targets[..]),
            weights: self.weights.iter().map(|weight| weight * factor).collect(),
            z_loss,
        }
    }
}

/// Groups sequences into rows of at most `context` tokens, first fit in the given order; each row
/// is a list of indices. Sequences longer than a row are left out.
pub(crate) fn first_fit(lengths: &[usize], context: usize) -> Vec<Vec<usize>> {
    // Only so many rows stay open: the search is short and the order nearly kept.
    const OPEN: usize = 16;
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for (index, &length) in lengths.iter().enumerate() {
        if length == 0 || length > context {
            continue;
        }
        let from = rows.len().saturating_sub(OPEN);
        match rows[from..]
            .iter_mut()
            .find(|(used, _)| used + length <= context)
        {
            Some((used, row)) => {
                *used += length;
                row.push(index);
            }
            None => rows.push((length, vec![index])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_predicts_the_next_token() {
        let sequence = Sequence::new(&[5, 6, 7], |target| target == 2);
        assert_eq!(
            (sequence.inputs, sequence.targets, sequence.weights),
            (vec![5, 6], vec![6, 7], vec![0.0, 1.0])
        );
        assert_eq!(Sequence::new(&[5], |_| true).len(), 0);
    }

    #[test]
    fn rows_are_padded_and_padding_counts_nothing() {
        let mut batch = Batch::new(5);
        let sequence = Sequence::new(&[5, 6, 7], |_| true);
        batch.push_row([&sequence, &sequence]);
        batch.push_row([&sequence]);
        assert_eq!(batch.lengths, [vec![2, 2, 1], vec![2, 3]]);
        assert_eq!((batch.inputs.len(), batch.counted()), (10, 6));
    }

    #[test]
    fn first_fit_keeps_everything_that_fits() {
        let rows = first_fit(&[3, 9, 4, 2, 11, 1, 0], 10);
        assert_eq!(rows, [vec![0, 2, 3, 5], vec![1]]);
    }
}
