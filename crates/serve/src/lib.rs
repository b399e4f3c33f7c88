//! The server: the only room that speaks HTTP.
//!
//! [`Server::bind`] listens, [`Server::run`] answers until it is told to stop, and [`serve`] does both for a program
//! without a runtime of its own. Four surfaces share one port: the OpenAI-compatible API under `/v1`, ratings under
//! `/v1/feedback`, the chat page at `/`, and `/health`.
//!
//! | module | what it holds |
//! |---|---|
//! | `openai` | models, chats, completions, responses, embeddings, tokens: parsing, streaming, error objects |
//! | [`feedback`] | the durable store of answers and ratings, and the preference pairs made from it |
//! | `console` | the chat page |
//! | `guard` | API keys, and the check that keeps foreign web pages out |
//! | `monitor` | request ids and the structured log |
//!
//! Prompts and answers reach the feedback store (unless [`Config::store_prompts`] is off) and never the log.

mod config;
mod console;
mod error;
pub mod feedback;
mod guard;
mod identifier;
mod loaded;
mod monitor;
mod openai;
mod server;

pub use config::Config;
pub use error::{Error, Result};
pub use loaded::{Encoder, Model, Models};
pub use server::{Server, serve};
