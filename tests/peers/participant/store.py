"""What must outlive the program: the key, pins, nonces, transactions, channels, the outbox, findings. All of it is on
disk before anybody is answered."""
import contextlib
import json
import os
import sqlite3
import stat
import threading

from wire import Key, Problem, dump, now_ms

TABLES = """
CREATE TABLE IF NOT EXISTS previous (key TEXT PRIMARY KEY, link TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pins (origin TEXT PRIMARY KEY, key TEXT, old TEXT, endpoint TEXT, fresh_until INT,
    changed INT);
CREATE TABLE IF NOT EXISTS nonces (origin TEXT, nonce TEXT, ts INT, PRIMARY KEY (origin, nonce)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS txns (origin TEXT, txn TEXT, body TEXT, answer TEXT, ts INT, PRIMARY KEY (origin, txn));
CREATE TABLE IF NOT EXISTS calls (origin TEXT, call TEXT, body TEXT, answer TEXT, ts INT, PRIMARY KEY (origin, call));
CREATE TABLE IF NOT EXISTS channels (id TEXT PRIMARY KEY, state TEXT, history TEXT, inviter TEXT);
CREATE TABLE IF NOT EXISTS members (channel TEXT, origin TEXT, sent INT, until INT, PRIMARY KEY (channel, origin));
CREATE TABLE IF NOT EXISTS events (channel TEXT, seq INT, id TEXT, origin TEXT, json TEXT, PRIMARY KEY (channel, seq));
CREATE UNIQUE INDEX IF NOT EXISTS events_by_id ON events (channel, origin, id);
CREATE TABLE IF NOT EXISTS authors (channel TEXT, origin TEXT, seq INT, PRIMARY KEY (channel, origin));
CREATE TABLE IF NOT EXISTS outbox (channel TEXT, author_seq INT, id TEXT UNIQUE, json TEXT, state TEXT, detail TEXT,
    PRIMARY KEY (channel, author_seq));
CREATE TABLE IF NOT EXISTS batches (destination TEXT PRIMARY KEY, txn TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS findings (kind TEXT, subject TEXT, json TEXT, ts INT, PRIMARY KEY (kind, subject));
CREATE TABLE IF NOT EXISTS refusals (code TEXT PRIMARY KEY, count INT);
"""


class Store:
    """One database, one writer. `tx` is a transaction that is durable when it ends."""

    def __init__(self, folder):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder, self.lock = folder, threading.RLock()
        self.changed, self.depth = threading.Condition(self.lock), 0
        self.key_file = os.path.join(folder, "key")
        self.db = sqlite3.connect(os.path.join(folder, "state.db"), check_same_thread=False, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.executescript(TABLES)

    def load_key(self):
        """The key of this origin, made on the first start. Others must not be able to read it."""
        try:
            if stat.S_IMODE(os.stat(self.key_file).st_mode) & 0o077:
                raise SystemExit(f"others can read the key: chmod 600 {self.key_file}")
            with open(self.key_file, "rb") as file:
                return Key(file.read())
        except FileNotFoundError:
            return self.save_key(Key())

    def save_key(self, key):
        new = self.key_file + ".new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.raw())
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.key_file)
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return key

    @contextlib.contextmanager
    def tx(self):
        with self.lock:
            self.depth += 1
            try:
                if self.depth == 1:
                    self.db.execute("BEGIN IMMEDIATE")
                yield self.db
                if self.depth == 1:
                    self.db.execute("COMMIT")
                    self.changed.notify_all()
            except BaseException:
                if self.depth == 1:
                    self.db.execute("ROLLBACK")
                raise
            finally:
                self.depth -= 1

    def all(self, sql, *values):
        with self.lock:
            return self.db.execute(sql, values).fetchall()

    def one(self, sql, *values):
        with self.lock:
            return self.db.execute(sql, values).fetchone()

    def run(self, sql, *values):
        with self.tx() as db:
            return db.execute(sql, values).rowcount

    def first_use(self, origin, nonce, ts, window):
        """Keeps a nonce; false when it was there. One whose time has passed would be refused by its time anyway."""
        with self.tx() as db:
            db.execute("DELETE FROM nonces WHERE ts < ?", (now_ms() - 2 * window,))
            return db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", (origin, nonce, ts)).rowcount == 1

    def find(self, kind, subject, **what):
        """Keeps something found out about others, once per subject."""
        with self.tx() as db:
            db.execute("INSERT OR IGNORE INTO findings VALUES (?, ?, ?, ?)", (kind, subject, dump(what), now_ms()))

    def refused(self, problem):
        self.run("INSERT INTO refusals VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", problem.code)

    def channel(self, channel):
        row = self.one("SELECT state, history, inviter FROM channels WHERE id = ?", channel)
        return row or (None, None, None)

    def head(self, channel):
        """The last event's seq, id, term and type; zeros where there is none."""
        row = self.one("SELECT json FROM events WHERE channel = ? ORDER BY seq DESC LIMIT 1", channel)
        event = json.loads(row[0]) if row else {"seq": 0, "id": None, "term": 0, "type": None}
        return event

    def event_at(self, channel, seq):
        row = self.one("SELECT json FROM events WHERE channel = ? AND seq = ?", channel, seq)
        return json.loads(row[0]) if row else None

    def has(self, channel, origin, ident):
        return self.one("SELECT 1 FROM events WHERE channel = ? AND origin = ? AND id = ?", channel, origin, ident)

    def members(self, channel):
        rows = self.all("SELECT origin FROM members WHERE channel = ? AND until IS NULL ORDER BY origin", channel)
        return [origin for origin, in rows]

    def author_seq(self, channel, origin):
        row = self.one("SELECT seq FROM authors WHERE channel = ? AND origin = ?", channel, origin)
        return row[0] if row else None

    def once(self, table, name, origin, ident, body):
        """The answer that was given to this id, if it was; another body under it is refused."""
        row = self.one(f"SELECT body, answer FROM {table} WHERE origin = ? AND {name} = ?", origin, ident)
        if row and row[0] != body:
            raise Problem(409, "conflict", "this id was used with another body")
        return row and row[1]
