//! Queue, limits, metrics, reloading and stopping, over real connections.

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{MODEL, Running, start, start_sized};
use serde_json::{Value, json};
use serve::Limits;

const USED: &str = "ontogeny_kv_blocks{model=\"tiny\",state=\"used\"}";
const RUNNING: &str = "ontogeny_batch_sequences{model=\"tiny\"}";
const WAITING: &str = "ontogeny_queue_length{model=\"tiny\"}";

fn settings(sequences: usize, queue: usize) -> infer::Settings {
    infer::Settings {
        sequences,
        queue: Some(queue),
        lookup: 0,
        ..infer::Settings::default()
    }
}

/// Reads a stream's status, and on to its first event.
fn first_event(connection: TcpStream) -> (u16, BufReader<TcpStream>) {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {line}"));
    while status == 200 && !line.starts_with("data: ") {
        line.clear();
        assert!(reader.read_line(&mut line).expect("an event") > 0);
    }
    (status, reader)
}

fn ask(server: &Running, key: &str) -> common::Reply {
    let body = json!({"model": MODEL, "prompt": "Hello", "max_tokens": 2, "ignore_eos": true});
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", &*authorization)];
    server.send("POST", "/v1/completions", &headers, &body.to_string())
}

#[test]
fn two_hundred_clients_that_vanish_leave_no_block_in_use() {
    let server = start_sized(256, settings(8, 256), |_| {});
    for round in 0..10 {
        let streams: Vec<TcpStream> = (0..20)
            .map(|client| {
                let prompt = format!("The reef, seen by client {client} of round {round}");
                server.open_stream("", json!({"prompt": prompt}))
            })
            .collect();
        // Some have begun, others wait.
        let mut streams = streams.into_iter();
        let begun = streams.next().map(first_event).expect("a stream");
        assert_eq!(begun.0, 200);
    }
    for (name, value) in [(RUNNING, 0.0), (WAITING, 0.0), (USED, 0.0)] {
        server.until_metric(name, value);
    }
    let count = |state: &str| {
        let name = format!("ontogeny_kv_blocks{{model=\"tiny\",state=\"{state}\"}}");
        server.metric(&name).expect("a gauge")
    };
    assert!(count("free") + count("cached") > 0.0);
    let cancelled = server.metric("ontogeny_cancelled_total{model=\"tiny\"}");
    assert!(cancelled.expect("a counter") > 100.0, "{cancelled:?}");
    assert_eq!(server.complete(json!("Hello"), json!({})).status, 200);
}

