//! A file's bytes, decompressed on the way, with the compressed offset at hand for progress and for errors.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::listing::{Compression, SourceFile};
use crate::error::{Error, Result};

/// A decompressing reader over one file.
pub(crate) struct Bytes {
    inner: Box<dyn Read + Send>,
    path: PathBuf,
    compression: Compression,
    offset: Arc<AtomicU64>,
}

impl Bytes {
    /// Opens a file; every byte taken from the disk is added to `total`.
    pub(crate) fn open(file: &SourceFile, total: &Arc<AtomicU64>) -> Result<Self> {
        let opened = File::open(&file.path).map_err(Error::io("open", &file.path))?;
        let offset = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file: opened,
            offset: Arc::clone(&offset),
            total: Arc::clone(total),
        };
        let buffered = BufReader::with_capacity(1 << 17, counted);
        let inner: Box<dyn Read + Send> = match file.compression {
            Compression::None => Box::new(buffered),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
            Compression::Zstd => Box::new(
                zstd::stream::read::Decoder::with_buffer(buffered)
                    .map_err(Error::io("open", &file.path))?,
            ),
        };
        Ok(Self {
            inner,
            path: file.path.clone(),
            compression: file.compression,
            offset,
        })
    }

    /// What a failed read means: damage in a compressed file, the system's error in a plain one.
    pub(crate) fn explain(&self, error: io::Error) -> Error {
        explain(self.compression, self.path.clone(), &self.offset, error)
    }

    /// As [`Bytes::explain`], for readers that take the bytes away.
    pub(crate) fn explainer(&self) -> impl Fn(io::Error) -> Error + Send + use<> {
        let (compression, path, offset) = (
            self.compression,
            self.path.clone(),
            Arc::clone(&self.offset),
        );
        move |error| explain(compression, path.clone(), &offset, error)
    }
}

fn explain(compression: Compression, path: PathBuf, offset: &AtomicU64, error: io::Error) -> Error {
    if compression == Compression::None {
        return Error::io("read", &path)(error);
    }
    Error::Truncated {
        path,
        offset: offset.load(Ordering::Relaxed),
        problem: error.to_string(),
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

struct Counted {
    file: File,
    offset: Arc<AtomicU64>,
    total: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.offset.fetch_add(count as u64, Ordering::Relaxed);
        self.total.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
