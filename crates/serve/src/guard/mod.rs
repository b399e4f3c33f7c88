//! Who may call: API keys and their limits, room for requests, and the defence of a loopback server against foreign web
//! pages.

mod gate;
mod keys;
mod limits;
mod origin;

pub(crate) use gate::{Gate, Peer, Ticket, admit, know};
pub(crate) use keys::Keys;
pub use keys::new_key;
pub use limits::Limits;
pub(crate) use origin::{Origins, authority, refuse_foreign_pages};
