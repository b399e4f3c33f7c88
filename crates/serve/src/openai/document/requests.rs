//! The bodies of requests, as the document describes them. The handlers read fields one by one, with OpenAI's words for
//! what is wrong; these types are never filled. A test sends what they describe.
#![expect(dead_code, reason = "the types describe bodies and are never filled")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// What is wrong with a request.
#[derive(ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorObject,
}

/// One error.
#[derive(ToSchema)]
pub(crate) struct ErrorObject {
    /// For people.
    message: String,
    /// Such as `invalid_request_error`.
    r#type: String,
    /// The field.
    param: Option<String>,
    /// For programs.
    code: Option<String>,
}

/// How tokens are chosen, and which form the answer has.
#[derive(ToSchema)]
pub(crate) struct Choosing {
    /// Divides the logits; 0 takes the likeliest token.
    #[schema(minimum = 0, maximum = 2, default = 1)]
    temperature: Option<f64>,
    /// Keeps the likeliest tokens with this much probability.
    #[schema(minimum = 0, maximum = 1, default = 1)]
    top_p: Option<f64>,
    /// Keeps so many of the likeliest tokens; -1 or 0 keeps all.
    #[schema(minimum = -1, default = 0)]
    top_k: Option<i64>,
    /// Keeps tokens with at least this share of the likeliest token's probability.
    #[schema(minimum = 0, maximum = 1, default = 0)]
    min_p: Option<f64>,
    /// Keeps the tokens closest to the expected information.
    #[schema(minimum = 0, maximum = 1, default = 1)]
    typical_p: Option<f64>,
    /// Taken from the logits of tokens that stand in the answer.
    #[schema(minimum = -2, maximum = 2, default = 0)]
    presence_penalty: Option<f64>,
    /// The same for each time that a token stands there.
    #[schema(minimum = -2, maximum = 2, default = 0)]
    frequency_penalty: Option<f64>,
    /// Divides the logits of tokens that stand in the prompt or the answer.
    #[schema(exclusive_minimum = 0, maximum = 100, default = 1)]
    repetition_penalty: Option<f64>,
    /// From token ids to what is added to their logits, -100 to 100.
    logit_bias: Option<BTreeMap<String, f64>>,
    /// Equal seeds give equal answers under equal fingerprints.
    seed: Option<i64>,
    /// How many answers.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<usize>,
    /// Texts that end the answer: one, or up to 16.
    #[schema(value_type = Option<OneOrMany>)]
    stop: Option<Value>,
    /// Tokens that end the answer, beside the usual ones.
    stop_token_ids: Option<Vec<u32>>,
    /// Lets the answer run on where the model would end it.
    #[schema(default = false)]
    ignore_eos: Option<bool>,
    /// Events as they come, instead of one object.
    #[schema(default = false)]
    stream: Option<bool>,
    /// With `stream` only.
    stream_options: Option<StreamOptions>,
    /// `{"type": "text"}`, `{"type": "json_object"}`, or `{"type": "json_schema", "json_schema": {"name", "schema"}}`.
    #[schema(value_type = Option<Object>)]
    response_format: Option<Value>,
    /// A JSON schema that the answer follows.
    #[schema(value_type = Option<Object>)]
    guided_json: Option<Value>,
    /// A regular expression that the answer matches.
    guided_regex: Option<String>,
    /// Texts of which the answer is one.
    guided_choice: Option<Vec<String>>,
    /// A grammar in Lark's notation that the answer follows.
    guided_grammar: Option<String>,
    /// The same under vLLM's newer names: `json`, `regex`, `choice`, `grammar`, `json_object`.
    #[schema(value_type = Option<Object>)]
    structured_outputs: Option<Value>,
    /// Whether the texts may be kept with the ratings.
    #[schema(default = true)]
    store: Option<bool>,
}

/// One text or several.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What a stream tells beside the answer.
#[derive(ToSchema)]
pub(crate) struct StreamOptions {
    /// Ends with token counts.
    include_usage: Option<bool>,
}

/// `POST /v1/chat/completions`.
#[derive(ToSchema)]
pub(crate) struct ChatRequest {
    model: String,
    /// The conversation, the oldest message first.
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    /// The most tokens of an answer.
    #[schema(minimum = 1)]
    max_completion_tokens: Option<usize>,
    /// The older name of `max_completion_tokens`.
    #[schema(minimum = 1)]
    max_tokens: Option<usize>,
    /// Whether each token's log-probability is told.
    logprobs: Option<bool>,
    /// With `logprobs`: so many of the likeliest tokens beside each.
    #[schema(maximum = 20)]
    top_logprobs: Option<usize>,
    /// Functions that the model may call: `{"type": "function", "function": {"name", "description", "parameters"}}`.
    #[schema(value_type = Option<Vec<Object>>, max_items = 128)]
    tools: Option<Vec<Value>>,
    /// `auto`, `none`, `required`, or `{"type": "function", "function": {"name"}}`.
    tool_choice: Option<Value>,
    /// Whether one answer may hold several calls.
    #[schema(default = true)]
    parallel_tool_calls: Option<bool>,
    #[schema(inline)]
    #[serde(flatten)]
    choosing: Choosing,
}

