//! The container: numbers and strings under names, then tensors (format versions 2 and 3, little-endian).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mmap_io::MemoryMappedFile;

use super::storage::Storage;
use crate::about::Stored;
use crate::{Error, Result};

/// Where tensors begin: multiples of this, where the file does not say otherwise.
const ALIGNMENT: u64 = 32;
/// The largest alignment that a file may ask for; what is asked for in earnest is 32 or a page.
const MOST_ALIGNED: u64 = 1 << 20;
/// Values that a head may hold, those in lists counted. The largest vocabularies with their merges need a third of it;
/// in memory a value takes 32 times a byte of the file, so a hostile list must end somewhere.
const MOST_VALUES: u64 = 1 << 22;

/// A value of the file's head.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Entry>),
}

/// What the head tells of a tensor.
#[derive(Clone, Debug)]
pub(super) struct Described {
    /// Rows first, as everywhere else here; the file has them the other way round.
    pub(super) shape: Vec<usize>,
    /// How its values are stored, in the file's numbering.
    pub(super) kind: u32,
    offset: u64,
}

impl Described {
    /// Bytes in the file; `None` when the kind is unknown, its blocks do not fit the rows, or there are too many.
    fn bytes(&self) -> Option<u64> {
        let (cols, rows) = self.shape.split_last().unwrap_or((&1, &[]));
        let row = Storage::numbered(self.kind)?.row_bytes(*cols)? as u64;
        let mut rows = rows.iter();
        rows.try_fold(row, |bytes, size| bytes.checked_mul(*size as u64))
    }
}

/// A file mapped into memory, its head read.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    map: MemoryMappedFile,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) tensors: BTreeMap<String, Described>,
    data: usize,
}

