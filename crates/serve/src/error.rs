//! What can keep a server from starting.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The result of starting or running a server.
pub type Result<T> = std::result::Result<T, Error>;

/// A server that could not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program has the port.
    #[error(
        "cannot listen on {address}: port {} is already in use; stop the program that has it, or choose another with \
         --bind {}:PORT (port 0 takes any free one)",
        address.port(),
        address_without_port(address)
    )]
    PortInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on for another reason.
    #[error(
        "cannot listen on {address}: {source}; choose an address of this machine with --bind ADDRESS:PORT"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of API keys cannot be used.
    #[error("cannot take API keys from {}: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot speak TLS with {}: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An allowed origin is not one.
    #[error("`{origin}` is not a web origin; write it as scheme://host or scheme://host:port")]
    Origin {
        /// The text given.
        origin: String,
    },
    /// No model was given to serve.
    #[error(
        "there is no model to serve; name one (`ontogeny serve MODEL`, see `ontogeny models list`)"
    )]
    NoModel,
    /// A model cannot be loaded.
    #[error("cannot load the model `{model}`: {source}")]
    Model {
        /// The name asked for.
        model: String,
        /// What the hub said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The feedback store cannot be opened.
    #[error(transparent)]
    Feedback(#[from] crate::feedback::Error),
    /// The network or the runtime failed.
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

fn address_without_port(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
