//! `ontogeny lineage`: from an answer or an artifact back to the documents, and forward to what was made of it.

use artifact::lineage::trace;
use clap::Args;
use serde_json::json;
use serve::feedback;

use crate::context::Context;
use crate::output::Output;

/// The chain from an answer or an artifact back to the documents, and forward to what was made of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny lineage quickstart           a model by its name
  ontogeny lineage 3f2a                 any artifact by the start of its id
  ontogeny lineage chatcmpl-1b2c…       an answer that was served")]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, or the id of a served answer
    id: String,
}

/// Answers listed below a model.
const ANSWERS: usize = 5;

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let path = feedback::path(&context.home);
    let answers = if path.is_file() { Some(feedback::Store::open(&path)?) } else { None };
    let answer = match &answers {
        Some(answers) => answers.answer(&arguments.id, 0)?,
        None => None,
    };
    let wanted = answer.as_ref().map_or(arguments.id.as_str(), |answer| answer.model.as_str());
    let root = store.get(wanted)?;
    let lineage = trace(&store, &root.id)?;
    let given = match &answers {
        Some(answers) if root.manifest.kind == "model" => answers.answers_of(root.id.as_str())?,
        _ => Vec::new(),
    };
    let mut text = String::new();
    if let Some(answer) = &answer {
        let prompt = answer.prompt.as_ref().map(|prompt| serde_json::to_string(prompt)).transpose()?;
        text.push_str(&format!("answer {}\n", answer.id));
        text.push_str(&format!("  asked     {}\n", prompt.as_deref().unwrap_or("(not kept)")));
        text.push_str(&format!("  answered  {}\n", answer.text.as_deref().unwrap_or("(not kept)")));
        if let Some(rating) = answers.as_ref().map(|answers| answers.rating(&answer.id, 0)).transpose()?.flatten() {
            let correction = rating.correction.map(|correction| format!(", corrected to {correction:?}")).unwrap_or_default();
            text.push_str(&format!("  rated     {}{correction}\n", rating.rating.name()));
        }
        text.push_str(&format!("  by model  {}\n\n", root.id.short()));
    }
    text.push_str(lineage.to_string().trim_end());
    if answer.is_none() && !given.is_empty() {
        text.push_str(&format!("\nanswers it gave: {}", given.len()));
        for one in given.iter().rev().take(ANSWERS) {
            let words: String = one.text.as_deref().unwrap_or("(text not kept)").chars().take(80).collect();
            text.push_str(&format!("\n  {}  {}", one.id, words.replace('\n', " ")));
        }
    }
    let json = json!({ "answer": answer, "lineage": lineage, "answers": given.len() });
    Ok(Output::new(text, json))
}
