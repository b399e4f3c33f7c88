//! LoRA adapters as Python's PEFT writes them (made by `cargo xtask fixtures adapters`): the same logits, the same
//! gradients; written and read again they add the same.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::{Progress, Store};
use models::decoder::Decoder;
use models::{Causal, Rows, lora};
use serde::Deserialize;
use tensor::lm_loss::Targets;
use tensor::{Device, Gradients, Int, Module, ModuleVisitor, Param, Tensor, TensorData, to_vec};
use tokenizer::{Tokenizer, TrainConfig};

const ALL: [&str; 4] = ["llama", "qwen3", "gpt2", "phi3"];

#[derive(Deserialize)]
struct Expected {
    tokens: Vec<Vec<i32>>,
    logits: Vec<f32>,
    loss: f32,
    gradients: BTreeMap<String, Vec<f32>>,
}

fn folder(name: &str) -> PathBuf {
    Path::new("../../peers/fixtures/adapters").join(name)
}

fn expected(name: &str) -> Expected {
    let text = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The base with the adapter beside it.
fn decoder(name: &str, device: &Device) -> Decoder {
    hub::load_decoder(&hub::base_of(&folder(name)).unwrap(), device)
        .map(|mut base| {
            hub::attach(&mut base, &folder(name)).unwrap();
            base
        })
        .unwrap()
}

fn ids(tokens: &[Vec<i32>], device: &Device) -> Tensor<2, Int> {
    let shape = [tokens.len(), tokens[0].len()];
    Tensor::from_data(TensorData::new(tokens.concat(), shape), device)
}

fn logits(decoder: &Decoder, tokens: &[Vec<i32>]) -> Vec<f32> {
    let rows = Rows::causal(tokens.len(), tokens[0].len());
    let hidden = decoder.forward(ids(tokens, &Device::flex()), &rows, None);
    to_vec(decoder.logits(hidden))
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
}

#[test]
fn logits_are_those_of_peft() {
    for name in ALL {
        let expected = expected(name);
        let decoder = decoder(name, &Device::flex());
        let off = worst(&logits(&decoder, &expected.tokens), &expected.logits);
        assert!(off < 1e-4, "{name}: beside the base: {off}");
        let off = worst(
            &logits(&decoder.merged(), &expected.tokens),
            &expected.logits,
        );
        assert!(off < 1e-4, "{name}: merged: {off}");
    }
}

#[test]
fn without_its_adapter_the_base_says_something_else() {
    let expected = expected("llama");
    let base = hub::load_decoder(&hub::base_of(&folder("llama")).unwrap(), &Device::flex());
    assert!(worst(&logits(&base.unwrap(), &expected.tokens), &expected.logits) > 0.1);
}

/// The gradients of what is trained, in the order of visiting.
struct Collect {
    gradients: Vec<Gradients>,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if value.is_require_grad() {
            let parts = self.gradients.iter_mut();
            let mut parts = parts.filter_map(|gradients| value.grad_remove(gradients));
            self.found.push(to_vec(parts.next().unwrap()));
        }
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    let order = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    for (name, recompute) in [("llama", false), ("qwen3", false), ("llama", true)] {
        let expected = expected(name);
        let device = Device::flex().autodiff();
        let decoder = decoder(name, &device).train_adapters();
        let (batch, seq) = (expected.tokens.len(), expected.tokens[0].len());
        let counted = batch * (seq - 1);
        let (mut next, mut weights) = (Vec::new(), Vec::new());
        for row in &expected.tokens {
            next.extend(row[1..].iter().map(|&id| id as u32).chain([0]));
            weights.extend((1..=seq).map(|at| if at < seq { 1.0 / counted as f32 } else { 0.0 }));
        }
        let targets = Targets {
            ids: next.into(),
            weights: weights.into(),
            z_loss: 0.0,
        };
        let (loss, gradients) = decoder.gradients(
            ids(&expected.tokens, &device),
            &Rows::causal(batch, seq),
            recompute,
            |hidden| decoder.loss(hidden, &targets),
        );
        assert!((loss - expected.loss).abs() < 1e-4, "{name}: loss {loss}");
        let mut collect = Collect {
            gradients,
            found: Vec::new(),
        };
        decoder.visit(&mut collect);
        let mut found = collect.found.into_iter();
        let mut compared = 0;
        for module in order {
            for which in ["A", "B"] {
                let named = format!("base_model.model.model.layers.0.{module}.lora_{which}.weight");
                if let Some(theirs) = expected.gradients.get(&named) {
                    let off = worst(&found.next().unwrap(), theirs);
                    assert!(off < 1e-4, "{name}: {named}: {off}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, expected.gradients.len());
    }
}

fn tokenizer() -> Tokenizer {
    let text = "The reef is deep. ".repeat(40);
    let config = TrainConfig {
        vocab_size: 270,
        min_frequency: 2,
    };
    Tokenizer::train([text].into_iter(), &config, &Progress::silent()).unwrap()
}

#[test]
fn what_is_written_adds_the_same_when_read() {
    for name in ALL {
        let out = tempfile::tempdir().unwrap();
        let expected = expected(name);
        let first = decoder(name, &Device::flex());
        let about = hub::read_adapter_config(&folder(name)).unwrap();
        let config = lora::Config {
            r: about.r,
            lora_alpha: about.lora_alpha,
            use_rslora: about.use_rslora,
            target_modules: Vec::new(),
        };
        hub::save_adapter(out.path(), &first, &config, "base", &tokenizer()).unwrap();
        let mut second =
            hub::load_decoder(&hub::base_of(&folder(name)).unwrap(), &Device::flex()).unwrap();
        hub::attach(&mut second, out.path()).unwrap();
        let off = worst(&logits(&second, &expected.tokens), &expected.logits);
        assert!(off < 1e-4, "{name}: {off}");
        if first.config().model_type == "llama" {
            assert_eq!(first.adapter(0), second.adapter(0));
        }
    }
}

#[test]
fn adapters_of_another_kind_are_refused_by_field() {
    let out = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder("llama").join("adapter_config.json")).unwrap();
    for (field, value) in [
        ("peft_type", serde_json::json!("IA3")),
        ("use_dora", true.into()),
        ("bias", "all".into()),
        ("lora_bias", true.into()),
        ("modules_to_save", serde_json::json!(["lm_head"])),
    ] {
        let mut about: serde_json::Value = serde_json::from_str(&text).unwrap();
        about[field] = value;
        std::fs::write(out.path().join("adapter_config.json"), about.to_string()).unwrap();
        let refused = hub::read_adapter_config(out.path())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains(field) && refused.contains("adapter_config.json"),
            "{refused}"
        );
    }
    // For another base: names and shapes do not fit.
    let base = hub::read_config(Path::new("../../peers/fixtures/families/gpt2")).unwrap();
    let refused = hub::read_adapter(&folder("llama"), &base.decoder)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("base_model.model.model.layers.0"),
        "{refused}"
    );
    // A base that is not there, or is an adapter itself.
    let mut about: serde_json::Value = serde_json::from_str(&text).unwrap();
    about["base_model_name_or_path"] = ".".into();
    std::fs::write(out.path().join("adapter_config.json"), about.to_string()).unwrap();
    let refused = hub::load_decoder(out.path(), &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("base"), "{refused}");
}

#[test]
fn imported_with_its_base_an_adapter_is_found_and_merged() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("base");
    let small = models::decoder::Config::from_depth(1, tokenizer().vocab_size(), 32);
    let first = Decoder::init(
        &small,
        models::InitialWeights::Normal,
        tensor::Precision::F32,
        artifact::Seed(1),
        &Device::flex(),
    );
    let folder = home.path().join("adapter");
    std::fs::create_dir(&base).unwrap();
    std::fs::create_dir(&folder).unwrap();
    hub::save(&base, &first, &tokenizer()).unwrap();
    let store = Store::open(&home.path().join("store")).unwrap();
    let silent = Progress::silent();
    let kept = hub::import(&store, &base, None, &silent).unwrap();

    let config = lora::Config::default();
    let mut adapted = first.clone();
    let mut pairs = first.new_adapter(&config, artifact::Seed(2)).unwrap();
    for pair in pairs.pairs.values_mut() {
        pair.b.fill(0.01);
    }
    adapted.attach(&pairs).unwrap();
    hub::save_adapter(&folder, &adapted, &config, "unknown", &tokenizer()).unwrap();
    let refused = hub::import(&store, &folder, None, &silent)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("--base"), "{refused}");
    let adapter = hub::import(&store, &folder, Some(&kept), &silent).unwrap();
    assert_eq!(adapter.manifest.inputs[0].id, kept.id);

    let tokens = vec![vec![5, 9, 200, 17]];
    let expected = logits(&adapted, &tokens);
    let read = hub::load(&adapter.path, "adapter", &Device::flex())
        .unwrap()
        .decoder;
    assert_eq!(worst(&logits(&read, &tokens), &expected), 0.0);
    let merged = hub::merge(&store, &adapter, &silent).unwrap();
    let whole = hub::load(&merged.path, "merged", &Device::flex())
        .unwrap()
        .decoder;
    assert!(worst(&logits(&whole, &tokens), &expected) < 1e-4);
    // Exported, an adapter is merged.
    let out = home.path().join("out");
    hub::export::to_folder(&adapter.path, &out, hub::Storage::F32, &silent).unwrap();
    let exported = hub::load_decoder(&out, &Device::flex()).unwrap();
    assert_eq!(
        worst(&logits(&exported, &tokens), &logits(&whole, &tokens)),
        0.0
    );
}
