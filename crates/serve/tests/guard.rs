//! Keys, foreign pages, and starting badly.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use common::{Running, start};
use serde_json::json;
use serve::{Error, Models, Server};

/// The status line of a request with exactly these headers.
fn status(server: &Running, head: &str) -> u16 {
    let mut connection = TcpStream::connect(server.address).expect("a connection");
    connection
        .write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes())
        .expect("a sent request");
    let mut response = String::new();
    connection
        .read_to_string(&mut response)
        .expect("a response");
    let status = response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {response}"))
}

#[test]
fn keys_are_asked_for_under_v1_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    std::fs::write(&path, "# people\nsecret-one\nsecret-two\n").expect("a key file");
    let server = start(|config| config.api_keys = Some(path));
    let models = |headers: &[(&str, &str)]| server.send("GET", "/v1/models", headers, "");
    let replies = json!({
        "no key": models(&[]).json(),
        "wrong key": models(&[("authorization", "Bearer guess")]).json(),
        "wrong scheme": models(&[("authorization", "Basic secret-one")]).json(),
    });
    insta::assert_json_snapshot!("keys", replies);
    assert_eq!(models(&[]).status, 401);
    assert_eq!(
        models(&[("authorization", "Bearer secret-two")]).status,
        200
    );
    assert_eq!(server.post("/v1/feedback", &json!({})).status, 401);
    for open in ["/", "/health"] {
        assert_eq!(server.get(open).status, 200, "{open}");
    }
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    let server =
        start(|config| config.allowed_origins = vec!["https://chat.example.org".to_owned()]);
    let own = server.address;
    let cases = [
        (format!("host: {own}"), 200),
        (format!("host: localhost:{}", own.port()), 200),
        ("host: evil.example".to_owned(), 403),
        ("host: chat.example.org".to_owned(), 200),
        (format!("host: {own}\r\norigin: http://{own}"), 200),
        (format!("host: {own}\r\norigin: http://localhost:3000"), 200),
        (
            format!("host: {own}\r\norigin: https://chat.example.org"),
            200,
        ),
        (format!("host: {own}\r\norigin: https://evil.example"), 403),
        (format!("host: {own}\r\norigin: null"), 403),
    ];
    for (headers, expected) in cases {
        assert_eq!(
            status(&server, &format!("GET /v1/models HTTP/1.1\r\n{headers}")),
            expected,
            "{headers}"
        );
    }
}

#[test]
fn pages_of_allowed_origins_may_read_answers() {
    let server =
        start(|config| config.allowed_origins = vec!["https://chat.example.org".to_owned()]);
    let origin = ("origin", "https://chat.example.org");
    let preflight = [
        origin,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let reply = server.send("OPTIONS", "/v1/chat/completions", &preflight, "");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.headers["access-control-allow-origin"],
        "https://chat.example.org"
    );
    assert_eq!(
        reply.headers["access-control-allow-headers"],
        "authorization"
    );
    assert_eq!(
        server.send("GET", "/v1/models", &[origin], "").headers["access-control-allow-origin"],
        "https://chat.example.org"
    );
    assert!(
        !server
            .get("/v1/models")
            .headers
            .contains_key("access-control-allow-origin")
    );
}

#[test]
fn the_page_may_reach_nothing_but_its_server() {
    let server = start(|_| {});
    let page = server.get("/");
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("ascii");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let nonce = policy
        .split("'nonce-")
        .nth(1)
        .and_then(|rest| rest.split('\'').next())
        .expect("a nonce");
    assert!(page.text.contains(&format!("<script nonce=\"{nonce}\">")));
    assert_ne!(
        server.get("/").headers["content-security-policy"],
        page.headers["content-security-policy"]
    );
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why_and_what_to_do() {
    let models = Models::new();
    models.insert("tiny", common::engine("tiny", 64));
    let first = serve::Config {
        bind: "127.0.0.1:0".parse().expect("an address"),
        ..serve::Config::default()
    };
    let Err(error) = Server::bind(&first, Models::new()).await else {
        panic!("a server without a model")
    };
    assert!(matches!(error, Error::NoModel));

    let running = Server::bind(&first, models.clone())
        .await
        .expect("a free port");
    let second = serve::Config {
        bind: running.address(),
        ..first.clone()
    };
    let Err(error) = Server::bind(&second, models.clone()).await else {
        panic!("two servers on one port")
    };
    let text = error.to_string();
    assert!(
        text.contains(&running.address().port().to_string()) && text.contains("--bind"),
        "{text}"
    );

    let keys = serve::Config {
        api_keys: Some("/nonexistent/keys".into()),
        ..first.clone()
    };
    let Err(error) = Server::bind(&keys, models.clone()).await else {
        panic!("a server without its keys")
    };
    assert!(error.to_string().contains("/nonexistent/keys"), "{error}");

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("feedback.sqlite");
    std::fs::write(
        &path,
        "this is no database, and long enough to be seen as none",
    )
    .expect("a file");
    let broken = serve::Config {
        feedback: Some(path),
        ..first
    };
    let Err(error) = Server::bind(&broken, models).await else {
        panic!("a server on a broken store")
    };
    assert!(error.to_string().contains("feedback.sqlite"), "{error}");
}

/// Everything that was logged, with the details that an operator may ask for. (Below them, at `trace`, the tokenizers
/// library spells out what it is given.)
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("an unbroken log")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_names_requests_and_never_what_they_say() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(move || writer.clone());
    subscriber.with_ansi(false).init();
    let server = start(|config| config.bind = "0.0.0.0:0".parse().expect("an address"));
    let port = server.address.port();
    let post = |path: &str, body: serde_json::Value| {
        let sent = ureq::post(format!("http://127.0.0.1:{port}{path}")).send(body.to_string());
        sent.expect("a response")
            .body_mut()
            .read_to_string()
            .expect("a body")
    };
    let question = json!([{"role": "user", "content": "Where is the treasure?"}]);
    let answer = post(
        "/v1/chat/completions",
        json!({"model": "tiny", "messages": question, "max_tokens": 4}),
    );
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let rating = json!({"answer_id": answer["id"], "rating": "down", "correction": "Under the treasure map."});
    post("/v1/feedback", rating);
    let text = String::from_utf8(log.0.lock().expect("an unbroken log").clone()).expect("UTF-8");
    for said in [
        "everyone who can reach this address",
        "req_",
        "/v1/chat/completions",
        "status=200",
    ] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    assert!(!text.contains("treasure"), "{text}");
}

#[cfg(unix)]
#[test]
fn the_blocking_server_stops_at_a_termination_signal() {
    let (tell, address) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let models = Models::new();
        models.insert("tiny", common::engine("tiny", 64));
        let config = serve::Config {
            bind: "127.0.0.1:0".parse().expect("an address"),
            ..serve::Config::default()
        };
        serve::serve(
            &config,
            models,
            |_| Ok(()),
            |address| {
                tell.send(address).expect("a waiting test");
            },
        )
    });
    let address = address.recv().expect("a bound server");
    let mut health = ureq::get(format!("http://{address}/health"))
        .call()
        .expect("a response");
    assert_eq!(
        health.body_mut().read_to_string().expect("a body"),
        r#"{"status":"ok"}"#
    );
    let kill = std::process::Command::new("kill")
        .args(["-TERM", &std::process::id().to_string()])
        .status();
    assert!(kill.expect("the kill command").success());
    server.join().expect("no panic").expect("a clean stop");
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}
