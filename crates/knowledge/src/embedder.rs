//! Vectors of texts.

use hub::LoadedEncoder;

use crate::{Error, Result};

/// Tokens of one forward pass, at most, unless one text alone has more: enough that the products are large, and few
/// enough that the states of a pass stay near the CPU.
const BATCH: usize = 2048;

/// A model that makes vectors of texts.
#[derive(Debug)]
pub struct Embedder {
    loaded: LoadedEncoder,
}

/// The vectors of some texts, in the order of the texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// `[texts, dimensions]` in row-major order.
    pub values: Vec<f32>,
    /// Features of each vector.
    pub dimensions: usize,
    /// Tokens that were read, special ones among them.
    pub tokens: usize,
    /// How many texts were longer than the model reads.
    pub truncated: usize,
}

impl Embeddings {
    /// The vectors one after another, each `[dimensions]`.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions.max(1))
    }
}

impl Embedder {
    /// Over a model in memory.
    pub fn new(loaded: LoadedEncoder) -> Self {
        Self { loaded }
    }

    /// Artifact id, or the folder's name.
    pub fn model_id(&self) -> &str {
        &self.loaded.id
    }

    /// Features of each vector.
    pub fn dimensions(&self) -> usize {
        self.loaded.model.dimensions()
    }

    /// Longest text, in tokens; what is longer is cut.
    pub fn longest(&self) -> usize {
        self.loaded.reader.longest()
    }

    /// The vectors of `texts`, `[texts, dimensions]`, each text with the prompt of that name before it (the model's
    /// default when no name is given, which most models do not have).
    ///
    /// A vector's bits depend on its text alone, not on what else is asked for.
    ///
    /// # Errors
    /// [`Error::Prompt`] when the model has no such prompt, [`Error::Tokenizer`] when the tokenizer refuses,
    /// [`Error::NotFinite`] when the weights are broken.
    pub fn embed(&self, texts: &[&str], prompt: Option<&str>) -> Result<Embeddings> {
        let LoadedEncoder {
            reader, prompts, ..
        } = &self.loaded;
        let before = prompts.get(prompt).ok_or_else(|| Error::Prompt {
            wanted: prompt.unwrap_or_default().to_owned(),
            prompts: prompts.by_name.keys().cloned().collect(),
        })?;
        let (readings, skip) = if before.is_empty() {
            (reader.read(texts)?, 0)
        } else {
            let prompted: Vec<String> =
                texts.iter().map(|text| format!("{before}{text}")).collect();
            let prompted: Vec<&str> = prompted.iter().map(String::as_str).collect();
            (reader.read(&prompted)?, reader.prompt_length(before)?)
        };
        let truncated = readings.iter().filter(|reading| reading.cut).count();
        let ids: Vec<&[u32]> = readings
            .iter()
            .map(|reading| reading.ids.as_slice())
            .collect();
        let found = self.forward(&ids, skip)?;
        Ok(Embeddings { truncated, ..found })
    }

    /// The vectors of texts that were made ids already, special tokens among them: `[texts, dimensions]`.
    ///
    /// # Errors
    /// [`Error::Ids`] when a text has no ids, more than the model reads, or one that its vocabulary does not have;
    /// [`Error::NotFinite`] when the weights are broken.
    pub fn embed_ids(&self, texts: &[Vec<u32>]) -> Result<Embeddings> {
        let rows = self.loaded.model.encoder.config().vocab_size;
        for (number, ids) in texts.iter().enumerate() {
            let wrong = |problem| Err(Error::Ids { number, problem });
            if ids.is_empty() {
                return wrong("there are none".to_owned());
            }
            if ids.len() > self.longest() {
                return wrong(format!(
                    "there are {}, and the model reads {}",
                    ids.len(),
                    self.longest()
                ));
            }
            if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
                return wrong(format!("{id} is outside the vocabulary of {rows}"));
            }
        }
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        self.forward(&texts, 0)
    }

    /// `[texts, dimensions]` of the ids of texts, whose first `skip` are a prompt's.
    fn forward(&self, texts: &[&[u32]], skip: usize) -> Result<Embeddings> {
        let dimensions = self.dimensions();
        let mut found = Embeddings {
            values: vec![0.0; texts.len() * dimensions],
            dimensions,
            tokens: texts.iter().map(|ids| ids.len()).sum(),
            truncated: 0,
        };
        // Texts of like length together: the tiles of the attention then reach over few rows that they do not need.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&number| texts[number].len());
        for batch in batches(&order, |number| texts[number].len()) {
            let ids: Vec<&[u32]> = batch.iter().map(|&number| texts[number]).collect();
            let vectors = self.loaded.model.forward(&ids, skip); // [texts of the batch, dimensions]
            for (&number, vector) in batch.iter().zip(vectors.chunks_exact(dimensions)) {
                if !vector.iter().all(|x| x.is_finite()) {
                    return Err(Error::NotFinite { number });
                }
                found.values[number * dimensions..][..dimensions].copy_from_slice(vector);
            }
        }
        Ok(found)
    }
}

/// `order` in pieces of at most [`BATCH`] tokens, or of one text.
fn batches(order: &[usize], tokens: impl Fn(usize) -> usize) -> Vec<&[usize]> {
    let (mut pieces, mut first, mut held) = (Vec::new(), 0, 0);
    for (at, &number) in order.iter().enumerate() {
        let length = tokens(number);
        if held + length > BATCH && at > first {
            pieces.push(&order[first..at]);
            (first, held) = (at, 0);
        }
        held += length;
    }
    if first < order.len() {
        pieces.push(&order[first..]);
    }
    pieces
}

/// The cosine of the angle between two vectors; 0 where one of them is zero.
///
/// Shapes: both `[dimensions]`.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum::<f64>()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_text_once() {
        for lengths in [
            vec![],
            vec![1],
            vec![BATCH + 1, 1],
            vec![700; 10],
            vec![0, 0, BATCH, 0],
        ] {
            let order: Vec<usize> = (0..lengths.len()).collect();
            let pieces = batches(&order, |number| lengths[number]);
            assert_eq!(pieces.concat(), order);
            for piece in pieces {
                let tokens: usize = piece.iter().map(|&number| lengths[number]).sum();
                assert!(piece.len() == 1 || tokens <= BATCH);
            }
        }
    }

    #[test]
    fn cosines() {
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 1.0], &[-3.0, -3.0]), -1.0);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }
}
