//! The `artifact` room.
