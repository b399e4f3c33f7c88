//! The `ontogeny` command from the outside, as its users meet it.

mod binary;
mod embed;
mod feedback;
mod help;
mod life;
mod refusals;
