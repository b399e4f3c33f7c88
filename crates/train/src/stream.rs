//! Documents in a seeded order, packed into rows without gaps.

use artifact::Seed;
use data::TokenSplit;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::packing::{Batch, Sequence};

/// Where the stream stands: enough to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Times the whole split was passed.
    pub(crate) epoch: u64,
    /// Documents of this epoch that are behind.
    pub(crate) index: usize,
    /// Inputs of the current document that are behind.
    pub(crate) offset: usize,
}

/// An endless stream over a split's documents, shuffled anew in each epoch.
pub(crate) struct DocumentStream<'a> {
    split: &'a TokenSplit,
    seed: Seed,
    /// Token before each document.
    begin: u32,
    order: Vec<u32>,
    at: Position,
}

impl<'a> DocumentStream<'a> {
    pub(crate) fn new(split: &'a TokenSplit, seed: Seed, begin: u32, at: Position) -> Self {
        let order = order(split, seed, at.epoch);
        Self {
            split,
            seed,
            begin,
            order,
            at,
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.at
    }

    /// The next rows of the stream.
    pub(crate) fn batch(&mut self, rows: usize, context: usize) -> Batch {
        let mut batch = Batch::new(context);
        for _ in 0..rows {
            batch.push_row(&self.row(context));
        }
        batch
    }

    /// Fills a row; a document that does not fit goes on in the next one, as a sequence of its own.
    fn row(&mut self, context: usize) -> Vec<Sequence> {
        let mut row = Vec::new();
        let mut space = context;
        while space > 0 {
            let document = self.split.document(self.order[self.at.index] as usize);
            let tokens: Vec<u32> = std::iter::once(self.begin)
                .chain(document.iter().copied())
                .collect();
            let inputs = tokens.len() - 1;
            let end = inputs.min(self.at.offset + space);
            let sequence = Sequence::new(&tokens[self.at.offset..=end], |_| true);
            space -= sequence.len();
            row.push(sequence);
            self.at.offset = end;
            if end == inputs {
                self.next_document();
            }
        }
        row
    }

    fn next_document(&mut self) {
        self.at.offset = 0;
        self.at.index += 1;
        if self.at.index == self.order.len() {
            self.at.index = 0;
            self.at.epoch += 1;
            self.order = order(self.split, self.seed, self.at.epoch);
        }
    }
}

fn order(split: &TokenSplit, seed: Seed, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..split.documents() as u32).collect();
    order.shuffle(&mut seed.derive(&format!("epoch {epoch}")).rng());
    order
}
