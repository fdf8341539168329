//! A transaction in few exchanges with the database, each of which costs more than most of what is asked in it. It
//! begins with its first statement. A single row that is written waits for others, and in a file for the end: there
//! several statements go as one text; on a server, as parts of one statement.

use super::rows::Bound;
use crate::store::link::Place;
use crate::store::steps;
use sqlx::any::{Any, AnyArguments};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe, Execute};

/// Commits, and says so on [`super::writer::CHANNEL`].
const NOTIFY_AND_COMMIT: &str = "NOTIFY comity_tasks; COMMIT";

/// A transaction that is not begun before there is something to do. Dropped, it is as far as it came: whoever drops it
/// gives up the connection.
pub(super) struct Transaction<'c> {
    place: &'c Place,
    connection: &'c mut AnyConnection,
    is_begun: bool,
    /// Statements that wait, of one row each, which return nothing. None touches what another does, so that their order
    /// does not count; and they are few, because whatever is asked is asked after them.
    later: Vec<String>,
    /// Their values, numbered through.
    values: AnyArguments,
}

impl<'c> Transaction<'c> {
    pub(super) fn new(place: &'c Place, connection: &'c mut AnyConnection) -> Self {
        Self { place, connection, is_begun: false, later: Vec::new(), values: AnyArguments::default() }
    }

    pub(super) fn is_server(&self) -> bool {
        self.place.is_server()
    }

    /// The connection, after what waited.
    pub(super) async fn connection(&mut self) -> Result<&mut AnyConnection, sqlx::Error> {
        self.flush().await?;
        if !self.is_begun {
            steps::begin(self.place, self.connection).await?;
            self.is_begun = true;
        }
        Ok(&mut *self.connection)
    }

    /// The same, and this statement as it is to be run on it, next, and by `fetch_all`: in a file it may stand behind the
    /// beginning of the transaction, which `fetch_one` and `fetch_optional` would take for its answer.
    pub(super) async fn begin_with(
        &mut self,
        statement: String,
    ) -> Result<(&mut AnyConnection, AssertSqlSafe<String>), sqlx::Error> {
        self.flush().await?;
        let text = self.begun(statement).await?;
        Ok((&mut *self.connection, AssertSqlSafe(text)))
    }

    /// How many values wait: those of a statement for [`Transaction::later`] are numbered after them.
    pub(super) fn waiting(&self) -> usize {
        self.values.len()
    }

    /// Runs a statement that returns nothing before whatever comes next.
    pub(super) fn later(
        &mut self,
        statement: String,
        bind: impl FnOnce(Bound<'static>) -> Bound<'static>,
    ) -> Result<(), sqlx::Error> {
        let mut bound = bind(sqlx::query_with("", std::mem::take(&mut self.values)));
        let values = Execute::<Any>::take_arguments(&mut bound).map_err(sqlx::Error::Encode)?;
        self.values = values.unwrap_or_default();
        self.later.push(statement);
        Ok(())
    }

    /// On a server, runs what waits, so that the end is only that; in a file it goes with the end.
    pub(super) async fn before_end(&mut self) -> Result<(), sqlx::Error> {
        if self.is_server() { self.flush().await } else { Ok(()) }
    }

    /// Commits, and on a server tells the other processes when there is work. After [`Transaction::before_end`].
    pub(super) async fn commit(mut self, is_work: bool) -> Result<(), sqlx::Error> {
        if !self.is_begun && self.later.is_empty() {
            return Ok(());
        }
        if !self.is_server() {
            self.later.push("COMMIT".to_owned());
            return self.flush().await;
        }
        let end = if is_work { NOTIFY_AND_COMMIT } else { "COMMIT" };
        sqlx::raw_sql(end).execute(self.connection).await.map(drop)
    }

    /// Runs what waits.
    async fn flush(&mut self) -> Result<(), sqlx::Error> {
        if self.later.is_empty() {
            return Ok(());
        }
        let later = std::mem::take(&mut self.later);
        let statement = if self.is_server() { as_one(later) } else { later.join("; ") };
        let text = self.begun(statement).await?;
        let query = sqlx::query_with(AssertSqlSafe(text), std::mem::take(&mut self.values));
        query.execute(&mut *self.connection).await.map(drop)
    }

    /// This statement, which is run next, in a transaction that was begun or that it begins.
    async fn begun(&mut self, statement: String) -> Result<String, sqlx::Error> {
        if self.is_begun {
            return Ok(statement);
        }
        self.is_begun = true;
        if self.is_server() {
            steps::begin(self.place, self.connection).await?;
            return Ok(statement);
        }
        Ok(format!("{}; {statement}", steps::BEGIN_FILE))
    }
}

/// Statements as parts of one, which PostgreSQL runs all, in any order.
fn as_one(mut statements: Vec<String>) -> String {
    let last = statements.pop().unwrap_or_default();
    if statements.is_empty() {
        return last;
    }
    let parts = statements.iter().enumerate().map(|(number, statement)| format!("part{number} AS ({statement})"));
    format!("WITH {} {last}", parts.collect::<Vec<_>>().join(", "))
}
