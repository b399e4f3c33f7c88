//! `models list`, `show` and `import`, and models of elsewhere as the base of a recipe.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::binary::{Ended, command, ended, run, tiny, untrained, word};
use crate::hub_server::{REVISION, Repository, Server, files_of};

/// The names of an object's fields.
fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn the_list_tells_what_is_here_and_what_could_be() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("reef");
    untrained(&folder, 1);
    run(home.path(), &["models", "import", word(&folder), "--json"]).ok();
    let list = run(home.path(), &["models", "list", "--json"]).ok();
    let names = json!({
        "": fields(&list), "models": fields(&list["models"][0]), "catalogue": fields(&list["catalogue"][0]),
        "machine": fields(&list["machine"]),
    });
    insta::assert_json_snapshot!("list_fields", names);
    let known = list["catalogue"].as_array().expect("a list");
    assert!(known.len() >= 25, "{}", known.len());
    let memory = list["machine"]["memory_bytes"].as_u64();
    let fitting = run(home.path(), &["models", "list", "--fits", "--json"]).ok();
    if let Some(memory) = memory {
        let expected = known.iter().filter(|one| {
            one["needed_bytes"]["q4"]
                .as_u64()
                .is_some_and(|needed| needed <= memory)
        });
        let expected: Vec<&Value> = expected.map(|one| &one["name"]).collect();
        let found = fitting["catalogue"].as_array().expect("a list").iter();
        assert_eq!(found.map(|one| &one["name"]).collect::<Vec<_>>(), expected);
    }
    let installed = run(home.path(), &["models", "list", "--installed", "--json"]).ok();
    assert_eq!(installed["catalogue"], json!([]));
    assert_eq!(installed["models"][0]["names"], json!(["reef"]));
    let text = run(home.path(), &["models", "list"]).stdout;
    assert!(
        text.contains("smollm2-135m-instruct") && text.contains("free now"),
        "{text}"
    );
}

#[test]
fn a_model_is_shown_rounded_and_exactly() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("reef");
    untrained(&folder, 1);
    std::fs::write(folder.join("README.md"), "---\nlicense: mit\n---\n").expect("written");
    let ended = run(home.path(), &["models", "show", word(&folder), "--tensors"]);
    let text = ended.stdout.replace(word(home.path()), "HOME");
    insta::assert_snapshot!("show_folder", text);
    let shown = run(home.path(), &["models", "show", word(&folder), "--json"]).ok();
    let names = json!({ "": fields(&shown), "memory": fields(&shown["memory"]) });
    insta::assert_json_snapshot!("show_fields", names);
    assert_eq!(shown["licence"]["name"], "mit");

    // What was imported is told with its history; a GGUF file by how it stores.
    let file = home.path().join("reef.gguf");
    let export = [
        "models",
        "export",
        word(&folder),
        "--format",
        "gguf",
        "--quant",
        "q8_0",
    ];
    let out = ["--out", word(&file), "--json"];
    run(home.path(), &[&export[..], &out].concat()).ok();
    let of_file = run(home.path(), &["models", "show", word(&file), "--json"]).ok();
    let weights = |shown: &Value| shown["memory"]["weight_bytes"].as_u64().expect("a number");
    assert!(weights(&of_file) < weights(&shown));
    assert_eq!(
        of_file["memory"]["bytes_per_token"],
        shown["memory"]["bytes_per_token"]
    );
    assert_eq!(of_file["chat_template"], shown["chat_template"]);
}

fn import(home: &Path, endpoint: &str, wanted: &str) -> Ended {
    let mut command = command(home, &["models", "import", wanted, "--json", "--quiet"]);
    command
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", home)
        .env_remove("HF_TOKEN");
    ended(command.output().expect("it starts"))
}

