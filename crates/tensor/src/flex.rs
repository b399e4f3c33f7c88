//! The way between Burn's CPU tensors and the plain slices that [`kernels`] works on.

use std::borrow::Cow;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor, TensorData};

/// Whether operations on this device run on the CPU path into [`kernels`].
pub(crate) fn on_cpu(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

/// The elements in row-major order; copied only where the tensor is a strided view.
pub(crate) fn floats(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice::<f32>() {
        Some(slice) => Cow::Borrowed(&slice[..tensor.layout().num_elements()]),
        None => {
            let dense = tensor.to_contiguous();
            let elements = dense.layout().num_elements();
            Cow::Owned(dense.storage::<f32>()[..elements].to_vec())
        }
    }
}

/// Token ids as the kernels want them.
///
/// # Panics
/// When an id is negative or not an integer of 32 or 64 bits: ids come from a tokenizer.
pub(crate) fn ids(tensor: &FlexTensor) -> Vec<u32> {
    let dense = tensor.to_contiguous();
    let elements = dense.layout().num_elements();
    match dense.dtype() {
        DType::I32 => convert(&dense.storage::<i32>()[..elements]),
        DType::I64 => convert(&dense.storage::<i64>()[..elements]),
        other => panic!("token ids are 32- or 64-bit integers, got {other:?}"),
    }
}

fn convert<T: Copy + TryInto<u32>>(values: &[T]) -> Vec<u32> {
    values
        .iter()
        .map(|&id| {
            id.try_into()
                .unwrap_or_else(|_| panic!("token ids are not negative"))
        })
        .collect()
}

/// A CPU tensor over a vector, without a copy.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape.into()),
        DType::F32,
    )
}

/// The dimensions of a CPU tensor.
pub(crate) fn dims(tensor: &FlexTensor) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

/// A tensor of `shape` on `device` from row-major values.
pub fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The values of a tensor in row-major order.
///
/// # Panics
/// When the tensor does not hold 32-bit floats: all of ours do.
pub fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .convert::<f32>()
        .try_to_vec()
        .expect("the data was converted to f32 just above")
}
