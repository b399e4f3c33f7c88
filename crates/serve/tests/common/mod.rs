//! A real server on a free port, with a tiny model of random weights.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "whether dead_code fires depends on the test file"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;

use artifact::{Progress, Seed};
use hub::LoadedModel;
use infer::Engine;
use models::InitialWeights;
use models::decoder::{Config, Decoder};
use serde_json::Value;
use serve::{Models, Server};
use tempfile::TempDir;
use tensor::Precision;
use tokenizer::{Tokenizer, TrainConfig};
use tokio::sync::oneshot;

pub(crate) const MODEL: &str = "tiny";
pub(crate) const CONTEXT: usize = 256;
pub(crate) const ENCODER: &str = "bert";
pub(crate) const ENCODER_FOLDER: &str = "../../peers/fixtures/encoders/bert";

/// Sentences a vocabulary is learnt from.
const TEXT: [&str; 4] = [
    "The regulator costs ninety euros and the reef is open from May to October.",
    "Which dive computer is the cheapest one in the shop, and is it in stock?",
    "A parrotfish grinds coral into sand; the turtle grazes on sea grass nearby.",
    "Grüße aus dem Tauchladen! We answer every question about the reef and the shop.",
];

/// A model with random weights.
pub(crate) fn model(id: &str, context: usize) -> LoadedModel {
    let texts = TEXT.iter().map(|text| (*text).to_owned());
    let train = TrainConfig {
        vocab_size: 320,
        min_frequency: 1,
    };
    let tokenizer = Tokenizer::train(texts, &train, &Progress::silent()).expect("a tokenizer");
    let config = Config::from_depth(2, tokenizer.vocab_size(), context);
    let device = tensor::device::parse("cpu").expect("the CPU");
    let decoder = Decoder::init(
        &config,
        InitialWeights::Normal,
        Precision::F32,
        Seed(7),
        &device,
    );
    LoadedModel {
        decoder,
        tokenizer,
        id: id.to_owned(),
    }
}

/// An engine with random weights.
pub(crate) fn engine(id: &str, context: usize) -> Engine {
    Engine::start(model(id, context))
}

/// A running server, stopped when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a server with the tiny model, its settings changed by `change`.
pub(crate) fn start(change: impl FnOnce(&mut serve::Config)) -> Running {
    start_with(CONTEXT, change)
}

/// Starts a server whose model has this context.
pub(crate) fn start_with(context: usize, change: impl FnOnce(&mut serve::Config)) -> Running {
    let models = Models::new();
    models.insert(MODEL, engine("0123456789ab", context));
    start_serving(models, change)
}

/// Starts a server with the tiny model and a tiny encoder, BERT as sentence-transformers writes it.
pub(crate) fn start_with_encoder(
    context: usize,
    change: impl FnOnce(&mut serve::Config),
) -> Running {
    let models = Models::new();
    models.insert(MODEL, engine("0123456789ab", context));
    let home = tempfile::tempdir().expect("a folder");
    let store = artifact::Store::open(home.path()).expect("a store");
    let device = tensor::device::parse("cpu").expect("the CPU");
    let name = models
        .load(&store, ENCODER_FOLDER, &device)
        .expect("an encoder");
    assert_eq!(name, ENCODER);
    start_serving(models, change)
}

/// Starts a server whose engine takes on so much.
pub(crate) fn start_sized(
    context: usize,
    settings: infer::Settings,
    change: impl FnOnce(&mut serve::Config),
) -> Running {
    let models = Models::with_settings(settings.clone());
    let engine = Engine::with_settings(model("0123456789ab", context), settings);
    models.insert(MODEL, engine);
    start_serving(models, change)
}

/// Starts a server with these models.
pub(crate) fn start_serving(models: Models, change: impl FnOnce(&mut serve::Config)) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = serve::Config {
        bind: "127.0.0.1:0".parse().expect("an address"),
        feedback: Some(folder.path().join("feedback.sqlite")),
        ..serve::Config::default()
    };
    change(&mut config);
    let (stop, stopped) = oneshot::channel();
    let (bound, address) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let server = Server::bind(&config, models).await.expect("a free port");
            bound.send(server.address()).expect("a waiting test");
            server.run(async move { drop(stopped.await) }).await;
        });
    });
    let address = address.recv().expect("a bound server");
    Running {
        address,
        folder,
        stop: Some(stop),
        thread: Some(thread),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A response, read whole.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// The objects of a stream of events, which must end with `[DONE]`.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut data: Vec<&str> = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.text);
        data.into_iter()
            .map(|event| serde_json::from_str(event).expect("JSON in an event"))
            .collect()
    }
}

impl Running {
    pub(crate) fn tell_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A server that stopped by itself does not listen any more.
            let _ = stop.send(());
        }
    }

    /// The value of a metric, its labels as they are written; none where it was not counted yet.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics").text;
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
    }

    /// Waits until a metric has a value.
    pub(crate) fn until_metric(&self, name: &str, value: f64) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while self.metric(name).unwrap_or(0.0) != value {
            assert!(
                std::time::Instant::now() < deadline,
                "{name} never was {value}:\n{}",
                self.get("/metrics").text
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// A connection that has sent a request for a stream and may do with it as it likes.
    pub(crate) fn open_stream(&self, headers: &str, more: Value) -> std::net::TcpStream {
        use std::io::Write as _;
        let mut body = serde_json::json!({
            "model": MODEL, "prompt": "The reef", "max_tokens": 200, "ignore_eos": true, "stream": true,
        });
        merge(&mut body, more);
        let body = body.to_string();
        let mut connection = std::net::TcpStream::connect(self.address).expect("a connection");
        let request = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{headers}content-length: \
             {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        connection
            .write_all(request.as_bytes())
            .expect("a sent request");
        connection
    }

    pub(crate) fn feedback_path(&self) -> PathBuf {
        self.folder.path().join("feedback.sqlite")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).expect("a request");
        let mut response = agent.run(request).expect("a response");
        let text = response.body_mut().read_to_string().expect("a body");
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            &body.to_string(),
        )
    }

    pub(crate) fn chat(&self, question: &str, more: Value) -> Reply {
        let mut body = serde_json::json!({
            "model": MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": 24, "seed": 5,
        });
        merge(&mut body, more);
        self.post("/v1/chat/completions", &body)
    }

    pub(crate) fn complete(&self, prompt: Value, more: Value) -> Reply {
        let mut body =
            serde_json::json!({"model": MODEL, "prompt": prompt, "max_tokens": 24, "seed": 5});
        merge(&mut body, more);
        self.post("/v1/completions", &body)
    }
}

/// Sets the fields of `more` in `body`.
fn merge(body: &mut Value, more: Value) {
    let (Value::Object(body), Value::Object(more)) = (body, more) else {
        panic!("two objects")
    };
    body.extend(more);
}

/// Replaces what differs from run to run, and what the random weights say.
pub(crate) fn redacted(mut value: Value) -> Value {
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "id" | "answer_id" if value.as_str() != Some(MODEL) => *value = prefix(value),
                    "created" | "content" | "text" | "finish_reason" | "completion_tokens"
                    | "total_tokens"
                        if !value.is_null() && !value.is_array() =>
                    {
                        *value = Value::String(format!("[{name}]"));
                    }
                    _ => redact(value),
                }
            }
        }
        _ => {}
    }
}

fn prefix(id: &Value) -> Value {
    let id = id.as_str().expect("ids are texts");
    let (prefix, random) = id.split_once('-').expect("a prefix");
    assert_eq!(random.len(), 32);
    Value::String(format!("{prefix}-[random]"))
}
