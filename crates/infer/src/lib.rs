//! The `infer` room.
