//! `comity up`: runs a node in this process until somebody stops it. One line on standard output
//! says that it is ready; everything else it has to say goes to the log on standard error.

use super::config::{read, sources};
use super::{place, stopped};
use crate::args::{Everywhere, Up};
use crate::exit::Failure;
use crate::page::{Page, say};
use comity::Network;
use comity::home::Home;
use comity::observe::{self, Observed};
use comity::redaction::Redaction;
use comity_client::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::future::Future;

/// What peers are told when the node is stopped.
const GOODBYE: &str = "stopped by its user";

pub(crate) fn run(everywhere: &Everywhere, flags: Up, page: &mut Page) -> Result<(), Failure> {
    running(async {
        let (network, _observed) = start(everywhere, &flags).await?;
        let asked = match ready(&network, page) {
            Ok(()) => tokio::select! {
                asked = stopped() => asked,
                () = network.ill() => Err(Failure::Other("a critical health check keeps failing".to_owned())),
            },
            failed => failed,
        };
        network.leave(GOODBYE).await;
        asked
    })
}

/// Runs a node for as long as `work` with it takes, or until this process is told to stop.
pub(crate) fn run_while<F>(everywhere: &Everywhere, flags: Up, work: impl FnOnce(Client) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    running(async {
        let (network, _observed) = start(everywhere, &flags).await?;
        let client = Client::new(network.data_dir());
        let ended = tokio::select! {
            ended = work(client) => ended,
            asked = stopped() => asked,
        };
        network.leave(GOODBYE).await;
        ended
    })
}

fn running(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    allow_all_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(work);
    // The node has left by now; a thread may still wait for standard input.
    runtime.shutdown_background();
    ended
}

/// Lets this process have as many files and sockets as the system would give it: the usual first
/// limit of 1,024 is for programs that use `select`.
fn allow_all_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Err: then it is as many as there were.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The node, and its log, which must outlive it.
async fn start(everywhere: &Everywhere, flags: &Up) -> Result<(Network, Observed), Failure> {
    let (home, notice) = Home::open(&place(everywhere)?).map_err(failed)?;
    if let Some(notice) = notice {
        say(&format!("comity: {notice}"));
    }
    let (config, origins) = read(&sources(everywhere, home.folder(), flags))?;
    let name = config.name.clone().unwrap_or_else(|| "comity".to_owned());
    let redaction = Redaction::open(&home, &config).map_err(failed)?;
    let observed = observe::start(&config.log, config.otlp.as_ref(), &name, &redaction).map_err(failed)?;
    let network = Network::run(home, config, origins, redaction).await.map_err(failed)?;
    Ok((network, observed))
}

fn failed(wrong: impl ToString) -> Failure {
    Failure::Other(wrong.to_string())
}

/// The one line that says that peers and commands can reach the node.
fn ready(network: &Network, page: &mut Page) -> Result<(), Failure> {
    let (name, id, node) = (network.name(), network.id(), network.node_id());
    let addresses: Vec<String> = network.endpoints();
    if page.json {
        let folder = network.data_dir().display().to_string();
        return page.value(&json!({
            "ready": true, "name": name, "id": id.to_string(), "node": node.to_string(), "addresses": addresses,
            "data_dir": folder, "control_url": network.control_url(),
        }));
    }
    page.line(&format!("ready {name} {id} {}", addresses.join(" ")))
}
