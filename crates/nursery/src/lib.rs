//! The `nursery` room.
