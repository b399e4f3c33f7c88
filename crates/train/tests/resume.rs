//! A run killed at any moment and started again ends in the same bits as an uninterrupted one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use artifact::{Artifact, Progress, Seed, Store};
use data::{curate, shards, train_tokenizer};
use models::decoder::Preset;
use rand::RngExt;
use tensor::Device;
use tokenizer::TrainConfig;
use train::pretrain::{self, Config, Inputs};

const HOME: &str = "ONTOGENY_TEST_RESUME_HOME";

/// Everything before the training, which finds its own results again.
fn prepare(home: &Path) -> (Store, Artifact, Artifact) {
    let documents = home.join("documents");
    std::fs::create_dir_all(&documents).expect("a temporary folder");
    let words = [
        "reef",
        "diver",
        "turtle",
        "boat",
        "mask",
        "current",
        "regulator",
        "coral",
        "the",
        "a",
        "by",
        "and",
    ];
    let mut rng = Seed(5).rng();
    let mut lines = String::new();
    for _ in 0..300 {
        let length = rng.random_range(12..60);
        let text: Vec<&str> = (0..length)
            .map(|_| words[rng.random_range(0..words.len())])
            .collect();
        lines.push_str(&format!(
            "{{\"text\": \"The story: {}.\"}}\n",
            text.join(" ")
        ));
    }
    let file = documents.join("stories.jsonl");
    if !file.exists() {
        artifact::write_atomic(&file, lines.as_bytes()).expect("a temporary file");
    }
    let store = Store::open(home).expect("a temporary store");
    let silent = Progress::silent();
    let config: curate::Config = curate::Config::default();
    let corpus = curate::run(&config, &[documents], &store, &silent).expect("plain documents");
    let vocabulary = TrainConfig {
        vocab_size: 290,
        min_frequency: 1,
    };
    let tokenizer = train_tokenizer(&vocabulary, &corpus, &store, &silent).expect("enough text");
    let shards = shards::run(
        &shards::Config::default(),
        &corpus,
        &tokenizer,
        &store,
        &silent,
    )
    .expect("tokens");
    (store, tokenizer, shards)
}

fn train(home: &Path) -> Artifact {
    let (store, tokenizer, shards) = prepare(home);
    let config = Config {
        tokens: 4 * 32 * 900,
        batch_size: 2,
        accumulation: 2,
        checkpoint_steps: 4,
        ..Config::default()
    };
    let model = Preset {
        depth: 1,
        context: 32,
        ..Preset::default()
    };
    let device = Device::flex();
    let inputs = Inputs {
        shards: &shards,
        tokenizer: &tokenizer,
        model: &model,
        base: None,
        device: &device,
    };
    pretrain::run(&config, inputs, &store, &Progress::silent()).expect("a small run")
}

/// The child's side: does nothing unless the test below starts it.
#[test]
fn child() {
    if let Some(home) = std::env::var_os(HOME) {
        train(&PathBuf::from(home));
    }
}

fn start_child(home: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child"])
        .env(HOME, home)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this test again")
}

#[test]
fn ten_kills_change_nothing() {
    let homes = [
        tempfile::tempdir().expect("temporary"),
        tempfile::tempdir().expect("temporary"),
    ];
    let expected = train(homes[0].path());
    let home = homes[1].path();
    prepare(home);
    let start = Instant::now();
    assert!(
        start_child(homes[0].path())
            .wait()
            .expect("it ran")
            .success()
    );
    let overhead = start.elapsed();

    let mut rng = Seed(11).rng();
    let mut killed = 0;
    let mut interrupted_mid_run = false;
    while killed < 10 {
        let mut child = start_child(home);
        // Some while it starts, some behind a new checkpoint: no load makes the run end too early.
        if killed % 3 == 0 {
            std::thread::sleep(
                overhead
                    .min(Duration::from_millis(200))
                    .mul_f64(rng.random()),
            );
        } else {
            let before = saved_at(home);
            while saved_at(home) == before && child.try_wait().expect("it runs").is_none() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(rng.random_range(0..20)));
        }
        let running = child.try_wait().expect("it runs").is_none();
        assert!(
            running,
            "the run ended after {killed} kills: too short a run to mean anything"
        );
        child.kill().expect("it runs");
        child.wait().expect("it is dead");
        killed += 1;
        interrupted_mid_run |= saved_at(home).is_some();
    }
    let resumed = train(home);
    assert!(interrupted_mid_run, "no kill left a checkpoint behind");
    assert_eq!(
        resumed.id, expected.id,
        "parameters, curve, samples and all"
    );
}

/// When the last checkpoint was written, where there is one.
fn saved_at(home: &Path) -> Option<SystemTime> {
    let work = std::fs::read_dir(home.join("work")).expect("the store's work folder");
    let checkpoints = work
        .flatten()
        .map(|folder| folder.path().join("scratch/checkpoint.safetensors"));
    checkpoints
        .filter_map(|path| path.metadata().and_then(|file| file.modified()).ok())
        .max()
}
