//! Clients that are slow, wrong, too many, or gone. Each test is bounded in counts and in time.

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{MODEL, Running, start, start_sized};
use serde_json::{Value, json};

fn still_answers(server: &Running) {
    let reply = server.complete(json!("Hello"), json!({"max_tokens": 1}));
    assert_eq!(reply.status, 200, "{}", reply.text);
}

/// Sends bytes as they are, and reads until the connection ends or `patience` is over; whether it ended.
fn converse(server: &Running, bytes: &[u8], patience: Duration) -> (String, bool) {
    let mut connection = TcpStream::connect(server.address).expect("a connection");
    connection
        .set_read_timeout(Some(patience))
        .expect("a time limit");
    // The server may refuse in the middle of it.
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    let ended = match connection.read_to_end(&mut answer) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    };
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}

#[test]
fn slow_writers_are_given_up_and_hold_nobody_up() {
    let server = start(|config| config.patience = Duration::from_millis(300));
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n";
    for begun in [
        String::new(),
        "POST /v1/compl".to_owned(),
        head.to_owned(),
        format!("{head}content-length: 500\r\n\r\n{{\"model\": "),
    ] {
        let began = Instant::now();
        let (answer, ended) = converse(&server, begun.as_bytes(), Duration::from_secs(10));
        assert!(ended, "{begun:?} is still waited for: {answer}");
        assert!(began.elapsed() < Duration::from_secs(5));
        if begun.contains("content-length") {
            assert!(answer.contains("request_timeout"), "{answer}");
        }
    }
    // One byte now and then makes no difference.
    let mut drip = TcpStream::connect(server.address).expect("a connection");
    drip.write_all(format!("{head}content-length: 500\r\n\r\n").as_bytes())
        .expect("sent");
    let began = Instant::now();
    while drip.write_all(b" ").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "still listening");
        std::thread::sleep(Duration::from_millis(50));
    }
    still_answers(&server);
}

#[test]
fn readers_that_do_not_read_hold_nobody_up() {
    let server = start_sized(
        256,
        infer::Settings {
            sequences: 4,
            ..infer::Settings::default()
        },
        |config| config.patience = Duration::from_millis(500),
    );
    let unread: Vec<TcpStream> = (0..16)
        .map(|_| server.open_stream("", json!({"n": 8, "logprobs": 5})))
        .collect();
    still_answers(&server);
    server.until_metric("ontogeny_batch_sequences{model=\"tiny\"}", 0.0);
    server.until_metric("ontogeny_kv_blocks{model=\"tiny\",state=\"used\"}", 0.0);
    drop(unread);
}

