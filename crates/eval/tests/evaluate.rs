//! A whole evaluation of two small models with random weights: what it measures, that it repeats, and what it refuses.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use artifact::{Artifact, Key, Progress, Seed, Store};
use eval::{Config, Error, Evaluation, Inputs, Metric};
use models::InitialWeights;
use models::decoder::{Config as Shape, Decoder};
use rand::RngExt;
use serde_json::json;
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};

/// A store with everything that an evaluation takes.
struct World {
    store: Store,
    shards: Artifact,
    instructions: Artifact,
    preferences: Artifact,
    first: Artifact,
    second: Artifact,
    device: Device,
    _folder: tempfile::TempDir,
}

const WORDS: [&str; 24] = [
    "the", "reef", "is", "deep", "and", "a", "diver", "looks", "at", "fish", "that", "swim",
    "past", "old", "coral", "while", "boats", "wait", "above", "with", "fresh", "air", "for",
    "everyone",
];

fn sentence(rng: &mut impl rand::Rng, words: usize) -> String {
    (0..words)
        .map(|_| WORDS[rng.random_range(0..WORDS.len())])
        .collect::<Vec<_>>()
        .join(" ")
}

fn write_rows(path: &Path, rows: impl Iterator<Item = serde_json::Value>) {
    std::fs::write(path, rows.map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

fn question(i: usize, rng: &mut impl rand::Rng) -> serde_json::Value {
    let answerable = !i.is_multiple_of(4);
    let answer = if answerable {
        sentence(rng, 3)
    } else {
        "I do not know.".to_owned()
    };
    json!({
        "id": format!("q{i}"),
        "messages": [{"role": "user", "content": sentence(rng, 6)}, {"role": "assistant", "content": answer}],
        "kind": if answerable { "lookup" } else { "unanswerable" },
        "answerable": answerable,
        "match": "contains",
        "expect": Vec::from_iter(answerable.then_some(&answer)),
    })
}

fn pair(i: usize, rng: &mut impl rand::Rng) -> serde_json::Value {
    let prompt = json!([{"role": "user", "content": sentence(rng, 5)}]);
    json!({"id": format!("p{i}"), "prompt": prompt, "chosen": sentence(rng, 4), "rejected": sentence(rng, 4)})
}

/// An artifact of that kind whose files are rows made one by one.
fn rows(
    store: &Store,
    kind: &str,
    make: impl Fn(usize, &mut rand_chacha::ChaCha8Rng) -> serde_json::Value,
) -> Artifact {
    let draft = store.begin(Key::new(kind, &json!({}))).unwrap();
    let mut rng = Seed(11).derive(kind).rng();
    for (name, count) in [("train.jsonl", 12), ("held_out.jsonl", 9)] {
        write_rows(
            &draft.path().join(name),
            (0..count).map(|i| make(i, &mut rng)),
        );
    }
    draft.commit(json!({}), json!({})).unwrap()
}

fn model(store: &Store, tokenizer: &Tokenizer, seed: u64, device: &Device) -> Artifact {
    let mut shape = Shape::from_depth(1, tokenizer.vocab_size(), 64);
    shape.num_hidden_layers = 2;
    shape.initializer_range = 0.2;
    let decoder = Decoder::init(
        &shape,
        InitialWeights::Normal,
        Precision::F32,
        Seed(seed),
        device,
    );
    let draft = store
        .begin(Key::new("model", &json!({ "seed": seed })))
        .unwrap();
    hub::save(draft.path(), &decoder, tokenizer).unwrap();
    draft.commit(json!({}), json!({})).unwrap()
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("home")).unwrap();
    let mut rng = Seed(5).rng();
    let documents = folder.path().join("documents.jsonl");
    write_rows(
        &documents,
        (0..80).map(|_| {
            let sentences: Vec<String> = (0..6).map(|_| sentence(&mut rng, 9) + ".").collect();
            json!({ "text": sentences.join(" ") })
        }),
    );
    let quiet = Progress::silent();
    let curation = data::curate::Config {
        validation_fraction: 0.3,
        ..data::curate::Config::default()
    };
    let corpus = data::curate::run(&curation, &[documents], &store, &quiet).unwrap();
    let vocabulary = TrainConfig {
        vocab_size: 300,
        min_frequency: 1,
    };
    let tokenizer = data::train_tokenizer(&vocabulary, &corpus, &store, &quiet).unwrap();
    let shards = data::shards::run(
        &data::shards::Config::default(),
        &corpus,
        &tokenizer,
        &store,
        &quiet,
    )
    .unwrap();
    let instructions = rows(&store, "instructions", question);
    let preferences = rows(&store, "preferences", pair);
    let device = tensor::device::parse("cpu").unwrap();
    let tokenizer = Tokenizer::load(&tokenizer.path).unwrap();
    let [first, second] = [1, 2].map(|seed| model(&store, &tokenizer, seed, &device));
    World {
        store,
        shards,
        instructions,
        preferences,
        first,
        second,
        device,
        _folder: folder,
    }
}

fn config() -> Config {
    Config {
        validation_documents: 5,
        max_answer_tokens: 6,
        shots: vec![0, 2],
        resamples: 50,
        ..Config::default()
    }
}

impl World {
    fn evaluate(&self, config: &Config) -> eval::Result<Artifact> {
        let candidates = [
            ("base".to_owned(), &self.first),
            ("tuned".to_owned(), &self.first),
            ("aligned".to_owned(), &self.second),
        ];
        let inputs = Inputs {
            candidates: &candidates,
            shards: Some(&self.shards),
            instructions: Some(&self.instructions),
            preferences: Some(&self.preferences),
            reference: Some(&self.first),
            corrections: Some(&self.preferences),
            device: &self.device,
        };
        eval::run(config, inputs, &self.store, &Progress::silent())
    }
}

#[test]
fn all_candidates_side_by_side() {
    let world = world();
    let artifact = world.evaluate(&config()).unwrap();
    artifact.verify().unwrap();
    let evaluation = Evaluation::read(&artifact).unwrap();
    let labels: Vec<&str> = evaluation
        .candidates
        .iter()
        .map(|row| row.label.as_str())
        .collect();
    assert_eq!(
        labels,
        ["base", "base, 0-shot", "base, 2-shot", "tuned", "aligned"]
    );

    let base = evaluation.row("base").unwrap();
    assert_eq!(
        base.metrics.keys().collect::<Vec<_>>(),
        [&Metric::BitsPerByte]
    );
    let bits = base.metrics[&Metric::BitsPerByte];
    assert!(
        bits.value > 1.0
            && bits.value < 20.0
            && bits.low <= bits.value
            && bits.value <= bits.high
            && bits.n == 5
    );

    let tuned = evaluation.row("tuned").unwrap();
    assert_eq!(tuned.metrics[&Metric::BitsPerByte], bits);
    assert_eq!(
        (
            tuned.metrics[&Metric::HeldOutAccuracy].n,
            tuned.metrics[&Metric::UnanswerableRefused].n
        ),
        (6, 3)
    );
    assert_eq!(tuned.metrics[&Metric::CorrectionsLearned].n, 12);
    assert_eq!(
        tuned.kinds.keys().collect::<Vec<_>>(),
        ["lookup", "unanswerable"]
    );
    assert_eq!(tuned.examples.len(), 9);
    // The reference does not compete with itself.
    assert!(
        !tuned.metrics.contains_key(&Metric::PreferenceWinRate) && tuned.reward_margin.is_none()
    );

    let aligned = evaluation.row("aligned").unwrap();
    assert_eq!(aligned.metrics[&Metric::PreferenceWinRate].n, 9);
    assert!(aligned.reward_margin.unwrap().is_finite());

    let prompted = evaluation.row("base, 2-shot").unwrap();
    assert_eq!(prompted.shots, Some(2));
    // Two examples and a question are more than this context holds beside an answer.
    assert!(prompted.mean_shots.unwrap() < 2.0);

    let compared = |metric| {
        evaluation
            .comparisons
            .iter()
            .filter(move |one| one.metric == metric)
    };
    assert_eq!(compared(Metric::HeldOutAccuracy).count(), 3);
    let last = compared(Metric::BitsPerByte).next_back().unwrap();
    assert_eq!(
        (
            last.candidate.as_str(),
            last.against.as_str(),
            last.difference.n
        ),
        ("aligned", "tuned", 5)
    );

    let scores = eval::scores_of(&artifact, "tuned").unwrap();
    assert_eq!(scores.metrics[&Metric::HeldOutAccuracy].0.len(), 6);
    assert!(matches!(
        eval::scores_of(&artifact, "other"),
        Err(Error::UnknownCandidate { .. })
    ));
}

#[test]
fn an_evaluation_is_found_again_and_repeats() {
    let world = world();
    let first = world.evaluate(&config()).unwrap();
    assert_eq!(world.evaluate(&config()).unwrap().id, first.id);
    let bytes = |artifact: &Artifact| {
        ["evaluation.json", "scores.json"].map(|name| std::fs::read(artifact.file(name)).unwrap())
    };
    let kept = bytes(&first);
    world.store.remove(&first.id, true).unwrap();
    let again = world.evaluate(&config()).unwrap();
    assert_eq!((again.id.clone(), bytes(&again)), (first.id, kept));
}

#[test]
fn bits_per_byte_is_the_engines_own_sum() {
    let world = world();
    let text = "the reef is deep and a diver looks at fish that swim past old coral while boats wait above with fresh air for everyone and the fish swim past the boats";
    let loaded = hub::load(&world.first.path, "first", &world.device).unwrap();
    let engine = infer::Engine::start(loaded);
    let texts = [eval::bits_per_byte::Text {
        id: "one".into(),
        text: text.into(),
    }];
    let series = eval::bits_per_byte::measure(&engine, &texts, &Progress::silent()).unwrap();
    let (bits, bytes) = series.0["one"];
    assert_eq!(bytes, text.len() as f64);

    let tokens = engine.tokenizer().encode(text).unwrap();
    let end = engine.tokenizer().end_of_text();
    let whole: Vec<u32> = [end].into_iter().chain(tokens).chain([end]).collect();
    let mut nats = 0.0;
    for start in (0..whole.len() - 1).step_by(engine.context()) {
        let stop = whole.len().min(start + engine.context() + 1);
        let scores = engine
            .score(&[(
                whole[start..=start].to_vec(),
                whole[start + 1..stop].to_vec(),
            )])
            .unwrap();
        nats -= scores[0].iter().map(|&score| f64::from(score)).sum::<f64>();
    }
    assert!(
        (bits - nats / std::f64::consts::LN_2).abs() < 1e-9,
        "{bits} against {}",
        nats / std::f64::consts::LN_2
    );
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let world = world();
    let inputs = |candidates| Inputs {
        candidates,
        shards: None,
        instructions: None,
        preferences: None,
        reference: None,
        corrections: None,
        device: &world.device,
    };
    let run = |candidates| {
        eval::run(
            &config(),
            inputs(candidates),
            &world.store,
            &Progress::silent(),
        )
    };
    assert!(matches!(run(&[]), Err(Error::NoCandidates)));
    let message = run(&[("base".to_owned(), &world.shards)])
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`base`") && message.contains("shards"),
        "{message}"
    );
    let none = Config {
        max_answer_tokens: 0,
        ..config()
    };
    assert!(matches!(
        world.evaluate(&none),
        Err(Error::Setting {
            field: "max_answer_tokens",
            ..
        })
    ));
}