impl File {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let length = std::fs::metadata(path)
            .map_err(Error::io("read", path))?
            .len();
        if length == 0 {
            return Err(Error::weights(path, "it is empty"));
        }
        let map = MemoryMappedFile::open_ro(path)
            .map_err(|error| Error::io("map", path)(std::io::Error::other(error.to_string())))?;
        let mut reader = Reader {
            bytes: whole(&map),
            at: 0,
            left: MOST_VALUES,
        };
        let head = reader
            .head()
            .map_err(|reason| Error::weights(path, reason))?;
        let Head { entries, tensors } = head;
        let alignment = match entries.get("general.alignment") {
            Some(Entry::Unsigned(n)) if n.is_power_of_two() && *n <= MOST_ALIGNED => *n,
            Some(other) => {
                let reason = format!("`general.alignment` is {other:?}, no power of two");
                return Err(Error::weights(path, reason));
            }
            None => ALIGNMENT,
        };
        let data = (reader.at as u64).next_multiple_of(alignment);
        let file = Self {
            data: data as usize,
            path: path.to_owned(),
            map,
            entries,
            tensors,
        };
        file.check_places(length)?;
        Ok(file)
    }

    /// Every tensor lies within the file, and none lies in another.
    fn check_places(&self, length: u64) -> Result<()> {
        let mut places: Vec<(u64, &str, Option<u64>)> = Vec::new();
        for (name, described) in &self.tensors {
            let first = (self.data as u64).checked_add(described.offset);
            let first = first.filter(|first| *first <= length).ok_or_else(|| {
                let offset = described.offset;
                self.wrong(format!(
                    "tensor `{name}` begins {offset} bytes behind the head, the file has {length} bytes: is the download \
                     whole?"
                ))
            })?;
            places.push((first, name, described.bytes()));
        }
        places.sort_unstable();
        for (place, (first, name, bytes)) in places.iter().enumerate() {
            // Of kinds that are not read the size is unknown; they are refused when they are asked for.
            let Some(bytes) = *bytes else { continue };
            let end = first.saturating_add(bytes);
            if end > length {
                return Err(self.wrong(format!(
                    "tensor `{name}` goes from byte {first} to {end}, past the end of the file at {length}: is the \
                     download whole?"
                )));
            }
            if let Some((next, other, _)) = places.get(place + 1)
                && *next < end
            {
                return Err(self.wrong(format!(
                    "tensor `{other}` begins at byte {next}, within tensor `{name}`, which goes from byte {first} to {end}"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::weights(&self.path, reason)
    }

    /// A tensor's description.
    pub(super) fn tensor(&self, name: &str) -> Result<&Described> {
        self.tensors
            .get(name)
            .ok_or_else(|| self.wrong(format!("tensor `{name}` is missing")))
    }

    /// The first `length` bytes of a tensor.
    pub(super) fn bytes_of(&self, name: &str, length: usize) -> Result<&[u8]> {
        let offset = usize::try_from(self.tensor(name)?.offset).ok();
        let range = offset
            .and_then(|offset| self.data.checked_add(offset))
            .and_then(|start| {
                Some(Range {
                    start,
                    end: start.checked_add(length)?,
                })
            });
        range
            .and_then(|range| whole(&self.map).get(range))
            .ok_or_else(|| {
                self.wrong(format!(
                    "tensor `{name}` reaches past the end of the file: is the download whole?"
                ))
            })
    }

    /// Every tensor as it is stored, sorted by name.
    pub(crate) fn stored(&self) -> Vec<Stored> {
        let describe = |(name, described): (&String, &Described)| Stored {
            name: name.clone(),
            shape: described.shape.clone(),
            storage: match Storage::numbered(described.kind) {
                Some(storage) => storage.name().to_owned(),
                None => format!("kind {}", described.kind),
            },
            bytes: described.bytes().unwrap_or(0),
        };
        self.tensors.iter().map(describe).collect()
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        match self.entries.get(key) {
            Some(Entry::Text(text)) => Ok(text),
            other => Err(self.mismatch(key, "a string", other)),
        }
    }

    pub(super) fn count(&self, key: &str) -> Result<usize> {
        match self.entries.get(key) {
            Some(Entry::Unsigned(n)) if *n <= 1 << 32 => Ok(*n as usize),
            Some(Entry::Signed(n)) if (0..=1 << 32).contains(n) => Ok(*n as usize),
            other => Err(self.mismatch(key, "a count", other)),
        }
    }

    pub(super) fn float(&self, key: &str) -> Result<f32> {
        match self.entries.get(key) {
            Some(Entry::Float(x)) => Ok(*x as f32),
            other => Err(self.mismatch(key, "a number", other)),
        }
    }

    pub(super) fn list(&self, key: &str) -> Result<&[Entry]> {
        match self.entries.get(key) {
            Some(Entry::List(list)) => Ok(list),
            other => Err(self.mismatch(key, "a list", other)),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>> {
        self.list(key)?
            .iter()
            .map(|entry| match entry {
                Entry::Text(text) => Ok(text.as_str()),
                other => Err(self.mismatch(key, "a list of strings", Some(other))),
            })
            .collect()
    }

    fn mismatch(&self, key: &str, expected: &str, got: Option<&Entry>) -> Error {
        let got = match got {
            None => "is missing".to_owned(),
            Some(Entry::List(list)) => format!("is a list of {}", list.len()),
            Some(other) => format!("is {other:?}"),
        };
        self.wrong(format!("`{key}` {got}, expected {expected}"))
    }
}

/// Everything that is mapped.
fn whole(map: &MemoryMappedFile) -> &[u8] {
    map.as_slice_bytes(0, map.len()).unwrap_or(&[])
}

struct Head {
    entries: BTreeMap<String, Entry>,
    tensors: BTreeMap<String, Described>,
}

/// Reads forward; every step says why it cannot.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values that the head may still hold.
    left: u64,
}

type Read<T> = std::result::Result<T, String>;

impl Reader<'_> {
    fn take(&mut self, length: u64) -> Read<&[u8]> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length));
        let bytes = end.and_then(|end| self.bytes.get(self.at..end));
        let bytes = bytes.ok_or_else(|| {
            format!(
                "the head ends too early, at byte {}: is the download whole?",
                self.at
            )
        })?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.try_into().expect("`take` gives as many as asked for"))
    }

    fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Read<String> {
        let length = self.u64()?;
        let first = self.at;
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes)
            .map_err(|_| format!("the string of the head at byte {first} is not UTF-8"))
    }

    fn head(&mut self) -> Read<Head> {
        if self.array()? != *b"GGUF" {
            return Err("it does not begin as a GGUF file does".to_owned());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!(
                "GGUF of version {version}: versions 2 and 3, little-endian, are read"
            ));
        }
        let (tensor_count, entry_count) = (self.u64()?, self.u64()?);
        let mut head = Head {
            entries: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        for _ in 0..entry_count {
            let key = self.text()?;
            let kind = self.u32()?;
            let entry = self
                .entry(kind, 0)
                .map_err(|why| format!("`{key}`: {why}"))?;
            head.entries.insert(key, entry);
        }
        for _ in 0..tensor_count {
            let name = self.text()?;
            let dimensions = self.u32()?;
            if dimensions > 4 {
                return Err(format!("tensor `{name}` has {dimensions} dimensions"));
            }
            let mut shape = Vec::new();
            for _ in 0..dimensions {
                let size = self.u64()?;
                if size == 0 || size > 1 << 32 {
                    return Err(format!("tensor `{name}` has a dimension of {size}"));
                }
                shape.push(size as usize);
            }
            shape.reverse();
            let (kind, offset) = (self.u32()?, self.u64()?);
            let described = Described {
                shape,
                kind,
                offset,
            };
            if head.tensors.contains_key(&name) {
                return Err(format!("tensor `{name}` is there twice"));
            }
            head.tensors.insert(name, described);
        }
        Ok(head)
    }

    fn entry(&mut self, kind: u32, depth: usize) -> Read<Entry> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("more than {MOST_VALUES} values, at byte {}", self.at))?;
        Ok(match kind {
            0 => Entry::Unsigned(self.array::<1>()?[0].into()),
            1 => Entry::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Entry::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Entry::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Entry::Unsigned(self.u32()?.into()),
            5 => Entry::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Entry::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Entry::Bool(self.array::<1>()?[0] != 0),
            8 => Entry::Text(self.text()?),
            9 if depth < 4 => {
                let (kind, count) = (self.u32()?, self.u64()?);
                let mut list = Vec::new();
                for _ in 0..count {
                    list.push(self.entry(kind, depth + 1)?);
                }
                Entry::List(list)
            }
            10 => Entry::Unsigned(self.u64()?),
            11 => Entry::Signed(i64::from_le_bytes(self.array()?)),
            12 => Entry::Float(f64::from_le_bytes(self.array()?)),
            other => {
                let at = self.at;
                return Err(format!("a value of unknown kind {other} at byte {at}"));
            }
        })
    }
}
