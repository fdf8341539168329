//! The registry of several coordinators: one PostgreSQL database. Whoever changes something locks the one row of
//! `comity_registry` first, and reads what the others have changed; so all decide on the same, one after another. Each
//! change has a number, `mark`, in the order of the commits; what is taken out stays for a while as a row that says so.
//! When nodes were heard and tokens end is kept by the server's clock: coordinators' clocks may differ.

use super::{Others, RegistryError, Restored, Write};
use crate::store::link::{DatabaseError, Link, Place, ServerUrl};
use crate::store::{database_integer, steps, wake};
use comity_core::id::NodeId;
use comity_core::registry::key::{Issued, KeyHash, Token};
use comity_core::registry::profile::{NodeName, Setting, Settings};
use comity_core::registry::roster::{Holder, Kept};
use comity_core::time::{Now, Timestamp};
use comity_core::wire::mesh::registry::{read_register, write_register};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;

/// Says through which steps a database has been.
const TABLE: &str = "comity_registry_schema";

/// Where coordinators say that something changed.
const CHANNEL: &str = "comity_registry";

/// Commits, and says so.
const NOTIFY_AND_COMMIT: &str = "NOTIFY comity_registry; COMMIT";

/// Changes that what was taken out is remembered for: days, where two coordinators each write every ten seconds. Who was
/// away for longer reads everything.
const REMEMBERED: i64 = 100_000;

/// How often what was taken out is looked through, in changes.
const FORGET_EVERY: i64 = 1_000;

/// The tables. `comity_registry` is one row: the last change, up to which change things that were taken out are forgotten,
/// when nodes were heard last, and what the mesh is set to. When a node was heard is beside it: that is written often.
const STEPS: &[&str] = &["CREATE TABLE comity_registry (one {int} PRIMARY KEY, mark {int} NOT NULL,
         forgotten {int} NOT NULL, heard_until {int} NOT NULL, settings TEXT NOT NULL);
     INSERT INTO comity_registry VALUES (1, 0, 0, 0, '');
     CREATE TABLE comity_node (name TEXT PRIMARY KEY, body {blob} NOT NULL, by_key {int} NOT NULL, holder {blob} NOT NULL,
         key_proved {int} NOT NULL, is_out {int} NOT NULL, mark {int} NOT NULL);
     CREATE INDEX comity_node_mark ON comity_node (mark);
     CREATE TABLE comity_heard (name TEXT PRIMARY KEY, at {int} NOT NULL, mark {int} NOT NULL);
     CREATE TABLE comity_api_key (hash {blob} PRIMARY KEY, node TEXT NOT NULL, issued {int} NOT NULL, token {blob},
         is_out {int} NOT NULL, mark {int} NOT NULL);
     CREATE INDEX comity_api_key_mark ON comity_api_key (mark);
     CREATE TABLE comity_token (hash {blob} PRIMARY KEY, uses_left {int} NOT NULL, expires {int} NOT NULL,
         is_out {int} NOT NULL, mark {int} NOT NULL);
     CREATE INDEX comity_token_mark ON comity_token (mark);"];

/// The time of the server, milliseconds.
const CLOCK: &str = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// The database, as long as there is a connection.
pub(crate) struct Server {
    link: Link,
    /// The last change that was read; `None` when that is not known any more.
    read: Option<i64>,
    /// The change that is being made.
    making: i64,
    ticks: watch::Receiver<u64>,
    /// Who listens to the server, which ends when this does.
    _wake: JoinSet<()>,
}

/// Opens the database, whose tables are made if they are missing, and reads all of it.
pub(super) async fn open(url: &ServerUrl, settings: &Settings, now: Now) -> Result<(Server, Restored), RegistryError> {
    let place = Place::Server(url.clone());
    let mut link = Link::new(place.clone());
    let connection = link.open().await?;
    steps::upgrade(&place, connection, TABLE, STEPS).await?;
    agree(connection, settings).await?;
    let (ticks, heard) = watch::channel(0);
    let mut wake = JoinSet::new();
    wake.spawn(wake::run(url.clone(), CHANNEL, ticks));
    let mut server = Server { link, read: None, making: 0, ticks: heard, _wake: wake };
    match server.others(now).await? {
        Others::All(restored) => Ok((server, restored)),
        Others::Changed(_) => Ok((server, Restored::default())),
    }
}

