//! `hf:ORG/NAME[/FILE.gguf][@REVISION]`.

use std::fmt;

use hf_hub::{Repo, RepoType};

use crate::{Error, Result};

/// A model of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `ORG/NAME`, or the bare name of the hub's oldest models.
    repo: String,
    /// One `.gguf` file of several.
    pub(super) file: Option<String>,
    /// A branch, tag or commit.
    revision: Option<String>,
}

impl Source {
    /// What begins the name of a model of the hub.
    pub const PREFIX: &str = "hf:";

    /// Reads `hf:ORG/NAME`, `hf:ORG/NAME@REVISION` or `hf:ORG/NAME/FILE.gguf`; `None` when it does not begin so.
    ///
    /// # Errors
    /// When it begins so and goes on otherwise.
    pub fn parse(text: &str) -> Option<Result<Self>> {
        let rest = text.strip_prefix(Self::PREFIX)?;
        let (path, revision) = match rest.split_once('@') {
            Some((path, revision)) => (path, Some(revision)),
            None => (rest, None),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (repo, file) = match parts[..] {
            [name] => (name.to_owned(), None),
            [org, name] => (format!("{org}/{name}"), None),
            [org, name, file] if file.ends_with(".gguf") => {
                (format!("{org}/{name}"), Some(file.to_owned()))
            }
            _ => return Some(Err(unreadable(text))),
        };
        let plain = |part: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !part.is_empty() && part.bytes().all(fits) && !part.starts_with('.')
        };
        let whole = parts.iter().all(|part| plain(part))
            && revision.is_none_or(|revision| revision.split('/').all(plain));
        Some(if whole {
            Ok(Self {
                repo,
                file,
                revision: revision.map(str::to_owned),
            })
        } else {
            Err(unreadable(text))
        })
    }

    /// A name for the imported model: that of the repository, or of the file.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.file {
            Some(file) => file.trim_end_matches(".gguf").to_owned(),
            None => self.repo.rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }

    /// The same, whatever its revision.
    pub(super) fn without_revision(&self) -> String {
        let file = self.file.as_ref().map(|file| format!("/{file}"));
        format!("{}{}{}", Self::PREFIX, self.repo, file.unwrap_or_default())
    }

    pub(super) fn folder_name(&self) -> String {
        self.repo.replace('/', "--")
    }

    /// At the revision that was asked for, the main branch where none was.
    pub(super) fn repo(&self) -> Repo {
        let revision = self.revision.clone().unwrap_or_else(|| "main".to_owned());
        self.repo_at(revision)
    }

    pub(super) fn repo_at(&self, revision: String) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, revision)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.without_revision())?;
        match &self.revision {
            Some(revision) => write!(f, "@{revision}"),
            None => Ok(()),
        }
    }
}

fn unreadable(text: &str) -> Error {
    Error::Remote {
        wanted: text.to_owned(),
        reason:
            "this names no model, as hf:ORG/NAME, hf:ORG/NAME@REVISION and hf:ORG/NAME/FILE.gguf do"
                .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_as_they_print() {
        for text in [
            "hf:gpt2",
            "hf:HuggingFaceTB/SmolLM2-135M-Instruct",
            "hf:a/b@main",
            "hf:a/b@refs/pr/3",
            "hf:a/b-GGUF/b.Q4_0.gguf@v1.0",
        ] {
            let source = Source::parse(text).expect("a source");
            assert_eq!(source.expect(text).to_string(), text);
        }
        for text in [
            "hf:",
            "hf:a/",
            "hf:/b",
            "hf:a/b/c",
            "hf:../b",
            "hf:a/b@",
            "hf:a/b@../c",
            "hf:a/b c",
            "hf:a/b/c.gguf/d",
        ] {
            let read = Source::parse(text).expect("a source");
            assert!(read.is_err(), "{text}");
        }
        assert!(Source::parse("models/hf").is_none());
    }
}
