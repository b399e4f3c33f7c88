//! The files that sentence-transformers puts into an encoder's folder: which modules follow the encoder, how its states
//! are pooled, how texts are prepared.
//!
//! `modules.json` names the modules and their folders; each has a `config.json` of its own. A folder without these
//! files is taken as that library takes it: the mean of all tokens.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use models::pooling::{Mode, Pooling};
use models::sentence::{Activation, Dense, Step};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tensor::Device;

use crate::checkpoint::Checkpoint;
use crate::{Error, Result};

/// The list of modules.
pub(crate) const MODULES: &str = "modules.json";
/// How texts are prepared; the first that is there counts.
const PREPARATION: [&str; 3] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_xlm-roberta_config.json",
];
/// Prompts.
const PROMPTS: &str = "config_sentence_transformers.json";

/// A JSON file as what it should be.
///
/// # Errors
/// When it cannot be read, or names the field that does not say what it should.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    parse(path, &text)
}

/// The text of a JSON file as what it should be.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let field = error.path().to_string();
        let problem = error.into_inner();
        let reason = if field == "." {
            problem.to_string()
        } else {
            format!("`{field}`: {problem}")
        };
        Error::weights(path, reason)
    })?;
    let rest = parser.end();
    rest.map_err(|error| Error::weights(path, error.to_string()))?;
    Ok(value)
}

/// A JSON file that need not be there.
fn read_if_present<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// One line of `modules.json`.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    class: String,
}

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Transformer,
    Pooling,
    Dense,
    Normalize,
    /// Does nothing outside of training.
    Dropout,
}

/// The modules of a model, and where they lie.
pub(crate) struct Modules {
    /// Where the encoder's own files lie.
    pub(crate) transformer: PathBuf,
    /// What follows, in order; `None` where no file says so.
    rest: Option<Vec<(Kind, PathBuf)>>,
    path: PathBuf,
}

/// The folder that a module's `path` names inside of `folder`: none but its own, or one within.
fn inside(folder: &Path, file: &Path, number: usize, name: &str) -> Result<PathBuf> {
    if name.is_empty() || name == "." {
        return Ok(folder.to_owned());
    }
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name.trim_end_matches('/') => {
            Ok(folder.join(part))
        }
        _ => Err(Error::weights(
            file,
            format!("`[{number}].path`: {name:?} is no folder within this model's"),
        )),
    }
}

fn lines(folder: &Path) -> Result<Option<Vec<Line>>> {
    read_if_present(&folder.join(MODULES))
}

/// The names of the folders that modules have inside a model's folder.
pub(crate) fn folders(folder: &Path) -> Result<Vec<String>> {
    let lines = lines(folder)?.unwrap_or_default();
    let names = lines.iter().map(|line| line.path.trim_end_matches('/'));
    Ok(names.map(str::to_owned).collect())
}

