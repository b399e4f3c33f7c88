//! Models from a hub: only what is needed, resumed where it broke off, refused where it is damaged, and errors that say
//! what to do.

mod server;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use artifact::{Event, Progress, Seed, Store};
use hub::Error;
use hub::fetch::{Fetched, Hub, Source};
use models::InitialWeights;
use models::decoder::{Config, Decoder};
use serde_json::json;
use server::{REVISION, Repository, Server, TOKEN, files_of};
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};

/// A model's folder as a repository, with files beside it that nobody needs.
fn repository() -> Repository {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "The reef is deep and the reef is wide, 12 fish swim in the reef. ".repeat(40);
    let config = TrainConfig {
        vocab_size: 280,
        min_frequency: 2,
    };
    let tokenizer = Tokenizer::train([text].into_iter(), &config, &Progress::silent());
    let decoder = Decoder::init(
        &Config::from_depth(1, 300, 64),
        InitialWeights::Normal,
        Precision::F32,
        Seed(5),
        &Device::flex(),
    );
    hub::save(folder.path(), &decoder, &tokenizer.expect("it trains")).expect("it is saved");
    let mut files = files_of(folder.path());
    for (name, text) in [
        ("README.md", "---\nlicense: mit\n---\n# A small model"),
        ("pytorch_model.bin", "a pickle"),
        ("onnx/model.onnx", "something else"),
        ("1_Pooling/config.json", "{}"),
        (".gitattributes", ""),
    ] {
        files.insert(name.to_owned(), text.as_bytes().to_vec());
    }
    Repository {
        files,
        ..Repository::default()
    }
}

fn fetch(server: &Server, home: &Path, wanted: &str) -> hub::Result<Fetched> {
    fetch_as(server, home, wanted, None)
}

fn fetch_as(
    server: &Server,
    home: &Path,
    wanted: &str,
    token: Option<&str>,
) -> hub::Result<Fetched> {
    let store = Store::open(home)?;
    let hub = Hub::new(&server.endpoint(), token.map(str::to_owned))?;
    let source = Source::parse(wanted).expect("a source")?;
    hub.fetch(&store, &source, &Progress::silent())
}

