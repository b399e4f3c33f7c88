//! Evaluation, the gate, and the name that moves or stays.

use artifact::{Artifact, Store};
use eval::{Evaluation, GateConfig, Metric, Verdict};

use crate::life::Upbringing;
use crate::recipe::Recipe;
use crate::remark;

/// The measurements and the decision.
#[derive(Clone, Debug)]
pub(crate) struct Judgement {
    /// All candidates side by side.
    pub(crate) evaluation: Evaluation,
    /// The artifact that holds it.
    pub(crate) artifact: Artifact,
    /// The candidate's label.
    pub(crate) candidate: String,
    /// What the gate decided; `None` when the candidate holds the place already.
    pub(crate) verdict: Option<Verdict>,
}

impl Judgement {
    /// Whether the recipe's name stands for the candidate.
    pub(crate) fn deployed(&self) -> bool {
        self.verdict.as_ref().is_none_or(|verdict| verdict.accepted)
    }
}

/// Evaluates all models, lets the gate decide, and moves the recipe's name if it lets the candidate in.
///
/// # Errors
/// When a model cannot be evaluated or the name not be moved.
pub(crate) fn judge(
    upbringing: &mut Upbringing<'_>,
    models: &[(String, Artifact)],
    shards: &Artifact,
) -> anyhow::Result<Judgement> {
    let [.., (label, candidate)] = models else {
        anyhow::bail!("there is no model to judge");
    };
    let instructions = upbringing.sources.instructions(
        upbringing.recipe,
        upbringing.store,
        &mut upbringing.journal,
    )?;
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
    // Who cannot answer is not asked.
    let asked = models.len() > 1;
    let name = &recipe.name;
    let incumbent = match store.get_ref(name)? {
        Some(id) => Some(store.get(id.as_str())?),
        None => None,
    };
    let in_place = incumbent
        .as_ref()
        .is_some_and(|incumbent| incumbent.id == candidate.id);
    let rival = incumbent.filter(|incumbent| incumbent.id != candidate.id);
    let mut candidates: Vec<(String, &Artifact)> = models
        .iter()
        .map(|(label, model)| (label.clone(), model))
        .collect();
    if let Some(rival) = &rival
        && !candidates.iter().any(|(_, model)| model.id == rival.id)
    {
        candidates.insert(0, ("incumbent".to_owned(), rival));
    }
    let inputs = eval::Inputs {
        candidates: &candidates,
        shards: Some(shards),
        instructions: instructions.as_ref().filter(|_| asked),
        preferences: preferences.as_ref().filter(|_| asked),
        reference: models.get(1).map(|(_, finetuned)| finetuned),
        corrections: feedback.as_ref().filter(|_| asked),
        device,
    };
    let earlier = if in_place {
        admitted_by(recipe, candidate, store)?
    } else {
        None
    };
    let artifact = journal.stage(
        "evaluate",
        |progress| match earlier {
            Some(earlier) => Ok(earlier),
            None => Ok(eval::run(&recipe.evaluate, inputs, store, progress)?),
        },
        remark::evaluation,
    )?;
    let evaluation = Evaluation::read(&artifact)?;
    if in_place {
        journal.decide("gate", true, &format!("`{name}` is this model already"));
        return Ok(Judgement {
            evaluation,
            artifact,
            candidate: label.clone(),
            verdict: None,
        });
    }
    let scores = eval::scores_of(&artifact, label)?;
    let rival_scores = match &rival {
        Some(rival) => of_rival(eval::read_scores(&artifact)?, rival, recipe.gate.metric),
        None => None,
    };
    let verdict = eval::gate(
        &measurable(&recipe.gate, &scores),
        &scores,
        rival_scores.as_ref(),
    );
    if verdict.accepted {
        store.set_ref(name, &candidate.id)?;
        store.set_ref(&admission(name), &artifact.id)?;
    }
    journal.decide("gate", verdict.accepted, &verdict.explanation);
    Ok(Judgement {
        evaluation,
        artifact,
        candidate: label.clone(),
        verdict: Some(verdict),
    })
}

/// A rival's scores. One that was never tuned has several: its documents', and its answers under each way of prompting.
/// It stands for the best of these, as a user would prompt it.
fn of_rival(all: Vec<eval::Scores>, rival: &Artifact, metric: Metric) -> Option<eval::Scores> {
    let mut rows = all
        .into_iter()
        .filter(|scores| scores.model == rival.id.as_str());
    let mut scores = rows.next()?;
    let value = |row: &eval::Scores| {
        let mean = row
            .metrics
            .get(&metric)
            .map_or(f64::NEG_INFINITY, eval::Series::mean);
        if metric.higher_is_better() {
            mean
        } else {
            -mean
        }
    };
    if let Some(best) = rows.max_by(|a, b| value(a).total_cmp(&value(b))) {
        scores.metrics.extend(best.metrics);
    }
    Some(scores)
}

/// The gate's question where its metric cannot be measured, as without instructions: bits per byte.
fn measurable(config: &GateConfig, scores: &eval::Scores) -> GateConfig {
    if scores.metrics.contains_key(&config.metric) {
        return config.clone();
    }
    GateConfig {
        metric: Metric::BitsPerByte,
        floor: None,
        ..config.clone()
    }
}

/// The name of the evaluation by which the model called `name` was let in.
fn admission(name: &str) -> String {
    format!("{name}.evaluation")
}

/// The evaluation by which this very candidate was let in, if it measured what the recipe asks for today.
fn admitted_by(
    recipe: &Recipe,
    candidate: &Artifact,
    store: &Store,
) -> anyhow::Result<Option<Artifact>> {
    let Some(id) = store.get_ref(&admission(&recipe.name))? else {
        return Ok(None);
    };
    let Ok(evaluation) = store.get(id.as_str()) else {
        return Ok(None);
    };
    let same_config = serde_json::to_value(&recipe.evaluate)? == evaluation.manifest.config;
    let same_model = evaluation
        .manifest
        .inputs
        .iter()
        .any(|input| input.id == candidate.id);
    Ok((same_config && same_model).then_some(evaluation))
}
