//! The server: the only room that speaks HTTP.
//!
//! [`Server::bind`] listens, [`Server::run`] answers until it is told to stop, and [`serve`] does both for a program
//! without a runtime of its own. Four surfaces share one port: the OpenAI-compatible API under `/v1`, ratings under
//! `/v1/feedback`, the chat page at `/`, and what operators ask: `/health`, `/ready`, `/metrics`.
//!
//! | module | what it holds |
//! |---|---|
//! | `openai` | models, chats, completions, responses, embeddings, tokens: parsing, streaming, error objects |
//! | [`feedback`] | the durable store of answers and ratings, and the preference pairs made from it |
//! | `console` | the chat page |
//! | `guard` | API keys with their limits, room for requests, and the check that keeps foreign web pages out |
//! | `monitor` | request ids, metrics and the structured log |
//! | `connection` | connections: their number, TLS, slow clients, draining |
//!
//! Prompts and answers reach the feedback store (unless [`Config::store_prompts`] is off), and the log only with
//! [`Config::log_prompts`].

mod config;
mod connection;
mod console;
mod error;
pub mod feedback;
mod guard;
mod identifier;
mod loaded;
mod monitor;
mod openai;
mod routes;
mod server;
mod tls;

pub use config::{Config, TlsFiles};
pub use error::{Error, Result};
pub use guard::{Limits, new_key};
pub use loaded::{Encoder, Model, Models};
pub use server::{Reload, Server, serve};