fn refused(repository: Repository, wanted: &str) -> String {
    let server = Server::start(repository);
    let home = tempfile::tempdir().expect("a folder");
    let error = fetch(&server, home.path(), wanted).expect_err("it is refused");
    assert!(matches!(error, Error::Remote { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn what_is_needed_comes_and_is_imported() {
    let server = Server::start(repository());
    let home = tempfile::tempdir().expect("a folder");
    let fetched = fetch(&server, home.path(), "hf:reef/small").expect("it comes");
    let names: Vec<String> = files_of(&fetched.path).into_keys().collect();
    let expected = [
        ".origin",
        "1_Pooling/config.json",
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, expected);
    assert_eq!(fetched.origin.revision, REVISION);

    let store = Store::open(home.path()).expect("a store");
    let artifact = hub::import(&store, &fetched.path, None, &Progress::silent()).expect("imported");
    let metric = |name| artifact.manifest.metric(name).cloned();
    assert_eq!(metric("source"), Some(json!("hf:reef/small")));
    assert_eq!(metric("revision"), Some(json!(REVISION)));
    assert!(!artifact.path.join(".origin").exists());
    fetched.discard().expect("deleted");
    assert_eq!(files_of(&home.path().join("downloads")).len(), 0);
    let licence = hub::about::licence(&artifact.path).expect("read");
    assert_eq!(licence.map(|found| found.name), Some("mit".to_owned()));
}

#[test]
fn what_broke_off_goes_on() {
    let mut broken = repository();
    let name = "model.safetensors";
    // Within one run, then over two: the connection breaks more often than one run tries.
    broken
        .cuts
        .insert(name.to_owned(), vec![1000, 500, 0, 7, 3000]);
    let server = Server::start(broken);
    let home = tempfile::tempdir().expect("a folder");
    let error = fetch(&server, home.path(), "hf:reef/small").expect_err("it breaks off");
    let message = error.to_string();
    assert!(
        message.contains(name) && message.contains("goes on from there"),
        "{message}"
    );
    let fetched = fetch(&server, home.path(), "hf:reef/small").expect("it goes on");
    let ranges: Vec<_> = server
        .asked(name)
        .into_iter()
        .map(|one| one.range)
        .collect();
    let from = |bytes: usize| Some(format!("bytes={bytes}-"));
    let expected = [
        None,
        from(1000),
        from(1500),
        from(1500),
        from(1507),
        from(4507),
    ];
    assert_eq!(ranges, expected);
    assert_eq!(
        server.asked("tokenizer.json").len(),
        1,
        "what is there is not asked for again"
    );
    hub::load(&fetched.path, "small", &Device::flex()).expect("whole");
}

#[test]
fn what_is_damaged_is_refused_and_fetched_again() {
    for name in ["model.safetensors", "config.json"] {
        let mut damaged = repository();
        damaged.damaged.push(name.to_owned());
        let server = Server::start(damaged);
        let home = tempfile::tempdir().expect("a folder");
        let error = fetch(&server, home.path(), "hf:reef/small").expect_err("it is damaged");
        let message = error.to_string();
        assert!(
            message.contains(name) && message.contains("checksum"),
            "{message}"
        );
        server.change(|repository| repository.damaged.clear());
        fetch(&server, home.path(), "hf:reef/small").expect("it comes whole");
    }
}

#[test]
fn large_files_elsewhere_do_not_see_the_token() {
    let mut repository = repository();
    repository.gated = true;
    repository.elsewhere.push("model.safetensors".to_owned());
    let server = Server::start(repository);
    let home = tempfile::tempdir().expect("a folder");
    fetch_as(&server, home.path(), "hf:reef/small@main", Some(TOKEN)).expect("it comes");
    let asked = server.asked("model.safetensors");
    let seen: Vec<_> = asked
        .iter()
        .map(|one| {
            (
                one.host.starts_with("localhost"),
                one.authorization.is_some(),
            )
        })
        .collect();
    assert_eq!(seen, [(false, true), (true, false)]);
}

#[test]
fn refusals_say_what_to_do() {
    let gated = Repository {
        gated: true,
        ..repository()
    };
    assert!(refused(gated, "hf:reef/small").contains("HF_TOKEN"));
    let unknown = refused(repository(), "hf:reef/nothing");
    assert!(
        unknown.contains("no such model") && unknown.contains("HF_TOKEN"),
        "{unknown}"
    );
    assert!(refused(repository(), "hf:reef/small@old").contains("no such revision"));
    let mut pickled = repository();
    pickled.files.remove("model.safetensors");
    assert!(refused(pickled, "hf:reef/small").contains("safe_serialization"));
    let mut several = repository();
    several.files.retain(|name, _| name == "README.md");
    for name in ["a.Q4_0.gguf", "a.Q8_0.gguf"] {
        several.files.insert(name.to_owned(), b"GGUF".to_vec());
    }
    assert!(refused(several, "hf:reef/small").contains("a.Q4_0.gguf, a.Q8_0.gguf"));
}

#[test]
fn one_gguf_file_of_several() {
    let mut several = repository();
    for name in ["a.Q4_0.gguf", "a.Q8_0.gguf"] {
        several
            .files
            .insert(name.to_owned(), name.as_bytes().to_vec());
    }
    let server = Server::start(several);
    let home = tempfile::tempdir().expect("a folder");
    let fetched = fetch(&server, home.path(), "hf:reef/small/a.Q8_0.gguf").expect("it comes");
    let bytes = std::fs::read(&fetched.path).expect("a file");
    assert_eq!(bytes, b"a.Q8_0.gguf");
    assert_eq!(fetched.origin.source, "hf:reef/small/a.Q8_0.gguf");
}

#[test]
fn an_index_names_its_parts_and_nothing_elsewhere() {
    let mut sharded = repository();
    let whole = sharded.files.remove("model.safetensors").expect("there");
    let index = |part: &str| json!({ "weight_map": { "model.norm.weight": part } }).to_string();
    let name = "model.safetensors.index.json".to_owned();
    let part = "model-00001-of-00001.safetensors";
    sharded.files.insert(part.to_owned(), whole);
    sharded.files.insert(name.clone(), index(part).into_bytes());
    let server = Server::start(sharded);
    let home = tempfile::tempdir().expect("a folder");
    let fetched = fetch(&server, home.path(), "hf:reef/small").expect("it comes");
    assert!(fetched.path.join(part).is_file());
    drop(fetched);
    for elsewhere in [
        "../../refs/x.safetensors",
        "/etc/x.safetensors",
        "model.bin",
    ] {
        server.change(|repository| {
            let text = index(elsewhere).into_bytes();
            repository.files.insert(name.clone(), text);
        });
        let home = tempfile::tempdir().expect("a folder");
        let error = fetch(&server, home.path(), "hf:reef/small").expect_err("refused");
        assert!(error.to_string().contains("no file of its own"), "{error}");
    }
}

#[test]
fn a_mirror_without_checksums_serves_too() {
    let server = Server::start(Repository {
        bare: true,
        ..repository()
    });
    let home = tempfile::tempdir().expect("a folder");
    fetch(&server, home.path(), "hf:reef/small").expect("it comes");
}

#[test]
fn an_interruption_keeps_what_has_come() {
    let mut slow = repository();
    slow.cuts.insert("model.safetensors".to_owned(), vec![9000]);
    let server = Server::start(slow);
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::open(home.path()).expect("a store");
    let hub = Hub::new(&server.endpoint(), None).expect("a client");
    let source = Source::parse("hf:reef/small").expect("a source");
    let source = source.expect("whole");
    // The flag goes up with the first bytes of the weights.
    let flag = Arc::new(OnceLock::<Arc<AtomicBool>>::new());
    let (seen, raised) = (AtomicBool::new(false), Arc::clone(&flag));
    let progress = Progress::new(move |event| match event {
        Event::Stage { detail, .. } if detail == "model.safetensors" => {
            seen.store(true, Ordering::SeqCst);
        }
        Event::Tick { .. } if seen.load(Ordering::SeqCst) => {
            if let Some(flag) = raised.get() {
                flag.store(true, Ordering::SeqCst);
            }
        }
        _ => {}
    });
    flag.set(progress.interrupt_flag()).expect("set once");
    let error = hub
        .fetch(&store, &source, &progress)
        .expect_err("interrupted");
    assert!(
        matches!(error, Error::Artifact(artifact::Error::Interrupted)),
        "{error:?}"
    );
    fetch(&server, home.path(), "hf:reef/small").expect("it goes on");
    let asked = server.asked("model.safetensors");
    assert!(
        asked.last().is_some_and(|one| one.range.is_some()),
        "{asked:?}"
    );
}

#[test]
fn no_network() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::open(home.path()).expect("a store");
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
    let endpoint = format!("http://{}", port.expect("a port"));
    let hub = Hub::new(&endpoint, None).expect("a client");
    let source = Source::parse("hf:reef/small").expect("a source");
    let error = hub.fetch(&store, &source.expect("whole"), &Progress::silent());
    let error = error.expect_err("nobody answers");
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&endpoint), "{error}");
}
