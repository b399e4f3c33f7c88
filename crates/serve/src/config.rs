//! What a server is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes any free port.
    pub bind: SocketAddr,
    /// A file with one API key a line; `None` lets everyone in who can reach the address.
    pub api_keys: Option<PathBuf>,
    /// The SQLite file of answers and ratings; `None` keeps neither, and `/v1/feedback` answers 404.
    pub feedback: Option<PathBuf>,
    /// Whether the text of requests and answers is stored beside the ratings. Without it ratings are still counted,
    /// but no preference pair can be made from them unless the answer was known before.
    pub store_prompts: bool,
    /// Web origins (`https://chat.example.org`) whose pages may call this server, besides its own page. Their host
    /// names are accepted in the `Host` header too.
    pub allowed_origins: Vec<String>,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// How long answers under way may still take after the server was told to stop.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            api_keys: None,
            feedback: None,
            store_prompts: true,
            allowed_origins: Vec::new(),
            body_limit: 4 << 20,
            drain: Duration::from_secs(20),
        }
    }
}
