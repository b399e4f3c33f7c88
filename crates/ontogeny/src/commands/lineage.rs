//! `ontogeny lineage`: from an answer or an artifact back to the documents, and forward to what was made of it.

use artifact::Store;
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
  ontogeny lineage chatcmpl-1b2c…       an answer that was served
  ontogeny lineage 9e41…                a document, by its full id: which filter dropped it, and which models read it")]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, or the id of a served answer or a document
    id: String,
}

/// Answers listed below a model.
const ANSWERS: usize = 5;

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let path = feedback::path(&context.home);
    let answers = if path.is_file() {
        Some(feedback::Store::open(&path)?)
    } else {
        None
    };
    let answer = match &answers {
        Some(answers) => answers.answer(&arguments.id, 0)?,
        None => None,
    };
    let wanted = answer
        .as_ref()
        .map_or(arguments.id.as_str(), |answer| answer.model.as_str());
    let root = match store.get(wanted) {
        Ok(root) => root,
        Err(error) => match document(wanted, &store)? {
            Some(output) => return Ok(output),
            None => return Err(error.into()),
        },
    };
    let lineage = trace(&store, &root.id)?;
    let given = match &answers {
        Some(answers) if root.manifest.kind == "model" => answers.answers_of(root.id.as_str())?,
        _ => Vec::new(),
    };
    let mut text = String::new();
    if let Some(answer) = &answer {
        let prompt = answer
            .prompt
            .as_ref()
            .map(serde_json::to_string)
            .transpose()?;
        text.push_str(&format!("answer {}\n", answer.id));
        text.push_str(&format!(
            "  asked     {}\n",
            prompt.as_deref().unwrap_or("(not kept)")
        ));
        text.push_str(&format!(
            "  answered  {}\n",
            answer.text.as_deref().unwrap_or("(not kept)")
        ));
        if let Some(rating) = answers
            .as_ref()
            .map(|answers| answers.rating(&answer.id, 0))
            .transpose()?
            .flatten()
        {
            let correction = rating
                .correction
                .map(|correction| format!(", corrected to {correction:?}"))
                .unwrap_or_default();
            text.push_str(&format!(
                "  rated     {}{correction}\n",
                rating.rating.name()
            ));
        }
        text.push_str(&format!("  by model  {}\n\n", root.id.short()));
    }
    text.push_str(lineage.to_string().trim_end());
    if answer.is_none() && !given.is_empty() {
        text.push_str(&format!("\nanswers it gave: {}", given.len()));
        for one in given.iter().rev().take(ANSWERS) {
            let words: String = one
                .text
                .as_deref()
                .unwrap_or("(text not kept)")
                .chars()
                .take(80)
                .collect();
            text.push_str(&format!("\n  {}  {}", one.id, words.replace('\n', " ")));
        }
    }
    let json = json!({ "answer": answer, "lineage": lineage, "answers": given.len() });
    Ok(Output::new(text, json))
}

/// Characters shown of a document.
const SHOWN: usize = 300;

/// What became of the document with this id, in every corpus of the store; `None` where no corpus read it.
fn document(id: &str, store: &Store) -> anyhow::Result<Option<Output>> {
    let mut lines = Vec::new();
    let mut fates = Vec::new();
    for corpus in store
        .list()?
        .into_iter()
        .filter(|artifact| artifact.manifest.kind == "corpus")
    {
        let kept = data::corpus::documents(&corpus)?
            .find(|row| row.as_ref().is_ok_and(|(document, _)| document.id == id));
        let (document, fate, json) = if let Some(row) = kept {
            let (document, split) = row?;
            let split = split.name();
            (
                document,
                format!("kept, in the {split} split"),
                json!({ "corpus": corpus.id, "kept": true, "split": split }),
            )
        } else {
            let lost = data::corpus::dropped(&corpus)?
                .find(|row| row.as_ref().is_ok_and(|lost| lost.document.id == id));
            let Some(row) = lost else { continue };
            let lost = row?;
            let json = json!({ "corpus": corpus.id, "kept": false, "step": lost.step, "reason": lost.reason });
            (
                lost.document,
                format!("dropped by {}: {}", lost.step, lost.reason),
                json,
            )
        };
        if lines.is_empty() {
            let text: String = document.text.chars().take(SHOWN).collect();
            lines.push(format!(
                "document {id}\n  from  {}\n  text  {}",
                document.source,
                text.replace('\n', "\n        ")
            ));
        }
        lines.push(format!("corpus {}: {fate}", corpus.id.short()));
        if json["kept"] == true {
            lines.push(trace(store, &corpus.id)?.to_string().trim_end().to_owned());
        }
        fates.push(json);
    }
    Ok((!lines.is_empty()).then(|| {
        Output::new(
            lines.join("\n"),
            json!({ "document": id, "corpora": fates }),
        )
    }))
}
