//! Clients that go away and a server that is told to stop, with answers under way.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{MODEL, start_with};
use serde_json::json;
use serve::feedback::Store;

#[test]
fn a_client_that_vanishes_cancels_its_answer() {
    for stream in [true, false] {
        let server = start_with(4096, |_| {});
        let messages = json!([{"role": "user", "content": "Go on"}]);
        let body = json!({"model": MODEL, "messages": messages, "stream": stream, "ignore_eos": true, "n": 4});
        let body = body.to_string();
        let mut connection = TcpStream::connect(server.address).expect("a connection");
        let length = body.len();
        write!(connection, "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}")
            .expect("a sent request");
        if stream {
            connection
                .read_exact(&mut [0; 2048])
                .expect("the beginning of a stream");
        } else {
            std::thread::sleep(Duration::from_millis(100));
        }
        drop(connection);

        let store = Store::open(&server.feedback_path()).expect("the store");
        let deadline = Instant::now() + Duration::from_secs(20);
        let answers = loop {
            let answers = store.answers_of("0123456789ab").expect("a readable store");
            if answers.len() == 4 {
                break answers;
            }
            assert!(
                Instant::now() < deadline,
                "the answers under way were not stored as cancelled"
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(
            answers
                .iter()
                .all(|answer| answer.finish_reason == "cancelled"),
            "{answers:?}"
        );
        let tokens: usize = answers.iter().map(|answer| answer.completion_tokens).sum();
        assert!(tokens < 4 * 4000, "{tokens} tokens were made for nobody");
    }
}

#[test]
fn answers_under_way_are_finished_before_the_server_stops() {
    let mut server = start_with(1024, |_| {});
    let url = server.url("/v1/chat/completions");
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let body = json!({"model": MODEL, "messages": messages, "ignore_eos": true, "stream": true});
    let client = std::thread::spawn(move || {
        let mut response = ureq::post(url).send(body.to_string()).expect("a response");
        response.body_mut().read_to_string().expect("a whole body")
    });
    std::thread::sleep(Duration::from_millis(150));
    server.tell_to_stop();
    let text = client.join().expect("a finished client");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}
