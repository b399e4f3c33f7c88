//! Runs the choices of one request on an engine and hands their deltas, in the order they come, to whoever answers.
//!
//! The consumer going away (a client that hung up) cancels what is still running. Whole answers, and the part of a
//! cancelled one that was made, are stored before the consumer learns that they are finished: an answer that a client
//! has can be rated.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use infer::{Delta, Engine, FinishReason, Request, TokenLogprob};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::ApiError;
use crate::feedback::{Answer, Prompt, Store};
use crate::guard::Ticket;
use crate::monitor::{self, Metered};

/// How often a forwarder without news looks whether anybody still listens.
const ATTENTION: Duration = Duration::from_millis(50);

/// The finish reason under which an answer is stored whose client went away.
const CANCELLED: &str = "cancelled";

/// One token of one choice.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) text: String,
    pub(crate) logprob: f32,
    pub(crate) top: Vec<(u32, f32)>,
}

/// What happens to a choice.
pub(crate) enum Event {
    /// What the model says of the prompt's tokens from the second on; comes first, where it was asked for.
    Prompt(Vec<TokenLogprob>),
    Token(Token),
    /// The end, with text that was held back until it was known not to begin a stop string.
    Finished {
        reason: &'static str,
        rest: String,
        prompt_tokens: usize,
        completion_tokens: usize,
    },
    Failed(ApiError),
}

/// What is stored about each choice once it is finished.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) store: Store,
    /// One prompt for each `choices_per_prompt` choices; empty when text is not kept.
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) choices_per_prompt: usize,
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) created_unix: u64,
    pub(crate) sampling: Value,
}

/// The events of all choices of one request. Dropping it cancels them.
pub(crate) type Events = UnboundedReceiver<(usize, Event)>;

/// Submits `requests`, one a choice, and returns their events; `form` is the field that asked for their grammar.
///
/// # Errors
/// When the engine refuses one of them at once, so that the refusal has a status of its own even where the answer
/// would be a stream.
pub(crate) async fn start(
    engine: &Engine,
    requests: Vec<Request>,
    form: Option<&str>,
    record: Option<Record>,
) -> Result<Events, ApiError> {
    let (raw, deltas) = unbounded_channel();
    let transcripts = requests
        .iter()
        .map(|request| Transcript {
            prompt_tokens: request.prompt.len(),
            ..Transcript::default()
        })
        .collect();
    let (engine, ticket) = (engine.clone(), Ticket::current());
    // A grammar is compiled as it is handed in, which would hold up other requests on this thread.
    let submitted = tokio::task::spawn_blocking(move || {
        let answers = requests
            .into_iter()
            .map(|request| monitor::submit(ticket.clone(), &engine, request));
        answers.collect::<Result<Vec<_>, _>>()
    });
    let submitted = submitted.await.map_err(|error| {
        tracing::error!(%error, "handing a request to the engine panicked");
        ApiError::internal()
    })?;
    let answers = submitted.map_err(|error| match (&error, form) {
        (infer::Error::Grammar { .. }, Some(param)) => ApiError::field(
            param,
            "invalid_value",
            format!("Invalid '{param}': {error}."),
        ),
        _ => refusal(&error),
    })?;
    for (choice, answer) in answers.into_iter().enumerate() {
        let raw = raw.clone();
        tokio::task::spawn_blocking(move || forward(choice, answer, &raw));
    }
    drop(raw);
    let (events, listener) = unbounded_channel();
    tokio::spawn(narrate(deltas, events, transcripts, record));
    Ok(listener)
}

