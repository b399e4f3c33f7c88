//! Cache-line aligned working memory that each thread keeps for its next call, so that hot loops cause no page faults.

use std::cell::RefCell;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static KEPT: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Working memory; its values at first are whatever an earlier use left.
pub(crate) struct Scratch {
    lines: Vec<Line>,
    len: usize,
}

/// At least `len` values of working memory, from those this thread keeps if it can.
pub(crate) fn scratch(len: usize) -> Scratch {
    let wanted = len.div_ceil(16);
    let mut lines = KEPT
        .with_borrow_mut(|kept| {
            // The smallest that is large enough; else the largest, to be grown.
            let fitting = (0..kept.len())
                .filter(|&i| kept[i].len() >= wanted)
                .min_by_key(|&i| kept[i].len());
            let chosen = fitting.or_else(|| (0..kept.len()).max_by_key(|&i| kept[i].len()));
            chosen.map(|i| kept.swap_remove(i))
        })
        .unwrap_or_default();
    if lines.len() < wanted {
        lines.clear();
        lines.resize(wanted, Line([0.0; 16]));
    }
    Scratch { lines, len }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        // A thread that is going away keeps nothing.
        let _ = KEPT.try_with(|kept| kept.borrow_mut().push(lines));
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: a `Line` is 16 f32 values without padding, and there are at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}
