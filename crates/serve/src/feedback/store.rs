//! The SQLite file of answers and ratings.
//!
//! Write-ahead logging with `synchronous=FULL`: what a call has returned from survives a crash of the process and of
//! the machine. Ratings are only ever added; the newest one of an answer counts.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::error::{Error, Result, during};
use super::record::{Answer, Rating, Verdict};

const SCHEMA_VERSION: i64 = 1;
/// Another process may hold the file for this long before a call fails.
const PATIENCE: Duration = Duration::from_secs(10);
const SCHEMA: &str = "
    CREATE TABLE answers (
        id TEXT NOT NULL,
        choice INTEGER NOT NULL,
        model TEXT NOT NULL,
        created_unix INTEGER NOT NULL,
        prompt TEXT,
        text TEXT,
        sampling TEXT NOT NULL,
        finish_reason TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        PRIMARY KEY (id, choice)
    ) STRICT;
    CREATE INDEX answers_of_model ON answers (model, created_unix);
    CREATE TABLE ratings (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        answer_id TEXT NOT NULL,
        choice INTEGER NOT NULL,
        rating TEXT NOT NULL CHECK (rating IN ('up', 'down')),
        correction TEXT,
        comment TEXT,
        created_unix INTEGER NOT NULL,
        FOREIGN KEY (answer_id, choice) REFERENCES answers (id, choice)
    ) STRICT;
    CREATE INDEX ratings_of_answer ON ratings (answer_id, choice, sequence);
";
const ANSWER_COLUMNS: &str = "id, choice, model, created_unix, prompt, text, sampling, finish_reason, prompt_tokens, completion_tokens";
const RATING_COLUMNS: &str = "answer_id, choice, rating, correction, comment, created_unix";

/// The store. A clone is another handle to the same open file.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Mutex<Connection>>,
}

impl Store {
    /// Opens the file, made with its folder where it does not exist.
    ///
    /// # Errors
    /// When it cannot be opened, is no database, or was written by a newer version.
    pub fn open(path: &Path) -> Result<Store> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|source| Error::File {
                operation: "create the folder of",
                path: path.to_owned(),
                source: source.into(),
            })?;
        }
        let opened = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        let mut connection = Connection::open(path).map_err(opened)?;
        connection.busy_timeout(PATIENCE).map_err(opened)?;
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .map_err(opened)?;
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(opened)?;
        connection
            .pragma_update(None, "foreign_keys", true)
            .map_err(opened)?;
        let found = migrate(&mut connection).map_err(opened)?;
        if found > SCHEMA_VERSION {
            return Err(Error::Newer {
                path: path.to_owned(),
                found,
                known: SCHEMA_VERSION,
            });
        }
        Ok(Store {
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Keeps an answer; when this returns it is on the disk. One that is there already stays as it is.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn record(&self, answer: &Answer) -> Result<()> {
        insert_answer(&self.lock(), answer).map_err(during("store an answer"))?;
        Ok(())
    }

    /// Adds a rating; when this returns it is on the disk.
    ///
    /// # Errors
    /// [`Error::UnknownAnswer`] when the answer is not stored; otherwise when the database cannot be written.
    pub fn rate(&self, rating: &Rating) -> Result<()> {
        self.transact("store a rating", |transaction| {
            let known = transaction
                .query_row(
                    "SELECT 1 FROM answers WHERE id = ?1 AND choice = ?2",
                    params![rating.answer_id, sql(rating.choice)],
                    |_| Ok(()),
                )
                .optional()
                .map_err(during("find an answer"))?;
            if known.is_none() {
                return Err(Error::UnknownAnswer {
                    id: rating.answer_id.clone(),
                    choice: rating.choice,
                });
            }
            insert_rating(transaction, rating).map_err(during("store a rating"))
        })
    }

    /// An answer, if it is stored.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn answer(&self, id: &str, choice: usize) -> Result<Option<Answer>> {
        let query = format!("SELECT {ANSWER_COLUMNS} FROM answers WHERE id = ?1 AND choice = ?2");
        let connection = self.lock();
        let row = connection
            .query_row(&query, params![id, sql(choice)], answer_of)
            .optional();
        row.map_err(during("read an answer"))
    }

    /// The rating of an answer that counts: the newest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rating(&self, id: &str, choice: usize) -> Result<Option<Rating>> {
        current_rating(&self.lock(), id, choice).map_err(during("read a rating"))
    }

    /// The answers that a model gave, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn answers_of(&self, model: &str) -> Result<Vec<Answer>> {
        let query = format!(
            "SELECT {ANSWER_COLUMNS} FROM answers WHERE model = ?1 ORDER BY created_unix, id, choice"
        );
        let read = || -> rusqlite::Result<Vec<_>> {
            let connection = self.lock();
            let mut statement = connection.prepare(&query)?;
            let rows = statement.query_map(params![model], answer_of)?;
            rows.collect()
        };
        read().map_err(during("read a model's answers"))
    }

    /// The answers that have a rating, each with the one that counts, in the order of those ratings.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rated(&self) -> Result<Vec<(Answer, Rating)>> {
        let query = "
            SELECT a.id, a.choice, a.model, a.created_unix, a.prompt, a.text, a.sampling, a.finish_reason,
                   a.prompt_tokens, a.completion_tokens, r.rating, r.correction, r.comment, r.created_unix
            FROM ratings r JOIN answers a ON a.id = r.answer_id AND a.choice = r.choice
            WHERE r.sequence = (SELECT MAX(sequence) FROM ratings WHERE answer_id = a.id AND choice = a.choice)
            ORDER BY r.sequence";
        let read = || -> rusqlite::Result<Vec<_>> {
            let connection = self.lock();
            let mut statement = connection.prepare(query)?;
            let rows = statement.query_map([], |row| {
                let answer = answer_of(row)?;
                let rating = Rating {
                    answer_id: answer.id.clone(),
                    choice: answer.choice,
                    rating: verdict(&row.get::<_, String>(10)?),
                    correction: row.get(11)?,
                    comment: row.get(12)?,
                    created_unix: row.get::<_, i64>(13)?.cast_unsigned(),
                };
                Ok((answer, rating))
            })?;
            rows.collect()
        };
        read().map_err(during("read the ratings"))
    }

    /// Runs `change` so that all of it happens or nothing does.
    pub(super) fn transact<T>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(during(operation))?;
        let value = change(&transaction)?;
        transaction.commit().map_err(during(operation))?;
        Ok(value)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held rolled its transaction back; the connection is usable.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings the file to the current schema; the version found when it is newer.
