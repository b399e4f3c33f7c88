//! Scope: what a run will cost on this machine, and whether that is within the recipe's budget.

mod shown;

use std::fs;
use std::path::Path;

use artifact::{Progress, Store};
use models::decoder;
use train::plan::{Calibration, Workload};

use crate::context::Context;
use crate::quantity::{bytes, duration};
use crate::recipe::Recipe;
use crate::refusal::{Exit, Refusal};

/// Seconds that the calibration takes.
const CALIBRATION_SECONDS: f64 = 2.0;
/// A larger model is calibrated by a smaller one of its kind: its steps would take longer than the calibration.
const CALIBRATED_PARAMETERS: usize = 12_000_000;
/// Bytes of a document of the embedded world, of a conversation to learn from, of a held-out question with its answer,
/// of a prompt with one answer of its pair; the means over 40,000, 60,000, 540 and 2,000 of them.
const WORLD_BYTES: [f64; 4] = [580.0, 474.0, 223.0, 243.0];
/// Messages of a conversation to learn from, likewise.
const WORLD_TURNS: f64 = 5.5;
/// The share of a JSON Lines file that is text to learn from, as in the embedded world.
const TEXT_OF_JSON: f64 = 0.55;
/// Kinds of questions of the embedded world.
const WORLD_KINDS: f64 = 9.0;
/// Tokens that the chat template adds to a conversation.
const TEMPLATE_TOKENS: f64 = 12.0;
/// The share of a packed row that is filled.
const PACKED: f64 = 0.93;
/// How much more than a read token a generated one costs: small batches leave the cores idle.
const GENERATED_COST: f64 = 4.0;
/// Tokens of a typical answer.
const ANSWER_TOKENS: f64 = 20.0;
/// Bytes a second through curation, the tokenizer's training and the shards, all three.
const DATA_BYTES_PER_SECOND: f64 = 4e6;

/// The cost of a run with a model of one size.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The dial.
    pub(crate) depth: usize,
    /// Wall-clock seconds of the whole run.
    pub(crate) seconds: f64,
    /// What the training room computed.
    cost: train::plan::Plan,
    /// By how much the plan is over the budget, in words; empty when it fits.
    over: Vec<String>,
    /// The largest depth that fits, where this one does not.
    largest: Option<usize>,
}

/// The plans of the chosen size and its neighbours.
pub(crate) struct Plans {
    plans: Vec<Plan>,
    chosen: usize,
    machine: Calibration,
}

/// Plans the recipe's run.
///
/// # Errors
/// When the architecture's numbers do not fit each other.
pub(crate) fn make(
    recipe: &Recipe,
    store: &Store,
    context: &Context,
    progress: &Progress,
) -> anyhow::Result<Plan> {
    let depth = recipe.model.preset.depth;
    let mut machine = calibrate(recipe, store, context, progress)?;
    let mut plan = at_depth(recipe, store, depth, &machine)?;
    if plan.seconds > recipe.scope.budget_minutes * 60.0 {
        // A refusal should not rest on two seconds in which a shared machine was slow.
        machine = machine.faster(calibrate(recipe, store, context, progress)?);
        plan = at_depth(recipe, store, depth, &machine)?;
    }
    if !plan.over.is_empty() {
        for depth in (1..plan.depth).rev() {
            if at_depth(recipe, store, depth, &machine)?.over.is_empty() {
                plan.largest = Some(depth);
                break;
            }
        }
    }
    Ok(plan)
}

/// Plans the recipe's run with two sizes less and two more.
///
/// # Errors
/// As [`make`].
pub(crate) fn neighbours(
    recipe: &Recipe,
    store: &Store,
    context: &Context,
    progress: &Progress,
) -> anyhow::Result<Plans> {
    let machine = calibrate(recipe, store, context, progress)?;
    let chosen = recipe.model.preset.depth;
    let depths = if recipe.model.base.is_some() {
        chosen..=chosen
    } else {
        chosen.saturating_sub(2).max(1)..=(chosen + 2).min(decoder::Preset::MAX_DEPTH)
    };
    let plans = depths
        .map(|depth| at_depth(recipe, store, depth, &machine))
        .collect::<anyhow::Result<_>>()?;
    Ok(Plans {
        plans,
        chosen,
        machine,
    })
}

