//! The `tokenizer` room.