impl Modules {
    /// Reads `modules.json`, where there is one.
    ///
    /// # Errors
    /// When it names a module that is not known, none to begin with, or a folder elsewhere.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(MODULES);
        let Some(lines) = lines(folder)? else {
            return Ok(Self {
                transformer: folder.to_owned(),
                rest: None,
                path,
            });
        };
        let mut modules = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let class = &line.class;
            let kind = class
                .strip_prefix("sentence_transformers.")
                .and_then(|name| match name.rsplit('.').next()? {
                    "Transformer" => Some(Kind::Transformer),
                    "Pooling" => Some(Kind::Pooling),
                    "Dense" => Some(Kind::Dense),
                    "Normalize" => Some(Kind::Normalize),
                    "Dropout" => Some(Kind::Dropout),
                    _ => None,
                })
                .ok_or_else(|| {
                    Error::weights(
                        &path,
                        format!(
                            "`[{number}].type`: {class:?} is not known; Transformer, Pooling, Dense, Normalize and \
                             Dropout of sentence_transformers are"
                        ),
                    )
                })?;
            modules.push((kind, inside(folder, &path, number, &line.path)?));
        }
        let orderly = matches!(
            modules[..],
            [(Kind::Transformer, _), (Kind::Pooling, _), ..]
        ) && modules[2..]
            .iter()
            .all(|(kind, _)| ![Kind::Transformer, Kind::Pooling].contains(kind));
        if !orderly {
            return Err(Error::weights(
                &path,
                "`type`: one Transformer is expected first, one Pooling behind it, then others",
            ));
        }
        let rest = modules.split_off(1);
        let transformer = modules
            .pop()
            .map_or_else(|| folder.to_owned(), |(_, at)| at);
        Ok(Self {
            transformer,
            rest: Some(rest),
            path,
        })
    }

    /// How states of `hidden` features are pooled, and what is done to the vector.
    ///
    /// # Errors
    /// Names the file and the field, or tensor, that does not fit.
    pub(crate) fn load(&self, hidden: usize, device: &Device) -> Result<(Pooling, Vec<Step>)> {
        let Some(modules) = &self.rest else {
            return Ok((Pooling::default(), Vec::new()));
        };
        let (mut pooling, mut steps, mut width) = (Pooling::default(), Vec::new(), hidden);
        for (kind, folder) in modules {
            match kind {
                Kind::Pooling => {
                    pooling = read_pooling(&folder.join("config.json"), hidden)?;
                    width = pooling.dimensions(hidden);
                }
                Kind::Dense => {
                    let dense = read_dense(folder, width, device)?;
                    width = dense.out_features();
                    steps.push(Step::Dense(dense));
                }
                Kind::Normalize => {
                    of_sentences(&folder.join("config.json"))?;
                    steps.push(Step::Normalize);
                }
                Kind::Transformer | Kind::Dropout => {}
            }
        }
        if width == 0 {
            return Err(Error::weights(&self.path, "no features are left"));
        }
        Ok((pooling, steps))
    }
}

/// `1_Pooling/config.json`: modes by name since version 5.5, one switch for each before.
#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(alias = "embedding_dimension")]
    word_embedding_dimension: usize,
    pooling_mode: Option<OneOrMore>,
    include_prompt: Option<bool>,
    pooling_mode_cls_token: Option<bool>,
    pooling_mode_max_tokens: Option<bool>,
    pooling_mode_mean_tokens: Option<bool>,
    pooling_mode_mean_sqrt_len_tokens: Option<bool>,
    pooling_mode_weightedmean_tokens: Option<bool>,
    pooling_mode_lasttoken: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn read_pooling(path: &Path, hidden: usize) -> Result<Pooling> {
    let config: PoolingConfig = read(path)?;
    let told = config.word_embedding_dimension;
    if told != hidden {
        return Err(Error::weights(
            path,
            format!("`word_embedding_dimension` is {told}, the encoder's hidden_size {hidden}"),
        ));
    }
    let names = match config.pooling_mode {
        Some(OneOrMore::One(name)) => vec![name],
        Some(OneOrMore::More(names)) => names,
        None => {
            let switches = [
                config.pooling_mode_cls_token,
                config.pooling_mode_max_tokens,
                config.pooling_mode_mean_tokens,
                config.pooling_mode_mean_sqrt_len_tokens,
                config.pooling_mode_weightedmean_tokens,
                config.pooling_mode_lasttoken,
            ];
            let all = Mode::ALL.iter().zip(switches);
            let on = all.filter(|(_, switch)| *switch == Some(true));
            let on: Vec<String> = on.map(|((name, _), _)| (*name).to_owned()).collect();
            // As in sentence-transformers, where no switch is on.
            if on.is_empty() {
                vec!["mean".to_owned()]
            } else {
                on
            }
        }
    };
    let known = Mode::ALL.map(|(name, _)| name).join(", ");
    let modes = names.iter().map(|name| {
        let found = Mode::ALL.iter().find(|(known, _)| known == name);
        found.map(|&(_, mode)| mode).ok_or_else(|| {
            Error::weights(path, format!("`pooling_mode`: {name:?} is none of {known}"))
        })
    });
    let modes = modes.collect::<Result<Vec<_>>>()?;
    if modes.is_empty() || modes.len() > Mode::ALL.len() {
        return Err(Error::weights(
            path,
            format!(
                "`pooling_mode` has {} modes, 1 to {} are expected",
                modes.len(),
                Mode::ALL.len()
            ),
        ));
    }
    Ok(Pooling {
        modes,
        include_prompt: config.include_prompt.unwrap_or(true),
    })
}

