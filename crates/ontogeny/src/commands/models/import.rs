//! `ontogeny models import`: a folder, a file, or a model of the hub into the store.

use std::path::{Path, PathBuf};

use clap::Args;
use hub::catalogue;
use hub::fetch::{Fetched, Hub, Source};
use serde_json::json;

use crate::context::Context;
use crate::display::{Display, Mark};
use crate::output::Output;
use crate::quantity;
use crate::refusal::Refusal;

/// What `--help` adds.
pub(super) const HELP: &str = "\
A folder as Hugging Face has it (config.json, safetensors, tokenizer.json), a .gguf file, hf:ORG/NAME,
hf:ORG/NAME@REVISION, hf:ORG/NAME/FILE.gguf, or a name of `ontogeny models list`.
Families: llama, mistral, qwen2, qwen3, phi3, gemma3, gpt2. LoRA adapters as PEFT writes them, with
--base.

From the hub only what is needed is fetched, checked by the hub's checksums; a download that broke off
goes on with the same command. HF_ENDPOINT names a mirror, HF_TOKEN an account for gated models.

Examples:
  ontogeny models import smollm2-135m-instruct
  ontogeny models import hf:Qwen/Qwen3-0.6B --name qwen
  ontogeny models import SmolLM2-135M-Instruct.Q4_1.gguf --name smollm2
  ontogeny models import ./Qwen3-0.6B
  ontogeny models import ./peft-folder --base smollm2 --name shop";

/// The arguments.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder, the .gguf file, hf:ORG/NAME, or a name of the list
    path: PathBuf,
    /// A name for it; that of the folder, file or model when left out
    #[arg(long)]
    name: Option<String>,
    /// The model that an adapter was trained on
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
}

/// Where the model is.
enum Place {
    Here(PathBuf),
    Hub(Source, String),
}

impl Place {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let text = path.to_string_lossy();
        if let Some(source) = Source::parse(&text) {
            let source = source.map_err(|error| Refusal::usage("path", error.to_string()))?;
            let name = source.name();
            return Ok(Self::Hub(source, name));
        }
        if path.exists() {
            return Ok(Self::Here(path.to_owned()));
        }
        if let Some(known) = catalogue::find(&text)
            && let Some(source) = Source::parse(&known.source)
        {
            return Ok(Self::Hub(source?, known.name.clone()));
        }
        let said = format!("there is no {}", path.display());
        Err(Refusal::usage("path", said)
            .hint(
                "name a folder with a config.json, a .gguf file, hf:ORG/NAME, or a model of `ontogeny models list`",
            )
            .into())
    }
}

pub(super) fn execute(arguments: &Arguments, context: &Context) -> anyhow::Result<Output> {
    let store = context.store()?;
    let place = Place::of(&arguments.path)?;
    let stages: &[&str] = match place {
        Place::Here(_) => &["import"],
        Place::Hub(..) => &["fetch", "import"],
    };
    let display = context.display("models import", stages);
    let (path, name, fetched) = match place {
        Place::Here(path) => {
            let name = hub::model_name(&path);
            (path, name, None)
        }
        Place::Hub(source, name) => {
            let fetched = fetch(&source, &store, &display)?;
            (fetched.path.clone(), name, Some(fetched))
        }
    };
    display.mark("import", Mark::Running, "");
    let base = match &arguments.base {
        Some(base) => {
            let (_, id) = hub::resolve(&store, base)?;
            Some(store.get(&id)?)
        }
        None => None,
    };
    let artifact = hub::import(&store, &path, base.as_ref(), display.progress())?;
    let name = arguments.name.clone().unwrap_or(name);
    store.set_ref(&name, &artifact.id)?;
    let origin = fetched.as_ref().map(|fetched| fetched.origin.clone());
    if let Some(fetched) = fetched {
        fetched.discard()?;
    }
    let parameters = hub::read_architecture(&artifact.path)?.parameters();
    let remark = format!("{} parameters", quantity::short(parameters as f64));
    display.mark("import", Mark::Done, &remark);
    display.finish();
    Ok(Output::new(
        format!("{name}: {}, {remark}", artifact.id.short()),
        json!({
            "model": artifact.id, "name": name, "path": artifact.path, "parameters": parameters,
            "source": origin.as_ref().map(|origin| &origin.source),
            "revision": origin.as_ref().map(|origin| &origin.revision),
        }),
    ))
}

fn fetch(source: &Source, store: &artifact::Store, display: &Display) -> anyhow::Result<Fetched> {
    display.mark("fetch", Mark::Running, "");
    let fetched = Hub::from_env()?.fetch(store, source, display.progress())?;
    let short = &fetched.origin.revision[..fetched.origin.revision.len().min(8)];
    display.mark("fetch", Mark::Done, &format!("revision {short}"));
    Ok(fetched)
}