/// Carries one choice's deltas from the engine's channel to the asynchronous side.
fn forward(choice: usize, mut deltas: Metered, raw: &UnboundedSender<(usize, Delta)>) {
    loop {
        match deltas.recv_timeout(ATTENTION) {
            Ok(delta) => {
                if raw.send((choice, delta)).is_err() {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) if raw.is_closed() => return,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What one choice has come to so far.
#[derive(Default)]
struct Transcript {
    text: String,
    prompt_tokens: usize,
    completion_tokens: usize,
    ended: bool,
}

/// Follows all choices to their end, storing each before its end is told.
async fn narrate(
    mut deltas: UnboundedReceiver<(usize, Delta)>,
    events: UnboundedSender<(usize, Event)>,
    mut transcripts: Vec<Transcript>,
    record: Option<Record>,
) {
    loop {
        let (choice, delta) = tokio::select! {
            delta = deltas.recv() => match delta {
                Some(delta) => delta,
                None => break,
            },
            () = events.closed() => break,
        };
        let transcript = &mut transcripts[choice];
        let event = match delta {
            Delta::Token {
                id,
                text,
                logprob,
                top,
            } => {
                transcript.text.push_str(&text);
                transcript.completion_tokens += 1;
                Event::Token(Token {
                    id,
                    text,
                    logprob,
                    top,
                })
            }
            Delta::Prompt { logprobs } => Event::Prompt(logprobs),
            Delta::Done {
                finish_reason,
                text,
                prompt_tokens,
                completion_tokens,
            } => {
                transcript.ended = true;
                transcript.text.push_str(&text);
                transcript.completion_tokens = completion_tokens;
                let reason = match finish_reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                };
                keep(record.as_ref(), choice, transcript, reason).await;
                Event::Finished {
                    reason,
                    rest: text,
                    prompt_tokens,
                    completion_tokens,
                }
            }
            Delta::Error(error) => {
                transcript.ended = true;
                Event::Failed(refusal(&error))
            }
        };
        if events.send((choice, event)).is_err() {
            break;
        }
    }
    // Forwarders that find their channel closed drop the engine's receivers, which cancels.
    deltas.close();
    for (choice, transcript) in transcripts
        .iter()
        .enumerate()
        .filter(|(_, transcript)| !transcript.ended)
    {
        if events.is_closed() {
            keep(record.as_ref(), choice, transcript, CANCELLED).await;
        } else {
            tracing::error!(choice, "the engine ended without finishing the answer");
            let _ = events.send((choice, Event::Failed(ApiError::internal())));
        }
    }
}

/// What a client is told of an engine's error. What its request cannot have caused goes to the log instead.
fn refusal(error: &infer::Error) -> ApiError {
    match error {
        infer::Error::Stopped(_) | infer::Error::Interrupted => {
            tracing::error!(%error, "the engine failed");
            ApiError::internal()
        }
        infer::Error::Overloaded { retry_after, .. } => ApiError::overloaded(error, *retry_after),
        infer::Error::Expired { .. } => ApiError::overloaded(error, Duration::from_secs(1)),
        error => ApiError::refused(error),
    }
}

/// Stores one choice. A store that fails costs the rating, not the answer.
async fn keep(
    record: Option<&Record>,
    choice: usize,
    transcript: &Transcript,
    finish_reason: &str,
) {
    let Some(record) = record else { return };
    let prompt = record
        .prompts
        .get(choice / record.choices_per_prompt)
        .cloned();
    let answer = Answer {
        id: record.id.clone(),
        choice,
        model: record.model.clone(),
        created_unix: record.created_unix,
        text: prompt.is_some().then(|| transcript.text.clone()),
        prompt,
        sampling: record.sampling.clone(),
        finish_reason: finish_reason.to_owned(),
        prompt_tokens: transcript.prompt_tokens,
        completion_tokens: transcript.completion_tokens,
    };
    let store = record.store.clone();
    match tokio::task::spawn_blocking(move || store.record(&answer)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, id = record.id, "an answer could not be stored"),
        Err(error) => tracing::error!(%error, id = record.id, "storing an answer panicked"),
    }
}

/// One choice, whole.
#[derive(Default)]
pub(crate) struct Whole {
    /// What the model says of the prompt's tokens from the second on.
    pub(crate) prompt: Vec<TokenLogprob>,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) finish_reason: &'static str,
    pub(crate) prompt_tokens: usize,
    pub(crate) completion_tokens: usize,
}

/// Waits for all choices.
pub(crate) async fn collect(mut events: Events, choices: usize) -> Result<Vec<Whole>, ApiError> {
    let mut wholes: Vec<Whole> = (0..choices).map(|_| Whole::default()).collect();
    while let Some((choice, event)) = events.recv().await {
        match event {
            Event::Prompt(logprobs) => wholes[choice].prompt = logprobs,
            Event::Token(token) => {
                wholes[choice].text.push_str(&token.text);
                wholes[choice].tokens.push(token);
            }
            Event::Finished {
                reason,
                rest,
                prompt_tokens,
                completion_tokens,
            } => {
                wholes[choice].text.push_str(&rest);
                wholes[choice].finish_reason = reason;
                wholes[choice].prompt_tokens = prompt_tokens;
                wholes[choice].completion_tokens = completion_tokens;
            }
            Event::Failed(error) => return Err(error),
        }
    }
    Ok(wholes)
}

/// Token counts, as a response carries them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: usize,
    pub(crate) completion: usize,
}

impl Usage {
    pub(crate) fn json(self) -> Value {
        serde_json::json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        })
    }
}
