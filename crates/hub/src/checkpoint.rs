//! Tensors of a checkpoint in safetensors, in one file or several, mapped into memory: names and shapes are checked
//! against the config before a value is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mmap_io::MemoryMappedFile;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::about::Stored;
use crate::{Error, Result};

/// Bytes of a header's length.
const LENGTH: usize = 8;
/// Files that pickles come in.
const PICKLES: [&str; 3] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "model.pt",
];

/// The safetensors files of one checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// The only file, or the index of several.
    path: PathBuf,
    files: Vec<Part>,
    /// By tensor, when there are several: the index of its file.
    places: BTreeMap<String, usize>,
}

/// One file.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    map: MemoryMappedFile,
    /// Where values begin.
    data: usize,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens `model.safetensors` in a folder, or the files that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// When there is neither (what to do with a pickle is said), or a file is not whole.
    pub fn open_folder(folder: &Path) -> Result<Self> {
        let (one, index) = (
            folder.join("model.safetensors"),
            folder.join("model.safetensors.index.json"),
        );
        if one.is_file() || !index.is_file() {
            if let Some(pickle) = PICKLES.iter().find(|name| folder.join(name).exists())
                && !one.is_file()
            {
                return Err(Error::weights(
                    &folder.join(pickle),
                    "a pickle can run any program when it is read, so it is not read here; with the software that made \
                     it, `model.save_pretrained(FOLDER, safe_serialization=True)` writes safetensors",
                ));
            }
            return Self::open(&one);
        }
        let text = fs::read_to_string(&index).map_err(Error::io("read", &index))?;
        let named: Index = serde_json::from_str(&text).map_err(|source| Error::Json {
            path: index.clone(),
            source,
        })?;
        let mut files = Vec::new();
        let mut places = BTreeMap::new();
        let mut numbers = BTreeMap::new();
        for (tensor, name) in named.weight_map {
            let plain = Path::new(&name)
                .file_name()
                .is_some_and(|file| file == name.as_str());
            if !plain || !name.ends_with(".safetensors") {
                return Err(Error::weights(
                    &index,
                    format!(
                        "tensor `{tensor}` is said to be in {name:?}, which is no safetensors file of this folder"
                    ),
                ));
            }
            let number = match numbers.get(&name) {
                Some(&number) => number,
                None => {
                    files.push(Part::open(&folder.join(&name))?);
                    numbers.insert(name, files.len() - 1);
                    files.len() - 1
                }
            };
            places.insert(tensor, number);
        }
        Ok(Self {
            path: index,
            files,
            places,
        })
    }

    /// Opens one file.
    ///
    /// # Errors
    /// When it cannot be read or is not whole.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            files: vec![Part::open(path)?],
            places: BTreeMap::new(),
        })
    }

    /// The only file, or the index of several.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn part(&self, name: &str) -> Option<&Part> {
        if self.files.len() == 1 && self.places.is_empty() {
            return self.files.first();
        }
        self.places
            .get(name)
            .and_then(|&number| self.files.get(number))
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let files = self.files.iter();
        let mut names: Vec<String> = files.flat_map(|part| part.metadata.offset_keys()).collect();
        names.sort();
        names
    }

    /// Every tensor as it is stored, sorted by name.
    pub fn stored(&self) -> Vec<Stored> {
        let describe = |name: String| {
            let info = self.part(&name)?.metadata.info(&name)?;
            let (first, end) = info.data_offsets;
            Some(Stored {
                shape: info.shape.clone(),
                storage: format!("{:?}", info.dtype).to_lowercase(),
                bytes: (end - first) as u64,
                name,
            })
        };
        self.names().into_iter().filter_map(describe).collect()
    }

    /// The shape of a tensor that is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.part(name)?.metadata.info(name)?;
        Some(&info.shape)
    }

    /// The values of a tensor as 32-bit floats.
    ///
    /// # Errors
    /// When it is missing, or has another shape or an unknown type.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let missing = || {
            Error::weights(
                &self.path,
                format!("tensor `{name}` of shape {shape:?} is missing"),
            )
        };
        let part = self.part(name).ok_or_else(missing)?;
        let info = part.metadata.info(name).ok_or_else(missing)?;
        if info.shape != shape {
            return Err(Error::weights(
                &part.path,
                format!(
                    "tensor `{name}` has shape {:?}, the config asks for {shape:?}",
                    info.shape
                ),
            ));
        }
        let (first, end) = info.data_offsets;
        let bytes = part.bytes(part.data + first, end - first)?;
        match info.dtype {
            Dtype::F32 => Ok(bytemuck::pod_collect_to_vec(bytes)),
            Dtype::F16 => Ok(halves(bytes, |bits| half::f16::from_bits(bits).to_f32())),
            Dtype::BF16 => Ok(halves(bytes, |bits| half::bf16::from_bits(bits).to_f32())),
            other => Err(Error::weights(
                &part.path,
                format!(
                    "tensor `{name}` is stored as {other:?} from byte {}: F32, F16 and BF16 are read",
                    part.data + first
                ),
            )),
        }
    }
}

impl Part {
    fn open(path: &Path) -> Result<Self> {
        let broken = |reason: String| {
            Error::weights(path, format!("not a whole safetensors file: {reason}"))
        };
        let length = fs::metadata(path).map_err(Error::io("open", path))?.len();
        if length < LENGTH as u64 {
            return Err(broken(format!("it has {length} bytes")));
        }
        let map = MemoryMappedFile::open_ro(path)
            .map_err(|error| Error::io("map", path)(std::io::Error::other(error.to_string())))?;
        let bytes = map
            .as_slice_bytes(0, map.len())
            .map_err(|error| broken(error.to_string()))?;
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|error| broken(error.to_string()))?;
        let data = LENGTH + header;
        let expected = data as u64 + metadata.data_len() as u64;
        if expected != length {
            return Err(broken(format!(
                "its head tells of {expected} bytes, it has {length}: is the download whole?"
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            map,
            data,
            metadata,
        })
    }

    fn bytes(&self, first: usize, length: usize) -> Result<&[u8]> {
        self.map
            .as_slice_bytes(first as u64, length as u64)
            .map_err(|error| Error::weights(&self.path, format!("at byte {first}: {error}")))
    }
}

fn halves(bytes: &[u8], value: impl Fn(u16) -> f32) -> Vec<f32> {
    let pairs = bytes.as_chunks::<2>().0;
    pairs
        .iter()
        .map(|b| value(u16::from_le_bytes(*b)))
        .collect()
}
