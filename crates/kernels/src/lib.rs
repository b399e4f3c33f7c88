//! The `kernels` room.
