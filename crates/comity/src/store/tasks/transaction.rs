//! A transaction in few exchanges with the database, each of which costs more than most of what is asked in it. It
//! begins with its first statement. A single row that is written waits for others, and in a file for the end: there
//! several statements go as one text; on a server, as parts of one statement.

use super::rows::Bound;
use super::writer::CHANNEL;
use crate::store::link::Place;
use crate::store::steps;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::{AnyConnection, Arguments, AssertSqlSafe, Execute, Row};

/// How others are kept out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is a file, and this is who writes there.
    Alone,
    /// By locks on what is read.
    Locking,
    /// Not at all: what is read is read without a transaction, and one statement writes at the end, if the task is
    /// still as it was read. That is half of the exchanges, and no more than one task can be written so.
    Checking,
}

/// A transaction that is not begun before there is something to do. Dropped, it is as far as it came: whoever drops it
/// gives up the connection.
pub(super) struct Transaction<'c> {
    place: &'c Place,
    connection: &'c mut AnyConnection,
    way: Way,
    is_begun: bool,
    /// Statements that wait, of one row each, which return nothing. None touches what another does, so that their order
    /// does not count; and they are few, because whatever is asked is asked after them.
    later: Vec<String>,
    /// Their values, numbered through.
    values: AnyArguments,
    is_missed: bool,
    is_ending: bool,
}

impl<'c> Transaction<'c> {
    /// One for a single task may check where otherwise it would lock.
    pub(super) fn new(place: &'c Place, connection: &'c mut AnyConnection, is_for_one: bool) -> Self {
        let way = match (place.is_server(), is_for_one) {
            (false, _) => Way::Alone,
            (true, false) => Way::Locking,
            (true, true) => Way::Checking,
        };
        let values = AnyArguments::default();
        Self { place, connection, way, is_begun: false, later: Vec::new(), values, is_missed: false, is_ending: false }
    }

    pub(super) fn way(&self) -> Way {
        self.way
    }

    pub(super) fn is_server(&self) -> bool {
        self.way != Way::Alone
    }

    /// Whether nothing was done, because the task had changed or more than one statement is needed: it may be tried again
    /// with locks.
    pub(super) fn is_missed(&self) -> bool {
        self.is_missed
    }

