//! `tokenizer.json` and `tokenizer_config.json`: the folder layout shared with Hugging Face.

use std::fs;
use std::path::Path;

use artifact::write_atomic;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::chat::CHATML;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use crate::train::SPECIAL_TOKENS;

pub(crate) const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";

impl Tokenizer {
    /// Loads a folder with `tokenizer.json` (and, where present, `tokenizer_config.json` and `chat_template.jinja`),
    /// or the `tokenizer.json` itself.
    ///
    /// # Errors
    /// [`artifact::Error::Io`] when a file cannot be read, [`Error::Load`] when it is not a tokenizer.
    pub fn load(path: &Path) -> Result<Self> {
        let file = if path.is_dir() {
            path.join(TOKENIZER)
        } else {
            path.to_owned()
        };
        let folder = file.parent().unwrap_or(Path::new("."));
        let json = fs::read(&file).map_err(artifact::Error::io("read", &file))?;
        let mut config = config_of(folder)?;
        if let (Some(template), Some(map)) = (
            read_if_present(&folder.join(TEMPLATE))?,
            config.as_object_mut(),
        ) {
            map.insert("chat_template".to_owned(), template.into());
        }
        Self::from_json(&json, config).map_err(|error| match error {
            Error::Library { problem, .. } => Error::Load {
                path: file,
                problem,
            },
            other => other,
        })
    }

    /// A tokenizer from the bytes of a `tokenizer.json` and the value of a `tokenizer_config.json`
    /// (`json!({})` where there is none).
    ///
    /// # Errors
    /// [`Error::Library`] when the bytes are not a tokenizer, [`Error::Template`] when the chat template is broken.
    pub fn from_json(tokenizer: &[u8], config: Value) -> Result<Self> {
        Self::assemble(parse(tokenizer)?, config)
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into `folder`, each atomically.
    ///
    /// # Errors
    /// [`artifact::Error::Io`] naming the file.
    pub fn save(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).map_err(artifact::Error::io("create", folder))?;
        write_atomic(&folder.join(TOKENIZER), self.to_json()?.as_bytes())?;
        write_atomic(
            &folder.join(CONFIG),
            format!("{:#}\n", self.config()).as_bytes(),
        )?;
        Ok(())
    }
}

/// The library's tokenizer from the bytes of a `tokenizer.json`.
pub(crate) fn parse(tokenizer: &[u8]) -> Result<tokenizers::Tokenizer> {
    // The library unwraps inside its parsers: what is not even JSON is found before, the rest is caught.
    serde_json::from_slice::<IgnoredAny>(tokenizer)
        .map_err(Error::library("read the tokenizer"))?;
    let parsed = std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(tokenizer));
    parsed
        .unwrap_or_else(|_| Err("its parts do not fit each other".into()))
        .map_err(Error::library("read the tokenizer"))
}

/// The value of a folder's `tokenizer_config.json`; an empty object where there is none.
pub(crate) fn config_of(folder: &Path) -> Result<Value> {
    let path = folder.join(CONFIG);
    match read_if_present(&path)? {
        None => Ok(Value::Object(Map::new())),
        Some(text) => serde_json::from_str(&text).map_err(|error| Error::Load {
            path: path.clone(),
            problem: error.to_string(),
        }),
    }
}

fn read_if_present(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(artifact::Error::io("read", path)(error).into()),
    }
}

/// The config of the tokenizers trained here, read by Python's `transformers` too.
pub(crate) fn own_config() -> Value {
    let marker = |content: &&str| {
        json!({
            "content": content, "lstrip": false, "normalized": false, "rstrip": false, "single_word": false,
            "special": true,
        })
    };
    let added: Map<_, _> = SPECIAL_TOKENS
        .iter()
        .enumerate()
        .map(|(id, content)| (id.to_string(), marker(content)))
        .collect();
    json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL_TOKENS[1..],
        "bos_token": SPECIAL_TOKENS[0],
        "eos_token": SPECIAL_TOKENS[0],
        "pad_token": SPECIAL_TOKENS[0],
        "unk_token": SPECIAL_TOKENS[0],
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "chat_template": CHATML,
    })
}

/// A named token of a config, written as a string or as an object with `content`.
pub(crate) fn named_token<'a>(config: &'a Value, name: &str) -> Option<&'a str> {
    let token = config.get(name)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// The chat template of a config: a string, or a list of named ones of which `default` is meant.
pub(crate) fn template_source(config: &Value) -> Option<&str> {
    let template = config.get("chat_template")?;
    template.as_str().or_else(|| {
        let list = template.as_array()?;
        let found = list
            .iter()
            .find(|one| one["name"] == "default")
            .or_else(|| list.first())?;
        found["template"].as_str()
    })
}
