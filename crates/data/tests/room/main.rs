//! The room from outside: reading, curation, tokens, conversations.

mod conversations;
mod curation;
mod reading;
mod support;
mod tokens;
