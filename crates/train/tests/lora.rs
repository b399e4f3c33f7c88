//! Adapters are trained beside a base that stays as it is, of few bits or not; an interrupted run ends in the same bits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use artifact::{Artifact, Event, Progress, Seed, Store};
use hub::Storage;
use models::InitialWeights;
use models::decoder::{Config, Decoder};
use serde_json::Value;
use tensor::{Device, Precision};
use tokenizer::{Tokenizer, TrainConfig};
use train::finetune::{self, Inputs, Method};

/// A store with a base, in f32 or as a file of few bits, and questions with answers.
fn prepare(home: &Path, few_bits: bool) -> (Store, Artifact, Artifact) {
    let store = Store::open(&home.join("store")).unwrap();
    let silent = Progress::silent();
    let rows = (0..64).map(|i| {
        format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": \"How deep is reef {i}?\"}}, {{\"role\": \
             \"assistant\", \"content\": \"Reef {i} is {} metres deep.\"}}]}}\n",
            i % 7 + 10
        )
    });
    let text: String = rows.collect();
    let file = home.join("questions.jsonl");
    std::fs::write(&file, &text).unwrap();
    let train = TrainConfig {
        vocab_size: 290,
        min_frequency: 1,
    };
    let tokenizer = Tokenizer::train([text].into_iter(), &train, &silent).unwrap();
    let shape = Config {
        hidden_size: 64,
        head_dim: 32,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        intermediate_size: 96,
        ..Config::from_depth(2, tokenizer.vocab_size(), 96)
    };
    let (weights, device) = (InitialWeights::Normal, Device::flex());
    let decoder = Decoder::init(&shape, weights, Precision::F32, Seed(3), &device);
    let folder = home.join("base");
    std::fs::create_dir_all(&folder).unwrap();
    hub::save(&folder, &decoder, &tokenizer).unwrap();
    let file_of_few_bits = home.join("base.gguf");
    let q8 = Storage::named("q8_0").unwrap();
    hub::export::to_gguf(&folder, "base", &file_of_few_bits, q8, &silent).unwrap();
    let source = if few_bits { &file_of_few_bits } else { &folder };
    let base = hub::import(&store, source, None, &silent).unwrap();
    let config = data::instructions::Config::default();
    let instructions = data::instructions::run(&config, &file, None, &store, &silent).unwrap();
    (store, base, instructions)
}

fn config() -> finetune::Config {
    finetune::Config {
        method: Method::Lora,
        epochs: 6.0,
        batch_size: 2,
        learning_rate: 1e-2,
        checkpoint_steps: 5,
        validations: 2,
        samples: 1,
        ..finetune::Config::default()
    }
}

fn weights(artifact: &Artifact) -> Value {
    serde_json::to_value(&artifact.manifest.files["adapter_model.safetensors"]).unwrap()
}

#[test]
fn an_adapter_learns_and_its_base_stays() {
    for few_bits in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let (store, base, instructions) = prepare(home.path(), few_bits);
        let device = Device::flex();
        let inputs = Inputs {
            base: &base,
            instructions: &instructions,
            device: &device,
        };
        let first = finetune::run(&config(), inputs, &store, &Progress::silent()).unwrap();
        let curve = first.manifest.metric("curve").unwrap().as_array().unwrap();
        let loss = |at: usize| curve[at]["loss"].as_f64().unwrap();
        assert!(loss(curve.len() - 1) < 0.5 * loss(0), "{curve:?}");
        assert!(hub::is_adapter(&first.path));
        base.verify().unwrap();

        // Interrupted behind its seventh step and started again: the same bits.
        let other = tempfile::tempdir().unwrap();
        let (store, base, instructions) = prepare(other.path(), few_bits);
        let inputs = Inputs {
            base: &base,
            instructions: &instructions,
            device: &device,
        };
        let stop: Arc<OnceLock<Arc<AtomicBool>>> = Arc::default();
        let flag = Arc::clone(&stop);
        let progress = Progress::new(move |event| {
            let Event::Tick { done, unit, .. } = event else {
                return;
            };
            if let (7, "steps", Some(flag)) = (done, *unit, flag.get()) {
                flag.store(true, Ordering::SeqCst);
            }
        });
        stop.set(progress.interrupt_flag()).unwrap();
        let stopped = finetune::run(&config(), inputs, &store, &progress).unwrap_err();
        assert!(
            stopped.to_string().contains("interrupted at step 7"),
            "{stopped}"
        );
        let second = finetune::run(&config(), inputs, &store, &Progress::silent()).unwrap();
        assert_eq!(weights(&first), weights(&second));
    }
}

#[test]
fn an_adapter_of_an_adapter_is_refused_and_full_training_takes_it_in() {
    let home = tempfile::tempdir().unwrap();
    let (store, base, instructions) = prepare(home.path(), false);
    let device = Device::flex();
    let short = finetune::Config {
        epochs: 0.1,
        ..config()
    };
    let inputs = Inputs {
        base: &base,
        instructions: &instructions,
        device: &device,
    };
    let adapter = finetune::run(&short, inputs, &store, &Progress::silent()).unwrap();
    let inputs = Inputs {
        base: &adapter,
        ..inputs
    };
    let refused = finetune::run(&short, inputs, &store, &Progress::silent()).unwrap_err();
    assert!(refused.to_string().contains("models merge"), "{refused}");
    let full = finetune::Config {
        method: Method::Full,
        ..short
    };
    let whole = finetune::run(&full, inputs, &store, &Progress::silent()).unwrap();
    assert!(!hub::is_adapter(&whole.path));
}

#[test]
fn senseless_shapes_are_refused_by_field() {
    let mut config = config();
    config.lora.r = 0;
    let refused = config.check().unwrap_err().to_string();
    assert!(refused.contains("finetune.lora.r"), "{refused}");
}
