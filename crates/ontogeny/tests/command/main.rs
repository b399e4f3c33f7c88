//! The `ontogeny` command from the outside, as its users meet it.

mod binary;
mod compare;
mod embed;
mod feedback;
mod help;
#[expect(dead_code, reason = "the tests of the hub room look at more of it")]
#[path = "../../../hub/tests/fetch/server.rs"]
mod hub_server;
mod life;
mod models;
mod refusals;
