//! Listening, what handlers share, and the life of a server from loading to its last answer.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::connection::Connections;
use crate::error::{Error, Result};
use crate::feedback;
use crate::guard::{Gate, Keys, Origins};
use crate::loaded::Models;
use crate::monitor::Metrics;
use crate::routes;
use crate::tls::Tls;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) models: Models,
    pub(crate) feedback: Option<feedback::Store>,
    pub(crate) store_prompts: bool,
    pub(crate) body_limit: usize,
    pub(crate) patience: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) ready: Arc<AtomicBool>,
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    reload: Reload,
    connections: Connections,
}

/// Reads again what may change while a server runs: the keys with their limits, and the certificate.
#[derive(Clone)]
pub struct Reload {
    keys: Option<Arc<Keys>>,
    tls: Option<Arc<Tls>>,
}

impl Reload {
    /// Reads the files again. One that cannot be read leaves what it held as it was.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub fn now(&self) -> Result<()> {
        let keys = self.keys.as_ref().map(|keys| keys.reload()).transpose()?;
        self.tls.as_ref().map(|tls| tls.reload()).transpose()?;
        tracing::info!(keys, "the configuration was read again");
        Ok(())
    }
}

impl Server {
    /// Reads the keys, opens the feedback store and listens.
    ///
    /// # Errors
    /// When there is no model, a file cannot be used, or the address cannot be listened on (a port in use is
    /// [`Error::PortInUse`]).
    pub async fn bind(config: &Config, models: Models) -> Result<Server> {
        if models.is_empty() {
            return Err(Error::NoModel);
        }
        let server = Server::listen(config, models).await?;
        server.ready.store(true, Ordering::Release);
        Ok(server)
    }

    /// Listens, and says until further notice that it is not ready.
    async fn listen(config: &Config, models: Models) -> Result<Server> {
        let keys = config
            .api_keys
            .as_deref()
            .map(Keys::read)
            .transpose()?
            .map(Arc::new);
        let tls = config.tls.as_ref().map(Tls::read).transpose()?;
        let tls = tls.map(Arc::new);
        let listener =
            TcpListener::bind(config.bind)
                .await
                .map_err(|source| match source.kind() {
                    ErrorKind::AddrInUse => Error::PortInUse {
                        address: config.bind,
                    },
                    _ => Error::Bind {
                        address: config.bind,
                        source,
                    },
                })?;
        let address = listener.local_addr()?;
        if keys.is_none() && !address.ip().is_loopback() {
            tracing::warn!(%address, "everyone who can reach this address can use the server; give it --api-keys FILE");
        }
        let origins = Arc::new(Origins::new(
            &config.allowed_origins,
            address,
            keys.is_some(),
        )?);
        let ready = Arc::new(AtomicBool::new(false));
        let metrics = Arc::new(Metrics::new());
        let gate = Arc::new(Gate {
            keys: keys.clone(),
            models: models.clone(),
            metrics: Arc::clone(&metrics),
            ready: Arc::clone(&ready),
            room: Arc::new(Semaphore::new(config.most_requests.max(1))),
            longest_wait: config.longest_wait,
            log_prompts: config.log_prompts,
        });
        let state = State {
            models,
            feedback: config
                .feedback
                .as_deref()
                .map(feedback::Store::open)
                .transpose()?,
            store_prompts: config.store_prompts,
            body_limit: config.body_limit,
            patience: config.patience,
            metrics,
            ready: Arc::clone(&ready),
        };
        Ok(Server {
            listener,
            address,
            ready,
            reload: Reload {
                keys,
                tls: tls.clone(),
            },
            connections: Connections {
                router: routes::router(state, gate, &origins),
                tls,
                most: config.most_connections,
                patience: config.patience,
                drain: config.drain,
            },
        })
    }

    /// Where it listens; the port that was chosen when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that reads the configuration again while the server runs.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Answers until `shutdown` resolves; then takes no more requests, and gives answers under way the configured
    /// time to end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        self.connections.answer(self.listener, shutdown).await;
    }
}

/// Serves until Ctrl-C or SIGTERM; SIGHUP reads the configuration again. `load` puts models into the set meanwhile, and
/// `bound` learns the address once they are there; until then the server says that it is alive, and not ready.
///
/// # Errors
/// As [`Server::bind`], and what `load` says.
pub fn serve(
    config: &Config,
    models: Models,
    load: impl FnOnce(&Models) -> Result<()> + Send + 'static,
    bound: impl FnOnce(SocketAddr),
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let server = Server::listen(config, models.clone()).await?;
        let stop = stop_signal()?;
        reload_on_signal(server.reload())?;
        let (address, ready) = (server.address(), Arc::clone(&server.ready));
        let mut running = pin!(server.run(stop));
        let loading = tokio::task::spawn_blocking(move || {
            load(&models)?;
            match models.is_empty() {
                true => Err(Error::NoModel),
                false => Ok(()),
            }
        });
        tokio::select! {
            () = &mut running => return Ok(()),
            loaded = loading => loaded.map_err(std::io::Error::other)??,
        }
        ready.store(true, Ordering::Release);
        bound(address);
        running.await;
        Ok(())
    });
    // Forwarders notice within milliseconds that nobody listens any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Reads the configuration again at each SIGHUP, where there is one.
#[cfg(unix)]
fn reload_on_signal(reload: Reload) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    if reload.keys.is_none() && reload.tls.is_none() {
        // With nothing to read again, a closed terminal ends its server as it always does.
        return Ok(());
    }
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            if let Err(error) = reload.now() {
                tracing::error!(%error, "the configuration stays as it was");
            }
        }
    });
    Ok(())
}

/// There is no such signal.
#[cfg(not(unix))]
fn reload_on_signal(_: Reload) -> Result<()> {
    Ok(())
}

/// Resolves at the first Ctrl-C or SIGTERM. The handlers are in place when this returns.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Resolves at the first Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