#[test]
fn a_full_queue_answers_429_and_says_when_to_come_back() {
    let server = start_sized(256, settings(1, 2), |_| {});
    let (status, running) = first_event(server.open_stream("", json!({})));
    assert_eq!(status, 200);
    let waiting = [
        server.open_stream("", json!({})),
        server.open_stream("", json!({})),
    ];
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.metric(WAITING) != Some(2.0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    // The first may be through by now on a fast machine, so more than one asks.
    let replies: Vec<_> = (0..6)
        .map(|_| first_event(server.open_stream("", json!({}))))
        .collect();
    let refused = replies.into_iter().find(|(status, _)| *status == 429);
    let (_, mut reader) = refused.expect("one that was refused");
    let mut lines = String::new();
    while !lines.contains("engine_overloaded") {
        assert!(reader.read_line(&mut lines).expect("a line") > 0 || !lines.is_empty());
        if lines.ends_with("\r\n\r\n") {
            let mut body = [0; 40];
            reader.read_exact(&mut body).expect("a body");
            lines += &String::from_utf8_lossy(&body);
            break;
        }
    }
    assert!(lines.to_lowercase().contains("retry-after: "), "{lines}");
    let counted = server.metric("ontogeny_refused_total{reason=\"queue_full\"}");
    assert!(counted.expect("a counter") >= 1.0);
    drop((running, waiting));
}

#[test]
fn who_waits_too_long_is_told_so() {
    let server = start_sized(256, settings(1, 64), |config| {
        config.longest_wait = Duration::from_millis(1);
    });
    let _streams: Vec<_> = (0..4).map(|_| server.open_stream("", json!({}))).collect();
    let body = json!({"model": MODEL, "prompt": "Hello", "max_tokens": 2});
    let replies: Vec<_> = (0..4)
        .map(|_| server.post("/v1/completions", &body).status)
        .collect();
    assert!(replies.contains(&429), "{replies:?}");
    let expired = server.metric("ontogeny_refused_total{reason=\"expired\"}");
    assert!(expired.expect("a counter") >= 1.0);
}

#[test]
fn a_request_more_than_the_server_takes_is_refused_unread() {
    let server = start_sized(256, settings(8, 64), |config| config.most_requests = 2);
    let streams: Vec<_> = (0..2)
        .map(|_| first_event(server.open_stream("", json!({}))))
        .collect();
    let reply = server.post("/v1/completions", &json!({}));
    if reply.status == 429 {
        assert_eq!(reply.headers["retry-after"], "1");
    } else {
        // Both had ended already.
        assert_eq!(reply.status, 400, "{}", reply.text);
    }
    drop(streams);
    server.until_metric(RUNNING, 0.0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.post("/v1/completions", &json!({})).status == 429 {
        assert!(Instant::now() < deadline, "room comes back");
    }
}

#[test]
fn keys_have_limits_and_count_under_their_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    let key = |name, limits| serve::new_key(&path, name, limits).expect("a key");
    let fast = key("fast", Limits::default());
    let slow = key(
        "slow",
        Limits {
            requests_per_minute: Some(2),
            ..Limits::default()
        },
    );
    let short = key(
        "short",
        Limits {
            tokens_per_minute: Some(3),
            ..Limits::default()
        },
    );
    let single = key(
        "single",
        Limits {
            concurrent: Some(1),
            ..Limits::default()
        },
    );
    let server = start(|config| config.api_keys = Some(path.clone()));
    for _ in 0..4 {
        assert_eq!(ask(&server, &fast).status, 200);
    }
    assert_eq!(
        [ask(&server, &slow).status, ask(&server, &slow).status],
        [200; 2]
    );
    let refused = ask(&server, &slow);
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    let after: u64 = refused.headers["retry-after"]
        .to_str()
        .expect("ascii")
        .parse()
        .expect("seconds");
    assert!((1..=30).contains(&after), "{after}");
    assert_eq!(ask(&server, &short).status, 200);
    assert_eq!(ask(&server, &short).status, 429, "its tokens are used up");
    let header = format!("authorization: Bearer {single}\r\n");
    let stream = first_event(server.open_stream(&header, json!({})));
    assert_eq!(stream.0, 200);
    let second = ask(&server, &single).status;
    drop(stream);
    let deadline = Instant::now() + Duration::from_secs(5);
    while ask(&server, &single).status == 429 {
        assert!(Instant::now() < deadline, "its turn comes back");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!([200, 429].contains(&second), "the stream may have ended");

    assert_eq!(server.get("/metrics").status, 401, "names stand there");
    let page = server.send(
        "GET",
        "/metrics",
        &[("authorization", &format!("Bearer {slow}"))],
        "",
    );
    assert_eq!(page.status, 200, "looking is free");
    for line in [
        "ontogeny_generated_tokens_total{model=\"tiny\",key=\"fast\"} 8",
        "ontogeny_generated_tokens_total{model=\"tiny\",key=\"slow\"} 4",
        "ontogeny_refused_total{reason=\"requests\"} 1",
        "ontogeny_answers_total{model=\"tiny\",key=\"fast\",outcome=\"length\"} 4",
    ] {
        assert!(page.text.contains(line), "{line} is not in {}", page.text);
    }
}

#[test]
fn metrics_name_what_operators_watch() {
    let server = start(|_| {});
    let shared = "The regulator costs ninety euros and the reef is open. ".repeat(3);
    for _ in 0..2 {
        let reply = server.complete(json!(shared), json!({"ignore_eos": true, "max_tokens": 3}));
        assert_eq!(reply.status, 200);
    }
    server.get("/nowhere/a-secret-path");
    let page = server.get("/metrics");
    let names: Vec<&str> = page
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    insta::assert_json_snapshot!("metrics", names);
    assert!(!page.text.contains("secret"), "paths are no labels");
    for line in [
        "ontogeny_http_requests_total{method=\"POST\",route=\"/v1/completions\",status=\"200\"} 2",
        "ontogeny_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "ontogeny_generated_tokens_total{model=\"tiny\",key=\"none\"} 6",
        "ontogeny_time_to_first_token_seconds_count{model=\"tiny\"} 2",
        "ontogeny_inter_token_seconds_count{model=\"tiny\"} 4",
        "ontogeny_ready 1",
        "ontogeny_batch_slots{model=\"tiny\"} 32",
    ] {
        assert!(page.text.contains(line), "{line} is not in {}", page.text);
    }
    let hits = server.metric("ontogeny_prefix_tokens_hit_total{model=\"tiny\"}");
    assert!(hits.expect("a counter") >= 32.0, "{hits:?}");
    assert_eq!(server.get("/ready").json(), json!({"status": "ready"}));
    assert_eq!(server.get("/health").json(), json!({"status": "ok"}));
}

#[test]
fn a_server_is_alive_before_it_is_ready() {
    let (tell, address) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let place = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let bind = place.local_addr().expect("an address");
    drop(place);
    std::thread::spawn(move || {
        let config = serve::Config {
            bind,
            ..serve::Config::default()
        };
        let load = move |models: &serve::Models| {
            wait.recv().expect("a waiting test");
            models.insert(MODEL, common::engine("tiny", 64));
            Ok(())
        };
        let bound = |address| tell.send(address).expect("a waiting test");
        serve::serve(&config, serve::Models::new(), load, bound)
    });
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let status = |path: &str| match agent.get(format!("http://{bind}{path}")).call() {
        Ok(response) => response.status().as_u16(),
        Err(_) => 0,
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while status("/health") != 200 {
        assert!(Instant::now() < deadline, "it never listened");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((status("/ready"), status("/v1/models")), (503, 503));
    go.send(()).expect("a waiting server");
    assert_eq!(address.recv().expect("loaded"), bind);
    assert_eq!((status("/ready"), status("/v1/models")), (200, 200));
}

#[test]
fn answers_under_way_are_finished_and_no_more_are_taken() {
    let mut server = start(|_| {});
    let (status, mut stream) = first_event(server.open_stream("", json!({})));
    assert_eq!(status, 200);
    server.tell_to_stop();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the rest");
    assert!(rest.contains("data: [DONE]"), "{rest}");
    let finish: Option<Value> = rest
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|event| serde_json::from_str(event).ok())
        .find(|event: &Value| !event["choices"][0]["finish_reason"].is_null());
    assert_eq!(
        finish.expect("an end")["choices"][0]["finish_reason"],
        "length"
    );
    assert!(
        TcpStream::connect(server.address).is_err(),
        "nobody listens"
    );
}
