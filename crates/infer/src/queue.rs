//! Who waits, and who is next.

use std::collections::{BTreeMap, VecDeque};

/// What waits under a key.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<T>,
    /// Requests of this key under way.
    running: usize,
    /// Tokens read and written for this key.
    served: u64,
}

/// Requests that wait, in a line for each key. Next is the first of the key that was served the fewest tokens (Sheng et al.,
/// "Fairness in Serving Large Language Models", 2024); a key that comes back begins with no more credit than those who are
/// there, so that nobody saves up.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    lines: BTreeMap<String, Line<T>>,
    waiting: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            lines: BTreeMap::new(),
            waiting: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn push(&mut self, key: &str, request: T) {
        if !self.lines.contains_key(key) {
            let least = self.lines.values().map(|line| line.served).min();
            let line = Line {
                waiting: VecDeque::new(),
                running: 0,
                served: least.unwrap_or(0),
            };
            self.lines.insert(key.to_owned(), line);
        }
        if let Some(line) = self.lines.get_mut(key) {
            line.waiting.push_back(request);
            self.waiting += 1;
        }
    }

    /// Takes the next one if `fits` says so. It counts as under way until [`Self::end`].
    pub(crate) fn pop_if(&mut self, fits: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let lines = self
            .lines
            .values_mut()
            .filter(|line| !line.waiting.is_empty());
        let line = lines.min_by_key(|line| line.served)?;
        if !fits(line.waiting.front_mut()?) {
            return None;
        }
        line.running += 1;
        self.waiting -= 1;
        line.waiting.pop_front()
    }

    /// Tokens were read or written for a key.
    pub(crate) fn charge(&mut self, key: &str, tokens: usize) {
        if let Some(line) = self.lines.get_mut(key) {
            line.served += tokens as u64;
        }
    }

    /// One of a key's requests is no longer under way.
    pub(crate) fn end(&mut self, key: &str) {
        if let Some(line) = self.lines.get_mut(key) {
            line.running -= 1;
            if line.running == 0 && line.waiting.is_empty() {
                self.lines.remove(key);
            }
        }
    }

    /// Takes out those that wait and are not worth keeping.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for line in self.lines.values_mut() {
            line.waiting.retain(&mut keep);
        }
        self.lines
            .retain(|_, line| line.running > 0 || !line.waiting.is_empty());
        self.waiting = self.lines.values().map(|line| line.waiting.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(queue: &mut Queue<(&'static str, usize)>) -> Vec<&'static str> {
        let mut order = Vec::new();
        while let Some((key, tokens)) = queue.pop_if(|_| true) {
            queue.charge(key, tokens);
            order.push(key);
        }
        order
    }

    #[test]
    fn keys_take_turns_by_tokens() {
        let mut queue = Queue::new();
        (0..4).for_each(|_| queue.push("a", ("a", 10)));
        (0..2).for_each(|_| queue.push("b", ("b", 20)));
        queue.push("c", ("c", 100));
        assert_eq!(order(&mut queue), ["a", "b", "c", "a", "a", "b", "a"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_comes_back_has_saved_nothing_up() {
        let mut queue = Queue::new();
        queue.push("a", ("a", 1000));
        queue.push("a", ("a", 10));
        assert_eq!(queue.pop_if(|_| true), Some(("a", 1000)));
        queue.charge("a", 1000);
        (0..2).for_each(|_| queue.push("b", ("b", 10)));
        assert_eq!(order(&mut queue), ["a", "b", "b"]);
        assert_eq!(queue.pop_if(|_| true), None);
    }

    #[test]
    fn who_does_not_fit_keeps_its_place_and_who_left_is_gone() {
        let mut queue = Queue::new();
        queue.push("a", ("a", 1));
        queue.push("a", ("a", 2));
        assert_eq!(queue.pop_if(|_| false), None);
        queue.retain(|(_, number)| *number != 1);
        assert_eq!((queue.len(), queue.pop_if(|_| true)), (1, Some(("a", 2))));
        queue.end("a");
        assert!(queue.lines.is_empty());
    }
}