/// One message.
#[derive(ToSchema)]
pub(crate) struct ChatMessage {
    role: ChatRole,
    /// A text, or text parts `{"type": "text", "text"}`. May be missing where the assistant calls tools.
    content: Option<Value>,
    /// What the assistant called.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<Vec<Value>>,
    /// Which call a tool's message answers.
    tool_call_id: Option<String>,
}

/// Who speaks.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum ChatRole {
    /// Rules for the conversation.
    System,
    /// The same.
    Developer,
    /// Who asks.
    User,
    /// The model.
    Assistant,
    /// A call's result.
    Tool,
}

/// `POST /v1/completions`.
#[derive(ToSchema)]
pub(crate) struct CompletionRequest {
    model: String,
    /// A text, texts, token ids, or lists of token ids.
    prompt: Value,
    /// The most tokens of an answer.
    #[schema(default = 16)]
    max_tokens: Option<usize>,
    /// Tells log-probabilities, with so many of the likeliest tokens beside each.
    #[schema(maximum = 5)]
    logprobs: Option<usize>,
    /// Gives the prompt back before its continuation.
    #[schema(default = false)]
    echo: Option<bool>,
    /// What follows the gap to fill, for models that can.
    suffix: Option<String>,
    /// Makes so many answers and tells the likeliest `n`.
    #[schema(minimum = 1, maximum = 128)]
    best_of: Option<usize>,
    #[schema(inline)]
    #[serde(flatten)]
    choosing: Choosing,
}

/// `POST /v1/responses`.
#[derive(ToSchema)]
pub(crate) struct ResponseRequest {
    model: String,
    /// A text, or items: messages, `function_call`, `function_call_output`.
    input: Value,
    /// Rules for this response, set before the conversation.
    instructions: Option<String>,
    /// The response that this one goes on from.
    previous_response_id: Option<String>,
    /// The most tokens of the answer.
    #[schema(minimum = 1)]
    max_output_tokens: Option<usize>,
    /// `{"format": {"type": "text" | "json_object"}}` or `{"format": {"type": "json_schema", "name", "schema"}}`.
    #[schema(value_type = Option<Object>)]
    text: Option<Value>,
    /// Functions that the model may call: `{"type": "function", "name", "description", "parameters"}`.
    #[schema(value_type = Option<Vec<Object>>, max_items = 128)]
    tools: Option<Vec<Value>>,
    /// `auto`, `none`, `required`, or `{"type": "function", "name"}`.
    tool_choice: Option<Value>,
    /// Whether one answer may hold several calls.
    #[schema(default = true)]
    parallel_tool_calls: Option<bool>,
    /// Divides the logits; 0 takes the likeliest token.
    #[schema(minimum = 0, maximum = 2, default = 1)]
    temperature: Option<f64>,
    /// Keeps the likeliest tokens with this much probability.
    #[schema(minimum = 0, maximum = 1, default = 1)]
    top_p: Option<f64>,
    /// `auto` drops the oldest messages of a conversation that is too long; `disabled` refuses it.
    truncation: Option<String>,
    /// Events as they come, instead of one object.
    #[schema(default = false)]
    stream: Option<bool>,
    /// Whether the response is kept, to be read again or gone on from.
    #[schema(default = true)]
    store: Option<bool>,
    /// Given back as it is.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

/// `POST /v1/embeddings`.
#[derive(ToSchema)]
pub(crate) struct EmbeddingRequest {
    /// An encoder.
    model: String,
    /// A text, up to 2,048 texts, token ids, or lists of token ids.
    input: Value,
    /// `float` or `base64` (little-endian f32).
    #[schema(default = "float")]
    encoding_format: Option<String>,
    /// Shortens each vector to its first numbers, brought to length one.
    #[schema(minimum = 1)]
    dimensions: Option<usize>,
    /// Which of the model's prompts is set before each text.
    prompt_name: Option<String>,
    /// Has inputs cut that are longer than the model reads.
    #[schema(minimum = -1)]
    truncate_prompt_tokens: Option<i64>,
}

/// `POST /tokenize`.
#[derive(ToSchema)]
pub(crate) struct TokenizeRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    /// A text; or else `messages`.
    prompt: Option<String>,
    /// A conversation; or else `prompt`.
    messages: Option<Vec<ChatMessage>>,
    /// Whether the tokens' texts are told too.
    #[schema(default = false)]
    return_token_strs: Option<bool>,
}

/// `POST /detokenize`.
#[derive(ToSchema)]
pub(crate) struct DetokenizeRequest {
    /// May be left out where one model is served.
    model: Option<String>,
    tokens: Vec<u32>,
}
