//! The queue on both databases: the same behaviours on each, and what only a file or only a server can do to it.

mod file;
mod rules;
mod server;
mod setting;

use setting::{DAY, Folder, at, database, done, plain, queue_on, take};
