//! The handle to a running model.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use artifact::Progress;
use hub::LoadedModel;
use tokenizer::Tokenizer;

use crate::answer::Answer;
use crate::draft::Draft;
use crate::grammar::{Constraint, Grammars};
use crate::worker::{Job, Order, Shared, Worker};
use crate::{Adapter, Completion, Delta, Error, Request, Result, Settings, Stats, TokenLogprob};

/// A model on its own thread, answering any number of requests at once. Clones share it; the
/// thread ends with the last of them.
#[derive(Clone)]
pub struct Engine {
    jobs: Sender<Job>,
    facts: Arc<Facts>,
    adapter: Adapter,
    id: Arc<str>,
}

struct Facts {
    shared: Arc<Shared>,
    queue: usize,
    grammars: Grammars,
    tokenizer: Tokenizer,
    adapters: usize,
    context: usize,
    vocab_size: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the engine's thread, with the default settings.
    pub fn start(model: LoadedModel) -> Self {
        Self::with_settings(model, Settings::default())
    }

    /// Starts the engine's thread, with `slots` sequences that move on together.
    pub fn with_slots(model: LoadedModel, slots: usize) -> Self {
        let settings = Settings {
            sequences: slots,
            ..Settings::default()
        };
        Self::with_settings(model, settings)
    }

    /// Starts the engine's thread.
    pub fn with_settings(model: LoadedModel, settings: Settings) -> Self {
        Self::launch(model, None, settings)
    }

    /// The same with a smaller model beside it, which guesses what it will say: faster where the guesses are often right, and
    /// the same in every token.
    ///
    /// # Errors
    /// [`Error::Draft`] when the smaller model has other tokens or a shorter context.
    pub fn with_draft(model: LoadedModel, draft: LoadedModel, settings: Settings) -> Result<Self> {
        let draft = Draft::new(draft, &model)?;
        Ok(Self::launch(model, Some(draft), settings))
    }

