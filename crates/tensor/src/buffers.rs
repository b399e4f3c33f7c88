//! Buffers used again. A training step needs the same sizes every time; fresh memory would be
//! zeroed by one thread while the others wait (a quarter of a step, when measured).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::backend::flex::FlexTensor;
use burn::tensor::DType;

/// Elements kept at most: 512 MiB.
const KEPT: usize = 1 << 27;
/// Smaller buffers come from the allocator fast enough.
const SMALLEST: usize = 1 << 12;

#[derive(Default)]
struct Buffers {
    by_length: HashMap<usize, Vec<Vec<f32>>>,
    kept: usize,
}

static BUFFERS: LazyLock<Mutex<Buffers>> = LazyLock::new(Mutex::default);

/// A buffer of `length` numbers with any content: for results that are written whole.
pub(crate) fn take(length: usize) -> Vec<f32> {
    if length >= SMALLEST {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = buffers.by_length.get_mut(&length).and_then(Vec::pop) {
            buffers.kept -= length;
            return buffer;
        }
    }
    let mut buffer = vec![0.0; length];
    kernels::region::advise_large_pages(&mut buffer);
    buffer
}

/// Keeps a tensor's buffer for the next one of its size, when nobody else holds it.
pub(crate) fn give(tensor: FlexTensor) {
    let elements = tensor.layout().num_elements();
    let whole = tensor.is_contiguous() && tensor.bytes().len() == 4 * elements;
    if elements < SMALLEST || !whole || tensor.dtype() != DType::F32 || !tensor.is_unique() {
        return;
    }
    let (bytes, _, _) = tensor.into_data().into_parts();
    if let Ok(buffer) = bytes.try_into_vec::<f32>() {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.kept + elements <= KEPT {
            buffers.kept += elements;
            buffers.by_length.entry(elements).or_default().push(buffer);
        }
    }
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
}