    /// Whether what failed may nevertheless be done.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// These words of a statement that locks what it reads, where it is to.
    pub(super) fn lock(&self, words: &'static str) -> &'static str {
        if self.way == Way::Locking { words } else { "" }
    }

    /// The column, of a task `t`, that changes whenever the task does: for [`Transaction::check`].
    pub(super) fn version(&self) -> String {
        if self.way == Way::Checking { version_of("t") } else { "CAST(0 AS BIGINT)".to_owned() }
    }

    /// The connection, after what waited, for whatever cannot be checked.
    pub(super) async fn connection(&mut self) -> Result<&mut AnyConnection, sqlx::Error> {
        self.not_checking()?;
        self.flush().await?;
        if !self.is_begun {
            steps::begin(self.place, self.connection).await?;
            self.is_begun = true;
        }
        Ok(&mut *self.connection)
    }

    /// The same, and this statement as it is to be run on it, next, and by `fetch_all`: in a file it may stand behind the
    /// beginning of the transaction, which `fetch_one` and `fetch_optional` would take for its answer. One that writes
    /// is for those that do not check: [`Transaction::not_checking`].
    pub(super) async fn begin_with(
        &mut self,
        statement: String,
    ) -> Result<(&mut AnyConnection, AssertSqlSafe<String>), sqlx::Error> {
        self.flush().await?;
        let text = self.begun(statement).await?;
        Ok((&mut *self.connection, AssertSqlSafe(text)))
    }

    /// Gives up where what comes takes locks, or writes more than one task.
    pub(super) fn not_checking(&mut self) -> Result<(), sqlx::Error> {
        if self.way != Way::Checking {
            return Ok(());
        }
        self.is_missed = true;
        Err(sqlx::Error::Protocol("one statement is not enough".to_owned()))
    }

    /// How many values wait: those of a statement for [`Transaction::later`] are numbered after them.
    pub(super) fn waiting(&self) -> usize {
        self.values.len()
    }

    /// Runs a statement that returns nothing before whatever comes next. Where it is checked, the first is the one that
    /// updates the task if it is as it was, and returns it then; the others take a row from `part0`, which is that.
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

    /// Where it is checked, runs a statement that writes all by itself, the first and the last; the rows it returns.
    pub(super) async fn only(&mut self, query: Bound<'_>) -> Result<Vec<AnyRow>, sqlx::Error> {
        self.is_ending = true;
        query.fetch_all(&mut *self.connection).await
    }

    /// On a server, runs what waits, so that the end is only that; in a file it goes with the end.
    pub(super) async fn before_end(&mut self) -> Result<(), sqlx::Error> {
        if self.way == Way::Locking { self.flush().await } else { Ok(()) }
    }

    /// Commits, and on a server tells the other processes when there is work. After [`Transaction::before_end`].
    pub(super) async fn commit(&mut self, is_work: bool) -> Result<(), sqlx::Error> {
        if !self.is_begun && self.later.is_empty() {
            return Ok(());
        }
        self.is_ending = true;
        match self.way {
            Way::Alone => {
                self.later.push("COMMIT".to_owned());
                self.flush().await
            }
            Way::Locking => {
                let notify = if is_work { format!("NOTIFY {CHANNEL}; ") } else { String::new() };
                let end = AssertSqlSafe(notify + "COMMIT");
                sqlx::raw_sql(end).execute(&mut *self.connection).await.map(drop)
            }
            Way::Checking => self.check(is_work).await,
        }
    }

    /// Writes what waits if the task is as it was read.
    async fn check(&mut self, is_work: bool) -> Result<(), sqlx::Error> {
        let parts = parts(&std::mem::take(&mut self.later));
        let notify = if is_work { format!(", (SELECT {} FROM part0)", notify()) } else { String::new() };
        let text = AssertSqlSafe(format!("WITH {parts} SELECT COUNT(*){notify} FROM part0"));
        let query = sqlx::query_with(text, std::mem::take(&mut self.values));
        // All of the answer: `fetch_one` returns with its first row, before the other parts are run and the end is reached.
        let rows = query.fetch_all(&mut *self.connection).await?;
        let written = rows.first().map_or(Ok(0), |row| row.try_get::<i64, _>(0))?;
        if written == 0 { self.not_checking() } else { Ok(()) }
    }

    /// Runs what waits.
    async fn flush(&mut self) -> Result<(), sqlx::Error> {
        if self.later.is_empty() {
            return Ok(());
        }
        self.not_checking()?;
        let later = std::mem::take(&mut self.later);
        let statement = if self.is_server() { as_one(later) } else { later.join("; ") };
        let text = self.begun(statement).await?;
        let query = sqlx::query_with(AssertSqlSafe(text), std::mem::take(&mut self.values));
        query.execute(&mut *self.connection).await.map(drop)
    }

    /// This statement, which is run next, in a transaction that was begun or that it begins.
    async fn begun(&mut self, statement: String) -> Result<String, sqlx::Error> {
        if self.is_begun || self.way == Way::Checking {
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

/// What changes on a server whenever a row of this table does: the number of the transaction that wrote it.
pub(super) fn version_of(table: &str) -> String {
    format!("CAST(CAST({table}.xmin AS TEXT) AS BIGINT)")
}

/// Statements as parts of one, which PostgreSQL runs all, in any order.
fn as_one(mut statements: Vec<String>) -> String {
    let last = statements.pop().unwrap_or_default();
    if statements.is_empty() { last } else { format!("WITH {} {last}", parts(&statements)) }
}

fn parts(statements: &[String]) -> String {
    let parts = statements.iter().enumerate().map(|(number, statement)| format!("part{number} AS ({statement})"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What tells the other processes that there is work, as a column of what a statement returns.
pub(super) fn notify() -> String {
    format!("CAST(pg_notify('{CHANNEL}', '') AS TEXT)")
}
