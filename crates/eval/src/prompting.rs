//! Zero-, one- and few-shot prompting of a model that was never tuned: is the prompt enough?
//!
//! A base model knows no chat template, so questions are plain text, as in Brown et al., "Language models are few-shot
//! learners" (2020): solved examples from the training split, then the question, and the model goes on. A model that
//! knows one gets the examples as earlier turns of the conversation.

use std::fmt::Write as _;

use artifact::{Progress, Seed};
use infer::Engine;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokenizer::{Message, Tokenizer};

use crate::answers::{Judged, Speed, complete, judge};
use crate::error::Result;
use crate::metrics::RefusalMarkers;
use crate::question::Question;

/// Where an answer ends: the next question, or a paragraph the prompt does not ask for.
const STOP: [&str; 2] = ["\nQuestion:", "\n\n"];

/// The outcome of one way of prompting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompted {
    /// Solved examples asked for.
    pub shots: usize,
    /// Solved examples that fitted the context, on average.
    pub mean_shots: f64,
    /// The judged answers.
    pub judged: Vec<Judged>,
}

/// Prompts the model with `shots` solved examples before every question.
///
/// Examples are drawn by `seed` and the question's place; as many as fit beside `max_tokens` of answer are kept.
///
/// # Errors
/// A prompt cannot be encoded, the model fails, or the user interrupts.
pub fn prompt(
    engine: &Engine,
    solved: &[Question],
    questions: &[Question],
    settings: &Prompting<'_>,
    progress: &Progress,
) -> Result<(Prompted, Speed)> {
    let room = engine.context().saturating_sub(settings.max_tokens);
    let mut used = 0;
    let mut prompts = Vec::with_capacity(questions.len());
    for (i, question) in questions.iter().enumerate() {
        let drawn = draw(solved, settings.shots, settings.seed.derive(&i.to_string()));
        let (tokens, fitted) = fit(engine.tokenizer(), &drawn, question, room, settings.chat)?;
        used += fitted;
        prompts.push(tokens);
    }
    let stop: &[&str] = if settings.chat { &[] } else { &STOP };
    let (answers, speed) = complete(engine, prompts, stop, settings.max_tokens, progress)?;
    let judged = judge(questions, &answers, settings.markers);
    let mean_shots = if questions.is_empty() {
        0.0
    } else {
        used as f64 / questions.len() as f64
    };
    Ok((
        Prompted {
            shots: settings.shots,
            mean_shots,
            judged,
        },
        speed,
    ))
}

/// How to prompt.
#[derive(Clone, Copy, Debug)]
pub struct Prompting<'a> {
    /// Solved examples before each question.
    pub shots: usize,
    /// Whether examples and question are turns of a conversation, in the chat template.
    pub chat: bool,
    /// Tokens an answer may have.
    pub max_tokens: usize,
    /// Seed of the draw of examples.
    pub seed: Seed,
    /// What counts as a refusal.
    pub markers: &'a RefusalMarkers,
}

/// `shots` different examples; fewer where there are fewer.
fn draw(solved: &[Question], shots: usize, seed: Seed) -> Vec<&Question> {
    let mut rng = seed.rng();
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < shots.min(solved.len()) {
        let i = rng.random_range(0..solved.len());
        if !chosen.contains(&i) {
            chosen.push(i);
        }
    }
    chosen.into_iter().map(|i| &solved[i]).collect()
}

/// The prompt with as many of the examples as fit into `room` tokens, and their number.
fn fit(
    tokenizer: &Tokenizer,
    drawn: &[&Question],
    question: &Question,
    room: usize,
    chat: bool,
) -> Result<(Vec<u32>, usize)> {
    for shots in (0..=drawn.len()).rev() {
        let tokens = if chat {
            tokenizer.encode_chat(&conversation(&drawn[..shots], question), true)?
        } else {
            let mut tokens = vec![tokenizer.end_of_text()];
            tokens.extend(tokenizer.encode(&render(&drawn[..shots], question))?);
            tokens
        };
        if tokens.len() <= room || shots == 0 {
            return Ok((tokens, shots));
        }
    }
    unreachable!("the loop returns at no shots at the latest")
}

