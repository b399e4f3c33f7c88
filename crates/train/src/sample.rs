//! A piece of the model's text as it learns.

use artifact::Progress;
use hub::LoadedModel;
use infer::{Engine, Request, Sampling};
use models::decoder::Decoder;
use tokenizer::Tokenizer;

use crate::Result;
use crate::history::{History, Sampled};

/// Continues `prompt` behind `begin` tokens and tells and remembers what came.
///
/// # Errors
/// When the prompt cannot be encoded or exceeds the context.
pub(crate) fn write(
    decoder: Decoder,
    tokenizer: &Tokenizer,
    prompt: (Vec<u32>, &str),
    max_tokens: usize,
    step: u64,
    (history, progress): (&mut History, &Progress),
) -> Result<()> {
    let model = LoadedModel {
        decoder,
        tokenizer: tokenizer.clone(),
        id: String::new(),
    };
    let (ids, shown) = prompt;
    let sampling = Sampling {
        temperature: 0.7,
        top_p: 0.95,
        seed: step,
        ..Sampling::default()
    };
    let request = Request {
        prompt: ids,
        max_tokens,
        sampling,
        ..Request::default()
    };
    let text = format!(
        "{shown}{}",
        Engine::with_slots(model, 1).generate(request)?.text
    );
    progress.emit(artifact::Event::Sample {
        step,
        text: text.clone(),
    });
    history.samples.push(Sampled { step, text });
    Ok(())
}
