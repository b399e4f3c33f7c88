//! Writes a world to files, one row at a time.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use artifact::{Artifact, Key, Progress, Seed, Store};
use serde::{Deserialize, Serialize};

use crate::defects::{self, Defect};
use crate::dice::{Dice, stable_hash};
use crate::instructions::{self, CONVERSATIONS, Example, Kind, SHARES, conversation};
use crate::preferences::{self, Pair};
use crate::splits::Split;
use crate::{Error, World};

/// Rows per file of documents.
const PART: u64 = 5_000;

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Documents, duplicates included.
    pub documents: u64,
    /// UTF-8 bytes of their texts.
    pub document_bytes: u64,
    /// White-space separated words of their texts.
    pub document_words: u64,
    /// Documents per kind of page.
    pub sources: BTreeMap<String, u64>,
    /// Planted defects per kind.
    pub defects: BTreeMap<Defect, u64>,
    /// Training questions per kind.
    pub instructions: BTreeMap<Kind, u64>,
    /// Held-out questions per kind.
    pub held_out: BTreeMap<Kind, u64>,
    /// Training pairs.
    pub preferences: u64,
    /// Held-out pairs.
    pub held_out_preferences: u64,
}

/// Renders every file of the world into `dir`, which is created. Files of an earlier rendering are replaced.
///
/// # Errors
/// [`Error::Config`] when a rate is not a probability, [`Error::Write`] when a file cannot be written.
pub fn render(world: &World, dir: &Path) -> Result<Summary, Error> {
    render_with(world, dir, &Progress::silent())
}

/// As [`render`], with progress in rows; Ctrl-C ends it with [`Error::Artifact`].
fn render_with(world: &World, dir: &Path, progress: &Progress) -> Result<Summary, Error> {
    world.check()?;
    let mut summary = Summary::default();
    let mut count = Count {
        done: 0,
        total: world.rows(),
        progress,
    };
    documents(world, dir, &mut summary, &mut count)?;
    questions(world, dir, &mut summary, &mut count)?;
    pairs(world, dir, &mut summary, &mut count)?;
    Ok(summary)
}

/// The world as an artifact of kind `world`; one that was made before is not made again.
///
/// # Errors
/// Those of [`render`], and [`Error::Artifact`] when the store fails or the user interrupts.
pub fn run(world: &World, store: &Store, progress: &Progress) -> Result<Artifact, Error> {
    world.check()?;
    let start = Instant::now();
    let key = Key::new("world", world).seed("world", Seed(world.seed));
    progress.stage(
        "world",
        format!(
            "{} documents, {} questions",
            world.documents, world.instructions
        ),
    );
    if let Some(made) = store.find(&key)? {
        progress.stage_done(
            "world",
            start.elapsed().as_secs_f64(),
            Some(made.id.to_string()),
            true,
        );
        return Ok(made);
    }
    let mut draft = store.begin(key)?;
    // Seconds of work: what an interrupted rendering left is not worth continuing.
    draft.restart()?;
    let summary = render_with(world, draft.path(), progress)?;
    let metrics = serde_json::to_value(&summary).expect("a summary is plain data");
    let seconds = start.elapsed().as_secs_f64();
    let made = draft.commit(metrics, serde_json::json!({ "seconds": seconds }))?;
    progress.stage_done("world", seconds, Some(made.id.to_string()), false);
    Ok(made)
}

/// Rows written so far, reported now and then.
struct Count<'a> {
    done: u64,
    total: u64,
    progress: &'a Progress,
}

impl Count<'_> {
    fn row(&mut self) -> Result<(), Error> {
        self.done += 1;
        if self.done.is_multiple_of(1_000) || self.done == self.total {
            self.progress.tick(self.done, Some(self.total), "rows");
            self.progress.check()?;
        }
        Ok(())
    }
}

fn documents(
    world: &World,
    dir: &Path,
    summary: &mut Summary,
    count: &mut Count<'_>,
) -> Result<(), Error> {
    let folder = dir.join("documents");
    fs::create_dir_all(&folder).map_err(|source| Error::Write {
        path: folder.clone(),
        source,
    })?;
    let mut labels = Rows::create(dir.join("labels.jsonl"))?;
    let mut part: Option<Rows> = None;
    let mut parts = 0;
    for index in 0..world.documents {
        if index % PART == 0 {
            if let Some(full) =
                part.replace(Rows::create(folder.join(format!("part-{parts:03}.jsonl")))?)
            {
                full.finish()?;
            }
            parts += 1;
        }
        let (document, label) = defects::document(world, index);
        summary.documents += 1;
        summary.document_bytes += document.text.len() as u64;
        summary.document_words += document.text.split_whitespace().count() as u64;
        *summary.sources.entry(document.source.clone()).or_default() += 1;
        if let Some(rows) = part.as_mut() {
            rows.push(&document)?;
        }
        if let Some(label) = label {
            *summary.defects.entry(label.defect).or_default() += 1;
            labels.push(&label)?;
        }
        count.row()?;
    }
    if let Some(rows) = part {
        rows.finish()?;
    }
    // A larger world rendered here before would leave parts that do not belong to this one.
    for stale in (parts..).map(|p| folder.join(format!("part-{p:03}.jsonl"))) {
        if !stale.exists() {
            break;
        }
        fs::remove_file(&stale).map_err(|source| Error::Write {
            path: stale.clone(),
            source,
        })?;
    }
    labels.finish()
}

