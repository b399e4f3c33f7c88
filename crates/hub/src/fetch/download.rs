//! Files of the hub onto this machine: resumed where they broke off, checked before they get their names.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::Progress;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use serde_json::Value;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::listing::{Checksum, Entry, INDEX, Listing, refused, unreachable};
use super::{Hub, Source};
use crate::{Error, Result};

/// Bytes between two looks at the progress.
const PIECE: usize = 1 << 18;
/// How often a file that breaks off is asked for again within one run.
const TRIES: u32 = 4;
/// The wait before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// A connection that is silent for this long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// One model on its way.
pub(super) struct Download<'a> {
    hub: &'a Hub,
    source: &'a Source,
    listing: &'a Listing,
    folder: &'a Path,
    agent: Agent,
}

/// How far all files together are.
struct Tally<'a> {
    progress: &'a Progress,
    done: u64,
    total: Option<u64>,
}

impl Tally<'_> {
    fn add(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        self.progress.tick(self.done, self.total, "bytes");
        Ok(self.progress.check()?)
    }
}

/// Why a file did not arrive.
enum Broken {
    /// The connection; what has arrived is good.
    Off(String),
    /// Anything that another try does not mend.
    For(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

impl<'a> Download<'a> {
    pub(super) fn new(
        hub: &'a Hub,
        source: &'a Source,
        listing: &'a Listing,
        folder: &'a Path,
    ) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Large files lie elsewhere, and that place must not see the token.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            // Compressed on the way, lengths and ranges would be those of something else.
            .accept_encoding("identity")
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build()
            .into();
        Self {
            hub,
            source,
            listing,
            folder,
            agent,
        }
    }

    /// Downloads all that is needed; returns what to import.
    pub(super) fn run(&self, progress: &Progress) -> Result<PathBuf> {
        fs::create_dir_all(self.folder).map_err(Error::io("create", self.folder))?;
        let mut needed = self.listing.needed(self.source)?;
        let only_gguf = matches!(needed[..], [one] if one.name.ends_with(".gguf"));
        if let Some(index) = needed.iter().find(|entry| entry.name == INDEX) {
            let mut small = Tally {
                progress,
                done: 0,
                total: index.size,
            };
            self.file(index, &mut small)?;
            for part in self.parts()? {
                needed.push(self.listing.entry(&part).ok_or_else(|| {
                    self.wrong(format!("its index names {part}, which it does not have"))
                })?);
            }
        }
        let sizes = needed.iter().map(|entry| entry.size);
        let mut tally = Tally {
            progress,
            done: 0,
            total: sizes.sum(),
        };
        for entry in &needed {
            progress.stage("fetch", entry.name.clone());
            self.file(entry, &mut tally)?;
        }
        Ok(match &needed[..] {
            [only] if only_gguf => self.folder.join(&only.name),
            _ => self.folder.to_owned(),
        })
    }

    /// The files that the index names, each in the repository's own folder.
    fn parts(&self) -> Result<BTreeSet<String>> {
        let path = self.folder.join(INDEX);
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        let index: Value = serde_json::from_slice(&text).map_err(|source| Error::Json {
            path: path.clone(),
            source,
        })?;
        let places = index["weight_map"].as_object();
        let names = places.into_iter().flat_map(|places| places.values());
        let plain = |name: &Value| {
            let name = name.as_str()?;
            let file = Path::new(name).file_name()?;
            (file == name && name.ends_with(".safetensors")).then(|| name.to_owned())
        };
        names
            .map(|name| {
                plain(name).ok_or_else(|| {
                    self.wrong(format!("its index names {name}, no file of its own"))
                })
            })
            .collect()
    }

    /// One file, tried again while it gets further.
    fn file(&self, entry: &Entry, tally: &mut Tally<'_>) -> Result<()> {
        let place = self.folder.join(&entry.name);
        if let Ok(about) = fs::metadata(&place) {
            // Only what was checked has its name.
            return tally.add(about.len());
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let part = self.folder.join(format!("{}.part", entry.name));
        let before = tally.done;
        let mut tries = 0;
        loop {
            tally.done = before;
            match self.attempt(entry, &part, tally) {
                Ok(()) => break,
                Err(Broken::For(error)) => return Err(error),
                Err(Broken::Off(reason)) => {
                    tries += 1;
                    if tries == TRIES {
                        return Err(self.wrong(format!(
                            "{} broke off: {reason}; what has arrived is kept, the same command goes on from there",
                            entry.name
                        )));
                    }
                    std::thread::sleep(PAUSE * (1 << (tries - 1)));
                    tally.progress.check()?;
                }
            }
        }
        fs::rename(&part, &place).map_err(Error::io("rename into", &place))
    }

    fn attempt(
        &self,
        entry: &Entry,
        part: &Path,
        tally: &mut Tally<'_>,
    ) -> std::result::Result<(), Broken> {
        let mut digest = Digest::new(entry);
        let mut have = self.resume(entry, part, &mut digest, tally)?;
        if entry.size.is_none_or(|size| have < size) || have == 0 {
            let mut answer = self.ask(entry, have)?;
            let status = answer.status();
            if have > 0 && status != StatusCode::PARTIAL_CONTENT {
                // The whole file, or nothing from there on: what is here is of no use.
                fs::remove_file(part).map_err(Error::io("remove", part))?;
                return Err(Broken::Off(format!(
                    "it could not be continued (status {status})"
                )));
            }
            if !status.is_success() {
                let code = answer.headers().get("x-error-code");
                let code = code.and_then(|code| code.to_str().ok()).unwrap_or_default();
                return Err(match status.as_u16() {
                    500.. => Broken::Off(format!("status {status}")),
                    status => Broken::For(refused(self.hub, self.source, status, code)),
                });
            }
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(part)
                .map_err(Error::io("write", part))?;
            let mut reader = answer.body_mut().as_reader();
            let mut buffer = vec![0; PIECE];
            loop {
                let read = reader
                    .read(&mut buffer)
                    .map_err(|error| Broken::Off(error.to_string()))?;
                if read == 0 {
                    break;
                }
                let bytes = &buffer[..read];
                file.write_all(bytes).map_err(Error::io("write", part))?;
                digest.update(bytes);
                have += read as u64;
                tally.add(read as u64)?;
            }
            file.sync_all().map_err(Error::io("write", part))?;
        }
        if let Some(size) = entry.size {
            if have < size {
                return Err(Broken::Off(format!("{have} of {size} bytes came")));
            }
            if have > size {
                return Err(self.spoilt(part, entry, &format!("{have} bytes instead of {size}")));
            }
        }
        match digest.mismatch() {
            None => Ok(()),
            Some(told) => Err(self.spoilt(part, entry, &told)),
        }
    }

    /// Takes in what an earlier try left; returns how many bytes that are.
    fn resume(
        &self,
        entry: &Entry,
        part: &Path,
        digest: &mut Digest,
        tally: &mut Tally<'_>,
    ) -> Result<u64> {
        let Ok(mut file) = File::open(part) else {
            return Ok(0);
        };
        let length = file.metadata().map_err(Error::io("read", part))?.len();
        if entry.size.is_some_and(|size| length > size) {
            fs::remove_file(part).map_err(Error::io("remove", part))?;
            return Ok(0);
        }
        let mut buffer = vec![0; PIECE];
        let mut have = 0;
        loop {
            let read = file.read(&mut buffer).map_err(Error::io("read", part))?;
            if read == 0 {
                return Ok(have);
            }
            digest.update(&buffer[..read]);
            have += read as u64;
            tally.add(read as u64)?;
        }
    }

    fn ask(&self, entry: &Entry, from: u64) -> std::result::Result<Response<Body>, Broken> {
        let at = self.source.repo_at(self.listing.revision.clone());
        let url = self.hub.api.repo(at).url(&entry.name);
        let mut request = self.agent.get(url);
        if let Some(token) = &self.hub.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        request.call().map_err(|error| match error {
            ureq::Error::Io(error) => Broken::Off(error.to_string()),
            ureq::Error::Timeout(_) => Broken::Off("the connection is silent".to_owned()),
            error => Broken::For(unreachable(self.hub, &error)),
        })
    }

    fn spoilt(&self, part: &Path, entry: &Entry, told: &str) -> Broken {
        if let Err(error) = fs::remove_file(part) {
            return Broken::For(Error::io("remove", part)(error));
        }
        Broken::For(self.wrong(format!(
            "{} arrived damaged ({told}) and was deleted; the same command fetches it again",
            entry.name
        )))
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Remote {
            wanted: self.source.to_string(),
            reason,
        }
    }
}

/// A checksum in the making.
struct Digest {
    expected: Option<String>,
    context: Context,
}

impl Digest {
    fn new(entry: &Entry) -> Self {
        let (expected, context) = match entry.checksum() {
            Checksum::Sha256(expected) => (Some(expected), Context::new(&SHA256)),
            Checksum::Git(expected) => {
                let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
                let size = entry.size.unwrap_or(0);
                context.update(format!("blob {size}\0").as_bytes());
                // Git's name begins with the length.
                (entry.size.map(|_| expected), context)
            }
            Checksum::None => (None, Context::new(&SHA256)),
        };
        Self { expected, context }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// In words, where the file is not the one that was told of.
    fn mismatch(self) -> Option<String> {
        let expected = self.expected?;
        let digest = self.context.finish();
        let got: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        (got != expected).then(|| format!("its checksum is {got}, the hub tells {expected}"))
    }
}