#[test]
fn bodies_that_are_no_requests_get_a_clear_refusal() {
    let server = start(|config| config.body_limit = 64 << 10);
    let nested = |open: &str, close: &str, depth: usize| {
        format!(
            "{{\"model\": \"{MODEL}\", \"prompt\": {}{}}}",
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let huge = format!(
        "{{\"model\": \"{MODEL}\", \"prompt\": \"{}\"}}",
        "a".repeat(65 << 10)
    );
    for path in ["/v1/completions", "/v1/chat/completions", "/v1/feedback"] {
        for (body, expected) in [
            ("", 400),
            ("{", 400),
            ("null", 400),
            ("[]", 400),
            ("\"text\"", 400),
            ("{\"model\": 1e999}", 400),
            ("{\"model\": \"\\ud800\"}", 400),
            ("{\"model\": \"tiny\"", 400),
            (&*nested("[", "]", 10_000), 400),
            (&*nested("{\"a\":", "}", 5_000), 400),
            (&*huge, 413),
        ] {
            let reply = server.send("POST", path, &[], body);
            let shown = &body[..body.len().min(60)];
            assert_eq!(reply.status, expected, "{path} {shown}: {}", reply.text);
            assert!(reply.json()["error"]["message"].is_string());
        }
    }
    let bytes = [b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n\r\n", &b"\xff\xfe\x00\x01"[..]].concat();
    let (answer, _) = converse(&server, &bytes, Duration::from_secs(5));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    for head in [
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "a".repeat(70_000)),
        format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(900_000)),
        format!("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", u64::MAX),
        "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_owned(),
    ] {
        let (answer, ended) = converse(&server, head.as_bytes(), Duration::from_secs(5));
        assert!(ended, "{}", &head[..head.len().min(40)]);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    still_answers(&server);
}

#[test]
fn parameters_that_contradict_each_other_are_refused() {
    let server = start(|_| {});
    for more in [
        json!({"max_tokens": -1}),
        json!({"max_tokens": 1_000_000}),
        json!({"max_tokens": 1.5}),
        json!({"temperature": -1}),
        json!({"temperature": "hot"}),
        json!({"top_p": 0, "temperature": 1}),
        json!({"top_p": 2}),
        json!({"n": 0}),
        json!({"n": 1_000}),
        json!({"stop": 5}),
        json!({"stop": {}}),
        json!({"stream": "yes"}),
        json!({"stream": false, "stream_options": {"include_usage": true}}),
        json!({"logprobs": 100}),
        json!({"logprobs": -1}),
        json!({"seed": "a"}),
        json!({"seed": 1e300}),
        json!({"prompt": [1, -1]}),
        json!({"prompt": [999_999_999]}),
        json!({"prompt": []}),
        json!({"prompt": {}}),
        json!({"prompt": "word ".repeat(2_000)}),
        json!({"model": null}),
        json!({"model": "nobody"}),
    ] {
        for stream in [false, true] {
            let mut more = more.clone();
            if stream && more.get("stream").is_none() {
                more["stream"] = json!(true);
            }
            let reply = server.complete(json!("Hello"), more.clone());
            // Zero is taken for the smallest share where a server does so; it must not be a failure.
            assert!((200..500).contains(&reply.status), "{more}: {}", reply.text);
            if more.get("top_p") != Some(&json!(0)) {
                assert!(reply.status >= 400, "{more}: {}", reply.text);
            }
        }
    }
    still_answers(&server);
}

#[test]
fn ten_times_more_than_it_can_do_is_refused_in_good_order() {
    let server = start_sized(
        256,
        infer::Settings {
            sequences: 4,
            queue: Some(4),
            ..infer::Settings::default()
        },
        |_| {},
    );
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let end = Instant::now() + Duration::from_secs(3);
    std::thread::scope(|scope| {
        for client in 0..80 {
            let (server, answered, refused) = (&server, &answered, &refused);
            scope.spawn(move || {
                while Instant::now() < end {
                    let more =
                        json!({"max_tokens": 32, "ignore_eos": true, "stream": client % 2 == 0});
                    let reply = server.complete(json!(format!("Client {client}")), more);
                    match reply.status {
                        200 => answered.fetch_add(1, Ordering::Relaxed),
                        429 => {
                            assert!(reply.headers.contains_key("retry-after"));
                            std::thread::sleep(Duration::from_millis(20));
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        status => panic!("{status}: {}", reply.text),
                    };
                }
            });
        }
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert!(
        answered > 8 && refused > 0,
        "{answered} answered, {refused} refused"
    );
    server.until_metric("ontogeny_kv_blocks{model=\"tiny\",state=\"used\"}", 0.0);
    let counted = server.metric("ontogeny_refused_total{reason=\"queue_full\"}");
    assert_eq!(counted, Some(refused as f64), "every refusal is counted");
    still_answers(&server);
}

#[test]
fn reused_connections_survive_refusals() {
    let server = start(|_| {});
    let mut connection = TcpStream::connect(server.address).expect("a connection");
    connection
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time limit");
    for body in ["{", "{}", "[]"] {
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.ends_with(b"}}") {
            let count = connection.read(&mut buffer).expect("an answer");
            assert!(count > 0, "the connection ended");
            answer.extend_from_slice(&buffer[..count]);
        }
        let text = String::from_utf8(answer).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        assert!(serde_json::from_str::<Value>(body).is_ok(), "{body}");
    }
}
