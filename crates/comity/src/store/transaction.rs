//! Transactions, begun and ended by hand, because sqlx counts them: a full disk makes SQLite roll back by itself, sqlx's
//! own rollback then fails, its count stays, and it never begins another.

use sqlx::SqliteConnection;

pub(super) async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(connection).await.map(drop)
}

/// Commits what was written, or takes all of it back.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    written: Result<(), sqlx::Error>,
) -> Result<(), sqlx::Error> {
    let ended = match written {
        Ok(()) => sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map(drop),
        Err(error) => Err(error),
    };
    if ended.is_err() {
        // Err: SQLite has done it already.
        let _ = sqlx::raw_sql("ROLLBACK").execute(connection).await;
    }
    ended
}