fn migrate(connection: &mut Connection) -> rusqlite::Result<i64> {
    // Immediate, so that two processes opening a new file do not both create the tables.
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(found)
}

/// Stores an answer unless it is there; whether it was new.
pub(super) fn insert_answer(connection: &Connection, answer: &Answer) -> rusqlite::Result<bool> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    let prompt = answer
        .prompt
        .as_ref()
        .map(|prompt| json(serde_json::to_string(prompt)))
        .transpose()?;
    let insert = format!(
        "INSERT OR IGNORE INTO answers ({ANSWER_COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"
    );
    let rows = connection.prepare_cached(&insert)?.execute(params![
        answer.id,
        sql(answer.choice),
        answer.model,
        answer.created_unix.cast_signed(),
        prompt,
        answer.text,
        json(serde_json::to_string(&answer.sampling))?,
        answer.finish_reason,
        sql(answer.prompt_tokens),
        sql(answer.completion_tokens),
    ])?;
    Ok(rows > 0)
}

/// Adds a rating of an answer that is there.
pub(super) fn insert_rating(connection: &Connection, rating: &Rating) -> rusqlite::Result<()> {
    let insert = format!("INSERT INTO ratings ({RATING_COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6)");
    connection.prepare_cached(&insert)?.execute(params![
        rating.answer_id,
        sql(rating.choice),
        rating.rating.name(),
        rating.correction,
        rating.comment,
        rating.created_unix.cast_signed(),
    ])?;
    Ok(())
}

/// The newest rating of an answer.
pub(super) fn current_rating(
    connection: &Connection,
    id: &str,
    choice: usize,
) -> rusqlite::Result<Option<Rating>> {
    let query = format!(
        "SELECT {RATING_COLUMNS} FROM ratings WHERE answer_id = ?1 AND choice = ?2 ORDER BY sequence DESC LIMIT 1"
    );
    let rating = |row: &Row<'_>| {
        Ok(Rating {
            answer_id: row.get(0)?,
            choice: count(row, 1)?,
            rating: verdict(&row.get::<_, String>(2)?),
            correction: row.get(3)?,
            comment: row.get(4)?,
            created_unix: row.get::<_, i64>(5)?.cast_unsigned(),
        })
    };
    connection
        .query_row(&query, params![id, sql(choice)], rating)
        .optional()
}

fn answer_of(row: &Row<'_>) -> rusqlite::Result<Answer> {
    let prompt: Option<String> = row.get(4)?;
    Ok(Answer {
        id: row.get(0)?,
        choice: count(row, 1)?,
        model: row.get(2)?,
        created_unix: row.get::<_, i64>(3)?.cast_unsigned(),
        prompt: prompt.map(|prompt| parsed(4, &prompt)).transpose()?,
        text: row.get(5)?,
        sampling: parsed(6, &row.get::<_, String>(6)?)?,
        finish_reason: row.get(7)?,
        prompt_tokens: count(row, 8)?,
        completion_tokens: count(row, 9)?,
    })
}

fn parsed<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
}

fn verdict(name: &str) -> Verdict {
    // The table's CHECK lets nothing else in.
    Verdict::from_name(name).unwrap_or(Verdict::Down)
}

fn sql(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    let value: i64 = row.get(column)?;
    usize::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
