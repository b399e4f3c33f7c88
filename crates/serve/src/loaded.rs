//! The models a server answers with, by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use hub::{Architecture, Products};
use infer::{Adapter, Engine, Settings};
use knowledge::Embedder;
use tokio::sync::Semaphore;

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

/// A served encoder: its public name and what makes the vectors.
#[derive(Clone)]
pub struct Encoder {
    /// The name clients send.
    pub name: String,
    /// The encoder.
    pub embedder: Arc<Embedder>,
    /// When it was loaded, in seconds since 1970.
    pub loaded_unix: u64,
    /// Held by the request whose texts are being read.
    pub(crate) turn: Arc<Semaphore>,
}

/// The models of a server. A clone is another handle to the same set, so models can be added, replaced and removed
/// while the server runs; requests under way keep the engine they started with.
#[derive(Clone)]
pub struct Models {
    by_name: Arc<RwLock<BTreeMap<String, Model>>>,
    encoders: Arc<RwLock<BTreeMap<String, Encoder>>>,
    settings: Arc<Settings>,
}

/// How many requests may wait for each model, unless told otherwise: at eight times what runs at once, the last of them
/// still begins within a client's patience.
const QUEUE: usize = 256;

impl Default for Models {
    fn default() -> Models {
        Models::with_settings(Settings {
            queue: Some(QUEUE),
            ..Settings::default()
        })
    }
}

impl Models {
    /// An empty set.
    pub fn new() -> Models {
        Models::default()
    }

    /// An empty set whose engines will be started with these settings.
    pub fn with_settings(settings: Settings) -> Models {
        Models {
            encoders: Arc::default(),
            by_name: Arc::default(),
            settings: Arc::new(settings),
        }
    }

    /// How much each engine takes on.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The name under which an engine's handle is served.
    pub(crate) fn name_of(&self, engine: &Engine) -> Option<String> {
        let models = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let mut served = models.values();
        served
            .find(|model| {
                model.engine.is_same(engine) && model.engine.model_id() == engine.model_id()
            })
            .map(|model| model.name.clone())
    }

