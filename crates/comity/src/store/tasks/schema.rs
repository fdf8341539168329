//! The tables of the queue, and the steps by which older ones become newer. Steps are only ever added. The same texts
//! make the tables of both databases, but for the words in braces.

use super::QueueError;
use super::link::Place;
use sqlx::AnyConnection;
use sqlx::{AssertSqlSafe, Row};

/// One step for each version; the table `comity_task_schema` says through which a database has been.
///
/// A `lane` is all tasks of one capability and the same requirements: whoever is able to do one of them is able to do
/// all. `content` and `result` are kept beside the tasks, whose rows change often. `start` of a line is how many bytes
/// its task's workers had said before it. States are the places in `State::ALL`. The index by lane
/// has all that is counted, so that counting reads nothing else.
const STEPS: &[&str] = &["CREATE TABLE comity_lane (seq {serial}, capability TEXT NOT NULL, requirements TEXT NOT NULL,
         UNIQUE (capability, requirements));
     CREATE TABLE comity_task (seq {serial}, id {blob} NOT NULL UNIQUE, lane {int} NOT NULL REFERENCES comity_lane (seq),
         kind TEXT NOT NULL, submitted_by TEXT NOT NULL, idempotency_key TEXT, digest {blob} NOT NULL,
         priority {int} NOT NULL, submitted {int} NOT NULL, size {int} NOT NULL, lease_ms {int} NOT NULL,
         attempts_max {int} NOT NULL, state {int} NOT NULL, attempts {int} NOT NULL, token {int} NOT NULL, worker TEXT,
         due {int} NOT NULL, deadline {int}, cancel_asked {int} NOT NULL, fraction {real} NOT NULL, cause TEXT,
         finished {int}, lines {int} NOT NULL, line_bytes {int} NOT NULL);
     CREATE UNIQUE INDEX comity_task_key ON comity_task (submitted_by, idempotency_key)
         WHERE idempotency_key IS NOT NULL;
     CREATE INDEX comity_task_ready ON comity_task (lane, priority DESC, seq) WHERE state = 0;
     CREATE INDEX comity_task_again ON comity_task (due) WHERE state = 0 AND attempts > 0;
     CREATE INDEX comity_task_held ON comity_task (due) WHERE state IN (1, 2);
     CREATE INDEX comity_task_ahead ON comity_task ((due - lease_ms)) WHERE state IN (1, 2);
     CREATE INDEX comity_task_deadline ON comity_task (deadline) WHERE state IN (0, 1, 2) AND deadline IS NOT NULL;
     CREATE INDEX comity_task_over ON comity_task (finished) WHERE state IN (3, 5, 6);
     CREATE INDEX comity_task_dead ON comity_task (seq) WHERE state = 4;
     CREATE INDEX comity_task_lane ON comity_task (lane, state, size);
     CREATE TABLE comity_content (task {int} PRIMARY KEY REFERENCES comity_task (seq) ON DELETE CASCADE,
         payload {blob} NOT NULL);
     CREATE TABLE comity_result (task {int} PRIMARY KEY REFERENCES comity_task (seq) ON DELETE CASCADE,
         result {blob} NOT NULL);
     CREATE TABLE comity_line (task {int} NOT NULL REFERENCES comity_task (seq) ON DELETE CASCADE, number {int} NOT NULL,
         at {int} NOT NULL, start {int} NOT NULL, text TEXT NOT NULL, PRIMARY KEY (task, number));"];

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
pub(super) async fn upgrade(place: &Place, connection: &mut AnyConnection) -> Result<(), QueueError> {
    begin(place, connection).await?;
    match steps(place, connection).await {
        Ok(()) => Ok(sqlx::raw_sql("COMMIT").execute(connection).await.map(drop)?),
        Err(error) => {
            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
            Err(error)
        }
    }
}

/// Begins a transaction that writes.
pub(super) async fn begin(place: &Place, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let begin = if place.is_server() { "BEGIN" } else { "BEGIN IMMEDIATE" };
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await.map(drop)
}

async fn steps(place: &Place, connection: &mut AnyConnection) -> Result<(), QueueError> {
    if place.is_server() {
        sqlx::query(LOCK).execute(&mut *connection).await?;
    }
    let table = text_for(place, "CREATE TABLE IF NOT EXISTS comity_task_schema (step {int} PRIMARY KEY)");
    sqlx::raw_sql(AssertSqlSafe(table)).execute(&mut *connection).await?;
    let row = sqlx::query("SELECT COUNT(*) FROM comity_task_schema").fetch_one(&mut *connection).await?;
    let found: i64 = row.try_get(0)?;
    let Some(done) = usize::try_from(found).ok().filter(|done| *done <= STEPS.len()) else {
        return Err(QueueError::Newer { found, known: STEPS.len() });
    };
    for (number, step) in STEPS.iter().enumerate().skip(done) {
        sqlx::raw_sql(AssertSqlSafe(text_for(place, step))).execute(&mut *connection).await?;
        let mark = sqlx::query("INSERT INTO comity_task_schema (step) VALUES ($1)");
        mark.bind(i64::try_from(number).unwrap_or(i64::MAX)).execute(&mut *connection).await?;
    }
    Ok(())
}
