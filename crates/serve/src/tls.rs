//! TLS by rustls, with a certificate that can be exchanged while the server runs.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::error::{Error, Result};

/// What connections are encrypted with.
pub(crate) struct Tls {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    pub(crate) fn read(files: &TlsFiles) -> Result<Tls> {
        Ok(Tls {
            files: files.clone(),
            acceptor: RwLock::new(acceptor(files)?),
        })
    }

    /// Reads the files again; connections from now on use them. When they cannot be read, all stays as it was.
    pub(crate) fn reload(&self) -> Result<()> {
        let fresh = acceptor(&self.files)?;
        *self
            .acceptor
            .write()
            .unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let acceptor = self.acceptor.read().unwrap_or_else(PoisonError::into_inner);
        acceptor.clone()
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    fn failed<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Error {
        move |error| Error::Tls {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(failed(&files.certificate))?;
    if certificates.is_empty() {
        return Err(failed(&files.certificate)("it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed(&files.certificate))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(failed(&files.key))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
