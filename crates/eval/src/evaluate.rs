//! The whole evaluation: every candidate on the same documents, questions and pairs, side by side, as one artifact.

use std::collections::BTreeMap;

use artifact::{Artifact, Key, Progress, Seed, Store};
use data::Shards;
use infer::Engine;
use serde::{Deserialize, Serialize};
use tensor::Device;
use tokenizer::Tokenizer;

use crate::answers::{self, Judged, Speed};
use crate::bits_per_byte::{self, Text};
use crate::choice::choose_from;
use crate::error::{Error, Result};
use crate::metrics::RefusalMarkers;
use crate::preference::{self, PairScores};
use crate::prompting::{self, Prompting};
use crate::question::{Pair, Question, read_pairs, read_questions};
use crate::report::{Comparison, Evaluation, Row, write_json};
use crate::scores::{Metric, Resampling, Scores};

/// What an evaluation measures and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seed of every choice and bootstrap.
    pub seed: u64,
    /// Held-out questions asked of each tuned candidate; 0 asks all.
    pub questions: usize,
    /// Held-out questions asked for each way of prompting; 0 asks all.
    pub prompted_questions: usize,
    /// Validation documents scored; 0 scores all.
    pub validation_documents: usize,
    /// Held-out preference pairs scored; 0 scores all.
    pub pairs: usize,
    /// Label of the candidate that was never tuned: it is prompted in plain text instead of asked by chat.
    pub prompted: String,
    /// Solved examples before each question, one measurement for each number.
    pub shots: Vec<usize>,
    /// Tokens an answer may have.
    pub max_answer_tokens: usize,
    /// What counts as a refusal.
    pub refusal_markers: RefusalMarkers,
    /// Draws of each bootstrap.
    pub resamples: usize,
    /// Examples of answers shown for each candidate, right and wrong.
    pub examples: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            questions: 0,
            prompted_questions: 100,
            validation_documents: 200,
            pairs: 0,
            prompted: "base".to_owned(),
            shots: vec![0, 1, 4],
            max_answer_tokens: 96,
            refusal_markers: RefusalMarkers::default(),
            resamples: 1_000,
            examples: 12,
        }
    }
}

impl Config {
    fn validate(&self) -> Result<()> {
        if self.max_answer_tokens == 0 {
            return Err(Error::Setting {
                field: "max_answer_tokens",
                expected: "at least 1",
                got: "0".to_owned(),
            });
        }
        if self.resamples == 0 {
            return Err(Error::Setting {
                field: "resamples",
                expected: "at least 1",
                got: "0".to_owned(),
            });
        }
        Ok(())
    }

    fn resampling(&self) -> Resampling {
        Resampling {
            seed: Seed(self.seed).derive("bootstrap"),
            resamples: self.resamples,
        }
    }
}

/// What is evaluated, and on what.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Models with their labels, in the order of the table.
    pub candidates: &'a [(String, &'a Artifact)],
    /// Token shards whose validation split is scored in bits per byte.
    pub shards: Option<&'a Artifact>,
    /// Instructions whose held-out questions are asked.
    pub instructions: Option<&'a Artifact>,
    /// Preference pairs whose held-out part is scored.
    pub preferences: Option<&'a Artifact>,
    /// The frozen model that preferences were aligned against.
    pub reference: Option<&'a Artifact>,
    /// Users' corrections, as preference pairs: is the chosen answer now the model's own?
    pub corrections: Option<&'a Artifact>,
    /// Where the models run.
    pub device: &'a Device,
}

/// Everything the candidates are measured on, read once.
struct Material {
    texts: Vec<Text>,
    solved: Vec<Question>,
    questions: Vec<Question>,
    prompted_questions: Vec<Question>,
    pairs: Vec<Pair>,
    corrections: Vec<Question>,
}

/// One candidate's row, with what the gate needs and how fast it was.
struct Measured {
    row: Row,
    scores: Scores,
    speed: Speed,
}

