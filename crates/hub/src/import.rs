//! Models of elsewhere into the store: a Hugging Face folder or a GGUF file, checked before it is copied.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use artifact::{Artifact, Key, Progress, Store};
use models::decoder::Config;
use serde_json::{Value, json};
use tensor::Device;

use crate::adapter::rename_base;
use crate::fetch::note_origin;
use crate::folder::gguf_of;
use crate::{
    Architecture, Error, Result, attach, is_adapter, load, load_decoder, load_encoder,
    load_seq2seq, read_architecture, sentence,
};

/// What belongs to a model, by a file name's ending.
const ENDINGS: [&str; 5] = [".json", ".safetensors", ".jinja", ".model", ".gguf"];
/// And by its beginning.
const BEGINNINGS: [&str; 4] = ["LICENSE", "LICENCE", "README", "NOTICE"];
/// Bytes between two reports.
const PIECE: usize = 1 << 20;

/// Copies the model at `source`, a folder or a `.gguf` file, into the store.
///
/// The model is read whole first: one that could not be used is refused before anything is written. The artifact's key
/// holds the BLAKE3 of every file, so that importing the same files again finds what is there.
///
/// An adapter needs its `base`, an artifact, by whose id it is found from then on.
///
/// # Errors
/// As [`load`]; when a file cannot be read or copied; when interrupted; an adapter without a base, or a base for
/// something else.
pub fn import(
    store: &Store,
    source: &Path,
    base: Option<&Artifact>,
    progress: &Progress,
) -> Result<Artifact> {
    let files = files(source)?;
    progress.stage("import", format!("reading {}", source.display()));
    let (architecture, parameters) = checked(source, base)?;
    let total: u64 = files.iter().map(|file| file.bytes).sum();

    progress.stage("import", "hashing");
    let mut done = 0;
    let mut hashes = serde_json::Map::new();
    for file in &files {
        let mut hasher = blake3::Hasher::new();
        file.read(|piece| {
            hasher.update(piece);
            done += piece.len() as u64;
            progress.tick(done, Some(total), "bytes");
            Ok(progress.check()?)
        })?;
        let hash = hasher.finalize().to_hex().to_string();
        hashes.insert(file.name.clone(), Value::from(hash));
    }
    let mut key = Key::new("model", &json!({ "imported": hashes }));
    if let Some(base) = base {
        key = key.input("base", base);
    }
    if let Some(there) = store.find(&key)? {
        return Ok(there);
    }

    progress.stage("import", "copying");
    let draft = store.begin(key)?;
    let mut done = 0;
    for file in &files {
        let place = draft.path().join(&file.name);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let mut copy = File::create(&place).map_err(Error::io("create", &place))?;
        file.read(|piece| {
            done += piece.len() as u64;
            progress.tick(done, Some(total), "bytes");
            progress.check()?;
            copy.write_all(piece).map_err(Error::io("write", &place))
        })?;
    }
    if gguf_of(source).is_some() {
        // Training reads tokenizers as Hugging Face lays them out.
        crate::tokenizer(source)?.save(draft.path())?;
    }
    if let Some(base) = base {
        rename_base(draft.path(), base.id.as_str())?;
    }
    let mut metrics = json!({
        "stage": "import",
        "source": source.display().to_string(),
        "architecture": architecture,
        "parameters": parameters,
    });
    note_origin(source, &mut metrics);
    Ok(draft.commit(metrics, Value::Null)?)
}

/// Reads the model whole, or an adapter with its base, and returns its family and its number of parameters.
fn checked(source: &Path, base: Option<&Artifact>) -> Result<(String, usize)> {
    let (device, id) = (Device::flex(), crate::model_name(source));
    let told = |config: &Config| (config.model_type.clone(), config.parameters());
    match (is_adapter(source), base) {
        (false, None) => match read_architecture(source)? {
            Architecture::Decoder(_) => Ok(told(load(source, &id, &device)?.decoder.config())),
            Architecture::Encoder(config) => {
                load_encoder(source, &id, &device)?;
                let parameters = config.parameters();
                Ok((config.model_type, parameters))
            }
            Architecture::EncoderDecoder(config) => {
                load_seq2seq(source, &id, &device)?;
                let parameters = config.parameters();
                Ok((config.model_type, parameters))
            }
        },
        (true, Some(base)) => {
            let mut decoder = load_decoder(&base.path, &device)?;
            attach(&mut decoder, source)?;
            Ok(told(decoder.config()))
        }
        (true, None) => Err(Error::weights(
            &source.join("adapter_config.json"),
            "an adapter is kept with its base: import that first, then name it with --base",
        )),
        (false, Some(_)) => Err(Error::weights(
            source,
            "is a whole model and no adapter, so it has no base",
        )),
    }
}

/// One file of a model.
struct Piece {
    path: PathBuf,
    /// Relative to the model's folder.
    name: String,
    bytes: u64,
}

impl Piece {
    fn read(&self, mut with: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let mut buffer = vec![0; PIECE];
        loop {
            let read = file
                .read(&mut buffer)
                .map_err(Error::io("read", &self.path))?;
            if read == 0 {
                return Ok(());
            }
            with(&buffer[..read])?;
        }
    }
}

/// The files of the model at `source`, sorted by name: those of its folder, and those of the folders that
/// sentence-transformers puts inside.
fn files(source: &Path) -> Result<Vec<Piece>> {
    let piece = |path: PathBuf, name: String| {
        let about = fs::metadata(&path).map_err(Error::io("read", &path))?;
        Ok::<_, Error>(about.is_file().then_some(Piece {
            path,
            name,
            bytes: about.len(),
        }))
    };
    if !source.is_dir() {
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let one = piece(source.to_owned(), name.into_owned())?;
        return Ok(one.into_iter().collect());
    }
    let mut found = Vec::new();
    let with_config = source.join("config.json").is_file();
    let modules = sentence::folders(source)?;
    for (path, name) in listed(source)? {
        // Some publishers put a copy of the same model beside its folder's own files.
        if with_config && name.ends_with(".gguf") {
            continue;
        }
        if path.is_dir() && modules.contains(&name) {
            for (path, inner) in listed(&path)? {
                if belongs(&inner) {
                    found.extend(piece(path, format!("{name}/{inner}"))?);
                }
            }
        } else if belongs(&name) {
            found.extend(piece(path, name)?);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn belongs(name: &str) -> bool {
    let ours = ["artifact.json", "measured.json"].contains(&name);
    !ours
        && (name == "vocab.txt"
            || name == "merges.txt"
            || ENDINGS.iter().any(|ending| name.ends_with(ending))
            || BEGINNINGS
                .iter()
                .any(|beginning| name.starts_with(beginning)))
}

fn listed(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    entries
        .map(|entry| {
            let entry = entry.map_err(Error::io("list", folder))?;
            Ok((
                entry.path(),
                entry.file_name().to_string_lossy().into_owned(),
            ))
        })
        .collect()
}
