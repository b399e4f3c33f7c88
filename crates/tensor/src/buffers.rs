//! Buffers used again. A training step needs the same sizes every time; fresh memory would be
//! zeroed by one thread while the others wait (a quarter of a step, when measured).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::DType;

/// Smaller buffers come from the allocator fast enough.
const SMALLEST: usize = 1 << 12;

/// Buffers by length, each with how much had been asked for when it was given back.
#[derive(Default)]
struct Buffers {
    by_length: HashMap<usize, Vec<(u64, Vec<f32>)>>,
    /// Elements in them.
    kept: u64,
    /// The most that was kept since the last look for stale ones.
    most: u64,
    /// Elements asked for so far.
    asked: u64,
    /// The same at the last look for stale ones.
    looked: u64,
}

static BUFFERS: LazyLock<Mutex<Buffers>> = LazyLock::new(Mutex::default);

impl Buffers {
    fn take(&mut self, length: usize) -> Option<Vec<f32>> {
        self.asked += length as u64;
        if self.asked - self.looked > 4 * self.most {
            self.drop_stale();
        }
        let (_, buffer) = self.by_length.get_mut(&length)?.pop()?;
        self.kept -= length as u64;
        Some(buffer)
    }

    fn give(&mut self, buffer: Vec<f32>) {
        let length = buffer.len();
        self.kept += length as u64;
        self.most = self.most.max(self.kept);
        let buffers = self.by_length.entry(length).or_default();
        buffers.push((self.asked, buffer));
    }

    /// A training step asks for less than eight times what it leaves behind. What has lain for longer belongs to other
    /// work, which is over.
    fn drop_stale(&mut self) {
        let (asked, longest) = (self.asked, 8 * self.most);
        self.by_length.retain(|_, buffers| {
            buffers.retain(|(given, _)| asked - given <= longest);
            !buffers.is_empty()
        });
        let lengths = self.by_length.iter();
        self.kept = lengths
            .map(|(length, buffers)| (length * buffers.len()) as u64)
            .sum();
        (self.most, self.looked) = (self.kept, asked);
    }
}

/// A buffer of `length` numbers with any content: for results that are written whole.
pub(crate) fn take(length: usize) -> Vec<f32> {
    if length >= SMALLEST {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = buffers.take(length) {
            return buffer;
        }
    }
    let mut buffer = vec![0.0; length];
    kernels::region::advise_large_pages(&mut buffer);
    buffer
}

/// Keeps a tensor's buffer for the next one of its size, when nobody else holds it.
pub(crate) fn give(tensor: FlexTensor) {
    if tensor.layout().num_elements() < SMALLEST {
        return;
    }
    if let Ok(buffer) = owned(tensor) {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.give(buffer);
    }
}

/// A tensor's buffer in row-major order, when nobody else holds it; else the tensor.
pub(crate) fn owned(tensor: FlexTensor) -> Result<Vec<f32>, FlexTensor> {
    let elements = tensor.layout().num_elements();
    let whole = tensor.is_contiguous() && tensor.bytes().len() == 4 * elements;
    if !whole || tensor.dtype() != DType::F32 || !tensor.is_unique() {
        return Err(tensor);
    }
    let shape = tensor.layout().shape().clone();
    let (bytes, _, _) = tensor.into_data().into_parts();
    bytes
        .try_into_vec::<f32>()
        .map_err(|bytes| FlexTensor::new(bytes, Layout::contiguous(shape), DType::F32))
}

/// Keeps the buffers of several tensors.
pub(crate) fn give_all<const N: usize>(tensors: [FlexTensor; N]) {
    tensors.into_iter().for_each(give);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flex;

    #[test]
    fn a_buffer_comes_back_and_a_shared_one_does_not() {
        let length = SMALLEST + 17;
        let tensor = flex::tensor(vec![7.0; length], [length]);
        let shared = tensor.clone();
        give(tensor);
        assert_eq!(take(length)[0], 0.0, "held by `shared`");
        give(shared);
        assert_eq!(take(length)[0], 7.0);
    }

    #[test]
    fn what_nobody_asks_for_any_more_goes() {
        let mut buffers = Buffers::default();
        for _ in 0..3 {
            buffers.give(vec![0.0; 5000]);
        }
        buffers.give(vec![0.0; 7000]);
        for _ in 0..60 {
            let buffer = buffers.take(5000).expect("in use all the time");
            buffers.give(buffer);
        }
        assert!(buffers.take(7000).is_none(), "left lying");
        assert_eq!(buffers.kept, 5000, "of three, two were never asked for");
    }
}
