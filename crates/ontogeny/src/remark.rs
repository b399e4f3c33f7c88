//! What a stage made, in a few words.

use artifact::Artifact;
use serde_json::Value;

use crate::quantity::{count, short};

fn number(artifact: &Artifact, name: &str) -> Option<f64> {
    artifact.manifest.metric(name).and_then(Value::as_f64)
}

fn words(parts: impl IntoIterator<Item = Option<String>>) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `5,000 documents, 24,000 questions`.
pub(crate) fn world(artifact: &Artifact) -> String {
    words([
        number(artifact, "documents").map(|many| format!("{} documents", count(many as u64))),
        artifact
            .manifest
            .config
            .get("instructions")
            .and_then(Value::as_u64)
            .map(|many| format!("{} questions", count(many))),
    ])
}

/// `4,210 of 5,000 documents kept`.
pub(crate) fn corpus(artifact: &Artifact) -> String {
    let kept = number(artifact, "documents_out");
    let read = number(artifact, "documents_in");
    match (kept, read) {
        (Some(kept), Some(read)) => format!(
            "{} of {} documents kept",
            count(kept as u64),
            count(read as u64)
        ),
        _ => String::new(),
    }
}

/// `4,096 tokens`.
pub(crate) fn tokenizer(artifact: &Artifact) -> String {
    words([number(artifact, "vocab_size")
        .map(|many| format!("{} tokens in the vocabulary", count(many as u64)))])
}

/// `2.1 M tokens to train on`.
pub(crate) fn shards(artifact: &Artifact) -> String {
    words([
        number(artifact, "train_tokens").map(|many| format!("{} tokens to train on", short(many)))
    ])
}

/// `3.1 M parameters, 9.2 M tokens, loss 1.234`.
pub(crate) fn model(artifact: &Artifact) -> String {
    words([
        number(artifact, "parameters").map(|many| format!("{} parameters", short(many))),
        number(artifact, "tokens").map(|many| format!("{} tokens", short(many))),
        number(artifact, "loss").map(|loss| format!("loss {loss:.3}")),
        number(artifact, "validation_bits_per_byte").map(|bits| format!("{bits:.3} bits/byte")),
        number(artifact, "preference_accuracy")
            .map(|share| format!("{:.0} % of held-out pairs", share * 100.0)),
    ])
}

/// `7 candidates`.
pub(crate) fn evaluation(artifact: &Artifact) -> String {
    let rows = artifact
        .manifest
        .metrics
        .get("candidates")
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len);
    format!("{rows} rows side by side")
}

/// What was left out of a file of questions or preferences, if anything was.
pub(crate) fn bad_rows(rows: &Artifact) -> Option<String> {
    let bad = rows.manifest.metric("bad_rows").and_then(Value::as_u64)?;
    (bad > 0).then(|| format!("rows left out that cannot be used: {bad}"))
}