/// Evaluates all candidates side by side; an evaluation that was made before is found again.
///
/// # Errors
/// An input cannot be read, a candidate is not a model, a model fails, or the user interrupts.
pub fn run(
    config: &Config,
    inputs: Inputs<'_>,
    store: &Store,
    progress: &Progress,
) -> Result<Artifact> {
    config.validate()?;
    if inputs.candidates.is_empty() {
        return Err(Error::NoCandidates);
    }
    let key = key(config, &inputs)?;
    if let Some(made) = store.find(&key)? {
        return Ok(made);
    }
    let draft = store.begin(key)?;
    let material = material(config, &inputs, store)?;
    let reference = reference_scores(&inputs, &material, progress)?;

    let mut measured = Vec::new();
    for (label, model) in inputs.candidates {
        progress.note(format!("evaluating {label}"));
        let engine = engine(model, inputs.device)?;
        measured.extend(candidate(
            config,
            label,
            model,
            &engine,
            &material,
            inputs.reference.zip(reference.as_ref()),
            progress,
        )?);
    }
    let evaluation = Evaluation {
        comparisons: comparisons(config, &measured),
        candidates: measured.iter().map(|one| one.row.clone()).collect(),
    };
    let scores: Vec<&Scores> = measured.iter().map(|one| &one.scores).collect();
    write_json(&draft.path().join("evaluation.json"), &evaluation)?;
    write_json(&draft.path().join("scores.json"), &scores)?;

    let rows: BTreeMap<&str, _> = measured
        .iter()
        .map(|one| (one.row.label.as_str(), &one.row.metrics))
        .collect();
    let speeds: BTreeMap<&str, _> = measured
        .iter()
        .map(|one| (one.row.label.as_str(), one.speed))
        .collect();
    Ok(draft.commit(
        serde_json::json!({ "candidates": rows }),
        serde_json::json!({ "speed": speeds }),
    )?)
}

fn key(config: &Config, inputs: &Inputs<'_>) -> Result<Key> {
    let mut key = Key::new("evaluation", config).seed("evaluation", Seed(config.seed));
    for (label, model) in inputs.candidates {
        if model.manifest.kind != "model" {
            return Err(Error::NotAModel {
                label: label.clone(),
                got: model.manifest.kind.clone(),
            });
        }
        key = key.input(format!("candidate {label}"), model);
    }
    let optional = [
        ("shards", inputs.shards),
        ("instructions", inputs.instructions),
        ("preferences", inputs.preferences),
        ("reference", inputs.reference),
        ("corrections", inputs.corrections),
    ];
    Ok(optional
        .into_iter()
        .fold(key, |key, (role, input)| match input {
            Some(input) => key.input(role, input),
            None => key,
        }))
}

fn material(config: &Config, inputs: &Inputs<'_>, store: &Store) -> Result<Material> {
    let seed = Seed(config.seed);
    let texts = match inputs.shards {
        Some(shards) => {
            let opened = Shards::open(&shards.path)?;
            let tokenizer = shards_tokenizer(shards, store)?;
            bits_per_byte::validation_texts(
                &opened,
                &tokenizer,
                config.validation_documents,
                seed.derive("documents"),
            )?
        }
        None => Vec::new(),
    };
    let (solved, held_out) = match inputs.instructions {
        Some(set) => (
            read_questions(&set.file("train.jsonl"))?,
            read_questions(&set.file("held_out.jsonl"))?,
        ),
        None => (Vec::new(), Vec::new()),
    };
    let held_out = choose_from(&held_out, config.questions, seed.derive("questions"));
    let pairs = match inputs.preferences {
        Some(set) => choose_from(
            &read_pairs(&set.file("held_out.jsonl"))?,
            config.pairs,
            seed.derive("pairs"),
        ),
        None => Vec::new(),
    };
    let corrections = match inputs.corrections {
        Some(set) => read_pairs(&set.file("train.jsonl"))?
            .into_iter()
            .map(as_question)
            .collect(),
        None => Vec::new(),
    };
    Ok(Material {
        texts,
        prompted_questions: choose_from(
            &held_out,
            config.prompted_questions,
            seed.derive("prompted questions"),
        ),
        solved,
        questions: held_out,
        pairs,
        corrections,
    })
}

/// A correction as a question: the chosen answer is the reference.
fn as_question(pair: Pair) -> Question {
    Question {
        id: pair.id,
        prompt: pair.prompt,
        reference: pair.chosen,
        ..Question::default()
    }
}

/// The tokenizer that the shards' lineage names.
fn shards_tokenizer(shards: &Artifact, store: &Store) -> Result<Tokenizer> {
    let input = shards
        .manifest
        .inputs
        .iter()
        .find(|input| input.role == "tokenizer");
    let input = input.ok_or_else(|| Error::NoTokenizer {
        shards: shards.id.to_string(),
    })?;
    Ok(Tokenizer::load(&store.get(input.id.as_str())?.path)?)
}

fn engine(model: &Artifact, device: &Device) -> Result<Engine> {
    Ok(Engine::start(hub::load(
        &model.path,
        model.id.as_str(),
        device,
    )?))
}

/// The reference's scores of the pairs, where both are given.
fn reference_scores(
    inputs: &Inputs<'_>,
    material: &Material,
    progress: &Progress,
) -> Result<Option<PairScores>> {
    match inputs.reference {
        Some(reference) if !material.pairs.is_empty() => {
            let engine = engine(reference, inputs.device)?;
            preference::score(&engine, &material.pairs, progress).map(Some)
        }
        _ => Ok(None),
    }
}

