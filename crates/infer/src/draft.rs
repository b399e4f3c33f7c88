//! A small model that guesses what the large one will say (Leviathan et al., "Fast Inference from Transformers via Speculative
//! Decoding", 2023). It reads whatever the large one reads, into blocks of the same numbers, so blocks that are shared or
//! found again hold its keys and values too. Guesses are checked as those of look-up are, so they change no token.

use hub::LoadedModel;
use models::decoder::Config;

use crate::run::{Reading, Runner};
use crate::sampler::likeliest;
use crate::schedule::Part;
use crate::sequence::Sequence;
use crate::{Adapter, Error, Result};

/// The small model.
pub(crate) struct Draft(Runner);

impl Draft {
    /// # Errors
    /// [`Error::Draft`] when it has other tokens than the `large` model, or a shorter context.
    pub(crate) fn new(model: LoadedModel, large: &LoadedModel) -> Result<Self> {
        let (small_config, config) = (model.decoder.config(), large.decoder.config());
        let other = |problem: String| Err(Error::Draft { problem });
        if small_config.context() < config.context() {
            let (small, context) = (small_config.context(), config.context());
            return other(format!("its context is {small} tokens, not {context}"));
        }
        let (small, count) = (small_config.vocab_size, config.vocab_size);
        if small != count {
            return other(format!("it has {small} tokens, not {count}"));
        }
        let differs = |id: &u32| model.tokenizer.token(*id) != large.tokenizer.token(*id);
        if let Some(id) = (0..count as u32).find(differs) {
            return other(format!("its token {id} is another"));
        }
        Ok(Self(Runner::new(model)))
    }

    pub(crate) fn config(&self) -> &Config {
        self.0.model.decoder.config()
    }

    /// Reads what the large model is about to read, and guesses ahead for the parts that have no guesses yet, as many as each
    /// has room for.
    pub(crate) fn guess(&mut self, running: &[Sequence], parts: &mut [Part]) {
        let own = |reading: Reading| Reading {
            adapter: Adapter::Own,
            ..reading
        };
        let readings = parts.iter().map(|part| own(part.reading(running)));
        let mut hidden = self.0.read(readings.collect());
        let (mut asking, mut rows, mut end) = (Vec::new(), Vec::new(), 0);
        for (index, part) in parts.iter().enumerate() {
            end += part.rows();
            if part.most > 0 && part.guesses.is_empty() {
                asking.push(index);
                rows.push(end - 1);
            }
        }
        while !asking.is_empty() {
            let logits = self.0.logits(&hidden, &rows);
            let each = logits.chunks_exact(self.0.vocabulary());
            let mut readings = Vec::with_capacity(asking.len());
            for (index, logits) in asking.iter().zip(each) {
                let part = &mut parts[*index];
                let guess = likeliest(logits);
                part.guesses.push(guess);
                let reading = own(part.reading(running));
                readings.push(Reading {
                    start: reading.start + reading.tokens.len() - 1,
                    tokens: vec![guess],
                    ..reading
                });
            }
            // The last guess is read too: should it be right, its keys and values are asked for next time.
            hidden = self.0.read(readings);
            let goes_on = |index: &usize| parts[*index].guesses.len() < parts[*index].most;
            rows = (0..asking.len())
                .filter(|row| goes_on(&asking[*row]))
                .collect();
            asking.retain(goes_on);
        }
    }
}
