//! The `tokenizer` room: text to ids and back, and conversations to text.
//!
//! Byte-level BPE on Hugging Face's `tokenizers`, so that `tokenizer.json` means the same here and in Python.
//! A tokenizer's folder holds `tokenizer.json` and `tokenizer_config.json` (with the chat template), as a Hugging
//! Face model folder does.
//!
//! Two ways in, kept apart: [`Tokenizer::encode`] takes text as data, so `<|im_start|>` typed by a user is ordinary
//! characters; [`Tokenizer::encode_chat`] sets the real markers itself and still treats each message as data.
//! [`Reader`] is for models that read whole texts and write none.

mod chat;
mod conversation;
mod error;
mod folder;
mod markers;
mod reader;
mod stream;
mod tokenizer;
mod train;

pub use chat::{CHATML, ChatTemplate, Message};
pub use error::{Error, Result};
pub use reader::{Reader, Reading};
pub use stream::DecodeStream;
pub use tokenizer::Tokenizer;
pub use train::{PATTERN, SPECIAL_TOKENS, TrainConfig};
