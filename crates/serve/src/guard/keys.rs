//! API keys: read from a file, held as hashes, compared in constant time.
//!
//! A line is a key and what holds for it: `blake3:HASH name=alice rpm=60 tpm=20000 concurrent=4`. In place of the hash
//! the key itself may stand there, which every reader of the file can then use.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::limits::{Account, Limits};
use crate::error::{Error, Result};
use crate::identifier;

const HASHED: &str = "blake3:";
/// What new keys begin with, so that scanners for leaked secrets can know them.
const PREFIX: &str = "sk-ontogeny-";

type Table = Vec<(blake3::Hash, Arc<Account>)>;

/// The keys that are let in.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    table: RwLock<Arc<Table>>,
}

impl Keys {
    /// Reads one key a line; blank lines and lines that start with `#` do not count.
    pub(crate) fn read(path: &Path) -> Result<Keys> {
        let keys = Keys {
            path: path.to_owned(),
            table: RwLock::default(),
        };
        keys.reload()?;
        Ok(keys)
    }

    /// Reads the file again. Keys that stay keep what they have used; with a file that cannot be read all stays as it was.
    pub(crate) fn reload(&self) -> Result<usize> {
        let failed = |reason: String| Error::Keys {
            path: self.path.clone(),
            reason,
        };
        let text =
            std::fs::read_to_string(&self.path).map_err(|error| failed(error.to_string()))?;
        let before = self.table();
        let (mut table, mut plain) = (Table::new(), 0);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = Entry::read(line)
                .map_err(|reason| failed(format!("line {}: {reason}", index + 1)))?;
            plain += usize::from(entry.plain);
            if table
                .iter()
                .any(|(hash, account)| *hash == entry.hash || *account.name == *entry.name)
            {
                let reason = format!("line {}: the key or its name is there already", index + 1);
                return Err(failed(reason));
            }
            let known = before
                .iter()
                .find(|(hash, account)| *hash == entry.hash && *account.name == *entry.name);
            let account = match known {
                Some((_, account)) => {
                    account.relimit(entry.limits);
                    Arc::clone(account)
                }
                None => Arc::new(Account::new(&entry.name, entry.limits)),
            };
            table.push((entry.hash, account));
        }
        if table.is_empty() {
            return Err(failed(
                "it holds no key; make one with `ontogeny serve keys new`, or leave out --api-keys"
                    .to_owned(),
            ));
        }
        if plain > 0 {
            tracing::warn!(
                plain,
                "keys stand in the file as they are; `ontogeny serve keys new` writes hashes"
            );
        }
        let count = table.len();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
        Ok(count)
    }

    /// Whose key this is. The time taken does not depend on which, nor on how much of it is right.
    pub(crate) fn find(&self, key: &str) -> Option<Arc<Account>> {
        let presented = blake3::hash(key.as_bytes());
        // `blake3::Hash` compares in constant time; all are compared, whichever it is.
        self.table()
            .iter()
            .fold(None, |found, (hash, account)| match *hash == presented {
                true => Some(Arc::clone(account)),
                false => found,
            })
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One line.
struct Entry {
    hash: blake3::Hash,
    name: String,
    limits: Limits,
    plain: bool,
}

impl Entry {
    fn read(line: &str) -> std::result::Result<Entry, String> {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap_or_default();
        let plain = !key.starts_with(HASHED);
        let hash = match key.strip_prefix(HASHED) {
            Some(hash) => blake3::Hash::from_hex(hash)
                .map_err(|_| format!("behind {HASHED} stand 64 hexadecimal digits"))?,
            None => blake3::hash(key.as_bytes()),
        };
        let (mut name, mut limits) = (format!("key-{}", &hash.to_hex()[..8]), Limits::default());
        for word in words {
            let (field, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` is no FIELD=VALUE"))?;
            let number = || {
                let number = value.parse::<u32>().ok().filter(|number| *number > 0);
                number.ok_or_else(|| format!("{field} is a whole number from 1 on"))
            };
            match field {
                "name" if is_name(value) => name = value.to_owned(),
                "name" => return Err("a name has letters, digits, `-`, `_` and `.`".to_owned()),
                "rpm" => limits.requests_per_minute = Some(number()?),
                "tpm" => limits.tokens_per_minute = Some(number()?),
                "concurrent" => limits.concurrent = Some(number()?),
                _ => return Err(format!("`{field}` is not name, rpm, tpm or concurrent")),
            }
        }
        Ok(Entry {
            hash,
            name,
            limits,
            plain,
        })
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    !text.is_empty() && text.len() <= 64 && text.chars().all(allowed)
}

/// Makes a key and adds its hash to a file, which is made if it is not there. Returns the key, which stands nowhere else.
///
/// # Errors
/// When the name is none or is taken, or the file cannot be written.
pub fn new_key(path: &Path, name: &str, limits: Limits) -> Result<String> {
    let failed = |reason: String| Error::Keys {
        path: path.to_owned(),
        reason,
    };
    if !is_name(name) {
        return Err(failed(format!(
            "`{name}` is no name: it has up to 64 letters, digits, `-`, `_` and `.`"
        )));
    }
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error.to_string())),
    };
    let taken = format!("name={name}");
    if before
        .lines()
        .any(|line| line.split_whitespace().any(|word| word == taken))
    {
        return Err(failed(format!("there is a key named {name} already")));
    }
    let key = identifier::random(PREFIX);
    let mut line = format!(
        "{HASHED}{} name={name}",
        blake3::hash(key.as_bytes()).to_hex()
    );
    for (field, limit) in [
        ("rpm", limits.requests_per_minute),
        ("tpm", limits.tokens_per_minute),
        ("concurrent", limits.concurrent),
    ] {
        if let Some(limit) = limit {
            line += &format!(" {field}={limit}");
        }
    }
    let gap = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(format!("{gap}{line}\n").as_bytes()))
        .map_err(|error| failed(error.to_string()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, text).expect("a written file");
        (folder, path)
    }

    #[test]
    fn a_listed_key_is_admitted_and_its_neighbours_are_not() {
        let (_folder, path) = written("# team\nalpha-1\n\n  beta-2 name=beta rpm=3 \n");
        let keys = Keys::read(&path).expect("two keys");
        for (key, admitted) in [
            ("alpha-1", true),
            ("beta-2", true),
            ("alpha-", false),
            ("# team", false),
            ("name=beta", false),
            ("", false),
        ] {
            assert_eq!(keys.find(key).is_some(), admitted, "{key:?}");
        }
        let beta = keys.find("beta-2").expect("a key");
        assert_eq!(
            (&*beta.name, beta.limits().requests_per_minute),
            ("beta", Some(3))
        );
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        for text in [
            "",
            "\n \n",
            "# only a comment\n",
            "blake3:12\n",
            "a rpm=0\n",
            "a rpm=x\n",
            "a speed=1\n",
            "a b\n",
            "a name=x\nb name=x\n",
            "a\na\n",
        ] {
            let (_folder, path) = written(text);
            let read = Keys::read(&path);
            assert!(matches!(read, Err(Error::Keys { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_new_key_stands_in_the_file_as_a_hash_and_is_known_after_a_reload() {
        let (_folder, path) = written("old");
        let keys = Keys::read(&path).expect("a key");
        let limits = Limits {
            concurrent: Some(2),
            ..Limits::default()
        };
        let key = new_key(&path, "new", limits).expect("a new key");
        assert!(new_key(&path, "new", limits).is_err(), "the name is taken");
        let text = std::fs::read_to_string(&path).expect("the file");
        assert!(
            !text.contains(&key) && text.starts_with("old\nblake3:"),
            "{text}"
        );
        assert!(keys.find(&key).is_none());
        let old = keys.find("old").expect("the old key");
        assert_eq!(keys.reload().expect("a reload"), 2);
        assert_eq!(keys.find(&key).expect("the new key").limits(), limits);
        assert!(Arc::ptr_eq(&old, &keys.find("old").expect("still there")));
        std::fs::write(&path, "").expect("an emptied file");
        assert!(keys.reload().is_err() && keys.find(&key).is_some());
    }
}