/// What `Dense` and `Normalize` may be told to read and write instead of the text's vector.
#[derive(Deserialize)]
struct Features {
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

/// Refuses a module that does not go from a text's vector to a text's vector.
fn of_sentences(path: &Path) -> Result<()> {
    let Some(features) = read_if_present::<Features>(path)? else {
        return Ok(());
    };
    for (field, name) in [
        ("module_input_name", features.module_input_name),
        ("module_output_name", features.module_output_name),
    ] {
        if let Some(name) = name.filter(|name| name != "sentence_embedding") {
            return Err(Error::weights(
                path,
                format!("`{field}` is {name:?}, \"sentence_embedding\" is expected"),
            ));
        }
    }
    Ok(())
}

/// `2_Dense/config.json`.
#[derive(Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    #[serde(default = "tanh")]
    activation_function: String,
    #[serde(default)]
    use_residual: bool,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "torch.nn.modules.activation.Tanh".to_owned()
}

fn read_dense(folder: &Path, width: usize, device: &Device) -> Result<Dense> {
    let path = folder.join("config.json");
    let config: DenseConfig = read(&path)?;
    of_sentences(&path)?;
    if config.in_features != width {
        return Err(Error::weights(
            &path,
            format!(
                "`in_features` is {}, the vectors before have {width} features",
                config.in_features
            ),
        ));
    }
    if config.out_features == 0 {
        return Err(Error::weights(&path, "`out_features` is 0"));
    }
    if config.use_residual {
        return Err(Error::weights(
            &path,
            "`use_residual` is true, false is expected",
        ));
    }
    let activation = match config.activation_function.rsplit('.').next() {
        Some("Tanh") => Activation::Tanh,
        Some("Identity") => Activation::Identity,
        _ => {
            return Err(Error::weights(
                &path,
                format!(
                    "`activation_function`: {:?} is neither Tanh nor Identity",
                    config.activation_function
                ),
            ));
        }
    };
    let checkpoint = Checkpoint::open_folder(folder)?;
    let shape = [config.out_features, config.in_features];
    let weight = checkpoint.get("linear.weight", &shape)?;
    let bias = config
        .bias
        .then(|| checkpoint.get("linear.bias", &shape[..1]));
    Ok(Dense::new(
        weight,
        shape,
        bias.transpose()?,
        activation,
        device,
    ))
}

/// How texts are prepared: `sentence_bert_config.json`.
#[derive(Deserialize, Default)]
pub(crate) struct Preparation {
    pub(crate) max_seq_length: Option<usize>,
    pub(crate) do_lower_case: Option<bool>,
}

impl Preparation {
    /// Reads it from the encoder's own folder; the file that said so, where one did.
    pub(crate) fn read(folder: &Path) -> Result<(Self, PathBuf)> {
        for name in PREPARATION {
            let path = folder.join(name);
            if let Some(found) = read_if_present::<Self>(&path)? {
                if found.max_seq_length == Some(0) {
                    return Err(Error::weights(&path, "`max_seq_length` is 0"));
                }
                return Ok((found, path));
            }
        }
        Ok((Self::default(), folder.join("tokenizer_config.json")))
    }
}

/// Texts set before a text, by name: `config_sentence_transformers.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Prompts {
    /// All, by name.
    #[serde(default, rename = "prompts")]
    pub by_name: BTreeMap<String, Option<String>>,
    /// The one that is set where none is asked for.
    #[serde(default, rename = "default_prompt_name")]
    pub default: Option<String>,
}

impl Prompts {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(PROMPTS);
        let prompts: Self = read_if_present(&path)?.unwrap_or_default();
        if let Some(name) = &prompts.default
            && !prompts.by_name.contains_key(name)
        {
            return Err(Error::weights(
                &path,
                format!("`default_prompt_name` is {name:?}, which is none of `prompts`"),
            ));
        }
        Ok(prompts)
    }

    /// What is set before texts when `name` is asked for, or nothing is; `None` when there is no prompt of that name.
    pub fn get(&self, name: Option<&str>) -> Option<&str> {
        let Some(name) = name.or(self.default.as_deref()) else {
            return Some("");
        };
        self.by_name
            .get(name)
            .map(|text| text.as_deref().unwrap_or_default())
    }
}