    fn launch(model: LoadedModel, draft: Option<Draft>, settings: Settings) -> Self {
        let (jobs, inbox) = channel();
        let shared = Arc::new(Shared::default());
        let id = model.id.as_str().into();
        let config = model.decoder.config();
        let facts = Facts {
            shared: Arc::clone(&shared),
            queue: settings.queue.unwrap_or(usize::MAX),
            grammars: Grammars::default(),
            tokenizer: model.tokenizer.clone(),
            adapters: model.decoder.adapters(),
            context: config.context(),
            vocab_size: config.vocab_size,
        };
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || Worker::new(model, draft, settings, shared).run(&inbox))
            .expect("the system gives a thread to each model");
        Self {
            jobs,
            facts: Arc::new(facts),
            adapter: Adapter::Own,
            id,
        }
    }

    /// A handle to the same engine whose requests are answered with other adapters, under another id.
    ///
    /// # Panics
    /// When the model has no adapter of that number.
    #[must_use]
    pub fn with_adapter(&self, adapter: Adapter, id: &str) -> Self {
        if let Adapter::Number(number) = adapter {
            assert!(number < self.facts.adapters, "no adapter {number}");
        }
        Self {
            adapter,
            id: id.into(),
            ..self.clone()
        }
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.facts.tokenizer
    }

    /// The model's id.
    pub fn model_id(&self) -> &str {
        &self.id
    }

    /// Longest sequence in tokens, prompt and answer together.
    pub fn context(&self) -> usize {
        self.facts.context
    }

    /// Whether both handles are of one engine, whose statistics are counted once.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
    }

    /// What the engine was doing at the end of its latest pass.
    pub fn stats(&self) -> Stats {
        self.facts.shared.board.read()
    }

    /// Hands in a request; dropping the answer cancels it. What is wrong with the request, or that too many wait already,
    /// comes as the answer's [`Delta::Error`].
    pub fn submit(&self, mut request: Request) -> Answer {
        let (deltas, receiver) = channel();
        let (answer, listener) = Answer::new(receiver);
        request.adapter = self.adapter;
        let checked = self
            .check(&request.prompt)
            .and_then(|()| request.sampling.validate())
            .and_then(|()| self.constraint(&request))
            .and_then(|constraint| self.line_up().map(|()| constraint));
        match checked {
            Ok(constraint) => {
                // A closed inbox closes `deltas` too, which the receiver sees.
                drop(self.jobs.send(Job::Generate(Box::new(Order {
                    request,
                    constraint,
                    deltas,
                    listener,
                }))));
            }
            Err(error) => drop(deltas.send(Delta::Error(error))),
        }
        answer
    }

    /// Reads the request's grammar; here rather than on the engine's thread, where all would wait for it.
    fn constraint(&self, request: &Request) -> Result<Option<Constraint>> {
        let Facts {
            grammars,
            tokenizer,
            ..
        } = &*self.facts;
        let begin = |grammar| grammars.begin(grammar, tokenizer);
        request.grammar.as_ref().map(begin).transpose()
    }

    /// Counts one more request that waits.
    fn line_up(&self) -> Result<()> {
        let shared = &self.facts.shared;
        let waiting = shared.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting < self.facts.queue {
            return Ok(());
        }
        shared.waiting.fetch_sub(1, Ordering::Relaxed);
        Err(Error::Overloaded {
            waiting,
            retry_after: shared.board.retry_after(waiting),
        })
    }

    /// A prompt must leave room for an answer.
    fn check(&self, prompt: &[u32]) -> Result<()> {
        self.check_tokens(prompt, self.facts.context - 1)
    }

    fn check_tokens(&self, tokens: &[u32], longest: usize) -> Result<()> {
        let (context, vocab_size) = (self.facts.context, self.facts.vocab_size);
        if tokens.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if tokens.len() > longest {
            return Err(Error::ContextOverflow {
                prompt_tokens: tokens.len(),
                context,
            });
        }
        match tokens.iter().find(|&&id| id as usize >= vocab_size) {
            Some(&id) => Err(Error::TokenOutOfRange { id, vocab_size }),
            None => Ok(()),
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// When the request is wrong or the engine stopped.
    pub fn generate(&self, request: Request) -> Result<Completion> {
        let start = Instant::now();
        collect(&self.submit(request), start)
    }

    /// Answers many requests, batched; the answers are in the requests' order and what they say does not depend on the batching.
    ///
    /// # Errors
    /// With the first request that is wrong, or when interrupted.
    pub fn generate_all(
        &self,
        requests: Vec<Request>,
        progress: &Progress,
    ) -> Result<Vec<Completion>> {
        let total = requests.len() as u64;
        let start = Instant::now();
        let answers: Vec<_> = requests
            .into_iter()
            .map(|request| self.submit(request))
            .collect();
        let mut done = Vec::with_capacity(answers.len());
        for answer in answers {
            if progress.interrupted() {
                return Err(Error::Interrupted);
            }
            done.push(collect(&answer, start)?);
            progress.tick(done.len() as u64, Some(total), "answers");
        }
        Ok(done)
    }

    /// The log-probability of each token of a continuation behind its prompt.
    ///
    /// # Errors
    /// When a prompt is empty, a sequence exceeds the context, or an id the vocabulary.
    pub fn score(&self, sequences: &[(Vec<u32>, Vec<u32>)]) -> Result<Vec<Vec<f32>>> {
        for (prompt, continuation) in sequences {
            if prompt.is_empty() {
                return Err(Error::EmptyPrompt);
            }
            // The last token is only predicted, so a sequence may exceed the context by one.
            self.check_tokens(
                &[&prompt[..], continuation].concat(),
                self.facts.context + 1,
            )?;
        }
        let (scores, answer) = channel();
        drop(
            self.jobs
                .send(Job::Score(sequences.to_vec(), self.adapter, scores)),
        );
        answer
            .recv()
            .map_err(|_| Error::Stopped("its thread ended".to_owned()))
    }
}

fn collect(deltas: &Answer, start: Instant) -> Result<Completion> {
    let (mut text, mut ids, mut logprobs) = (String::new(), Vec::new(), Vec::new());
    let (mut first_token, mut prompt_logprobs) = (None, Vec::new());
    loop {
        match deltas.recv() {
            Ok(Delta::Token {
                id,
                text: piece,
                logprob,
                top,
            }) => {
                first_token.get_or_insert_with(Instant::now);
                text.push_str(&piece);
                ids.push(id);
                logprobs.push(TokenLogprob { id, logprob, top });
            }
            Ok(Delta::Prompt { logprobs }) => prompt_logprobs = logprobs,
            Ok(Delta::Done {
                finish_reason,
                text: rest,
                prompt_tokens,
                ..
            }) => {
                text.push_str(&rest);
                let first = first_token.unwrap_or_else(Instant::now);
                return Ok(Completion {
                    text,
                    ids,
                    logprobs,
                    prompt_logprobs,
                    finish_reason,
                    prompt_tokens,
                    first_token_seconds: (first - start).as_secs_f64(),
                    decode_seconds: first.elapsed().as_secs_f64(),
                });
            }
            Ok(Delta::Error(error)) => return Err(error),
            Err(_) => return Err(Error::Stopped("its thread ended".to_owned())),
        }
    }
}
