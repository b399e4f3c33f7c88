//! An adapter taken into its base: a whole model, which any program can run.

use artifact::{Artifact, Key, Progress, Store};
use serde_json::{Value, json};
use tensor::Device;

use crate::{Error, Result, is_adapter, load, save};

/// Adds what an adapter adds to its base's matrices, in f32, and keeps the result as a model of its own.
///
/// # Errors
/// When the artifact is no adapter, or a file cannot be read or written.
pub fn merge(store: &Store, adapter: &Artifact, progress: &Progress) -> Result<Artifact> {
    if !is_adapter(&adapter.path) {
        return Err(Error::NotAnAdapter {
            wanted: adapter.id.to_string(),
        });
    }
    let key = Key::new("model", &json!({ "stage": "merge" })).input("adapter", adapter);
    if let Some(there) = store.find(&key)? {
        return Ok(there);
    }
    progress.stage("merge", "reading");
    let model = load(&adapter.path, adapter.id.as_str(), &Device::flex())?;
    let decoder = model.decoder.merged().dense();
    progress.check()?;
    progress.stage("merge", "writing");
    let draft = store.begin(key)?;
    save(draft.path(), &decoder, &model.tokenizer)?;
    let config = decoder.config();
    let metrics = json!({
        "stage": "merge",
        "architecture": config.model_type,
        "parameters": config.parameters(),
    });
    Ok(draft.commit(metrics, Value::Null)?)
}
