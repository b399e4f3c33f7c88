//! What the store holds, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::{Result, during};
use super::export::pairs;
use super::store::Store;

/// Counts over the whole store. Of several ratings of one answer only the newest counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Answers stored.
    pub answers: u64,
    /// Answers with a rating.
    pub rated: u64,
    /// Answers rated up.
    pub up: u64,
    /// Answers rated down.
    pub down: u64,
    /// Answers rated down with a correction.
    pub corrections: u64,
    /// Preference pairs that an export would write.
    pub pairs: u64,
    /// The same by the id of the model that answered.
    pub models: BTreeMap<String, ModelStats>,
}

/// Counts for one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelStats {
    /// Answers stored.
    pub answers: u64,
    /// Answers rated up.
    pub up: u64,
    /// Answers rated down.
    pub down: u64,
    /// Answers rated down with a correction.
    pub corrections: u64,
}

impl Store {
    /// Counts what the store holds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        let query = "
            SELECT a.model, COUNT(*), COUNT(r.rating), SUM(COALESCE(r.rating = 'up', 0)),
                   SUM(COALESCE(r.rating = 'down', 0)),
                   SUM(COALESCE(r.rating = 'down' AND r.correction IS NOT NULL, 0))
            FROM answers a LEFT JOIN ratings r ON r.sequence =
                (SELECT MAX(sequence) FROM ratings WHERE answer_id = a.id AND choice = a.choice)
            GROUP BY a.model ORDER BY a.model";
        let mut stats = Stats::default();
        let mut read = || -> rusqlite::Result<()> {
            let connection = self.lock();
            let mut statement = connection.prepare(query)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
                let model = ModelStats {
                    answers: number(1)?,
                    up: number(3)?,
                    down: number(4)?,
                    corrections: number(5)?,
                };
                stats.answers += model.answers;
                stats.rated += number(2)?;
                stats.up += model.up;
                stats.down += model.down;
                stats.corrections += model.corrections;
                stats.models.insert(row.get(0)?, model);
            }
            Ok(())
        };
        read().map_err(during("count"))?;
        stats.pairs = pairs(self)?.len() as u64;
        Ok(stats)
    }
}
