//! Rows of a table by number, and the gradient of the table.

use crate::lanes::{Lanes, dispatch};
use crate::pool::{Disjoint, parallel_chunks_mut, parallel_for};

/// Values handled by one task.
const VALUES_BY_TASK: usize = 16 * 1024;

fn check(operation: &str, ids: &[u32], dim: usize, rows: usize, table: usize) {
    assert!(
        dim > 0 && table.is_multiple_of(dim),
        "{operation}: a table of {table} values has no rows of {dim}"
    );
    assert_eq!(
        rows,
        ids.len() * dim,
        "{operation}: one row of {dim} values for each of {} ids",
        ids.len()
    );
    let entries = table / dim;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= entries) {
        panic!("{operation}: id {id} is outside the table of {entries} rows");
    }
}

/// `out[i] = table[ids[i]]`; `table` is `[entries, dim]`, `out` `[ids, dim]`.
///
/// # Panics
/// When an id is outside the table, or the lengths do not fit each other.
pub fn embedding_forward(table: &[f32], ids: &[u32], dim: usize, out: &mut [f32]) {
    check("embedding_forward", ids, dim, out.len(), table.len());
    let rows = (VALUES_BY_TASK / dim).max(1);
    parallel_chunks_mut(out, rows * dim, |task, out| {
        for (&id, out) in ids[task * rows..].iter().zip(out.chunks_exact_mut(dim)) {
            out.copy_from_slice(&table[id as usize * dim..][..dim]);
        }
    });
}

/// Adds to each row of `dtable`, `[entries, dim]`, the rows of `dout`, `[ids, dim]`, whose id names it, in order.
///
/// # Panics
/// When an id is outside the table, or the lengths do not fit each other.
pub fn embedding_backward(dout: &[f32], ids: &[u32], dim: usize, dtable: &mut [f32]) {
    check("embedding_backward", ids, dim, dout.len(), dtable.len());
    let (order, ends) = by_id(ids, dtable.len() / dim);
    let uses = |entry: usize| {
        let start = if entry == 0 { 0 } else { ends[entry - 1] };
        &order[start as usize..ends[entry] as usize]
    };
    let used: Vec<usize> = (0..ends.len()).filter(|&e| !uses(e).is_empty()).collect();
    let dtable = Disjoint::new(dtable);
    const ENTRIES_BY_TASK: usize = 32;
    parallel_for(used.len().div_ceil(ENTRIES_BY_TASK), |task| {
        let used = used[task * ENTRIES_BY_TASK..].iter().take(ENTRIES_BY_TASK);
        for &entry in used {
            // SAFETY: each entry has one group of uses, handled by one task.
            let sum = unsafe { dtable.slice(entry * dim, dim) };
            for &row in uses(entry) {
                add(sum, &dout[row as usize * dim..][..dim]);
            }
        }
    });
}

/// The rows in the order of their ids, those of one id in their own order; and for each id where its rows end.
fn by_id(ids: &[u32], entries: usize) -> (Vec<u32>, Vec<u32>) {
    let mut next = vec![0_u32; entries];
    for &id in ids {
        next[id as usize] += 1;
    }
    let mut start = 0;
    for next in &mut next {
        start += std::mem::replace(next, start);
    }
    let mut order = vec![0; ids.len()];
    for (row, &id) in ids.iter().enumerate() {
        let at = &mut next[id as usize];
        order[*at as usize] = row as u32;
        *at += 1;
    }
    (order, next)
}

dispatch!(fn add(sum: &mut [f32], row: &[f32]) = add_body);

#[inline(always)]
fn add_body<V: Lanes>(sum: &mut [f32], row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, row)| *sum += row);
}
