//! An engine's answer on its way to a client: counted, timed, charged to its key and logged.

use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use infer::{Answer, Delta, Engine, Error, FinishReason, Request};
use tracing::Span;

use super::metrics::Meters;
use crate::guard::Ticket;

/// An answer under way. Dropping it cancels what is still to come.
pub(crate) struct Metered {
    answer: Answer,
    /// What came before anybody asked for it.
    first: Option<Delta>,
    count: Option<Count>,
}

/// Hands a request to an engine on behalf of whoever sent it; what the engine refuses at once comes back.
pub(crate) fn submit(
    ticket: Option<Ticket>,
    engine: &Engine,
    mut request: Request,
) -> Result<Metered, Error> {
    let mut count = ticket.map(|ticket| {
        request.key = Some(ticket.party().to_owned());
        request.deadline = ticket.deadline();
        Count::new(ticket, engine, &request)
    });
    let answer = engine.submit(request);
    let first = match answer.try_recv() {
        Ok(Delta::Error(error)) => {
            if let Some(count) = &mut count {
                count.refuse(&error);
            }
            return Err(error);
        }
        Ok(delta) => Some(delta),
        Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
    };
    Ok(Metered {
        answer,
        first,
        count,
    })
}

impl Metered {
    /// The next delta, if it comes in time.
    pub(crate) fn recv_timeout(&mut self, patience: Duration) -> Result<Delta, RecvTimeoutError> {
        let delta = match self.first.take() {
            Some(delta) => delta,
            None => self.answer.recv_timeout(patience)?,
        };
        if let Some(count) = &mut self.count {
            count.see(&delta);
        }
        Ok(delta)
    }
}

/// What is known of an answer so far.
struct Count {
    ticket: Ticket,
    meters: Meters,
    model: String,
    prompt: usize,
    made: usize,
    began: Instant,
    first_token: Option<Duration>,
    latest: Instant,
    /// How it ended; `None` as long as it did not.
    outcome: Option<&'static str>,
    span: Span,
    /// What was asked and said, where the log is to have it.
    text: Option<(String, String)>,
}

impl Count {
    fn new(ticket: Ticket, engine: &Engine, request: &Request) -> Count {
        let models = ticket.models();
        let model = models
            .name_of(engine)
            .unwrap_or_else(|| engine.model_id().to_owned());
        let text = ticket.logs_prompts().then(|| {
            let prompt = engine.tokenizer().decode(&request.prompt);
            (prompt.unwrap_or_default(), String::new())
        });
        let began = Instant::now();
        Count {
            meters: ticket.metrics().meters(&model, ticket.key()),
            ticket,
            model,
            prompt: request.prompt.len(),
            made: 0,
            began,
            first_token: None,
            latest: began,
            outcome: None,
            span: Span::current(),
            text,
        }
    }

    fn see(&mut self, delta: &Delta) {
        match delta {
            Delta::Prompt { .. } => self.begin(),
            Delta::Token { text, .. } => {
                let now = Instant::now();
                self.begin();
                if self.made == 0 {
                    let waited = now - self.began;
                    self.meters.first_token.observe(waited.as_secs_f64());
                    self.first_token = Some(waited);
                } else {
                    let waited = (now - self.latest).as_secs_f64();
                    self.meters.between_tokens.observe(waited);
                }
                self.latest = now;
                self.made += 1;
                self.meters.generated_tokens.inc();
                self.ticket.charge(1);
                self.say(text);
            }
            Delta::Done {
                finish_reason,
                text,
                ..
            } => {
                self.begin();
                self.say(text);
                self.outcome = Some(match finish_reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                });
            }
            Delta::Error(error) => self.refuse(error),
        }
    }

    /// The prompt was read.
    fn begin(&mut self) {
        let prompt = std::mem::take(&mut self.prompt);
        if prompt > 0 {
            self.meters.prompt_tokens.inc_by(prompt as u64);
            self.ticket.charge(prompt);
        }
    }

    fn say(&mut self, piece: &str) {
        if let Some((_, answer)) = &mut self.text {
            answer.push_str(piece);
        }
    }

    fn refuse(&mut self, error: &Error) {
        let reason = match error {
            Error::Overloaded { .. } => "queue_full",
            Error::Expired { .. } => "expired",
            Error::Stopped(_) | Error::Interrupted => {
                self.outcome = Some("failed");
                return;
            }
            _ => "invalid",
        };
        self.ticket.metrics().refused(reason);
        self.outcome = Some("refused");
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or("cancelled");
        let (model, key) = (&*self.model, self.ticket.key());
        self.ticket.metrics().ended(model, key, outcome);
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        self.span.in_scope(|| {
            tracing::info!(
                model,
                key,
                outcome,
                generated_tokens = self.made,
                first_token_milliseconds = self.first_token.map(milliseconds),
                milliseconds = milliseconds(self.began.elapsed()),
                "generated"
            );
            if let Some((prompt, answer)) = &self.text {
                tracing::info!(prompt, answer, "said");
            }
        });
    }
}