/// Solved examples and the question as plain text that ends where the answer begins.
#[must_use]
pub fn render(solved: &[&Question], question: &Question) -> String {
    let mut text = String::new();
    for example in solved {
        turns(&mut text, example);
        let _ = write!(text, "{}\n\n", example.reference.trim());
    }
    turns(&mut text, question);
    text.truncate(text.trim_end().len());
    text
}

/// Solved examples as earlier turns behind the question's own system message, then the question.
fn conversation(solved: &[&Question], question: &Question) -> Vec<Message> {
    let (system, turns): (Vec<_>, Vec<_>) = question
        .prompt
        .iter()
        .cloned()
        .partition(|message| message.role == "system");
    let examples = solved.iter().flat_map(|example| {
        let asked = example
            .prompt
            .iter()
            .filter(|message| message.role != "system");
        let answer = Message {
            role: "assistant".to_owned(),
            content: example.reference.clone(),
        };
        asked.cloned().chain([answer])
    });
    system.into_iter().chain(examples).chain(turns).collect()
}

/// The turns of a conversation up to the open answer.
fn turns(text: &mut String, question: &Question) {
    for message in &question.prompt {
        let content = message.content.trim();
        let _ = match message.role.as_str() {
            "user" => write!(text, "Question: {content}\nAnswer: "),
            "assistant" => writeln!(text, "{content}"),
            _ => write!(text, "{content}\n\n"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(turns: &[(&str, &str)], reference: &str) -> Question {
        let message = |(role, content): &(&str, &str)| Message {
            role: (*role).into(),
            content: (*content).into(),
        };
        Question {
            prompt: turns.iter().map(message).collect(),
            reference: reference.into(),
            ..Question::default()
        }
    }

    #[test]
    fn zero_shots() {
        assert_eq!(
            render(&[], &question(&[("user", "How deep?")], "30 m")),
            "Question: How deep?\nAnswer:"
        );
    }

    #[test]
    fn one_shot() {
        let solved = question(&[("user", "How much?")], "12 euros");
        let text = render(&[&solved], &question(&[("user", "How deep?")], "30 m"));
        assert_eq!(
            text,
            "Question: How much?\nAnswer: 12 euros\n\nQuestion: How deep?\nAnswer:"
        );
    }

    #[test]
    fn a_conversation_keeps_its_turns() {
        let asked = question(
            &[
                ("system", "Be brief."),
                ("user", "A?"),
                ("assistant", "B."),
                ("user", "C?"),
            ],
            "D.",
        );
        assert_eq!(
            render(&[], &asked),
            "Be brief.\n\nQuestion: A?\nAnswer: B.\nQuestion: C?\nAnswer:"
        );
    }

    #[test]
    fn examples_are_earlier_turns_of_a_chat() {
        let solved = question(&[("system", "Be long."), ("user", "How much?")], "12 euros");
        let asked = question(&[("system", "Be brief."), ("user", "How deep?")], "30 m");
        let turns = conversation(&[&solved], &asked);
        let told: Vec<_> = turns
            .iter()
            .map(|turn| (turn.role.as_str(), turn.content.as_str()))
            .collect();
        let expected = [
            ("system", "Be brief."),
            ("user", "How much?"),
            ("assistant", "12 euros"),
            ("user", "How deep?"),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn examples_are_distinct_and_repeatable() {
        let solved: Vec<Question> = (0..10)
            .map(|i| question(&[("user", "?")], &i.to_string()))
            .collect();
        let names = |seed| {
            draw(&solved, 10, Seed(seed))
                .iter()
                .map(|q| q.reference.clone())
                .collect::<Vec<_>>()
        };
        let mut sorted = names(1);
        assert_eq!(sorted, names(1));
        assert_ne!(sorted, names(2));
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), 10);
    }

    #[test]
    fn no_more_examples_than_there_are() {
        assert_eq!(draw(&[question(&[], "x")], 5, Seed(1)).len(), 1);
        assert!(draw(&[], 5, Seed(1)).is_empty());
    }
}