/// All that is measured of one candidate: one row, and one for each way of prompting the untuned one.
fn candidate(
    config: &Config,
    label: &str,
    model: &Artifact,
    engine: &Engine,
    material: &Material,
    reference: Option<(&Artifact, &PairScores)>,
    progress: &Progress,
) -> Result<Vec<Measured>> {
    let mut scores = Scores {
        label: label.to_owned(),
        model: model.id.to_string(),
        ..Scores::default()
    };
    if !material.texts.is_empty() {
        scores.metrics.insert(
            Metric::BitsPerByte,
            bits_per_byte::measure(engine, &material.texts, progress)?,
        );
    }
    if label == config.prompted {
        let mut rows = vec![measured(config, scores, &[], Speed::default())];
        if !material.prompted_questions.is_empty() {
            for &shots in &config.shots {
                rows.push(prompted(
                    config, label, model, engine, material, shots, progress,
                )?);
            }
        }
        return Ok(rows);
    }
    let mut judged = Vec::new();
    let mut speed = Speed::default();
    if !material.questions.is_empty() {
        let (given, timed) = answers::ask(
            engine,
            &material.questions,
            config.max_answer_tokens,
            progress,
        )?;
        judged = answers::judge(&material.questions, &given, &config.refusal_markers);
        speed = timed;
        scores.metrics.extend(answers::series(&judged));
    }
    if !material.corrections.is_empty() {
        let (given, _) = answers::ask(
            engine,
            &material.corrections,
            config.max_answer_tokens,
            progress,
        )?;
        let learned = answers::judge(&material.corrections, &given, &config.refusal_markers);
        let series = scores
            .metrics
            .entry(Metric::CorrectionsLearned)
            .or_default();
        learned
            .iter()
            .for_each(|one| series.push(&one.id, one.grade.correct));
    }
    let mut reward_margin = None;
    if !material.pairs.is_empty() {
        let policy = preference::score(engine, &material.pairs, progress)?;
        scores
            .metrics
            .insert(Metric::PreferenceLikelihood, preference::likelier(&policy));
        if let Some((_, reference)) = reference.filter(|(artifact, _)| artifact.id != model.id) {
            scores.metrics.insert(
                Metric::PreferenceWinRate,
                preference::wins(&policy, reference),
            );
            reward_margin = Some(preference::mean_margin(&policy, reference));
        }
    }
    let mut one = measured(config, scores, &judged, speed);
    one.row.reward_margin = reward_margin;
    Ok(vec![one])
}

fn prompted(
    config: &Config,
    label: &str,
    model: &Artifact,
    engine: &Engine,
    material: &Material,
    shots: usize,
    progress: &Progress,
) -> Result<Measured> {
    let settings = Prompting {
        shots,
        chat: false,
        max_tokens: config.max_answer_tokens,
        seed: Seed(config.seed).derive("shots"),
        markers: &config.refusal_markers,
    };
    let (outcome, speed) = prompting::prompt(
        engine,
        &material.solved,
        &material.prompted_questions,
        &settings,
        progress,
    )?;
    let scores = Scores {
        label: format!("{label}, {shots}-shot"),
        model: model.id.to_string(),
        metrics: answers::series(&outcome.judged),
    };
    let mut one = measured(config, scores, &outcome.judged, speed);
    one.row.shots = Some(shots);
    one.row.mean_shots = Some(outcome.mean_shots);
    Ok(one)
}

fn measured(config: &Config, scores: Scores, judged: &[Judged], speed: Speed) -> Measured {
    let row = Row {
        label: scores.label.clone(),
        model: scores.model.clone(),
        shots: None,
        mean_shots: None,
        metrics: scores.summary(config.resampling()),
        kinds: answers::by_kind(judged),
        reward_margin: None,
        examples: answers::examples(judged, config.examples),
    };
    Measured { row, scores, speed }
}

/// Every row against the one before it, on every metric both have.
fn comparisons(config: &Config, measured: &[Measured]) -> Vec<Comparison> {
    let mut found = Vec::new();
    for pair in measured.windows(2) {
        let (against, candidate) = (&pair[0].scores, &pair[1].scores);
        for (&metric, series) in &candidate.metrics {
            let other = against.metrics.get(&metric);
            let difference =
                other.and_then(|other| series.difference(other, metric, config.resampling()));
            found.extend(difference.map(|difference| Comparison {
                candidate: candidate.label.clone(),
                against: against.label.clone(),
                metric,
                difference,
                beyond_noise: difference.excludes_zero(),
            }));
        }
    }
    found
}
