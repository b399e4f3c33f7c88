//! An answer under way.

use std::ops::Deref;
use std::sync::mpsc::{IntoIter, Iter, Receiver};
use std::sync::{Arc, Weak};

use crate::Delta;

/// The deltas of one answer, as they come. Dropping it cancels the request, whose memory is free before the next pass.
#[derive(Debug)]
pub struct Answer {
    deltas: Receiver<Delta>,
    _listener: Arc<()>,
}

/// Whether somebody still waits for an answer.
#[derive(Clone, Debug)]
pub(crate) struct Listener(Weak<()>);

impl Answer {
    pub(crate) fn new(deltas: Receiver<Delta>) -> (Self, Listener) {
        let listener = Arc::new(());
        let seen = Listener(Arc::downgrade(&listener));
        (
            Self {
                deltas,
                _listener: listener,
            },
            seen,
        )
    }
}

impl Listener {
    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Deref for Answer {
    type Target = Receiver<Delta>;
    fn deref(&self) -> &Receiver<Delta> {
        &self.deltas
    }
}

impl<'a> IntoIterator for &'a Answer {
    type Item = Delta;
    type IntoIter = Iter<'a, Delta>;
    fn into_iter(self) -> Iter<'a, Delta> {
        self.deltas.iter()
    }
}

/// An [`Answer`]'s deltas to its end.
#[derive(Debug)]
pub struct Deltas {
    deltas: IntoIter<Delta>,
    _listener: Arc<()>,
}

impl Iterator for Deltas {
    type Item = Delta;
    fn next(&mut self) -> Option<Delta> {
        self.deltas.next()
    }
}

impl IntoIterator for Answer {
    type Item = Delta;
    type IntoIter = Deltas;
    fn into_iter(self) -> Deltas {
        Deltas {
            deltas: self.deltas.into_iter(),
            _listener: self._listener,
        }
    }
}
