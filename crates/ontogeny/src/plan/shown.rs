//! The plan for people and for `--json`.

use serde_json::{Value, json};

use super::{Plan, Plans};
use crate::output::table;
use crate::quantity::{bytes, duration, short};
use crate::recipe::Recipe;

impl Plan {
    /// Where the memory goes, on one line.
    fn memory(&self) -> String {
        let memory = &self.cost.memory;
        let parts = [
            ("weights", memory.weights),
            ("gradients", memory.gradients),
            ("moments", memory.moments),
            ("a frozen reference", memory.reference),
            ("activations", memory.activations),
            ("working space", memory.working),
            ("the program and its data", memory.process),
        ];
        let parts = parts.map(|(name, size)| format!("{name} {}", bytes(size as f64)));
        parts.join(", ")
    }

    /// `3.48 M parameters, 10.4 M tokens, about 6 min 40 s`.
    pub(crate) fn remark(&self) -> String {
        let (parameters, tokens) = (
            short(self.cost.parameters as f64),
            short(self.cost.tokens as f64),
        );
        format!(
            "{parameters} parameters, {tokens} tokens, about {}",
            duration(self.seconds)
        )
    }

    /// Plan and actual, for the report.
    pub(crate) fn against(
        &self,
        seconds: f64,
        peak: Option<u64>,
        life: &crate::life::Life,
    ) -> Vec<[String; 3]> {
        let base = &life.models[0].1.manifest;
        let number = |name: &str| base.metric(name).and_then(Value::as_f64);
        let shown = |value: Option<f64>, show: fn(f64) -> String| {
            value.map_or_else(|| "–".to_owned(), show)
        };
        let disk: u64 = life
            .models
            .iter()
            .flat_map(|(_, model)| model.manifest.files.values())
            .map(|file| file.bytes)
            .sum();
        vec![
            ["Time".to_owned(), duration(self.seconds), duration(seconds)],
            [
                "Parameters".to_owned(),
                short(self.cost.parameters as f64),
                shown(number("parameters"), short),
            ],
            [
                "Tokens of pre-training".to_owned(),
                short(self.cost.tokens as f64),
                shown(number("tokens"), short),
            ],
            [
                "Memory".to_owned(),
                bytes(self.memory_bytes() as f64),
                shown(peak.map(|peak| peak as f64), bytes),
            ],
            [
                "Disk, checkpoints included; actual: the models".to_owned(),
                bytes(self.cost.disk_bytes as f64),
                bytes(disk as f64),
            ],
            [
                "Floating-point operations".to_owned(),
                short(self.cost.flops),
                "–".to_owned(),
            ],
        ]
    }

    /// The plan's fields for `--json`.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "depth": self.depth,
            "parameters": self.cost.parameters,
            "tokens": self.cost.tokens,
            "flops": self.cost.flops,
            "memory_bytes": self.memory_bytes(),
            "memory": self.cost.memory,
            "disk_bytes": self.cost.disk_bytes,
            "seconds": self.seconds,
            "minutes": self.seconds / 60.0,
            "within_budget": self.over.is_empty(),
        })
    }
}

impl Plans {
    /// Of the chosen size.
    fn memory(&self) -> String {
        let chosen = self.plans.iter().find(|plan| plan.depth == self.chosen);
        chosen.map_or_else(String::new, |plan| {
            format!("\nmemory at depth {}: {}", plan.depth, plan.memory())
        })
    }

    /// The table.
    pub(crate) fn to_text(&self, recipe: &Recipe) -> String {
        let rows: Vec<Vec<String>> = self
            .plans
            .iter()
            .map(|plan| {
                let chosen = if plan.depth == self.chosen {
                    "→ "
                } else {
                    "  "
                };
                vec![
                    format!("{chosen}{}", plan.depth),
                    short(plan.cost.parameters as f64),
                    short(plan.cost.tokens as f64),
                    short(plan.cost.flops),
                    bytes(plan.memory_bytes() as f64),
                    bytes(plan.cost.disk_bytes as f64),
                    format!("{:.1}", plan.seconds / 60.0),
                    if plan.over.is_empty() { "fits" } else { "over" }.to_owned(),
                ]
            })
            .collect();
        let heads = [
            "depth",
            "parameters",
            "tokens",
            "FLOPs",
            "memory",
            "disk",
            "minutes",
            "budget",
        ];
        format!(
            "{}\n{}\nbudget {} and {} GiB; this machine trains at {} and reads at {} FLOP/s\n{}",
            table(&heads, &rows),
            self.memory(),
            duration(recipe.scope.budget_minutes * 60.0),
            recipe.scope.memory_gib,
            short(self.machine.training_flops_per_second),
            short(self.machine.forward_flops_per_second),
            crate::machine::summary()
        )
    }

    /// The same for `--json`.
    pub(crate) fn to_json(&self, recipe: &Recipe) -> Value {
        let sizes: Vec<Value> = self.plans.iter().map(Plan::to_json).collect();
        let chosen = self
            .plans
            .iter()
            .find(|plan| plan.depth == self.chosen)
            .map(Plan::to_json);
        json!({
            "plan": chosen,
            "sizes": sizes,
            "calibration": self.machine,
            "budget": { "minutes": recipe.scope.budget_minutes, "memory_gib": recipe.scope.memory_gib },
            "machine": crate::machine::summary(),
        })
    }
}
