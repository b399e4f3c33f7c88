//! One stream alone: how soon its first token comes, and how fast the others.

use std::time::Instant;

use eval::question::Question;
use infer::{Engine, Request};

use super::Task;
use crate::commands::generate;

/// Prompts that one stream is timed on.
const TIMED: usize = 3;

/// How one stream alone is answered.
pub(super) struct Stream {
    pub(super) tokens_per_second: f64,
    pub(super) first_token_seconds: f64,
}

impl Stream {
    pub(super) fn timed<'a>(
        engine: &Engine,
        tasks: impl Iterator<Item = &'a Task>,
        chat: bool,
    ) -> anyhow::Result<Self> {
        let tokenizer = engine.tokenizer();
        let questions: Vec<&Question> = tasks
            .filter_map(|task| match task {
                Task::Questions(questions) => Some(questions),
                _ => None,
            })
            .flatten()
            .take(TIMED)
            .collect();
        let mut prompts = Vec::new();
        for question in &questions {
            prompts.push(if chat {
                tokenizer.encode_chat(&question.prompt, true)?
            } else {
                tokenizer.encode(question.text())?
            });
        }
        if prompts.is_empty() {
            prompts.push(tokenizer.encode("The")?);
        }
        let (mut firsts, mut tokens, mut seconds) = (Vec::new(), 0, 0.0);
        for prompt in prompts {
            let prompt_room = engine.context().saturating_sub(prompt.len());
            let request = Request {
                prompt,
                max_tokens: 64.min(prompt_room),
                // None ends it: every model writes as much.
                stop_ids: vec![u32::MAX],
                ..Request::default()
            };
            if request.max_tokens == 0 {
                continue;
            }
            let started = Instant::now();
            let said = generate::stream(engine, request, started, |_| {})?;
            let first = said.first_token_seconds.unwrap_or(0.0);
            firsts.push(first);
            tokens += said.ids.len().saturating_sub(1);
            seconds += started.elapsed().as_secs_f64() - first;
        }
        firsts.sort_by(f64::total_cmp);
        Ok(Self {
            tokens_per_second: tokens as f64 / f64::max(seconds, 1e-9),
            first_token_seconds: firsts.get(firsts.len() / 2).copied().unwrap_or(0.0),
        })
    }
}
