//! `ontogeny scope`: what a run would cost, before it costs anything.

use clap::Args;

use super::run::Given;
use crate::context::Context;
use crate::display::Mark;
use crate::output::Output;
use crate::plan;
use crate::recipe::Choice;

/// The plan only: parameters, tokens, FLOPs, memory, disk and minutes, for the chosen size and its neighbours
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ontogeny scope
  ontogeny scope --set model.depth=8
  ontogeny scope recipes/own-documents.toml --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    given: Given,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let recipe = arguments.choice.resolve(arguments.given.layer())?;
    let store = context.store()?;
    let display = context.display("scope", &["scope"]);
    display.mark("scope", Mark::Running, "");
    let plans = plan::neighbours(&recipe, &store, context, display.progress())?;
    display.mark("scope", Mark::Done, "");
    display.finish();
    Ok(Output::new(plans.to_text(&recipe), plans.to_json(&recipe)))
}