#[test]
fn a_model_of_the_hub_is_imported_with_its_revision() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("reef");
    untrained(&folder, 1);
    let server = Server::start(Repository {
        files: files_of(&folder),
        cuts: BTreeMap::from([("model.safetensors".to_owned(), vec![5000])]),
        ..Repository::default()
    });
    let imported = import(home.path(), &server.endpoint(), "hf:reef/small@main").ok();
    assert_eq!(imported["name"], "small");
    assert_eq!(imported["source"], "hf:reef/small");
    assert_eq!(imported["revision"], REVISION);
    let shown = run(home.path(), &["models", "show", "small", "--json"]).ok();
    assert_eq!(shown["metrics"]["revision"], REVISION);
    let generate = [
        "generate",
        "small",
        "The reef",
        "--max-tokens",
        "3",
        "--json",
    ];
    run(home.path(), &generate).ok();
    assert!(!home.path().join("downloads/reef--small").exists());
}

#[test]
fn what_cannot_be_imported() {
    let home = tempfile::tempdir().expect("a folder");
    let server = Server::start(Repository {
        gated: true,
        files: BTreeMap::from([
            ("config.json".to_owned(), b"{}".to_vec()),
            ("model.safetensors".to_owned(), b"{}".to_vec()),
        ]),
        ..Repository::default()
    });
    let endpoint = server.endpoint();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = nobody.local_addr().expect("bound").to_string();
    drop(nobody);
    let gone = format!("http://{address}");
    let told = [
        (&endpoint, "hf:reef/small"),
        (&endpoint, "hf:reef/nothing"),
        (&endpoint, "hf:reef/small@old"),
        (&endpoint, "hf:reef/small/model.gguf"),
        (&endpoint, "hf:"),
        (&endpoint, "nothing-of-this-name"),
        (&gone, "hf:reef/small"),
        // A name of the list is fetched from where the list says.
        (&gone, "smollm2-135m-instruct"),
    ]
    .map(|(endpoint, wanted)| {
        let ended = import(home.path(), endpoint, wanted);
        json!([wanted, ended.code, ended.json()["error"]])
    });
    let text = serde_json::to_string_pretty(&told).expect("JSON");
    let text = text.replace(&endpoint, "HUB").replace(&address, "NOBODY");
    insta::assert_snapshot!("refused_imports", text);
}

#[test]
fn a_folder_or_file_is_a_base() {
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("reef");
    untrained(&folder, 1);
    let file = home.path().join("reef.gguf");
    let export = [
        "models",
        "export",
        word(&folder),
        "--format",
        "gguf",
        "--quant",
        "q8_0",
    ];
    let out = ["--out", word(&file), "--json"];
    run(home.path(), &[&export[..], &out].concat()).ok();
    let rows = r#"{"prompt": "How deep is it?", "completion": "12 metres."}"#;
    let questions = home.path().join("questions.jsonl");
    std::fs::write(&questions, format!("{rows}\n").repeat(8)).expect("written");
    for base in [&folder, &file] {
        let tuned = [
            "finetune",
            word(&tiny()).to_owned().leak(),
            "--base",
            word(base),
        ];
        let given = ["--instructions", word(&questions), "--json"];
        let tuned = run(home.path(), &[&tuned[..], &given].concat()).ok();
        let shown = run(
            home.path(),
            &["lineage", tuned["model"].as_str().expect("an id"), "--json"],
        );
        shown.ok();
        // With the documents of the embedded world, by a recipe that lies beside its base.
        let recipe = home.path().join("mine.toml");
        let name = base.file_name().expect("a name").to_string_lossy();
        let text = std::fs::read_to_string(tiny()).expect("a recipe");
        let text = text.replace("[model]\n", &format!("[model]\nbase = {name:?}\n"));
        std::fs::write(&recipe, text).expect("written");
        let trained = ["pretrain", word(&recipe), "--json"];
        let set = [
            "--set",
            "pretrain.tokens=4096",
            "--set",
            "pretrain.validations=1",
        ];
        run(home.path(), &[&trained[..], &set].concat()).ok();
    }
}
