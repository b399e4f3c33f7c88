//! What every stage's loop shares beside the step: going on from a checkpoint, keeping one on a schedule and on
//! Ctrl-C, the clock over all its processes, and the finished model.

use std::path::Path;
use std::time::Instant;

use artifact::{Artifact, Draft, Progress};
use models::lora;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokenizer::Tokenizer;

use crate::trainer::Trainer;
use crate::{Error, Result, checkpoint};

/// Refuses a stage that would take no step or never end.
///
/// # Errors
/// When a batch is empty, or the passes over the data are none.
pub(crate) fn passes(stage: &str, batch_size: usize, epochs: f64) -> Result<()> {
    if batch_size == 0 {
        let field = format!("{stage}.batch_size");
        return Err(Error::config(field, batch_size, "1 or more"));
    }
    if !(epochs > 0.0 && epochs.is_finite()) {
        let field = format!("{stage}.epochs");
        return Err(Error::config(field, epochs, "more than 0"));
    }
    Ok(())
}

/// The adapter that a stage trains.
#[derive(Clone, Debug)]
pub(crate) struct Adapted {
    /// Its shape.
    pub(crate) config: lora::Config,
    /// The model that it is for.
    pub(crate) base: String,
}

impl Adapted {
    /// Of an adapter that is trained further.
    ///
    /// # Errors
    /// When its config cannot be read.
    pub(crate) fn of(folder: &Path) -> Result<Option<Self>> {
        if !hub::is_adapter(folder) {
            return Ok(None);
        }
        let about = hub::read_adapter_config(folder)?;
        Ok(Some(Self {
            config: lora::Config {
                r: about.r,
                lora_alpha: about.lora_alpha,
                use_rslora: about.use_rslora,
                target_modules: Vec::new(),
            },
            base: about.base_model_name_or_path.unwrap_or_default(),
        }))
    }
}

/// A stage at work on its draft.
pub(crate) struct Session {
    draft: Draft,
    started: Instant,
    /// Seconds of the processes before this one.
    before: f64,
}

impl Session {
    /// Starts the clock.
    pub(crate) fn new(draft: Draft) -> Self {
        Self {
            draft,
            started: Instant::now(),
            before: 0.0,
        }
    }

    /// Takes the trainer to where the draft's checkpoint stood and returns the stage's own state (its place in the
    /// data); `None` when nothing was begun.
    ///
    /// # Errors
    /// When a checkpoint is there and cannot be read.
    pub(crate) fn resume<S: DeserializeOwned>(
        &mut self,
        trainer: &mut Trainer,
        progress: &Progress,
    ) -> Result<Option<S>> {
        let Some((place, seconds)) = checkpoint::restore(&self.draft.scratch(), trainer)? else {
            return Ok(None);
        };
        progress.note(format!("continuing from step {}", trainer.step_count()));
        self.before = seconds;
        Ok(Some(place))
    }

    /// After a step that was not the last: a checkpoint every so many steps and when the user interrupts, and in the
    /// latter case the end.
    ///
    /// # Errors
    /// When the checkpoint cannot be written (the one before stays), or the user interrupts.
    pub(crate) fn keep<S: Serialize>(
        &self,
        trainer: &Trainer,
        every: u64,
        place: &S,
        progress: &Progress,
    ) -> Result<()> {
        let step = trainer.step_count();
        let interrupted = progress.interrupted();
        if interrupted || step.is_multiple_of(every.max(1)) {
            checkpoint::save(&self.draft.scratch(), trainer, place, self.seconds())?;
        }
        if interrupted {
            return Err(Error::Interrupted { step });
        }
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// Saves the model, or the adapter that was trained, and commits it; `metrics`, an object, are the stage's own beside those of every stage.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn finish(
        self,
        trainer: &Trainer,
        tokenizer: &Tokenizer,
        adapter: Option<&Adapted>,
        metrics: &Value,
    ) -> Result<Artifact> {
        let folder = self.draft.path();
        match adapter {
            Some(Adapted { config, base }) => {
                hub::save_adapter(folder, &trainer.frozen(), config, base, tokenizer)?;
            }
            None => hub::save(folder, &trainer.frozen(), tokenizer)?,
        }
        let history = &trainer.history;
        let mut all = json!({
            "parameters": trainer.model().config().parameters(),
            "tokens": trainer.tokens,
            "steps": trainer.step_count(),
            "loss": history.curve.last().map(|point| point.loss),
            "curve": history.curve,
            "validation": history.validation,
            "samples": history.samples,
        });
        let own = metrics.as_object().into_iter().flat_map(Map::clone);
        all.as_object_mut()
            .expect("written as an object above")
            .extend(own);
        let seconds = self.seconds();
        let measured = json!({
            "seconds": seconds,
            "tokens_per_second": trainer.tokens as f64 / seconds,
            "throughput": trainer.throughput,
            "peak_rss_bytes": artifact::peak_rss_bytes(),
        });
        Ok(self.draft.commit(all, measured)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_would_take_no_step_is_refused_by_the_name_of_its_setting() {
        for (batch_size, epochs, field) in [
            (0, 1.0, "finetune.batch_size"),
            (1, 0.0, "finetune.epochs"),
            (1, f64::NAN, "finetune.epochs"),
        ] {
            let refused = passes("finetune", batch_size, epochs).unwrap_err();
            assert!(refused.to_string().contains(field), "{refused}");
        }
        assert!(passes("finetune", 1, 0.5).is_ok());
    }
}