impl Server {
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.ticks.clone()
    }

    /// What this came to. After a failure nobody knows what is there: the connection is given up, and all is read anew.
    pub(super) fn unless_failed<T>(
        &mut self,
        done: Result<Result<T, RegistryError>, Elapsed>,
    ) -> Result<T, RegistryError> {
        let done = done.unwrap_or(Err(DatabaseError::TooSlow.into()));
        if done.is_err() {
            self.link.lose();
            self.read = None;
        }
        done
    }

    pub(super) async fn others(&mut self, now: Now) -> Result<Others, RegistryError> {
        let connection = self.link.open().await?;
        let row = sqlx::query("SELECT mark, forgotten FROM comity_registry").fetch_one(&mut *connection).await?;
        let (mark, forgotten) = (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?);
        let known = self.read.filter(|read| *read >= forgotten);
        if known == Some(mark) {
            return Ok(Others::Changed(Vec::new()));
        }
        let others = changed(connection, known, now).await?;
        self.read = Some(mark);
        Ok(others)
    }

    pub(super) async fn begin(&mut self, now: Now) -> Result<Others, RegistryError> {
        let connection = self.link.open().await?;
        sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
        let lock = "UPDATE comity_registry SET mark = mark + 1 RETURNING mark, forgotten";
        let row = sqlx::query(lock).fetch_one(&mut *connection).await?;
        let (mark, forgotten) = (row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?);
        self.making = mark;
        let known = self.read.filter(|read| *read >= forgotten);
        if known == Some(mark - 1) {
            return Ok(Others::Changed(Vec::new()));
        }
        changed(connection, known, now).await
    }

    pub(super) async fn commit(&mut self, writes: &[Write], now: Now) -> Result<(), RegistryError> {
        let mark = self.making;
        let connection = self.link.open().await?;
        for write in writes {
            put(connection, write, (mark, now)).await?;
        }
        if mark % FORGET_EVERY == 0 {
            forget(connection, mark - REMEMBERED).await?;
        }
        sqlx::raw_sql(NOTIFY_AND_COMMIT).execute(connection).await?;
        self.read = Some(mark);
        Ok(())
    }
}

/// What the mesh is set to is said by who comes first; who is set otherwise is refused.
async fn agree(connection: &mut AnyConnection, settings: &Settings) -> Result<(), RegistryError> {
    let Settings { dim, metric, projection, encoder } = settings;
    let ours = json!({ "dim": dim, "metric": metric, "projection": projection, "encoder": encoder });
    let first = "UPDATE comity_registry SET settings = $1 WHERE settings = ''";
    sqlx::query(first).bind(ours.to_string()).execute(&mut *connection).await?;
    let row = sqlx::query("SELECT settings FROM comity_registry").fetch_one(connection).await?;
    let theirs: serde_json::Value = serde_json::from_str(&row.try_get::<String, _>(0)?).unwrap_or_default();
    let all = [
        ("dim", Setting::Dim),
        ("metric", Setting::Metric),
        ("projection", Setting::Projection),
        ("encoder", Setting::Encoder),
    ];
    let differing = all.into_iter().find(|(name, _)| theirs.get(name) != ours.get(name));
    differing.map_or(Ok(()), |(_, setting)| Err(RegistryError::Differs(setting)))
}

async fn put(to: &mut AnyConnection, write: &Write, (mark, now): (i64, Now)) -> Result<(), sqlx::Error> {
    let query = match write {
        Write::Node(kept) => return put_node(to, kept, mark).await,
        Write::Heard(heard, until) => return put_heard(to, heard, (mark, *until)).await,
        Write::NodeOut(name) => {
            let forget = sqlx::query("DELETE FROM comity_heard WHERE name = $1").bind(name.to_string());
            forget.execute(&mut *to).await?;
            let out = "UPDATE comity_node SET is_out = 1, body = CAST('' AS BYTEA), mark = $2 WHERE name = $1";
            sqlx::query(out).bind(name.to_string()).bind(mark)
        }
        Write::Key(hash, issued) => {
            let key =
                "INSERT INTO comity_api_key (hash, node, issued, token, is_out, mark) VALUES ($1, $2, $3, $4, 0, $5)
                 ON CONFLICT (hash) DO UPDATE SET is_out = 0, mark = excluded.mark";
            sqlx::query(key)
                .bind(hash.as_bytes().to_vec())
                .bind(issued.node.to_string())
                .bind(database_integer(issued.at.millis()))
                .bind(issued.token.map(|token| token.as_bytes().to_vec()))
                .bind(mark)
        }
        Write::KeyOut(hash) => {
            let out = "UPDATE comity_api_key SET is_out = 1, mark = $2 WHERE hash = $1";
            sqlx::query(out).bind(hash.as_bytes().to_vec()).bind(mark)
        }
        Write::Token(hash, token) => {
            // It ends by the server's clock.
            let left = database_integer(token.expires.millis()) - database_integer(now.wall.millis());
            let put = format!(
                "INSERT INTO comity_token (hash, uses_left, expires, is_out, mark) VALUES ($1, $2, {CLOCK} + $3, 0, $4)
                 ON CONFLICT (hash) DO UPDATE SET uses_left = excluded.uses_left, is_out = 0, mark = excluded.mark"
            );
            let query = sqlx::query(sqlx::AssertSqlSafe(put)).bind(hash.as_bytes().to_vec());
            query.bind(i64::from(token.uses_left)).bind(left).bind(mark)
        }
        Write::TokenOut(hash) => {
            let out = "UPDATE comity_token SET is_out = 1, mark = $2 WHERE hash = $1";
            sqlx::query(out).bind(hash.as_bytes().to_vec()).bind(mark)
        }
    };
    query.execute(to).await.map(drop)
}

