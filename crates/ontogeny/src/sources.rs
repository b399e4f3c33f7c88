//! What a run takes in: the user's files or the embedded world, a base model, and what users rated.

use std::path::{Path, PathBuf};

use artifact::{Artifact, Progress, Store};
use serve::feedback;

use crate::journal::Journal;
use crate::recipe::{self, Recipe};
use crate::remark;

/// Finds each input when a stage asks for it, once.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    world: Option<Artifact>,
    instructions: Option<Option<Artifact>>,
    preferences: Option<Option<Artifact>>,
    feedback: Option<Option<Artifact>>,
    base: Option<Artifact>,
}

impl Sources {
    /// The folders and files of documents.
    ///
    /// # Errors
    /// When the embedded world cannot be written.
    pub(crate) fn documents(
        &mut self,
        recipe: &Recipe,
        store: &Store,
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<PathBuf>> {
        if recipe.sources.documents.is_empty() {
            return Ok(vec![self.world(recipe, store, journal)?.file("documents")]);
        }
        journal.skip("world", "documents were given");
        Ok(recipe.sources.documents.clone())
    }

    fn world(
        &mut self,
        recipe: &Recipe,
        store: &Store,
        journal: &mut Journal,
    ) -> anyhow::Result<Artifact> {
        if let Some(world) = &self.world {
            return Ok(world.clone());
        }
        let world = journal.stage(
            "world",
            |progress| Ok(nursery::run(&recipe.world, store, progress)?),
            remark::world,
        )?;
        self.world = Some(world.clone());
        Ok(world)
    }

    /// Reads the user's questions and preferences, where there are any.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub(crate) fn given(
        &mut self,
        recipe: &Recipe,
        store: &Store,
        journal: &mut Journal,
    ) -> anyhow::Result<()> {
        if recipe.sources.instructions.is_some() {
            self.instructions(recipe, store, journal)?;
        }
        if recipe.sources.preferences.is_some() {
            self.preferences(recipe, store, journal)?;
        }
        Ok(())
    }

    /// Questions with answers; those of the embedded world where its documents are read and none are given.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub(crate) fn instructions(
        &mut self,
        recipe: &Recipe,
        store: &Store,
        journal: &mut Journal,
    ) -> anyhow::Result<Option<Artifact>> {
        if let Some(found) = &self.instructions {
            return Ok(found.clone());
        }
        let files = match (&recipe.sources.instructions, worldly(&recipe.sources)) {
            (Some(file), _) => Some((file.clone(), recipe.sources.held_out.clone())),
            (None, true) => {
                let world = self.world(recipe, store, journal)?;
                Some((
                    world.file("instructions.jsonl"),
                    Some(world.file("held_out.jsonl")),
                ))
            }
            (None, false) => None,
        };
        let found = match files {
            Some((file, held_out)) => {
                let config = &recipe.instructions;
                let found = data::instructions::run(
                    config,
                    &file,
                    held_out.as_deref(),
                    store,
                    &Progress::silent(),
                )?;
                tell_of_bad_rows(&found, &file, journal);
                Some(found)
            }
            None => None,
        };
        self.instructions = Some(found.clone());
        Ok(found)
    }

    /// Preference pairs; those of the embedded world where its questions are taught and none are given.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub(crate) fn preferences(
        &mut self,
        recipe: &Recipe,
        store: &Store,
        journal: &mut Journal,
    ) -> anyhow::Result<Option<Artifact>> {
        if let Some(found) = &self.preferences {
            return Ok(found.clone());
        }
        let files = match (&recipe.sources.preferences, worldly(&recipe.sources)) {
            (Some(file), _) => Some((file.clone(), recipe.sources.held_out_preferences.clone())),
            (None, true) if recipe.sources.instructions.is_none() => {
                let world = self.world(recipe, store, journal)?;
                Some((
                    world.file("preferences.jsonl"),
                    Some(world.file("held_out_preferences.jsonl")),
                ))
            }
            (None, _) => None,
        };
        let found = match files {
            Some((file, held_out)) => {
                let found = pairs(&recipe.preferences, &file, held_out.as_deref(), store)?;
                tell_of_bad_rows(&found, &file, journal);
                Some(found)
            }
            None => None,
        };
        self.preferences = Some(found.clone());
        Ok(found)
    }

    /// The preference pairs that the ratings of served answers make; `None` where nobody rated.
    ///
    /// All ratings are taken in each time: alignment starts from the fine-tuned model, which knows none of them.
    ///
    /// # Errors
    /// When the ratings cannot be read.
    pub(crate) fn feedback(
        &mut self,
        recipe: &Recipe,
        store: &Store,
    ) -> anyhow::Result<Option<Artifact>> {
        if self.feedback.is_none() {
            self.feedback = Some(rated(recipe, store)?);
        }
        Ok(self.feedback.clone().flatten())
    }

    /// The model that the recipe goes on from. One that lies outside the store is copied into it first, so that the
    /// lineage can name it; the same files are found again.
    ///
    /// # Errors
    /// When no model goes by that name, or its files cannot be used.
    pub(crate) fn base(
        &mut self,
        recipe: &Recipe,
        store: &Store,
    ) -> anyhow::Result<Option<Artifact>> {
        let Some(wanted) = &recipe.model.base else {
            return Ok(None);
        };
        if self.base.is_none() {
            let (path, id) = hub::resolve(store, wanted)?;
            let found = match Artifact::open(&path) {
                Ok(artifact) => artifact,
                Err(_) => {
                    let copied = hub::import(store, &path, None, &Progress::silent())?;
                    tracing::info!("the base {id} is now the artifact {}", copied.id);
                    copied
                }
            };
            self.base = Some(found);
        }
        Ok(self.base.clone())
    }
}

/// Whether the run reads the embedded world.
fn worldly(sources: &recipe::Sources) -> bool {
    sources.documents.is_empty()
}

fn tell_of_bad_rows(rows: &Artifact, file: &Path, journal: &Journal) {
    if let Some(bad) = remark::bad_rows(rows) {
        journal.note(format!("{}: {bad}", file.display()));
    }
}

fn pairs(
    config: &data::preferences::Config,
    file: &Path,
    held_out: Option<&Path>,
    store: &Store,
) -> anyhow::Result<Artifact> {
    Ok(data::preferences::run(
        config,
        file,
        held_out,
        store,
        &Progress::silent(),
    )?)
}

fn rated(recipe: &Recipe, store: &Store) -> anyhow::Result<Option<Artifact>> {
    let path = feedback::path(store.home());
    if !path.is_file() {
        return Ok(None);
    }
    let ratings = feedback::Store::open(&path)?;
    let folder = store.home().join("feedback");
    std::fs::create_dir_all(&folder).map_err(artifact::Error::io("create", &folder))?;
    let file = folder.join("pairs.jsonl");
    if feedback::export(&ratings, &file)? == 0 {
        return Ok(None);
    }
    // Every rated pair is taught; whether it was learned is asked by the evaluation.
    let config = data::preferences::Config {
        held_out_fraction: 0.0,
        ..recipe.preferences.clone()
    };
    Ok(Some(pairs(&config, &file, None, store)?))
}
