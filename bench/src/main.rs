//! Measurements, one subcommand each: `messages` (beside nats-server and mosquitto), `memory` (what a
//! node holds; `messages` ends with it), `discovery` (how soon nodes know each other), `mqtt` (the same at a
//! broker), `webrtc` (how soon they are connected through NATs), `files` (how fast they go over a shaped link),
//! `journal` (durable entries beside the disk's own syncs, and what a million of them take),
//! `gossip` (how messages spread among hundreds of nodes that come and go),
//! `federation` (calls and events between organisations, beside Synapse; `answer-calls` is its tool server),
//! `tasks` (the queue, beside JetStream, on SQLite and PostgreSQL),
//! `search` (nearest neighbours, beside hnswlib and usearch; counts of vectors may follow),
//! `sync` (how soon others have copies of documents), `mesh` (questions to nine nodes), `registry` (what thousands of
//! nodes cost it); how many may follow,
//! `rules` (what a message costs in the rules alone), `redact` (what redaction costs).

mod announced;
mod clusters;
mod discovery;
mod federation;
mod figures;
mod files;
mod gossip;
mod journal;
mod member;
mod memory;
mod mesh;
mod messages;
mod mosquitto;
mod nats;
mod node;
mod progress;
mod redact;
mod registry;
mod rules;
mod search;
mod server;
mod sync;
mod table;
mod tasks;
mod waiting;
mod watchers;
mod webrtc;
mod words;

fn main() -> std::process::ExitCode {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let done = match std::env::args().nth(1).as_deref() {
        Some("rules") => {
            rules::run();
            Ok(())
        }
        Some("redact") => redact::run(),
        Some("discovery") => discovery::run(),
        Some("federation") => federation::run(),
        Some("answer-calls") => federation::answer_calls(),
        Some("files") => files::run(),
        Some("gossip") => gossip::run(),
        Some("journal") => journal::run(),
        Some("mqtt") => announced::run(),
        Some("mesh") => mesh::run(&words),
        Some("registry") => registry::run(&words),
        Some("search") => search::run(&words),
        Some("sync") => sync::run(&words),
        Some("tasks") => tasks::run(),
        Some("messages") => messages::run(),
        Some("memory") => memory::run(),
        Some("webrtc") => webrtc::run(),
        _ => Err(
            "usage: comity-bench rules|redact|messages|memory|discovery|mqtt|webrtc|files|journal|gossip|federation|search|\
             sync|mesh|registry|tasks"
                .to_owned(),
        ),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            std::process::ExitCode::FAILURE
        }
    }
}
