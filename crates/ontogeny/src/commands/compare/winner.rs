//! The best of the compared models, as the base of a recipe.

use std::fs;
use std::path::Path;

use artifact::{Artifact, Store};
use serde_json::Value;

use super::Measured;
use crate::refusal::Refusal;

/// The model that was best, and how a recipe names it.
#[derive(Debug, PartialEq)]
pub(super) struct Winner {
    /// As it was asked for.
    model: String,
    /// An artifact's id, which stays what it is, or the full path of a folder or file.
    base: String,
    /// What it was best in.
    why: String,
}

/// The best in the first task's first metric; of equals the fastest.
pub(super) fn of(measured: &[Measured], store: &Store) -> anyhow::Result<Option<Winner>> {
    let Some(best) = best(measured) else {
        return Ok(None);
    };
    let (path, id) = hub::resolve(store, &best.model)?;
    let base = if Artifact::open(&path).is_ok() {
        id
    } else {
        let full = path.canonicalize().unwrap_or(path);
        full.to_string_lossy().into_owned()
    };
    let metric = best.metric.name().replace('_', " ");
    Ok(Some(Winner {
        model: best.model.clone(),
        base,
        why: format!("{metric} on {}", best.task),
    }))
}

fn best(measured: &[Measured]) -> Option<&Measured> {
    let first = measured.first()?;
    let asked = |one: &&Measured| one.task == first.task && one.metric == first.metric;
    let quality = |one: &Measured| {
        if one.metric.higher_is_better() {
            one.value
        } else {
            -one.value
        }
    };
    measured.iter().filter(asked).max_by(|a, b| {
        let by_quality = quality(a).total_cmp(&quality(b));
        by_quality.then(a.tokens_per_second.total_cmp(&b.tokens_per_second))
    })
}

impl Winner {
    /// One sentence without its end.
    pub(super) fn told(&self) -> String {
        format!("best in {}: {}", self.why, self.model)
    }

    /// What a recipe says.
    pub(super) fn lines(&self) -> String {
        format!("[model]\n{}", self.line())
    }

    fn line(&self) -> String {
        let base = toml::Value::String(self.base.clone());
        // A line break within a name would end the comment.
        let told = self.told().replace(['\n', '\r'], " ");
        format!("base = {base}  # {told}")
    }

    /// Writes the line into a recipe, which else stays as it is.
    pub(super) fn write(&self, recipe: &Path) -> anyhow::Result<()> {
        let text = match fs::read_to_string(recipe) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unreadable(recipe, &error.to_string()).into()),
        };
        let changed = with_line(&text, &self.line());
        if base_of(&changed).as_deref() != Some(&self.base) {
            let said = format!("{} has its [model] in another form", recipe.display());
            let hint = format!("write into it: base = {:?}", self.base);
            return Err(Refusal::failed("recipe", said).hint(hint).into());
        }
        Ok(artifact::write_atomic(recipe, changed.as_bytes())?)
    }
}

/// Whether a base can be written into the recipe, found before anything is measured.
pub(super) fn check(recipe: &Path) -> Result<(), Refusal> {
    match fs::read_to_string(recipe) {
        Ok(text) => match toml::from_str::<toml::Table>(&text) {
            Ok(_) => Ok(()),
            Err(error) => Err(unreadable(recipe, error.message())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(recipe, &error.to_string())),
    }
}

fn unreadable(recipe: &Path, why: &str) -> Refusal {
    let said = format!("{} is no recipe: {why}", recipe.display());
    Refusal::usage("recipe", said).hint("name a .toml file, or one that is not there yet")
}

/// The text with `line` as the base of `[model]`, everything else as it was.
fn with_line(text: &str, line: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let is_head = |line: &str| line.trim_start().starts_with('[');
    let section = lines.iter().position(|line| {
        let head = line.split('#').next().unwrap_or_default();
        head.trim() == "[model]"
    });
    match section {
        Some(section) => {
            let inside = lines[section + 1..].iter();
            let names_base = |line: &&str| {
                let name = line.split('=').next().unwrap_or_default();
                line.contains('=') && name.trim() == "base"
            };
            let mut inside = inside.take_while(|line| !is_head(line));
            match inside.position(names_base) {
                Some(place) => lines[section + 1 + place] = line,
                None => lines.insert(section + 1, line),
            }
        }
        None => {
            if lines.last().is_some_and(|last| !last.trim().is_empty()) {
                lines.push("");
            }
            lines.extend(["[model]", line]);
        }
    }
    lines.join("\n") + "\n"
}

fn base_of(text: &str) -> Option<String> {
    let table: Value = toml::from_str(text).ok()?;
    table["model"]["base"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_changes() {
        let line = r#"base = "new"  # best"#;
        for (before, after) in [
            ("", "[model]\nbase = \"new\"  # best\n"),
            (
                "name = \"mine\"\n",
                "name = \"mine\"\n\n[model]\nbase = \"new\"  # best\n",
            ),
            (
                "[model] # shape\ndepth = 2\n\n[serve]\nbase = 1\n",
                "[model] # shape\nbase = \"new\"  # best\ndepth = 2\n\n[serve]\nbase = 1\n",
            ),
            (
                "[model]\ndepth = 2\nbase = \"old\"\n[data]\n",
                "[model]\ndepth = 2\nbase = \"new\"  # best\n[data]\n",
            ),
        ] {
            let changed = with_line(before, line);
            assert_eq!(changed, after);
            assert_eq!(base_of(&changed).as_deref(), Some("new"));
            assert_eq!(with_line(&changed, line), changed);
        }
        // Forms that are not understood are found out by reading what was written.
        let inline = with_line("model = { depth = 2 }\n", line);
        assert_eq!(base_of(&inline), None);
    }

    #[test]
    fn any_path_is_a_string_of_toml() {
        let winner = Winner {
            model: "a \"b\"".to_owned(),
            base: r#"/tmp/a "b"\c"#.to_owned(),
            why: "accuracy on t".to_owned(),
        };
        let text = with_line("", &winner.line());
        assert_eq!(base_of(&text).as_deref(), Some(r#"/tmp/a "b"\c"#));
    }
}