fn calibrate(
    recipe: &Recipe,
    store: &Store,
    context: &Context,
    progress: &Progress,
) -> anyhow::Result<Calibration> {
    progress.stage("scope", "measuring this machine");
    let mut model = architecture(recipe, store, recipe.model.preset.depth)?;
    let mut depth = recipe.model.preset.depth;
    while model.parameters() > CALIBRATED_PARAMETERS && depth > 1 && recipe.model.base.is_none() {
        depth -= 1;
        model = architecture(recipe, store, depth)?;
    }
    // Wide models that no depth makes small are taken as they come.
    let precision = recipe.pretrain.precision.into();
    // The world's documents and conversations fill half a row; the user's own are taken to fill it.
    let context_size = model.max_position_embeddings;
    let sequence = if recipe.sources.documents.is_empty() {
        context_size / 2
    } else {
        context_size
    };
    Ok(train::plan::calibrate(
        &model,
        precision,
        recipe.pretrain.batch_size,
        sequence,
        &context.device,
        CALIBRATION_SECONDS,
    )?)
}

/// The architecture of a depth, or of the recipe's base.
fn architecture(recipe: &Recipe, store: &Store, depth: usize) -> anyhow::Result<decoder::Config> {
    if let Some(base) = &recipe.model.base {
        let (path, _) = hub::resolve(store, base)?;
        return Ok(hub::read_config(&path)?.decoder);
    }
    let preset = decoder::Preset {
        depth,
        ..recipe.model.preset.clone()
    };
    Ok(preset.config(recipe.tokenizer.vocab_size)?)
}

fn at_depth(
    recipe: &Recipe,
    store: &Store,
    depth: usize,
    machine: &Calibration,
) -> anyhow::Result<Plan> {
    let model = architecture(recipe, store, depth)?;
    let work = workload(recipe, &model);
    let cost = train::plan::plan(&model, &work, machine);
    let seconds = cost.seconds + CALIBRATION_SECONDS;
    let mut over = Vec::new();
    if seconds > recipe.scope.budget_minutes * 60.0 {
        over.push(format!(
            "{} instead of {}",
            duration(seconds),
            duration(recipe.scope.budget_minutes * 60.0)
        ));
    }
    let budget = recipe.scope.memory_gib * f64::from(1 << 30);
    if cost.memory.total() as f64 > budget {
        over.push(format!(
            "{} of memory instead of {}",
            bytes(cost.memory.total() as f64),
            bytes(budget)
        ));
    }
    Ok(Plan {
        depth,
        seconds,
        cost,
        over,
        largest: None,
    })
}

