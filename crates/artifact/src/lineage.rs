//! Where an artifact came from and what was made of it, as a tree: back through its inputs to the documents, and
//! forward through its children.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::manifest::{Artifact, Id};
use crate::store::Store;

/// One artifact in the tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its id.
    pub id: Id,
    /// Its kind; `None` when it was removed from the store.
    pub kind: Option<String>,
    /// Back: what it served as. Forward: what its parent served it as. `None` at the root.
    pub role: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_unix: Option<u64>,
    /// The names that point at it.
    pub names: Vec<String>,
    /// Its single-valued metrics and its `steps` (the filter decisions of a corpus); curves are left out.
    pub metrics: Value,
    /// Whether it stands elsewhere in this tree with its branches, which are then not repeated here.
    pub repeated: bool,
    /// Back: the inputs. Forward: the children.
    pub branches: Vec<Node>,
}

/// Both directions from one artifact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lineage {
    /// The artifact and, as branches, what it was made from.
    pub back: Node,
    /// The artifact and, as branches, what was made from it.
    pub forward: Node,
}

/// Traces an artifact back and forward through the store.
///
/// # Errors
/// As [`Store::list`] and [`Store::get`].
pub fn trace(store: &Store, id: &Id) -> Result<Lineage> {
    let root = store.get(id.as_str())?;
    let names = store.refs()?;
    let walk = Walk {
        all: store.list()?,
        names,
    };
    Ok(Lineage {
        back: walk.back(&root.id, None, &mut BTreeSet::new()),
        forward: walk.forward(&root.id, None, &mut BTreeSet::new()),
    })
}

struct Walk {
    all: Vec<Artifact>,
    names: Vec<(String, Id)>,
}

impl Walk {
    fn node(&self, id: &Id, role: Option<String>) -> (Node, Option<&Artifact>) {
        let found = self.all.iter().find(|one| one.id == *id);
        let node = Node {
            id: id.clone(),
            kind: found.map(|one| one.manifest.kind.clone()),
            role,
            created_unix: found.map(|one| one.manifest.created_unix),
            names: self
                .names
                .iter()
                .filter(|(_, named)| named == id)
                .map(|(name, _)| name.clone())
                .collect(),
            metrics: found.map_or(Value::Null, |one| brief(&one.manifest.metrics)),
            repeated: false,
            branches: Vec::new(),
        };
        (node, found)
    }

    fn back(&self, id: &Id, role: Option<String>, seen: &mut BTreeSet<Id>) -> Node {
        let (mut node, found) = self.node(id, role);
        if !seen.insert(id.clone()) {
            node.repeated = found.is_some_and(|one| !one.manifest.inputs.is_empty());
        } else if let Some(found) = found {
            let inputs = &found.manifest.inputs;
            node.branches = inputs
                .iter()
                .map(|input| self.back(&input.id, Some(input.role.clone()), seen))
                .collect();
        }
        node
    }

    fn forward(&self, id: &Id, role: Option<String>, seen: &mut BTreeSet<Id>) -> Node {
        let (mut node, _) = self.node(id, role);
        let mut children = Vec::new();
        for child in &self.all {
            let roles: Vec<_> = child
                .manifest
                .inputs
                .iter()
                .filter(|input| input.id == *id)
                .map(|input| input.role.as_str())
                .collect();
            if !roles.is_empty() {
                children.push((child, roles.join("+")));
            }
        }
        if seen.insert(id.clone()) {
            node.branches = children
                .into_iter()
                .map(|(child, role)| self.forward(&child.id, Some(role), seen))
                .collect();
        } else {
            node.repeated = !children.is_empty();
        }
        node
    }
}

/// The metrics that fit a line, and `steps`.
fn brief(metrics: &Value) -> Value {
    let Some(map) = metrics.as_object() else {
        return Value::Null;
    };
    let keep = |(name, value): &(&String, &Value)| {
        *name == "steps" || !(value.is_array() || value.is_object())
    };
    Value::Object(
        map.iter()
            .filter(keep)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "made from")?;
        render(f, &self.back, "", "", "")?;
        if self.forward.branches.is_empty() {
            return Ok(());
        }
        writeln!(f, "made into")?;
        render(f, &self.forward, "", "", "")
    }
}

fn render(
    f: &mut fmt::Formatter<'_>,
    node: &Node,
    first: &str,
    rest: &str,
    tail: &str,
) -> fmt::Result {
    write!(f, "{first}")?;
    if let Some(role) = &node.role {
        write!(f, "{role}: ")?;
    }
    write!(
        f,
        "{} {}",
        node.kind.as_deref().unwrap_or("(removed)"),
        node.id.short()
    )?;
    if !node.names.is_empty() {
        write!(f, " [{}]", node.names.join(", "))?;
    }
    if node.repeated {
        return writeln!(f, " (branches shown above)");
    }
    let metrics = node.metrics.as_object();
    let shown: Vec<_> = metrics
        .into_iter()
        .flatten()
        .filter(|(name, value)| *name != "steps" && !value.is_null())
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    writeln!(f)?;
    let below = if node.branches.is_empty() {
        format!("{rest}{tail}   ")
    } else {
        format!("{rest}{tail}│  ")
    };
    if !shown.is_empty() {
        writeln!(f, "{below}{}", shown.join(", "))?;
    }
    for step in node.metrics["steps"].as_array().into_iter().flatten() {
        let count = |name: &str| step[name].as_u64().unwrap_or(0);
        writeln!(
            f,
            "{below}{}: kept {}, dropped {}, edited {}",
            step["step"].as_str().unwrap_or("step"),
            count("kept"),
            count("dropped"),
            count("edited")
        )?;
    }
    let rest = format!("{rest}{tail}");
    for (index, branch) in node.branches.iter().enumerate() {
        let last = index + 1 == node.branches.len();
        let (joint, tail) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        render(f, branch, &format!("{rest}{joint}"), &rest, tail)?;
    }
    Ok(())
}
