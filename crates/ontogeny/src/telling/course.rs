//! The course of the training stages, read from the models' manifests.

use artifact::Artifact;
use serde_json::Value;

use super::Story;
use crate::report::Training;

/// One entry for each training stage that left a history.
pub(super) fn training(story: &Story<'_>) -> Vec<Training> {
    story
        .life
        .models
        .iter()
        .map(|(_, model)| course(model, story))
        .collect()
}

fn course(model: &Artifact, story: &Story<'_>) -> Training {
    let manifest = &model.manifest;
    let stage = manifest
        .metric("stage")
        .and_then(Value::as_str)
        .unwrap_or("training")
        .to_owned();
    let list = |name: &str| {
        manifest
            .metric(name)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let points = |rows: &[Value], field: &str| -> Vec<(f64, f64)> {
        rows.iter()
            .filter_map(|row| Some((row["step"].as_f64()?, row[field].as_f64()?)))
            .collect()
    };
    let curve = list("curve");
    let held_out = points(list("validation"), "value");
    let mut training = Training {
        loss: points(curve, "loss"),
        learning_rate: points(curve, "learning_rate"),
        throughput: points(list("throughput"), "tokens_per_second"),
        samples: list("samples")
            .iter()
            .filter_map(|sample| {
                Some((
                    sample["step"].as_u64()?,
                    sample["text"].as_str()?.to_owned(),
                ))
            })
            .collect(),
        ..Training::default()
    };
    match stage.as_str() {
        "pretrain" => training.validation = held_out,
        "align" => training.accuracy = held_out,
        _ => training.held_out_loss = held_out,
    }
    if training.throughput.is_empty() {
        let seen = story.throughput.iter().find(|(name, _)| *name == stage);
        training.throughput = seen.map(|(_, points)| points.clone()).unwrap_or_default();
    }
    training.stage = stage;
    training
}