    /// Serves `engine` as `name`, in place of what had that name.
    pub fn insert(&self, name: impl Into<String>, engine: Engine) {
        let name = name.into();
        let model = Model {
            name: name.clone(),
            engine,
            loaded_unix: now(),
        };
        self.by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, model);
    }

    /// Serves `embedder` as `name`, in place of the encoder that had that name.
    pub fn insert_encoder(&self, name: impl Into<String>, embedder: Embedder) {
        let name = name.into();
        let encoder = Encoder {
            name: name.clone(),
            embedder: Arc::new(embedder),
            loaded_unix: now(),
            turn: Arc::new(Semaphore::new(1)),
        };
        self.encoders
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, encoder);
    }

    /// The encoder with this name or this artifact id.
    pub fn encoder(&self, name: &str) -> Option<Encoder> {
        let encoders = self.encoders.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = encoders.values();
        let named = encoders.get(name);
        named
            .or_else(|| all.find(|encoder| encoder.embedder.model_id() == name))
            .cloned()
    }

    /// All encoders, in the order of their names.
    pub fn encoders(&self) -> Vec<Encoder> {
        let encoders = self.encoders.read().unwrap_or_else(PoisonError::into_inner);
        encoders.values().cloned().collect()
    }

    /// Whether there is neither a model that writes nor an encoder.
    pub fn is_empty(&self) -> bool {
        self.list().is_empty() && self.encoders().is_empty()
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
        let name = public_name(model);
        self.load_all(store, &[model.to_owned()], &[], device)?;
        Ok(name)
    }

    /// Loads several models at once, encoders among them, as [`Self::load`] does, and adapters by names of their own beside the first
    /// model. A base and the adapters that were trained on it share one engine: its weights are in memory once, and
    /// their requests run in one batch.
    ///
    /// # Errors
    /// When a model or an adapter cannot be found or read.
    pub fn load_all(
        &self,
        store: &artifact::Store,
        models: &[String],
        adapters: &[(String, String)],
        device: &tensor::Device,
    ) -> Result<()> {
        let mut groups: Vec<Group> = Vec::new();
        let first = models.first();
        let wanted = models.iter().map(|model| (public_name(model), model, None));
        let adapters = adapters
            .iter()
            .map(|(name, adapter)| (name.clone(), adapter, first));
        for (name, model, base) in wanted.chain(adapters) {
            let failed = because(model);
            let (path, id) = hub::resolve(store, model).map_err(failed)?;
            if base.is_none()
                && matches!(hub::read_architecture(&path), Ok(Architecture::Encoder(_)))
            {
                let loaded = hub::load_encoder(&path, &id, device).map_err(failed)?;
                self.insert_encoder(name, Embedder::new(loaded));
                continue;
            }
            let voice = Voice { name, id, path };
            let base = match base {
                Some(base) => Some(hub::resolve(store, base).map_err(because(base))?.0),
                None => None,
            };
            let group = Group::of(&voice, base).map_err(because(model))?;
            match groups.iter_mut().find(|there| there.fits(&group)) {
                Some(there) => there.take(group),
                None => groups.push(group),
            }
        }
        for group in groups {
            for (name, engine) in group.start(device, &self.settings)? {
                self.insert(name, engine);
            }
        }
        Ok(())
    }

    /// Stops serving `name`; whether it was served. Its engine ends with the last request that uses it.
    pub fn remove(&self, name: &str) -> bool {
        let encoder = self
            .encoders
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        let model = self
            .by_name
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
        model.is_some() || encoder.is_some()
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

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What a model is called that was named like this: a folder by its last part.
fn public_name(model: &str) -> String {
    match Path::new(model).file_name() {
        Some(file_name) if Path::new(model).is_dir() => file_name.to_string_lossy().into_owned(),
        _ => model.to_owned(),
    }
}

fn because(model: &str) -> impl FnOnce(hub::Error) -> Error + Copy {
    move |source| Error::Model {
        model: model.to_owned(),
        source: source.into(),
    }
}

/// A name to answer by, and what answers.
struct Voice {
    name: String,
    id: String,
    path: PathBuf,
}

/// Models that share their base's weights.
struct Group {
    /// The base's folder or file.
    base: PathBuf,
    /// How products are computed, where an adapter says it.
    products: Option<Products>,
    /// The base itself, by the names under which it is served.
    plain: Vec<Voice>,
    adapters: Vec<Voice>,
}

impl Group {
    /// Of one model; an adapter's base is the one named, or else its own.
    fn of(voice: &Voice, base: Option<PathBuf>) -> hub::Result<Self> {
        let Voice { name, id, path } = voice;
        let voice = Voice {
            name: name.clone(),
            id: id.clone(),
            path: path.clone(),
        };
        let whole = |path: PathBuf| path.canonicalize().unwrap_or(path);
        if !hub::is_adapter(path) {
            return Ok(Self {
                base: whole(path.clone()),
                products: None,
                plain: vec![voice],
                adapters: Vec::new(),
            });
        }
        let base = match base {
            Some(base) => base,
            None => hub::base_of(path)?,
        };
        Ok(Self {
            base: whole(base),
            products: hub::adapter_products(path)?,
            plain: Vec::new(),
            adapters: vec![voice],
        })
    }

    /// Whether both can be answered by one engine: products computed otherwise need another.
    fn fits(&self, other: &Self) -> bool {
        let products = |group: &Self| group.products.unwrap_or_default();
        self.base == other.base && products(self) == products(other)
    }

    fn take(&mut self, other: Self) {
        self.products = self.products.or(other.products);
        self.plain.extend(other.plain);
        self.adapters.extend(other.adapters);
    }

    fn start(self, device: &tensor::Device, settings: &Settings) -> Result<Vec<(String, Engine)>> {
        let id = match self.plain.first().or(self.adapters.first()) {
            Some(first) => first.id.clone(),
            None => return Ok(Vec::new()),
        };
        let shown = self.base.display().to_string();
        let mut model = hub::load(&self.base, &id, device).map_err(because(&shown))?;
        if let Some(products) = self.products {
            model.decoder = model.decoder.with_precision(products.into());
        }
        let mut numbers = Vec::new();
        for adapter in &self.adapters {
            let number = hub::attach(&mut model.decoder, &adapter.path);
            numbers.push(number.map_err(because(&adapter.name))?);
        }
        let engine = Engine::with_settings(model, settings.clone());
        let plain = self.plain.iter().map(|voice| (voice, Adapter::None));
        let adapters = self.adapters.iter().zip(numbers);
        let adapters = adapters.map(|(voice, number)| (voice, Adapter::Number(number)));
        let handles = plain
            .chain(adapters)
            .map(|(voice, adapter)| (voice.name.clone(), engine.with_adapter(adapter, &voice.id)));
        Ok(handles.collect())
    }
}
