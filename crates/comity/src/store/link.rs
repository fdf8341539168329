//! A SQLite file of one process or a PostgreSQL database that several share, and a connection to it that is made again
//! after it was lost. It knows nothing of what is kept there.

use sqlx::AnyConnection;
use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long after a failed try the next is made: calls in between are refused at once.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// How long a connection to a server may have rested before it is asked whether it is there still: the server may have
/// been started anew, and of what is sent then nobody knows whether it was done.
const RESTED: Duration = Duration::from_secs(1);

/// What every connection to SQLite begins with: each commit is synced; 4 MiB of pages; 5 s for who else opened the file.
const SQLITE_BEGIN: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
     PRAGMA cache_size = -4096; PRAGMA busy_timeout = 5000;";

/// What every connection to PostgreSQL begins with: each commit is synced, whatever the server's default; nothing waits
/// for longer than its caller does; a transaction whose process froze does not hold its rows for ever; and each statement
/// is planned once, by indexes and for row after row, which is right whatever the tables hold: they grow and shrink
/// faster than the server's statistics follow, and to plan a statement takes as long as to run it.
const POSTGRES_BEGIN: &str = "SET synchronous_commit = on; SET statement_timeout = '15s';
     SET idle_in_transaction_session_timeout = '30s'; SET client_min_messages = warning;
     SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off;
     SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;";

/// The URL of a PostgreSQL database, with its password: never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

/// What may stand in such a URL behind the question mark, besides `options[…]`.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A text that is not the URL of a PostgreSQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the URL of a PostgreSQL database, or one with a parameter that is not known: \
     postgres://user:password@host/database?sslmode=verify-full is wanted"
)]
pub struct NotAServerUrl;

impl FromStr for ServerUrl {
    type Err = NotAServerUrl;

    fn from_str(text: &str) -> Result<Self, NotAServerUrl> {
        let url = url::Url::parse(text).map_err(|_| NotAServerUrl)?;
        let is_postgres = matches!(url.scheme(), "postgres" | "postgresql");
        // What sqlx does not know it would write to the log with its value, which may be a password.
        let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
        let are_known = url.query_pairs().all(|(name, _)| is_known(&name));
        let can_be_read = is_postgres && are_known && sqlx::postgres::PgConnectOptions::from_str(text).is_ok();
        if can_be_read { Ok(Self(text.to_owned())) } else { Err(NotAServerUrl) }
    }
}

impl ServerUrl {
    /// The URL itself, for who connects.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ServerUrl(…)")
    }
}

/// Why a database does not do what it is asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached, or refused.
    #[error("the database does not answer now: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// It took too long, and was given up.
    #[error("the database takes too long, and was given up")]
    TooSlow,
    /// It was written by a newer version of this program.
    #[error("the database was written by a newer version of comity (schema {found}, this one knows {known})")]
    Newer {
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: usize,
    },
    /// The file cannot be made or opened.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: Arc<io::Error>,
    },
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

/// Where something is kept.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a SQLite file.
    File(PathBuf),
    /// On a PostgreSQL server.
    Server(ServerUrl),
}

impl Place {
    fn url(&self) -> String {
        match self {
            Self::File(path) => format!("sqlite://{}?mode=rwc", escaped(path)),
            Self::Server(url) => url.0.clone(),
        }
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }
}

/// The path as part of a URL.
fn escaped(path: &Path) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(escape).collect()
}

/// A connection, as long as there is one.
pub(super) struct Link {
    place: Place,
    connection: Option<AnyConnection>,
    /// When it was asked for last.
    used: Instant,
    failed: Option<(Instant, DatabaseError)>,
}

impl Link {
    pub(super) fn new(place: Place) -> Self {
        Self { place, connection: None, used: Instant::now(), failed: None }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// The connection, made if there is none.
    pub(super) async fn open(&mut self) -> Result<&mut AnyConnection, DatabaseError> {
        self.open_after(self.used.elapsed()).await
    }

    /// The same, after it had rested for so long.
    async fn open_after(&mut self, rested: Duration) -> Result<&mut AnyConnection, DatabaseError> {
        let mut there = self.connection.take();
        if let Some(connection) = there.as_mut().filter(|_| rested > RESTED && self.place.is_server())
            && !matches!(timeout(CONNECT_MAX, connection.ping()).await, Ok(Ok(())))
        {
            there = None;
        }
        let connection = match there {
            Some(connection) => connection,
            None => self.make().await?,
        };
        self.used = Instant::now();
        Ok(self.connection.insert(connection))
    }

    async fn make(&mut self) -> Result<AnyConnection, DatabaseError> {
        if let Some((at, error)) = &self.failed
            && at.elapsed() < AGAIN_AFTER
        {
            return Err(error.clone());
        }
        let made = timeout(CONNECT_MAX, connect(&self.place)).await.unwrap_or(Err(DatabaseError::TooSlow));
        self.failed = made.as_ref().err().map(|error| (Instant::now(), error.clone()));
        made
    }

    /// Gives the connection up; the next call makes another. What it had not committed is taken back.
    pub(super) fn lose(&mut self) {
        self.connection = None;
    }
}

async fn connect(place: &Place) -> Result<AnyConnection, DatabaseError> {
    install_default_drivers();
    if let Place::File(path) = place {
        // SQLite gives its journal files the mode of the database.
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        file.map_err(|cause| DatabaseError::Io { path: path.clone(), cause: Arc::new(cause) })?;
    }
    let options = AnyConnectOptions::from_str(&place.url())?.disable_statement_logging();
    let mut connection = options.connect().await?;
    let begin = if place.is_server() { POSTGRES_BEGIN } else { SQLITE_BEGIN };
    sqlx::raw_sql(AssertSqlSafe(begin)).execute(&mut connection).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_tests::postgres::Postgres;

    #[tokio::test]
    async fn a_connection_that_rested_while_the_server_was_started_anew_is_made_again() {
        let mut server = Postgres::start();
        let url = server.database("rested").parse().expect("a URL");
        let mut link = Link::new(Place::Server(url));
        let ask = async |connection: &mut AnyConnection| sqlx::raw_sql("SELECT 1").execute(connection).await;
        ask(link.open().await.expect("there")).await.expect("answered");
        server.crash();
        server.go();
        ask(link.open_after(RESTED * 2).await.expect("made again")).await.expect("answered");
    }

    #[test]
    fn a_url_with_a_parameter_that_is_not_known_is_refused_and_its_value_said_nowhere() {
        let good = "postgres://ann:secret@host:5433/db?sslmode=verify-full&options[search_path]=a";
        assert_eq!(format!("{:?}", good.parse::<ServerUrl>()), "Ok(ServerUrl(…))");
        for bad in ["postgres://host/db?passwrd=secret", "mysql://host/db", "host=a", ""] {
            let refused = bad.parse::<ServerUrl>();
            assert!(refused.as_ref().is_err_and(|why| !why.to_string().contains("secret")), "{bad}: {refused:?}");
        }
    }
}
