//! Burn, plus our own operations.
//!
//! Burn carries the graph, the modules and the devices; the operations here carry the time. Each
//! one is a file with the same five parts: the public function, the portable path composed of
//! Burn operations (every device, and the reference of the tests), the CPU path into [`kernels`],
//! the hand-written backward, and the tests that hold the two paths together.

mod buffers;
mod flex;
#[cfg(test)]
mod testing;
mod tracked;

pub mod activated;
pub mod adamw;
pub mod add;
pub mod affine;
pub mod attention;
pub mod device;
pub mod embedding;
pub mod erf_gelu;
pub mod fork;
pub mod gelu;
pub mod kv_blocks;
pub mod layer_norm;
pub mod linear;
pub mod lm_loss;
pub mod profile;
pub mod quantised;
pub mod rms_norm;
pub mod rope;
pub mod swiglu;

pub use activated::{gelu_affine, swiglu_linear};
pub use adamw::{AdamW, adamw, sum_of_squares};
pub use add::add;
pub use affine::affine;
pub use attention::{KeyRanges, attention, attention_by_distance};
pub use burn;
pub use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
pub use burn::tensor::{Device, Gradients, Int, Shape, Tensor, TensorData};
pub use embedding::embedding;
pub use erf_gelu::erf_gelu;
pub use flex::{from_vec, to_vec};
pub use fork::fork;
pub use gelu::gelu;
pub use kernels::gemm::{Precision, peak as peak_flops_per_second};
pub use kernels::loss::{log_softmax_row, logits_held, relative_weights_row};
pub use kernels::pool::{set_threads, threads};
pub use kv_blocks::{BLOCK, KvBlocks, SlotRow, Span};
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use lm_loss::{Targets, lm_loss, token_logprobs};
pub use quantised::Quantised;
pub use rms_norm::rms_norm;
pub use rope::{Rotary, rope};
pub use swiglu::swiglu;