/// The tokens of every stage, from the recipe and the sizes of its files.
fn workload(recipe: &Recipe, model: &decoder::Config) -> Workload {
    let per_token = bytes_per_token(model.vocab_size);
    let worldly = recipe.sources.documents.is_empty();
    let [
        document_bytes,
        conversation_bytes,
        question_bytes,
        pair_bytes,
    ] = WORLD_BYTES;
    let size = |path: &Path| size_of(path) as f64;
    let text = |path: &Path| TEXT_OF_JSON * size(path);
    let world = |count: u64, each: f64| if worldly { count as f64 * each } else { 0.0 };
    let documents = if worldly {
        world(recipe.world.documents, document_bytes)
    } else {
        recipe.sources.documents.iter().map(|path| size(path)).sum()
    };
    let questions = match &recipe.sources.instructions {
        Some(file) => (text(file) / per_token, text(file) / question_bytes, 2.0),
        None => (
            world(recipe.world.instructions, conversation_bytes) / per_token,
            world(recipe.world.instructions, 1.0),
            WORLD_TURNS,
        ),
    };
    let pairs = match &recipe.sources.preferences {
        Some(file) => text(file) / pair_bytes,
        None if recipe.sources.instructions.is_none() => world(recipe.world.preferences, 1.0),
        None => 0.0,
    };
    let pair_tokens = 2.0 * (pair_bytes / per_token + TEMPLATE_TOKENS);
    let template_tokens = questions.1 * questions.2 / 2.0 * TEMPLATE_TOKENS;
    let finetune = (questions.0 + template_tokens) * recipe.finetune.epochs / PACKED;
    let align = pairs * pair_tokens * recipe.align.epochs / PACKED;

    let question_tokens = question_bytes / per_token + TEMPLATE_TOKENS;
    let held_out = limited(
        if worldly {
            recipe.world.held_out as f64 * WORLD_KINDS
        } else {
            questions.1 * 0.05
        },
        recipe.evaluate.questions,
    );
    let prompted = limited(held_out, recipe.evaluate.prompted_questions);
    let held_out_pairs = limited(
        if worldly {
            recipe.world.held_out_preferences as f64
        } else {
            pairs * 0.05
        },
        recipe.evaluate.pairs,
    );
    let validation = recipe.pretrain.validations as f64 * recipe.pretrain.validation_tokens as f64
        + recipe.finetune.validations as f64 * held_out * question_tokens
        + (recipe.align.validations as f64 * held_out_pairs + pairs) * pair_tokens;
    let tuned = if questions.1 > 0.0 { 2.0 } else { 0.0 };
    let longest = recipe.data.source.max_document_bytes as f64;
    // Of the user's own documents only the longest possible is known: books are cut there.
    let document_bytes = if worldly {
        document_bytes
    } else {
        longest.min(documents)
    };
    let validation_documents = limited(
        documents / document_bytes * recipe.data.validation_fraction,
        recipe.evaluate.validation_documents,
    );
    let read = (tuned + 1.0) * validation_documents * document_bytes / per_token
        + tuned * held_out * question_tokens
        + prompted
            * recipe
                .evaluate
                .shots
                .iter()
                .map(|shots| (1.0 + *shots as f64) * question_tokens)
                .sum::<f64>()
        + (tuned + 1.0) * held_out_pairs * pair_tokens;
    // A base model rambles on to the limit; a tuned one ends its answer.
    let generated = tuned * held_out * ANSWER_TOKENS
        + prompted
            * recipe.evaluate.shots.len() as f64
            * recipe.evaluate.max_answer_tokens as f64
            * 0.5;
    Workload {
        pretrain_tokens: recipe.pretrain.total_tokens(model.parameters()),
        finetune_tokens: finetune as u64,
        align_tokens: align as u64,
        forward_tokens: (validation + read + generated * GENERATED_COST) as u64,
        batch_size: recipe.pretrain.batch_size as u64,
        recompute: recipe.pretrain.recompute,
        other_seconds: documents / DATA_BYTES_PER_SECOND,
    }
}

/// The yield of byte-level BPE on plain English: a little more with every doubling of the vocabulary.
fn bytes_per_token(vocab_size: usize) -> f64 {
    2.0 + 0.5 * (vocab_size as f64 / 256.0).log2().max(0.0)
}

fn limited(many: f64, limit: usize) -> f64 {
    if limit == 0 {
        many
    } else {
        many.min(limit as f64)
    }
}

/// Bytes of a file, or of all files below a folder; what is missing is refused later, by name.
fn size_of(path: &Path) -> u64 {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| size_of(&entry.path()))
            .sum(),
        Err(_) => 0,
    }
}

impl Plan {
    fn memory_bytes(&self) -> u64 {
        self.cost.memory.total()
    }

    /// Refuses a plan over the recipe's budget, naming the largest size that fits and the flag that allows it.
    ///
    /// # Errors
    /// Exit code 2: nothing was started.
    pub(crate) fn check(&self, recipe: &Recipe) -> Result<(), Refusal> {
        if self.over.is_empty() {
            return Ok(());
        }
        let minutes = (self.seconds / 60.0 * 1.1).ceil();
        let gib = (self.memory_bytes() as f64 / f64::from(1 << 30) * 10.5).ceil() / 10.0;
        let mut allow = Vec::new();
        if self.seconds > recipe.scope.budget_minutes * 60.0 {
            allow.push(format!("--set scope.budget_minutes={minutes:.0}"));
        }
        if self.memory_bytes() as f64 > recipe.scope.memory_gib * f64::from(1 << 30) {
            allow.push(format!("--set scope.memory_gib={gib:.1}"));
        }
        let smaller = match self.largest {
            Some(depth) => format!("the largest size that fits is --set model.depth={depth}"),
            None => {
                "no smaller size fits either: ask for fewer tokens (pretrain.tokens) or less data"
                    .to_owned()
            }
        };
        Err(Refusal {
            kind: "budget",
            message: format!(
                "the plan for depth {} is over budget: {}",
                self.depth,
                self.over.join(", ")
            ),
            hint: Some(format!(
                "{smaller}; allow this one with {} or --over-budget",
                allow.join(" ")
            )),
            exit: Exit::Usage,
        })
    }
}
