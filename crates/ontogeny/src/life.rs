//! The life of a model, its seven stages in order. Scope was asked before: the plan is made and within budget.
//!
//! Each stage is a plain function of a room, from a config of the recipe and input artifacts to an output artifact.
//! A stage that was done before with the same config and inputs is found in the store and not done again.

use artifact::{Artifact, Store};
use tensor::Device;

use crate::journal::Journal;
use crate::judgement::{self, Judgement};
use crate::recipe::Recipe;
use crate::remark;
use crate::sources::Sources;

/// The stages as they are shown.
pub(crate) const STAGES: [&str; 10] = [
    "scope",
    "world",
    "data",
    "tokenizer",
    "shards",
    "pretrain",
    "finetune",
    "align",
    "evaluate",
    "gate",
];

/// Raises a model by a recipe, through all stages.
///
/// # Errors
/// The first stage's that fails; what was finished before stays in the store.
pub(crate) fn raise(upbringing: &mut Upbringing<'_>) -> anyhow::Result<Life> {
    // What the user gave is read first: a broken row should not come up after minutes of training.
    upbringing
        .sources
        .given(upbringing.recipe, upbringing.store, &mut upbringing.journal)?;
    // 1. Data: documents, selected, cleaned, cut into tokens.
    let read = data(upbringing)?;
    // 2. Model selection and 3. pre-training: a size or an earlier model; the next token of the documents.
    let pretrained = pretrain(upbringing, &read)?;
    // 4. Adaptation: answers as instructions give them, then the better of two answers.
    let finetuned = finetune(upbringing, &pretrained)?;
    let aligned = align(upbringing, finetuned.as_ref())?;
    // 5. Evaluation: all candidates side by side (prompting the base among them), and the gate.
    // 6. Deployment: the gate moves the recipe's name, by which `serve` answers, or leaves it where it is.
    let mut models = vec![("base".to_owned(), pretrained)];
    models.extend(finetuned.map(|model| ("fine-tuned".to_owned(), model)));
    models.extend(aligned.map(|model| ("aligned".to_owned(), model)));
    let judgement = judgement::judge(upbringing, &models, &read.shards)?;
    // 7. Feedback: ratings given from here on are taken in by the alignment of the next run.
    Ok(Life {
        corpus: read.corpus,
        shards: read.shards,
        models,
        judgement,
    })
}

/// Where a model is raised: the recipe, what it learns from, and where the results go.
pub(crate) struct Upbringing<'a> {
    /// What to do.
    pub(crate) recipe: &'a Recipe,
    /// What to learn from.
    pub(crate) sources: Sources,
    /// Where artifacts live.
    pub(crate) store: &'a Store,
    /// Where to compute.
    pub(crate) device: &'a Device,
    /// What was done so far.
    pub(crate) journal: Journal,
}

/// A raised model and everything it was raised from.
#[derive(Debug)]
pub(crate) struct Life {
    /// What it read.
    pub(crate) corpus: Artifact,
    /// Its documents as tokens.
    pub(crate) shards: Artifact,
    /// The models in the order they were raised, with their labels; the last one is the candidate.
    pub(crate) models: Vec<(String, Artifact)>,
    /// The measurements and the gate's decision.
    pub(crate) judgement: Judgement,
}

impl Life {
    /// The model raised last.
    pub(crate) fn candidate(&self) -> &Artifact {
        // `models` begins with the base and is never emptied.
        &self.models[self.models.len() - 1].1
    }
}

/// Documents, selected and cut into tokens.
pub(crate) struct Read {
    pub(crate) corpus: Artifact,
    pub(crate) tokenizer: Artifact,
    pub(crate) shards: Artifact,
}

