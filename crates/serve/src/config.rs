//! What a server is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes any free port.
    pub bind: SocketAddr,
    /// A file with one API key a line, as [`new_key`](crate::new_key) writes them; `None` lets everyone in who can reach
    /// the address.
    pub api_keys: Option<PathBuf>,
    /// A certificate and its key; with them the server speaks TLS only.
    pub tls: Option<TlsFiles>,
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
    /// How long a request may wait for its turn; then it is answered 429.
    pub longest_wait: Duration,
    /// How many requests may be under way, waiting ones and half-read bodies among them; more are answered 429 before
    /// anything of them is read.
    pub most_requests: usize,
    /// How many connections may be open; more wait to be accepted.
    pub most_connections: usize,
    /// How long a client may take to send a request, or to take in a part of an answer, before it is given up.
    pub patience: Duration,
    /// Whether the log holds the text of requests and answers too.
    pub log_prompts: bool,
    /// How long answers under way may still take after the server was told to stop.
    pub drain: Duration,
}

/// Where a server's certificate is, in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, those that vouch for it behind it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            api_keys: None,
            tls: None,
            feedback: None,
            store_prompts: true,
            allowed_origins: Vec::new(),
            body_limit: 4 << 20,
            longest_wait: Duration::from_secs(60),
            most_requests: 512,
            most_connections: 1024,
            patience: Duration::from_secs(30),
            log_prompts: false,
            drain: Duration::from_secs(20),
        }
    }
}
