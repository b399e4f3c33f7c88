//! `ontogeny models export`: a model for other programs.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use hub::Storage;
use serde_json::json;

use crate::context::Context;
use crate::display::Mark;
use crate::output::Output;
use crate::quantity;
use crate::refusal::Refusal;

/// What is to be written, and where.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// An artifact id or its unique prefix, a name, a folder, or a .gguf file
    model: String,
    /// safetensors: a folder for Python's transformers; gguf: a file for llama.cpp
    #[arg(long, value_enum)]
    format: Format,
    /// The folder or the .gguf file to write
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// How matrices are stored in a GGUF file; f16 by default
    #[arg(long, value_parser = PossibleValuesParser::new(Storage::names()))]
    quant: Option<String>,
    /// How values are stored in safetensors; f32 by default
    #[arg(long, value_parser = ["f32", "bf16", "f16"])]
    dtype: Option<String>,
    /// Replace what is there
    #[arg(long)]
    force: bool,
}

/// The layouts that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Safetensors,
    Gguf,
}

pub(crate) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let Arguments {
        model,
        format,
        out,
        quant,
        dtype,
        force,
    } = arguments;
    let (asked, other, default) = match format {
        Format::Gguf => (quant, dtype.as_ref().map(|_| ("--dtype", "--quant")), "f16"),
        Format::Safetensors => (dtype, quant.as_ref().map(|_| ("--quant", "--dtype")), "f32"),
    };
    if let Some((wrong, right)) = other {
        let said = format!("{wrong} does not belong to this format");
        return Err(Refusal::usage("usage", said)
            .hint(format!("say how values are stored with {right}"))
            .into());
    }
    let storage = Storage::named(asked.as_deref().unwrap_or(default)).unwrap_or(Storage::F32);
    let store = context.store()?;
    let (path, id) = hub::resolve(&store, model)?;
    check(*format, &path, out, *force, context)?;

    let display = context.display("export", &["export"]);
    display.mark("export", Mark::Running, "");
    let progress = display.progress();
    let exported = match format {
        Format::Safetensors => hub::export::to_folder(&path, out, storage, progress)?,
        Format::Gguf => hub::export::to_gguf(&path, &id, out, storage, progress)?,
    };
    display.mark(
        "export",
        Mark::Done,
        &quantity::bytes(exported.bytes as f64),
    );
    display.finish();
    let mut text = format!(
        "{} parameters in {}, {}",
        quantity::count(exported.parameters as u64),
        out.display(),
        quantity::bytes(exported.bytes as f64)
    );
    for note in &exported.notes {
        text += &format!("\nnote: {note}");
    }
    Ok(Output::new(
        text,
        json!({
            "model": id, "path": out, "parameters": exported.parameters, "bytes": exported.bytes,
            "stored": storage.name(), "notes": exported.notes,
        }),
    ))
}

/// Refuses to write over what is there, and ever over the model itself or an artifact.
fn check(
    format: Format,
    from: &Path,
    out: &Path,
    force: bool,
    context: &Context,
) -> Result<(), Refusal> {
    let shown = out.display();
    if format == Format::Gguf && out.is_dir() {
        let said = format!("{shown} is a folder, a GGUF model is one file");
        return Err(Refusal::usage("usage", said).hint("name a file, such as model.gguf"));
    }
    if format == Format::Safetensors && out.is_file() {
        let said = format!("{shown} is a file, a safetensors model is a folder");
        return Err(Refusal::usage("usage", said).hint("name a folder"));
    }
    if let Ok(place) = out.canonicalize() {
        let within = |folder: &Path| {
            let folder = folder.canonicalize();
            folder.is_ok_and(|folder| place.starts_with(folder))
        };
        if within(from) || within(&context.home.join("artifacts")) {
            let said = format!("{shown} belongs to a model that is kept");
            return Err(Refusal::usage("usage", said).hint("choose another --out"));
        }
    }
    let taken =
        out.is_file() || std::fs::read_dir(out).is_ok_and(|mut inside| inside.next().is_some());
    if taken && !force {
        let said = format!("{shown} is there already");
        return Err(
            Refusal::usage("usage", said).hint("choose another --out, or replace it with --force")
        );
    }
    Ok(())
}
