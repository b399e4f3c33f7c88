//! A hub as large as a test needs: one repository over HTTP, with the faults that a test asks for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// The repository's only commit.
pub(crate) const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
/// What a gated repository wants.
pub(crate) const TOKEN: &str = "hf_test";

/// What is served, and how.
#[derive(Default)]
pub(crate) struct Repository {
    /// By name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// After how many bytes the answers break off, one for each request of the file.
    pub(crate) cuts: BTreeMap<String, Vec<usize>>,
    /// Files that arrive with a byte changed.
    pub(crate) damaged: Vec<String>,
    /// Files that are kept at another host.
    pub(crate) elsewhere: Vec<String>,
    /// Whether files want the token.
    pub(crate) gated: bool,
    /// Whether the server tells no checksums, as a mirror may.
    pub(crate) bare: bool,
}

/// One request, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// The running server.
pub(crate) struct Server {
    port: u16,
    shared: Arc<Mutex<(Repository, Vec<Asked>)>>,
}

impl Server {
    pub(crate) fn start(repository: Repository) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Mutex::new((repository, Vec::new())));
        let here = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let here = Arc::clone(&here);
                std::thread::spawn(move || {
                    // A client that goes away is part of the tests.
                    let _ = answer(&stream, port, &here);
                });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Requests for a file, so far.
    pub(crate) fn asked(&self, name: &str) -> Vec<Asked> {
        let shared = self.shared.lock().expect("no test panics here");
        let fits = |asked: &&Asked| asked.path.ends_with(&format!("/{name}"));
        shared.1.iter().filter(fits).cloned().collect()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Repository)) {
        change(&mut self.shared.lock().expect("no test panics here").0);
    }
}

/// The files of a folder, and of the folders in it.
pub(crate) fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            for (inner, bytes) in files_of(&entry.path()) {
                files.insert(format!("{name}/{inner}"), bytes);
            }
        } else {
            files.insert(name, std::fs::read(entry.path()).expect("a file"));
        }
    }
    files
}

fn answer(
    mut stream: &TcpStream,
    port: u16,
    shared: &Mutex<(Repository, Vec<Asked>)>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut asked = Asked {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        ..Asked::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_lowercase().as_str() {
            "host" => asked.host = value.to_owned(),
            "range" => asked.range = Some(value.to_owned()),
            "authorization" => asked.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    let (head, body, cut) = {
        let mut shared = shared.lock().expect("no test panics here");
        shared.1.push(asked.clone());
        respond(&mut shared.0, &asked, port)
    };
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])
}

/// Head, body, and after how many bytes of that the connection ends.
fn respond(
    repository: &mut Repository,
    asked: &Asked,
    port: u16,
) -> (String, Vec<u8>, Option<usize>) {
    let refuse = |status: &str, code: &str| {
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        (head, Vec::new(), None)
    };
    if let Some(rest) = asked.path.strip_prefix("/api/models/reef/small/revision/") {
        let revision = rest.split('?').next().unwrap_or_default();
        if !["main", REVISION].contains(&revision) {
            return refuse("404 Not Found", "RevisionNotFound");
        }
        let body = listing(repository).to_string().into_bytes();
        return whole(body, None);
    }
    let inside = format!("/reef/small/resolve/{REVISION}/");
    let (name, redirected) = match asked.path.strip_prefix(&inside) {
        Some(name) => (name, false),
        None => match asked.path.strip_prefix("/store/") {
            Some(name) => (name, true),
            None => return refuse("401 Unauthorized", "RepoNotFound"),
        },
    };
    if repository.gated && !redirected && asked.authorization.as_deref() != Some("Bearer hf_test") {
        return refuse("403 Forbidden", "GatedRepo");
    }
    if !redirected && repository.elsewhere.iter().any(|one| one == name) {
        let head = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://localhost:{port}/store/{name}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        return (head, Vec::new(), None);
    }
    let Some(mut body) = repository.files.get(name).cloned() else {
        return refuse("404 Not Found", "EntryNotFound");
    };
    if repository.damaged.iter().any(|one| one == name) {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    let cut = repository
        .cuts
        .get_mut(name)
        .filter(|cuts| !cuts.is_empty())
        .map(|cuts| cuts.remove(0));
    match &asked.range {
        None => whole(body, cut),
        Some(range) => {
            let from = range.trim_start_matches("bytes=").trim_end_matches('-');
            let from: usize = from.parse().expect("a range");
            let all = body.len();
            let body = body.split_off(from);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                all - 1,
                body.len()
            );
            (head, body, cut)
        }
    }
}

fn whole(body: Vec<u8>, cut: Option<usize>) -> (String, Vec<u8>, Option<usize>) {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (head, body, cut)
}

/// As the hub answers: large files with SHA-256, small ones with git's name.
fn listing(repository: &Repository) -> Value {
    let hex =
        |digest: &[u8]| -> String { digest.iter().map(|byte| format!("{byte:02x}")).collect() };
    let entries = repository.files.iter().map(|(name, bytes)| {
        if repository.bare {
            return json!({ "rfilename": name });
        }
        let blob = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
        let blob = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &blob);
        let mut entry =
            json!({ "rfilename": name, "size": bytes.len(), "blobId": hex(blob.as_ref()) });
        if name.ends_with(".safetensors") || name.ends_with(".gguf") {
            let sha256 = ring::digest::digest(&ring::digest::SHA256, bytes);
            entry["lfs"] =
                json!({ "sha256": hex(sha256.as_ref()), "size": bytes.len(), "pointerSize": 130 });
        }
        entry
    });
    json!({ "id": "reef/small", "sha": REVISION, "siblings": entries.collect::<Vec<_>>() })
}
