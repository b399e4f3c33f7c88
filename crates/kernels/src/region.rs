//! Memory for what is read again and again: carved from large chunks, for which the system is asked for large pages.
//!
//! A weight matrix is streamed once for each token. On pages of 4 KiB the look-ahead of the memory ends with every page;
//! on pages of 2 MiB reading was 1.3 times as fast with two threads, 1.6 times with one (`docs/log.md`, 2026-11-26).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

/// A large page.
const LARGE_PAGE: usize = 2 << 20;
/// Bytes of a chunk that small regions share.
const CHUNK: usize = 32 << 20;
/// Regions begin on cache lines.
const LINE: usize = 64;

/// Plain numbers: any bytes are a value, zeros among them.
///
/// # Safety
/// Types without padding, references or invalid values, aligned to at most a cache line.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: plain numbers.
unsafe impl Plain for f32 {}

/// Raw memory that regions share; freed with the last of them.
struct Chunk {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is reached only through regions, each of which owns its part.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.next_multiple_of(LARGE_PAGE), LARGE_PAGE)
            .unwrap_or_else(|_| panic!("a region of {bytes} bytes exceeds the address space"));
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        advise(start.as_ptr(), layout.size());
        Self { start, layout }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and no region is left.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Asks for large pages beneath `bytes` from `start` on. A hint: if it is refused, small ones serve.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "other systems decide for themselves")
)]
fn advise(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        let first = start.align_offset(LARGE_PAGE);
        let whole = bytes.saturating_sub(first) / LARGE_PAGE * LARGE_PAGE;
        if whole > 0 {
            // SAFETY: whole pages within memory that the caller owns; the advice changes none of its bytes.
            unsafe { libc::madvise(start.wrapping_add(first).cast(), whole, libc::MADV_HUGEPAGE) };
        }
    }
}

/// Asks for large pages beneath values that will be used for long; best before they are first written.
pub fn advise_large_pages(values: &mut [f32]) {
    advise(values.as_mut_ptr().cast(), size_of_val(values));
}

/// The chunk from which regions are being carved, and how much of it is taken.
static OPEN: Mutex<Option<(Arc<Chunk>, usize)>> = Mutex::new(None);

/// `bytes` of memory from a cache line on, of no one else.
fn carve(bytes: usize) -> (Arc<Chunk>, NonNull<u8>) {
    let bytes = bytes.next_multiple_of(LINE);
    if bytes > CHUNK / 2 {
        let chunk = Arc::new(Chunk::new(bytes));
        let start = chunk.start;
        return (chunk, start);
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let (chunk, taken) = match open.take() {
        // Nobody else holds it, and only under this lock could anybody begin to.
        Some((chunk, _)) if Arc::strong_count(&chunk) == 1 => (chunk, 0),
        Some((chunk, taken)) if taken + bytes <= CHUNK => (chunk, taken),
        _ => (Arc::new(Chunk::new(CHUNK)), 0),
    };
    // SAFETY: `taken + bytes` is at most the chunk's length.
    let start = unsafe { chunk.start.add(taken) };
    *open = Some((Arc::clone(&chunk), taken + bytes));
    (chunk, start)
}

/// A slice on large pages.
pub(crate) struct Region<T> {
    start: NonNull<T>,
    len: usize,
    _chunk: Arc<Chunk>,
    owns: PhantomData<T>,
}

// SAFETY: a region owns its values as a `Vec` does.
unsafe impl<T: Send> Send for Region<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Region<T> {}

impl<T: Plain> Region<T> {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        const { assert!(align_of::<T>() <= LINE) };
        let (chunk, start) = carve(len * size_of::<T>());
        let start = start.cast::<T>();
        // SAFETY: `carve` gave this much, aligned to a cache line, to us alone.
        unsafe { start.write_bytes(0, len) };
        Self {
            start,
            len,
            _chunk: chunk,
            owns: PhantomData,
        }
    }
}

impl<T> Deref for Region<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `len` values were initialised, and any bytes are values of a plain type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Region<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> std::fmt::Debug for Region<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Region({} values)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_zero_aligned_and_apart() {
        let sizes = [1, 16, 17, 5000, 0, CHUNK / 4, 3];
        for _ in 0..3 {
            let mut regions: Vec<Region<f32>> = sizes.map(Region::zeros).into();
            for (i, region) in regions.iter_mut().enumerate() {
                assert!(region.iter().all(|x| *x == 0.0));
                assert!((region.as_ptr() as usize).is_multiple_of(LINE));
                region.fill(i as f32 + 1.0);
            }
            for (i, region) in regions.iter().enumerate() {
                assert!(region.iter().all(|x| *x == i as f32 + 1.0));
            }
        }
    }
}
