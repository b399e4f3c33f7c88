//! Rows of a table by number, and the gradient of the table.

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
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_by_key(|&row| ids[row as usize]); // Stable: equal ids stay in order.
    let uses: Vec<&[u32]> = order
        .chunk_by(|&a, &b| ids[a as usize] == ids[b as usize])
        .collect();
    let dtable = Disjoint::new(dtable);
    const ENTRIES_BY_TASK: usize = 32;
    parallel_for(uses.len().div_ceil(ENTRIES_BY_TASK), |task| {
        for rows in uses
            .iter()
            .skip(task * ENTRIES_BY_TASK)
            .take(ENTRIES_BY_TASK)
        {
            let entry = ids[rows[0] as usize] as usize;
            // SAFETY: each entry has one group of uses, handled by one task.
            let sum = unsafe { dtable.slice(entry * dim, dim) };
            for &row in *rows {
                let dout = &dout[row as usize * dim..][..dim];
                sum.iter_mut()
                    .zip(dout)
                    .for_each(|(sum, dout)| *sum += dout);
            }
        }
    });
}