/// The user's documents or the embedded world: selected, cleaned, cut into tokens.
pub(crate) fn data(upbringing: &mut Upbringing<'_>) -> anyhow::Result<Read> {
    let documents = upbringing.sources.documents(
        upbringing.recipe,
        upbringing.store,
        &mut upbringing.journal,
    )?;
    let Upbringing {
        recipe,
        store,
        journal,
        sources,
        ..
    } = upbringing;
    let corpus = journal.stage(
        "data",
        |progress| {
            Ok(data::curate::run(
                &recipe.data,
                &documents,
                store,
                progress,
            )?)
        },
        remark::corpus,
    )?;
    let tokenizer = match sources.base(recipe, store)? {
        Some(base) => {
            journal.skip("tokenizer", "the base brings its own");
            base
        }
        None => journal.stage(
            "tokenizer",
            |progress| {
                Ok(data::train_tokenizer(
                    &recipe.tokenizer,
                    &corpus,
                    store,
                    progress,
                )?)
            },
            remark::tokenizer,
        )?,
    };
    let shards = journal.stage(
        "shards",
        |progress| {
            Ok(data::shards::run(
                &recipe.shards,
                &corpus,
                &tokenizer,
                store,
                progress,
            )?)
        },
        remark::shards,
    )?;
    Ok(Read {
        corpus,
        tokenizer,
        shards,
    })
}

/// The next token of the documents, from random weights or from a base.
pub(crate) fn pretrain(upbringing: &mut Upbringing<'_>, read: &Read) -> anyhow::Result<Artifact> {
    let Upbringing {
        recipe,
        store,
        device,
        journal,
        sources,
    } = upbringing;
    let base = sources.base(recipe, store)?;
    let inputs = train::pretrain::Inputs {
        shards: &read.shards,
        tokenizer: &read.tokenizer,
        model: &recipe.model.preset,
        base: base.as_ref(),
        device,
    };
    journal.stage(
        "pretrain",
        |progress| {
            Ok(train::pretrain::run(
                &recipe.pretrain,
                inputs,
                store,
                progress,
            )?)
        },
        remark::model,
    )
}

/// Answers as the examples give them; `None` without examples.
pub(crate) fn finetune(
    upbringing: &mut Upbringing<'_>,
    base: &Artifact,
) -> anyhow::Result<Option<Artifact>> {
    let Some(instructions) = upbringing.sources.instructions(
        upbringing.recipe,
        upbringing.store,
        &mut upbringing.journal,
    )?
    else {
        upbringing.journal.skip(
            "finetune",
            "no instructions were given (--instructions FILE.jsonl)",
        );
        return Ok(None);
    };
    let Upbringing {
        recipe,
        store,
        device,
        journal,
        ..
    } = upbringing;
    let inputs = train::finetune::Inputs {
        base,
        instructions: &instructions,
        device,
    };
    let finetuned = journal.stage(
        "finetune",
        |progress| {
            Ok(train::finetune::run(
                &recipe.finetune,
                inputs,
                store,
                progress,
            )?)
        },
        remark::model,
    )?;
    Ok(Some(finetuned))
}

/// The better of two answers, as given pairs and users' ratings tell; `None` where there are neither.
pub(crate) fn align(
    upbringing: &mut Upbringing<'_>,
    base: Option<&Artifact>,
) -> anyhow::Result<Option<Artifact>> {
    let Some(base) = base else {
        let unused = match upbringing.recipe.sources.preferences {
            Some(_) => "; the preferences were not used",
            None => "",
        };
        upbringing.journal.skip(
            "align",
            &format!("a model must answer before it can answer better (--instructions FILE.jsonl){unused}"),
        );
        return Ok(None);
    };
    let preferences = upbringing.sources.preferences(
        upbringing.recipe,
        upbringing.store,
        &mut upbringing.journal,
    )?;
    let feedback = upbringing
        .sources
        .feedback(upbringing.recipe, upbringing.store)?;
    let Upbringing {
        recipe,
        store,
        device,
        journal,
        ..
    } = upbringing;
    if preferences.is_none() && feedback.is_none() {
        journal.skip(
            "align",
            "no preferences were given (--preferences FILE.jsonl) and no answer was rated",
        );
        return Ok(None);
    }
    let inputs = train::align::Inputs {
        base,
        preferences: preferences.as_ref(),
        feedback: feedback.as_ref(),
        device,
    };
    let aligned = journal.stage(
        "align",
        |progress| Ok(train::align::run(&recipe.align, inputs, store, progress)?),
        remark::model,
    )?;
    Ok(Some(aligned))
}