fn questions(
    world: &World,
    dir: &Path,
    summary: &mut Summary,
    count: &mut Count<'_>,
) -> Result<(), Error> {
    let mut rows = Rows::create(dir.join("instructions.jsonl"))?;
    let mut seen = HashSet::new();
    for index in 0..world.instructions {
        let mut d = Dice::new(world.seed, "instruction", index);
        let id = format!("train-{index:06}");
        let kind = (!d.chance(CONVERSATIONS)).then(|| d.weighted(&SHARES));
        let row = fresh(&mut seen, || match kind {
            Some(kind) => {
                instructions::draw(kind, Split::Training, &mut d).into_example(id.clone(), &mut d)
            }
            None => conversation::draw(Split::Training, &mut d).into_example(id.clone(), &mut d),
        });
        *summary.instructions.entry(row.kind).or_default() += 1;
        rows.push(&row)?;
        count.row()?;
    }
    rows.finish()?;
    let mut rows = Rows::create(dir.join("held_out.jsonl"))?;
    for kind in Kind::ALL {
        for index in 0..world.held_out {
            let label = format!("held-out {kind:?}");
            let mut d = Dice::new(world.seed, &label, index);
            let number = kind as u64 * world.held_out + index;
            let id = format!("held-{number:06}");
            let row = fresh(&mut seen, || {
                instructions::draw(kind, Split::HeldOut, &mut d).into_example(id.clone(), &mut d)
            });
            *summary.held_out.entry(kind).or_default() += 1;
            rows.push(&row)?;
            count.row()?;
        }
    }
    rows.finish()
}

/// A question whose prompt has not been asked before; after many tries (a tiny split) a repeated one.
fn fresh(seen: &mut HashSet<u64>, mut draw: impl FnMut() -> Example) -> Example {
    let mut example = draw();
    for _ in 0..50 {
        if seen.insert(stable_hash(0, example.question())) {
            break;
        }
        example = draw();
    }
    example
}

fn pairs(
    world: &World,
    dir: &Path,
    summary: &mut Summary,
    count: &mut Count<'_>,
) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let mut write = |name: &str, label: &str, split: Split, wanted: u64| -> Result<u64, Error> {
        let mut rows = Rows::create(dir.join(name))?;
        for index in 0..wanted {
            let mut d = Dice::new(world.seed, label, index);
            let id = format!(
                "{}-{index:06}",
                if split == Split::Training {
                    "pair"
                } else {
                    "held-pair"
                }
            );
            let mut pair: Pair = preferences::draw(id.clone(), split, &mut d);
            for _ in 0..50 {
                let asked = pair.prompt.last().map_or("", |m| &m.content);
                if seen.insert(stable_hash(0, asked)) {
                    break;
                }
                pair = preferences::draw(id.clone(), split, &mut d);
            }
            rows.push(&pair)?;
            count.row()?;
        }
        rows.finish()?;
        Ok(wanted)
    };
    summary.preferences = write(
        "preferences.jsonl",
        "preference",
        Split::Training,
        world.preferences,
    )?;
    summary.held_out_preferences = write(
        "held_out_preferences.jsonl",
        "held-out preference",
        Split::HeldOut,
        world.held_out_preferences,
    )?;
    Ok(())
}

/// A JSONL file being written.
struct Rows {
    path: PathBuf,
    out: BufWriter<File>,
}

impl Rows {
    fn create(path: PathBuf) -> Result<Self, Error> {
        let made = File::create(&path);
        let file = made.map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            path,
            out: BufWriter::with_capacity(1 << 16, file),
        })
    }

    fn push(&mut self, row: &impl Serialize) -> Result<(), Error> {
        let wrote = serde_json::to_writer(&mut self.out, row)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        wrote.map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn finish(mut self) -> Result<(), Error> {
        self.out.flush().map_err(|source| Error::Write {
            path: self.path,
            source,
        })
    }
}