async fn put_node(to: &mut AnyConnection, kept: &Kept, mark: i64) -> Result<(), sqlx::Error> {
    let (by_key, holder) = match kept.holder {
        Holder::Key(key) => (1_i64, key.as_bytes().to_vec()),
        Holder::ApiKey(hash) => (0_i64, hash.as_bytes().to_vec()),
    };
    let put = "INSERT INTO comity_node (name, body, by_key, holder, key_proved, is_out, mark)
         VALUES ($1, $2, $3, $4, $5, 0, $6)
         ON CONFLICT (name) DO UPDATE SET body = excluded.body, by_key = excluded.by_key, holder = excluded.holder,
             key_proved = excluded.key_proved, is_out = 0, mark = excluded.mark";
    sqlx::query(put)
        .bind(kept.registration.node.to_string())
        .bind(write_register(&kept.registration))
        .bind(by_key)
        .bind(holder)
        .bind(i64::from(kept.is_key_proved))
        .bind(mark)
        .execute(&mut *to)
        .await?;
    // Who registers is there; of who was known it is said with the next heartbeats.
    let heard = format!("INSERT INTO comity_heard (name, at, mark) VALUES ($1, {CLOCK}, $2) ON CONFLICT DO NOTHING");
    let heard = sqlx::query(sqlx::AssertSqlSafe(heard)).bind(kept.registration.node.to_string()).bind(mark);
    heard.execute(to).await.map(drop)
}

