//! TLS: clients that trust the certificate are answered, and a new certificate is taken up while the server runs.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use common::{MODEL, start};
use serde_json::json;
use serve::{Error, Models, Server, TlsFiles};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Writes a certificate for localhost and its key; what a client must trust comes back.
fn certificate(files: &TlsFiles) -> Certificate<'static> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    std::fs::write(&files.certificate, made.cert.pem()).expect("a file");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("a file");
    Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate")
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    }
}

fn agent(trusted: &Certificate<'static>) -> ureq::Agent {
    let roots = RootCerts::new_with_certs(std::slice::from_ref(trusted));
    ureq::Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into()
}

#[test]
fn clients_are_answered_over_tls_and_only_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let trusted = certificate(&files);
    let server = start(|config| config.tls = Some(files.clone()));
    let url = format!("https://localhost:{}/v1/completions", server.address.port());
    let body = json!({"model": MODEL, "prompt": "Hello", "max_tokens": 2}).to_string();
    let mut reply = agent(&trusted).post(&url).send(&body).expect("an answer");
    let text = reply.body_mut().read_to_string().expect("a body");
    assert!(text.contains("text_completion"), "{text}");

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("another");
    let other = Certificate::from_pem(other.cert.pem().as_bytes()).expect("a certificate");
    assert!(agent(&other).post(&url).send(&body).is_err());

    let mut plain = TcpStream::connect(server.address).expect("a connection");
    plain
        .write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    // The server may reset the connection.
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_while_the_server_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = files(folder.path());
    let first = certificate(&files);
    let models = Models::new();
    models.insert(MODEL, common::engine("tiny", 64));
    let config = serve::Config {
        bind: "127.0.0.1:0".parse().expect("an address"),
        tls: Some(files.clone()),
        ..serve::Config::default()
    };
    let server = Server::bind(&config, models.clone())
        .await
        .expect("a server");
    let (reload, port) = (server.reload(), server.address().port());
    let running = tokio::spawn(server.run(std::future::pending()));
    let answered = move |trusted: Certificate<'static>| {
        let url = format!("https://localhost:{port}/health");
        let asked = tokio::task::spawn_blocking(move || agent(&trusted).get(&url).call().is_ok());
        async move { asked.await.expect("a client") }
    };
    assert!(answered(first.clone()).await);
    let second = certificate(&files);
    assert!(!answered(second.clone()).await, "nobody said so yet");
    reload.now().expect("readable files");
    assert!(answered(second.clone()).await);
    assert!(!answered(first).await);
    std::fs::write(&files.key, "no key").expect("a file");
    let error = reload.now().expect_err("no key");
    assert!(error.to_string().contains("key.pem"), "{error}");
    assert!(answered(second).await, "the old certificate stays");
    running.abort();

    let error = Server::bind(&config, models)
        .await
        .err()
        .expect("no server");
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}
