//! The recipes of the repository against the types: complete, documented, and what the binary embeds.

use std::path::Path;

use serde_json::Value;

use super::*;

fn choice(set: &[&str]) -> Choice {
    Choice {
        recipe: None,
        set: set.iter().map(|&argument| argument.to_owned()).collect(),
    }
}

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new("../../recipes");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the recipes folder")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    found.sort();
    found
}

#[test]
fn every_recipe_of_the_repository_resolves() {
    assert!(recipes().len() >= 2);
    for path in recipes() {
        let choice = Choice {
            recipe: Some(path.clone()),
            set: Vec::new(),
        };
        choice
            .resolve(Vec::new())
            .unwrap_or_else(|refusal| panic!("{}: {refusal} {:?}", path.display(), refusal.hint));
    }
}

/// Every `section.field` that the types know.
fn fields(value: &Value, prefix: &str, out: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    for (key, inner) in map {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        match inner {
            Value::Object(map) if !map.is_empty() => fields(inner, &path, out),
            _ => out.push(path),
        }
    }
}

/// Every `section.field` that the quick start shows, commented out or not, and whether words explain it.
fn shown() -> Vec<(String, bool)> {
    let mut section = String::new();
    let mut explained_section = false;
    let mut out = Vec::new();
    for line in QUICKSTART.lines() {
        if let Some(rest) = line.strip_prefix('[') {
            let (name, comment) = rest.split_once(']').expect("a section ends");
            section = format!("{name}.");
            explained_section = comment.contains('#');
            continue;
        }
        let (commented, written) = match line.strip_prefix("# ") {
            Some(written) => (true, written),
            None => (false, line),
        };
        let Some((key, value)) = written.split_once(" = ") else {
            continue;
        };
        if key
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
        {
            let explained =
                value.contains("# ") || (explained_section && section.ends_with("optimizer."));
            assert!(explained || !commented, "{section}{key} is not explained");
            out.push((format!("{section}{key}"), explained));
        }
    }
    out
}

#[test]
fn the_quick_start_explains_every_field() {
    let recipe = Recipe::quickstart().expect("the quick start");
    let mut known = Vec::new();
    fields(
        &serde_json::to_value(&recipe).expect("plain data"),
        "",
        &mut known,
    );
    let shown = shown();
    for field in &known {
        let found = shown.iter().find(|(name, _)| name == field);
        let (_, explained) =
            found.unwrap_or_else(|| panic!("`{field}` is not in recipes/quickstart.toml"));
        assert!(
            explained,
            "`{field}` has no explanation in recipes/quickstart.toml"
        );
    }
    for (field, _) in &shown {
        assert!(
            known.contains(field),
            "recipes/quickstart.toml shows `{field}`, which no section has"
        );
    }
}

#[test]
fn the_binary_embeds_the_quick_start_of_the_repository() {
    let path = PathBuf::from("../../recipes/quickstart.toml");
    let from_file = Choice {
        recipe: Some(path),
        set: Vec::new(),
    }
    .resolve(Vec::new())
    .expect("the quick start as a file");
    assert_eq!(
        from_file,
        Recipe::quickstart().expect("the embedded quick start")
    );
}

#[test]
fn one_seed_reaches_every_section_that_sets_none() {
    let recipe = choice(&["seed=7", "align.seed=3"])
        .resolve(Vec::new())
        .expect("a recipe");
    assert_eq!(
        (
            recipe.world.seed,
            recipe.pretrain.seed,
            recipe.finetune.seed,
            recipe.align.seed
        ),
        (7, 7, 7, 3)
    );
}

#[test]
fn flags_lie_over_sets() {
    let flags = vec![(
        "--instructions",
        "sources.instructions",
        Value::from("flag.jsonl"),
    )];
    let recipe = choice(&["sources.instructions=set.jsonl"])
        .resolve(flags)
        .expect("a recipe");
    assert_eq!(recipe.sources.instructions, Some("flag.jsonl".into()));
}

#[test]
fn a_wrong_value_is_blamed_on_its_key() {
    let refusal = choice(&["pretrain.batch_size=many"])
        .resolve(Vec::new())
        .expect_err("not a number");
    assert!(
        refusal
            .message
            .starts_with("`pretrain.batch_size` in --set pretrain.batch_size=many: "),
        "{refusal}"
    );
}

#[test]
fn a_misspelt_set_is_refused_with_a_suggestion() {
    let refusal = choice(&["pretrain.lerning_rate=1"])
        .resolve(Vec::new())
        .expect_err("unknown");
    assert_eq!(
        refusal.message,
        "unknown key `pretrain.lerning_rate` in --set pretrain.lerning_rate=1"
    );
    assert_eq!(
        refusal.hint.as_deref(),
        Some("did you mean `learning_rate`?")
    );
}

#[test]
fn a_recipe_survives_its_own_toml() {
    let recipe = choice(&["model.depth=3", "sources.documents=[\"a b\"]"])
        .resolve(Vec::new())
        .expect("a recipe");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("again.toml");
    std::fs::write(&path, recipe.to_toml()).expect("written");
    let mut again = Choice {
        recipe: Some(path),
        set: Vec::new(),
    }
    .resolve(Vec::new())
    .expect("the same recipe");
    // Paths in a file lie beside the file.
    assert_eq!(again.sources.documents, [folder.path().join("a b")]);
    again.sources.documents = recipe.sources.documents.clone();
    assert_eq!(again, recipe);
}
