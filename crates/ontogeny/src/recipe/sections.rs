//! The sections that belong to no room: what comes in, what it may cost, what it is built on, how it is served.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[sources]`: where documents, questions and preferences come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sources {
    /// Files and folders of documents; none means the embedded world.
    pub(crate) documents: Vec<PathBuf>,
    /// Questions with answers.
    pub(crate) instructions: Option<PathBuf>,
    /// Questions kept for evaluation; without them a share of `instructions` is.
    pub(crate) held_out: Option<PathBuf>,
    /// Pairs of a better and a worse answer.
    pub(crate) preferences: Option<PathBuf>,
    /// Pairs kept for evaluation; without them a share of `preferences` is.
    pub(crate) held_out_preferences: Option<PathBuf>,
}

/// `[scope]`: what the run may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scope {
    /// Minutes the whole run may be planned to take.
    pub(crate) budget_minutes: f64,
    /// GiB of memory it may be planned to need.
    pub(crate) memory_gib: f64,
}

/// `[model]`: the architecture, or a model to go on from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Model {
    /// A model of the store, a folder or a `.gguf` file; its shape then overrides the fields below.
    #[serde(default)]
    pub(crate) base: Option<String>,
    /// The architecture of a new model.
    #[serde(flatten)]
    pub(crate) preset: models::decoder::Preset,
}

/// `[serve]`: deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serving {
    /// Where to listen.
    pub(crate) bind: SocketAddr,
    /// A file with one API key a line.
    #[serde(default)]
    pub(crate) api_keys: Option<PathBuf>,
    /// Whether requests and answers are stored beside their ratings.
    pub(crate) store_prompts: bool,
}
