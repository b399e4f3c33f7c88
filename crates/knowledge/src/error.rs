//! Why texts could not be embedded.

/// The room's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What stood in the way.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model has no prompt of this name.
    #[error("the model has no prompt `{wanted}`; {}", known(prompts))]
    Prompt {
        /// What was asked for.
        wanted: String,
        /// The names of its prompts.
        prompts: Vec<String>,
    },
    /// Token ids that the model cannot read.
    #[error("the token ids of input {number} cannot be read: {problem}")]
    Ids {
        /// Which of the inputs, from 0.
        number: usize,
        /// What is wrong with them.
        problem: String,
    },
    /// The model's weights gave no numbers.
    #[error(
        "text {number} has a vector that holds no finite numbers; the model's weights are broken"
    )]
    NotFinite {
        /// Which of the texts, from 0.
        number: usize,
    },
    /// From the tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
}

fn known(prompts: &[String]) -> String {
    if prompts.is_empty() {
        "it comes without prompts".to_owned()
    } else {
        format!("it has {}", prompts.join(", "))
    }
}