async fn put_heard(
    to: &mut AnyConnection,
    heard: &[(NodeName, Timestamp)],
    (mark, until): (i64, Timestamp),
) -> Result<(), sqlx::Error> {
    let silent = |(name, at): &(NodeName, Timestamp)| json!({ "name": name.as_str(), "silence": database_integer(millis(until.since(*at))) });
    let all = serde_json::Value::Array(heard.iter().map(silent).collect()).to_string();
    let put = format!(
        "INSERT INTO comity_heard (name, at, mark)
             SELECT said.name, {CLOCK} - said.silence, $2
             FROM json_to_recordset(CAST($1 AS json)) AS said (name TEXT, silence BIGINT)
             JOIN comity_node ON comity_node.name = said.name AND comity_node.is_out = 0
         ON CONFLICT (name) DO UPDATE SET at = GREATEST(comity_heard.at, excluded.at), mark = excluded.mark"
    );
    sqlx::query(sqlx::AssertSqlSafe(put)).bind(all).bind(mark).execute(&mut *to).await?;
    let until = format!("UPDATE comity_registry SET heard_until = {CLOCK}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(until)).execute(to).await.map(drop)
}

/// Forgets what was taken out up to this change.
async fn forget(at: &mut AnyConnection, until: i64) -> Result<(), sqlx::Error> {
    for table in ["comity_node", "comity_api_key", "comity_token"] {
        let delete = format!("DELETE FROM {table} WHERE is_out = 1 AND mark <= $1");
        sqlx::query(sqlx::AssertSqlSafe(delete)).bind(until).execute(&mut *at).await?;
    }
    let forgotten = sqlx::query("UPDATE comity_registry SET forgotten = GREATEST(forgotten, $1)");
    forgotten.bind(until).execute(at).await.map(drop)
}

/// What changed after this mark; everything, where there is none.
async fn changed(at: &mut AnyConnection, known: Option<i64>, now: Now) -> Result<Others, RegistryError> {
    let after = known.unwrap_or(-1);
    let clock = format!("SELECT {CLOCK}, heard_until FROM comity_registry");
    let row = sqlx::query(sqlx::AssertSqlSafe(clock)).fetch_one(&mut *at).await?;
    let times = Times { server: row.try_get(0)?, now };
    let heard_until = times.local(row.try_get(1)?);
    let mut damaged = 0;
    let mut writes = Vec::new();
    let nodes =
        "SELECT node.name, body, by_key, holder, key_proved, is_out, COALESCE(heard.at, 0) FROM comity_node AS node
         LEFT JOIN comity_heard AS heard ON heard.name = node.name WHERE node.mark > $1";
    let tokens = "SELECT hash, uses_left, expires, is_out FROM comity_token WHERE mark > $1";
    let keys = "SELECT hash, node, issued, token, is_out FROM comity_api_key WHERE mark > $1";
    for (query, read) in [(nodes, node_of as fn(&AnyRow, &Times) -> Option<Write>), (tokens, token_of), (keys, key_of)]
    {
        for row in sqlx::query(query).bind(after).fetch_all(&mut *at).await? {
            match read(&row, &times) {
                Some(write) => writes.push(write),
                None => damaged += 1,
            }
        }
    }
    if damaged > 0 {
        tracing::error!(rows = damaged, "rows of the shared registry cannot be read and are left out");
    }
    if known.is_none() {
        let mut restored = Restored { heard_until, ..Restored::default() };
        for write in writes {
            match write {
                Write::Node(kept) => restored.nodes.push(*kept),
                Write::Key(hash, issued) => restored.keys.push((hash, issued)),
                Write::Token(hash, token) => restored.tokens.push((hash, token)),
                _ => {}
            }
        }
        return Ok(Others::All(restored));
    }
    let mut heard = Vec::new();
    for row in sqlx::query("SELECT name, at FROM comity_heard WHERE mark > $1").bind(after).fetch_all(at).await? {
        if let Ok(name) = NodeName::new(row.try_get::<&str, _>(0)?) {
            heard.push((name, times.local(row.try_get(1)?)));
        }
    }
    writes.push(Write::Heard(heard, now.wall));
    Ok(Others::Changed(writes))
}

/// The server's time, and this machine's at that moment.
struct Times {
    server: i64,
    now: Now,
}

impl Times {
    /// A time of the server's clock, on this machine's.
    fn local(&self, at: i64) -> Timestamp {
        let away = Duration::from_millis(self.server.abs_diff(at));
        if at > self.server { self.now.wall + away } else { self.now.wall - away }
    }
}

fn node_of(row: &AnyRow, times: &Times) -> Option<Write> {
    let name = NodeName::new(row.try_get::<&str, _>(0).ok()?).ok()?;
    if row.try_get::<i64, _>(5).ok()? == 1 {
        return Some(Write::NodeOut(name));
    }
    let holder: [u8; 32] = row.try_get::<Vec<u8>, _>(3).ok()?.try_into().ok()?;
    let holder = match row.try_get::<i64, _>(2).ok()? {
        1 => Holder::Key(NodeId::from_bytes(holder)),
        _ => Holder::ApiKey(KeyHash::from_bytes(holder)),
    };
    let registration = read_register(&row.try_get::<Vec<u8>, _>(1).ok()?).ok()?;
    let is_key_proved = row.try_get::<i64, _>(4).ok()? == 1;
    let last_heartbeat = times.local(row.try_get(6).ok()?);
    Some(Write::Node(Box::new(Kept { registration, holder, is_key_proved, load: None, last_heartbeat })))
}

fn key_of(row: &AnyRow, _: &Times) -> Option<Write> {
    let hash = hash_of(row, 0)?;
    if row.try_get::<i64, _>(4).ok()? == 1 {
        return Some(Write::KeyOut(hash));
    }
    let node = NodeName::new(row.try_get::<&str, _>(1).ok()?).ok()?;
    let at = Timestamp::from_millis(u64::try_from(row.try_get::<i64, _>(2).ok()?).ok()?);
    let token = row.try_get::<Option<Vec<u8>>, _>(3).ok()?;
    let token = token.and_then(|token| token.try_into().ok()).map(KeyHash::from_bytes);
    Some(Write::Key(hash, Issued { node, at, token }))
}

fn token_of(row: &AnyRow, times: &Times) -> Option<Write> {
    let hash = hash_of(row, 0)?;
    if row.try_get::<i64, _>(3).ok()? == 1 {
        return Some(Write::TokenOut(hash));
    }
    let uses_left = u32::try_from(row.try_get::<i64, _>(1).ok()?).ok()?;
    Some(Write::Token(hash, Token { uses_left, expires: times.local(row.try_get(2).ok()?) }))
}

fn hash_of(row: &AnyRow, column: usize) -> Option<KeyHash> {
    row.try_get::<Vec<u8>, _>(column).ok()?.try_into().ok().map(KeyHash::from_bytes)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
