//! The models a server answers with, by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use infer::Engine;

use crate::error::{Error, Result};

/// A served model: its public name and the engine that runs it.
#[derive(Clone)]
pub struct Model {
    /// The name clients send.
    pub name: String,
    /// The engine.
    pub engine: Engine,
    /// When it was loaded, in seconds since 1970.
    pub loaded_unix: u64,
}

/// The models of a server. A clone is another handle to the same set, so models can be added, replaced and removed
/// while the server runs; requests under way keep the engine they started with.
#[derive(Clone, Default)]
pub struct Models {
    by_name: Arc<RwLock<BTreeMap<String, Model>>>,
}

impl Models {
    /// An empty set.
    pub fn new() -> Models {
        Models::default()
    }

    /// Serves `engine` as `name`, in place of what had that name.
    pub fn insert(&self, name: impl Into<String>, engine: Engine) {
        let name = name.into();
        let loaded_unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let model = Model {
            name: name.clone(),
            engine,
            loaded_unix,
        };
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, model);
    }

    /// Loads `model` (an artifact id or its prefix, a name, or a folder) and serves it under that name; for a folder
    /// the name is the folder's. Returns the name.
    ///
    /// # Errors
    /// When the model cannot be found or read.
    pub fn load(
        &self,
        store: &artifact::Store,
        model: &str,
        device: &tensor::Device,
    ) -> Result<String> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Model {
            model: model.to_owned(),
            source,
        };
        let (path, id) = hub::resolve(store, model).map_err(|error| failed(error.into()))?;
        let loaded = hub::load(&path, &id, device).map_err(|error| failed(error.into()))?;
        let name = match Path::new(model).file_name() {
            Some(file_name) if Path::new(model).is_dir() => {
                file_name.to_string_lossy().into_owned()
            }
            _ => model.to_owned(),
        };
        self.insert(name.clone(), Engine::start(loaded));
        Ok(name)
    }

    /// Stops serving `name`; whether it was served. Its engine ends with the last request that uses it.
    pub fn remove(&self, name: &str) -> bool {
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
            .is_some()
    }

    /// The model with this name or this artifact id.
    pub fn get(&self, name: &str) -> Option<Model> {
        let models = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let named = models.get(name);
        named
            .or_else(|| {
                models
                    .values()
                    .find(|model| model.engine.model_id() == name)
            })
            .cloned()
    }

    /// All models, in the order of their names.
    pub fn list(&self) -> Vec<Model> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
