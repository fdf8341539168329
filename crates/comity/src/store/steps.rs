//! Brings a database, of SQLite or PostgreSQL, to the newest version of some tables: steps that are only ever added, and
//! are the same texts for both but for the words in braces. Who uses it has a table that says which steps are done.

use super::link::{DatabaseError, Place};
use sqlx::AnyConnection;
use sqlx::{AssertSqlSafe, Row};

/// Processes that come up at once wait for each other by this lock of the server: the first eight letters of its name.
const LOCK: &str = "SELECT CAST(pg_advisory_xact_lock(7165064744911565673) AS TEXT)";

fn text_for(place: &Place, step: &str) -> String {
    let words = match place {
        Place::File(_) => ["INTEGER PRIMARY KEY AUTOINCREMENT", "INTEGER", "BLOB", "REAL"],
        Place::Server(_) => ["BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BIGINT", "BYTEA", "DOUBLE PRECISION"],
    };
    ["{serial}", "{int}", "{blob}", "{real}"]
        .into_iter()
        .zip(words)
        .fold(step.to_owned(), |text, (mark, word)| text.replace(mark, word))
}

/// Brings the database to the newest version, wholly or not at all.
pub(super) async fn upgrade(
    place: &Place,
    connection: &mut AnyConnection,
    table: &str,
    all: &[&str],
) -> Result<(), DatabaseError> {
    begin(place, connection).await?;
    match steps(place, connection, table, all).await {
        Ok(()) => Ok(sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)?),
        Err(error) => {
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
            Err(error)
        }
    }
}

/// How a transaction that writes begins in a file.
pub(super) const BEGIN_FILE: &str = "BEGIN IMMEDIATE";

/// Begins a transaction that writes.
pub(super) async fn begin(place: &Place, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let begin = if place.is_server() { "BEGIN" } else { BEGIN_FILE };
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await.map(drop)
}

async fn steps(place: &Place, connection: &mut AnyConnection, table: &str, all: &[&str]) -> Result<(), DatabaseError> {
    if place.is_server() {
        sqlx::query(LOCK).execute(&mut *connection).await?;
    }
    let create = text_for(place, &format!("CREATE TABLE IF NOT EXISTS {table} (step {{int}} PRIMARY KEY)"));
    sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *connection).await?;
    let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
    let row = sqlx::query(count).fetch_one(&mut *connection).await?;
    let found: i64 = row.try_get(0)?;
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= all.len()) else {
        return Err(DatabaseError::Newer { found, known: all.len() });
    };
    for (number, step) in all.iter().enumerate().skip(done) {
        sqlx::raw_sql(AssertSqlSafe(text_for(place, step))).execute(&mut *connection).await?;
        let mark = sqlx::query(AssertSqlSafe(format!("INSERT INTO {table} (step) VALUES ($1)")));
        mark.bind(i64::try_from(number).unwrap_or(i64::MAX)).execute(&mut *connection).await?;
    }
    Ok(())
}
