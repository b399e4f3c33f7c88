//! Who may call: API keys, and the defence of a loopback server against foreign web pages.

mod keys;
mod origin;

pub(crate) use keys::{Keys, require_key};
pub(crate) use origin::{Origins, authority, refuse_foreign_pages};
