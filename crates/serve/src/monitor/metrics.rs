//! What Prometheus is told.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::loaded::{Model, Models};

/// Upper bounds of the times to the first token, in seconds: up to what a full queue takes.
const FIRST_TOKEN: [f64; 15] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0,
];
/// Upper bounds of the times between tokens, in seconds.
const BETWEEN_TOKENS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKey {
    model: String,
    key: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    model: String,
    key: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BlockState {
    model: String,
    state: &'static str,
}

type Histograms = Family<OfModel, Histogram, fn() -> Histogram>;
/// A metric of engines, and where its value stands.
type Asked<Metric, Value> = (Family<OfModel, Metric>, fn(&Facts) -> Value);

/// All that is counted. What engines count themselves is asked of them when somebody wants to know.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Route, Counter>,
    refused: Family<Reason, Counter>,
    answers: Family<Ended, Counter>,
    prompt_tokens: Family<OfKey, Counter>,
    generated_tokens: Family<OfKey, Counter>,
    first_token: Histograms,
    between_tokens: Histograms,
    ready: Gauge,
    gauges: [Asked<Gauge, usize>; 3],
    blocks: Family<BlockState, Gauge>,
    counters: [Asked<Counter, u64>; 8],
}

struct Facts {
    stats: infer::Stats,
    slots: usize,
}

/// What one answer counts with.
#[derive(Clone)]
pub(crate) struct Meters {
    pub(crate) prompt_tokens: Counter,
    pub(crate) generated_tokens: Counter,
    pub(crate) first_token: Histogram,
    pub(crate) between_tokens: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let first_token = || Histogram::new(FIRST_TOKEN);
        let between_tokens = || Histogram::new(BETWEEN_TOKENS);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("ontogeny"),
            requests: Family::default(),
            refused: Family::default(),
            answers: Family::default(),
            prompt_tokens: Family::default(),
            generated_tokens: Family::default(),
            first_token: Family::new_with_constructor(first_token),
            between_tokens: Family::new_with_constructor(between_tokens),
            ready: Gauge::default(),
            gauges: [
                (Family::default(), |facts| facts.stats.waiting),
                (Family::default(), |facts| facts.stats.running),
                (Family::default(), |facts| facts.slots),
            ],
            blocks: Family::default(),
            counters: [
                (Family::default(), |facts| facts.stats.blocks_evicted),
                (Family::default(), |facts| facts.stats.prompt_tokens),
                (Family::default(), |facts| facts.stats.prompt_tokens_shared),
                (Family::default(), |facts| facts.stats.passes),
                (Family::default(), |facts| facts.stats.tokens_guessed),
                (Family::default(), |facts| facts.stats.tokens_guessed_right),
                (Family::default(), |facts| facts.stats.set_back),
                (Family::default(), |facts| facts.stats.cancelled),
            ],
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let Metrics {
            registry,
            requests,
            refused,
            answers,
            prompt_tokens,
            generated_tokens,
            first_token,
            between_tokens,
            ready,
            gauges,
            blocks,
            counters,
        } = self;
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register(
            "refused",
            "Requests refused before they began",
            refused.clone(),
        );
        registry.register("answers", "Answers by how they ended", answers.clone());
        registry.register("prompt_tokens", "Tokens of prompts", prompt_tokens.clone());
        registry.register(
            "generated_tokens",
            "Tokens of answers",
            generated_tokens.clone(),
        );
        registry.register(
            "time_to_first_token_seconds",
            "From a request to its first token",
            first_token.clone(),
        );
        registry.register(
            "inter_token_seconds",
            "From a token to the next one",
            between_tokens.clone(),
        );
        registry.register("ready", "1 once the models are loaded", ready.clone());
        let named = [
            ("queue_length", "Requests that wait"),
            ("batch_sequences", "Answers under way"),
            ("batch_slots", "The most answers that can be under way"),
        ];
        for ((name, help), (family, _)) in named.into_iter().zip(gauges) {
            registry.register(name, help, family.clone());
        }
        registry.register("kv_blocks", "Blocks of keys and values", blocks.clone());
        let named = [
            ("kv_blocks_evicted", "Blocks forgotten for their place"),
            ("prefix_tokens_seen", "Tokens of prompts that began"),
            ("prefix_tokens_hit", "Those of them that were read already"),
            ("passes", "Passes through the model"),
            ("tokens_guessed", "Tokens guessed ahead"),
            ("tokens_guessed_right", "Those of them that were right"),
            ("set_back", "Answers that made room for earlier ones"),
            ("cancelled", "Requests whose client went away"),
        ];
        for ((name, help), (family, _)) in named.into_iter().zip(counters) {
            registry.register(name, help, family.clone());
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16) {
        let labels = Route {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// A request was not let in.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// An answer ended.
    pub(crate) fn ended(&self, model: &str, key: &str, outcome: &'static str) {
        let labels = Ended {
            model: model.to_owned(),
            key: key.to_owned(),
            outcome,
        };
        self.answers.get_or_create(&labels).inc();
    }

    /// What an answer of a model counts with.
    pub(crate) fn meters(&self, model: &str, key: &str) -> Meters {
        let of_key = OfKey {
            model: model.to_owned(),
            key: key.to_owned(),
        };
        let of_model = OfModel {
            model: model.to_owned(),
        };
        Meters {
            prompt_tokens: self.prompt_tokens.get_or_create(&of_key).clone(),
            generated_tokens: self.generated_tokens.get_or_create(&of_key).clone(),
            first_token: self.first_token.get_or_create(&of_model).clone(),
            between_tokens: self.between_tokens.get_or_create(&of_model).clone(),
        }
    }

    /// All of it as text, engines asked now.
    pub(crate) fn text(&self, models: &Models, ready: bool) -> Result<String, std::fmt::Error> {
        self.ready.set(i64::from(ready));
        for (family, _) in &self.gauges {
            family.clear();
        }
        self.blocks.clear();
        let mut told: Vec<Model> = Vec::new();
        for model in models.list() {
            // Adapters and their base are one engine, counted under the first of their names.
            if !told.iter().any(|one| one.engine.is_same(&model.engine)) {
                self.ask(&model, models.settings().sequences);
                told.push(model);
            }
        }
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    fn ask(&self, model: &Model, slots: usize) {
        let facts = Facts {
            stats: model.engine.stats(),
            slots,
        };
        let of_model = OfModel {
            model: model.name.clone(),
        };
        for (family, tell) in &self.gauges {
            family.get_or_create(&of_model).set(tell(&facts) as i64);
        }
        for (family, tell) in &self.counters {
            let counter = family.get_or_create(&of_model);
            // A model loaded anew under its name begins at zero, which Prometheus takes for a restart.
            counter.inner().store(tell(&facts), Ordering::Relaxed);
        }
        for (state, count) in [
            ("used", facts.stats.blocks_in_use),
            ("free", facts.stats.blocks_free),
            ("cached", facts.stats.blocks_cached),
        ] {
            let labels = BlockState {
                model: model.name.clone(),
                state,
            };
            self.blocks.get_or_create(&labels).set(count as i64);
        }
    }
}
