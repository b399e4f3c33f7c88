//! Hot loops on the CPU, over plain slices: products, attention, norms, losses, optimiser steps.
//!
//! Every function is deterministic: the same input gives the same bits for any number of threads, and a row's result
//! depends on that row alone (batch invariance). The instruction set is chosen at run time ([`isa`]). Slices whose
//! lengths do not fit each other are a mistake of the calling code, and panic.

#![expect(
    unsafe_code,
    reason = "the one crate that may use vector intrinsics and lend disjoint parts to threads"
)]

pub mod activation;
pub mod add;
pub mod attention;
pub mod columns;
pub mod embedding;
pub mod gemm;
pub mod isa;
mod lanes;
pub mod loss;
pub mod math;
pub mod norm;
pub mod optimizer;
pub mod pool;
pub mod quant;
pub mod reference;
pub mod region;
pub mod rope;
mod scratch;
