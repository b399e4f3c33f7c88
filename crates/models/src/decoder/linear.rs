//! A matrix, what is added to each row behind it, and the adapters beside it.

use tensor::{Device, Module, Param, Precision, Tensor, add, burn, fork, swiglu};

use crate::lora::{LowRank, Pair};
use crate::rows::Adapters;
use crate::{Matrix, Rows};

/// A matrix with its bias and its adapters.
#[derive(Module, Debug)]
pub(super) struct Linear {
    pub(super) weight: Matrix,                 // [out, in]
    pub(super) bias: Option<Param<Tensor<1>>>, // [out]
    /// By the number of the adapter; `None` where an adapter leaves this matrix alone.
    pub(super) adapters: Vec<Option<LowRank>>,
}

impl Linear {
    /// Shapes: `x` `[batch, seq, in]`, result `[batch, seq, out]`.
    pub(super) fn forward(&self, x: Tensor<3>, rows: &Rows, precision: Precision) -> Tensor<3> {
        let [y] = Self::forward_each([self], x, rows, precision); // [batch, seq, out]
        y
    }

    /// [`Self::forward`] of one `x` by several, to the same bits.
    pub(super) fn forward_each<const N: usize>(
        all: [&Self; N],
        x: Tensor<3>,
        rows: &Rows,
        precision: Precision,
    ) -> [Tensor<3>; N] {
        let plain = all.iter().all(|one| one.adapters.is_empty());
        if plain && let [one] = all[..] {
            let y = one.weight.forward_affine(x, one.bias(), precision); // [batch, seq, out]
            return std::array::from_fn(|_| y.clone());
        }
        if plain {
            let mut y = Matrix::forward_each(all.map(|one| &one.weight), x, precision).into_iter();
            return all.map(|one| one.biased(y.next().expect("one for each matrix")));
        }
        let [x, low] = fork(x); // [batch, seq, in]
        let mut y = Matrix::forward_each(all.map(|one| &one.weight), x, precision).into_iter();
        let mut low = fork::<3, N>(low).into_iter();
        all.map(|one| {
            let y = one.biased(y.next().expect("one for each matrix")); // [batch, seq, out]
            let low = low.next().expect("one for each matrix"); // [batch, seq, in]
            one.adapted(y, low, rows, precision) // [batch, seq, out]
        })
    }

    /// `swiglu(gate, up)` through this matrix. Shapes: `gate` and `up` `[batch, seq, in]`, result `[batch, seq, out]`.
    pub(super) fn forward_swiglu(
        &self,
        gate: Tensor<3>,
        up: Tensor<3>,
        rows: &Rows,
        precision: Precision,
    ) -> Tensor<3> {
        if !self.adapters.is_empty() {
            return self.forward(swiglu(gate, up), rows, precision); // [batch, seq, out]
        }
        let y = self.weight.forward_swiglu(gate, up, precision); // [batch, seq, out]
        self.biased(y)
    }

    /// `gelu(x)` through this matrix. Shapes: `x` `[batch, seq, in]`, result `[batch, seq, out]`.
    pub(super) fn forward_gelu(
        &self,
        x: Tensor<3>,
        rows: &Rows,
        precision: Precision,
    ) -> Tensor<3> {
        if !self.adapters.is_empty() {
            return self.forward(tensor::gelu(x), rows, precision); // [batch, seq, out]
        }
        self.weight.forward_gelu(x, self.bias(), precision) // [batch, seq, out]
    }

    /// With what the adapters add to the entries that have them; the others keep their bits.
    fn adapted(
        &self,
        mut y: Tensor<3>,
        x: Tensor<3>,
        rows: &Rows,
        precision: Precision,
    ) -> Tensor<3> {
        let adapters = self.adapters.iter().enumerate();
        for (index, adapter) in adapters.filter_map(|(i, one)| Some((i, one.as_ref()?))) {
            let entries: Option<Vec<bool>> = match &rows.adapters {
                Adapters::All => None,
                Adapters::Each(each) => Some(each.iter().map(|one| *one == Some(index)).collect()),
            };
            y = match entries {
                None => add(y, adapter.forward(x.clone(), precision)), // [batch, seq, out]
                Some(entries) if entries.iter().all(|&here| here) => {
                    add(y, adapter.forward(x.clone(), precision)) // [batch, seq, out]
                }
                Some(entries) if entries.iter().any(|&here| here) => {
                    let shape = y.dims();
                    let here =
                        Tensor::<1, burn::tensor::Bool>::from_bool(entries.as_slice(), &y.device());
                    let here = here.reshape([shape[0], 1, 1]).expand(shape); // [batch, seq, out]
                    let with = y.clone() + adapter.forward(x.clone(), precision); // [batch, seq, out]
                    y.mask_where(here, with) // [batch, seq, out]
                }
                Some(_) => y,
            };
        }
        y
    }

    fn bias(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }

    /// Behind a product by the weight alone.
    fn biased(&self, x: Tensor<3>) -> Tensor<3> {
        match &self.bias {
            Some(bias) => x + bias.val().unsqueeze(), // [batch, seq, out]
            None => x,                                // [batch, seq, out]
        }
    }

    /// `[out, in]`.
    pub(super) fn dims(&self) -> [usize; 2] {
        match &self.weight {
            Matrix::Dense(weight) => weight.val().dims(),
            Matrix::Packed(packed) => packed.dims(),
        }
    }

    /// Takes one more adapter, or stands aside from it.
    pub(super) fn attach(&mut self, pair: Option<&Pair>, device: &Device) {
        let dims = self.dims();
        self.adapters
            .push(pair.map(|pair| LowRank::new(pair, dims, device)));
    }

    /// Takes all adapters into the matrix, which is in f32 then.
    pub(super) fn merge(&mut self, device: &Device) {
        let adapters = std::mem::take(&mut self.adapters);
        let adapters: Vec<LowRank> = adapters.into_iter().flatten().collect();
        if adapters.is_empty() {
            return;
        }
        let mut weight = self.weight.values(device).without_autodiff(); // [out, in]
        for adapter in adapters {
            weight = weight + adapter.product(); // [out, in]
        }
        if device.is_autodiff() {
            weight = weight.autodiff(); // [out, in]
        }
        self.weight = Matrix::Dense(Param::from_tensor(weight));
    }
}
