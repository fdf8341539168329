//! The tables of a node's database and the steps by which an older file becomes a newer one. Steps
//! are only ever added: a file keeps its data through all of them.

use super::StoreError;
use sqlx::{Connection, Row, SqliteConnection};
use std::path::Path;

/// One step for each version; `user_version` of a file says how many it has been through.
pub(super) const STEPS: &[&str] = &[
    // The inbox by arrival number. Ids that must be remembered are only ever appended and swept, so
    // they have no index. `kept` is what there is one of: settings, the digest, the last arrival.
    "CREATE TABLE item (arrival INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;
     CREATE TABLE seen (sender BLOB NOT NULL, id BLOB NOT NULL, until INTEGER NOT NULL) STRICT;
     CREATE TABLE kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;",
];

/// Brings a file to the newest version, each step whole or not at all.
pub(super) async fn upgrade(
    connection: &mut SqliteConnection,
    steps: &[&'static str],
    path: &Path,
) -> Result<(), StoreError> {
    let failed = |error| StoreError::of(error, path);
    let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(failed)?.get(0);
    let done = usize::try_from(version).ok().filter(|done| *done <= steps.len());
    let Some(done) = done else {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: steps.len() });
    };
    for (number, step) in steps.iter().enumerate().skip(done) {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
        let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", number + 1));
        sqlx::raw_sql(mark).execute(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    Ok(())
}
