//! Finding others on the local network, and being found: mDNS and DNS-SD (RFC 6762, RFC 6763). The
//! packets are the `mdns-sd` crate's; here is what a service means to a node. See "Discovery" in
//! `protocols/local-network.md`.

mod service;
#[cfg(test)]
mod tests;

use comity_core::limits;
use comity_core::node::{Input, SourceHealth};
use comity_core::peers::{Sighting, Source};
use comity_core::wire::txt::Txt;
use mdns_sd::{DaemonEvent, IfKind, IfPredicate, Receiver, ServiceDaemon, ServiceEvent};
use service::{Name, sighting};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The service of the protocol.
const SERVICE: &str = "_dashflow._tcp.local.";

/// How long until a node hears its own announcement, if multicast works: it goes out at once and again
/// after a second, and both may be lost; then it is asked for.
const ECHO_WITHIN: Duration = Duration::from_secs(5);

/// How long the library takes to repeat a goodbye that may have been lost, with some margin.
const GOODBYE_REPEAT: Duration = Duration::from_millis(150);

/// When a change is published once more. The library sends no record twice within a second, and drops
/// what comes too early instead of sending it later; this is after both of its own announcements.
const REPEAT_AFTER: Duration = Duration::from_millis(2500);

/// How long the library may take to answer when the node leaves.
const LEAVE_TIME: Duration = Duration::from_millis(300);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// The TXT record.
    pub(crate) txt: Txt,
    /// The port of the network door.
    pub(crate) port: u16,
}

/// The running source. Dropped without [`Mdns::leave`], it ends by itself.
#[derive(Debug, Clone)]
pub(crate) struct Mdns {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Announce(Advertised),
    Leave(oneshot::Sender<()>),
}

/// Starts to look for others on these interfaces (none named: all but loopback, and loopback when
/// there is no other) and to announce this node there. What is heard goes to `inform`.
///
/// The browse and the announcement go out together. Who hears either dials, and by that the other side
/// knows it too.
pub(crate) fn start<F, Told>(interfaces: Vec<String>, advertised: Advertised, inform: F) -> Mdns
where
    F: Fn(Input) -> Told + Send + Sync + 'static,
    Told: Future<Output = ()> + Send,
{
    let (orders, waiting) = mpsc::channel(4);
    tokio::spawn(async move {
        match open(&interfaces, &advertised) {
            Ok(open) => Task { open, instances: HashMap::new(), health: None, again: None, inform }.run(waiting).await,
            Err(error) => inform(failed(&format!("mDNS cannot start ({error})"))).await,
        }
    });
    Mdns { orders }
}

impl Mdns {
    /// Publishes what has changed.
    pub(crate) async fn announce(&self, advertised: Advertised) {
        // Err: the source could not start and has said so.
        let _ = self.orders.send(Order::Announce(advertised)).await;
    }

    /// Says goodbye and ends.
    pub(crate) async fn leave(self) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::Leave(done)).await.is_ok() {
            // Err: the task has ended already.
            let _ = ended.await;
        }
    }
}

/// The library's daemon: a thread that ends, and takes back what it announced, only when it is told to.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Err: it has ended already.
        let _ = self.0.shutdown();
    }
}

/// The library's daemon with everything that was asked of it.
struct Open {
    daemon: Daemon,
    found: Receiver<ServiceEvent>,
    monitor: Receiver<DaemonEvent>,
    name: Name,
    /// Our instance.
    fullname: String,
}

fn open(interfaces: &[String], advertised: &Advertised) -> Result<Open, mdns_sd::Error> {
    let daemon = Daemon(ServiceDaemon::new()?);
    let Daemon(library) = &daemon;
    // Selections are kept for interfaces that come later; the first one is made before any packet.
    let named = interfaces.to_vec();
    let unwanted = move |interface: &if_addrs::Interface| !is_wanted(interface, &named);
    library.disable_interface(IfKind::Predicate(IfPredicate::new(unwanted)))?;
    let monitor = library.monitor()?;
    let found = library.browse(SERVICE)?;
    let name = Name::new(&advertised.txt.name);
    let service = name.service(advertised)?;
    let fullname = service.get_fullname().to_owned();
    library.register(service)?;
    Ok(Open { daemon, found, monitor, name, fullname })
}

fn is_wanted(interface: &if_addrs::Interface, named: &[String]) -> bool {
    if named.is_empty() { !interface.is_loopback() || only_loopback() } else { named.contains(&interface.name) }
}

/// Whether this machine has no address but loopback now.
fn only_loopback() -> bool {
    if_addrs::get_if_addrs().is_ok_and(|interfaces| interfaces.iter().all(if_addrs::Interface::is_loopback))
}

fn failed(why: &str) -> Input {
    let what_to_do = "let UDP port 5353 and multicast through, or name peers with --peer host:port";
    Input::Source { source: Source::Mdns, health: SourceHealth::Failed(format!("{why}: {what_to_do}")) }
}

/// An instance that was resolved: what was told of it last.
struct Instance(Sighting);

impl Instance {
    /// Whether a sighting says more than what was told. One that only lacks something does not: so
    /// it looks when the records of somebody who leaves run out one by one.
    fn is_outdone_by(&self, new: &Sighting) -> bool {
        let Self(told) = self;
        let known = |candidate| told.candidates.contains(candidate);
        let lost_its_text = new.key.is_none() && told.key.is_some();
        let same = Sighting { candidates: told.candidates.clone(), ..new.clone() } == *told;
        let says_no_more = same && new.candidates.iter().all(known);
        !(lost_its_text || says_no_more)
    }
}

struct Task<F> {
    open: Open,
    /// By full name; at most [`limits::PEERS_MAX`].
    instances: HashMap<String, Instance>,
    /// What was said of this source last: `Some(true)` when it works.
    health: Option<bool>,
    /// A change that is published once more, and when.
    again: Option<(Instant, Advertised)>,
    inform: F,
}

impl<F, Told> Task<F>
where
    F: Fn(Input) -> Told + Send + Sync,
    Told: Future<Output = ()> + Send,
{
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let echo_by = Instant::now() + ECHO_WITHIN;
        loop {
            tokio::select! {
                event = self.open.found.recv_async() => match event {
                    Ok(event) => self.handle_event(event).await,
                    // The library gives up a browse whose events nobody takes; so many at once are a flood.
                    Err(_) => match self.open.daemon.0.browse(SERVICE) {
                        Ok(found) => self.open.found = found,
                        Err(error) => return (self.inform)(failed(&format!("mDNS stopped ({error})"))).await,
                    },
                },
                Ok(event) = self.open.monitor.recv_async() => if let DaemonEvent::Error(error) = event {
                    tracing::warn!(%error, "mDNS");
                },
                order = orders.recv() => match order {
                    Some(Order::Announce(advertised)) => {
                        self.announce(&advertised);
                        self.again = Some((Instant::now() + REPEAT_AFTER, advertised));
                    }
                    Some(Order::Leave(done)) => {
                        self.leave().await;
                        // Err: nobody waits.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                () = sleep_until(echo_by), if self.health.is_none() => self.miss_echo().await,
                () = sleep_until(self.again.as_ref().map_or(echo_by, |(at, _)| *at)), if self.again.is_some() => {
                    if let Some((_, advertised)) = self.again.take() {
                        self.announce(&advertised);
                    }
                }
            }
        }
    }

    async fn handle_event(&mut self, event: ServiceEvent) {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                self.works().await;
                let fullname = service.get_fullname().to_lowercase();
                if fullname == self.open.fullname.to_lowercase() {
                    return;
                }
                let Some(sighting) = sighting(&service) else {
                    tracing::debug!(instance = ?service.get_fullname(), "an mDNS service without a usable address");
                    return;
                };
                match self.instances.get(&fullname) {
                    Some(instance) if !instance.is_outdone_by(&sighting) => return,
                    None if self.instances.len() >= limits::PEERS_MAX => return,
                    _ => {}
                }
                self.instances.insert(fullname, Instance(sighting.clone()));
                (self.inform)(Input::Sighted(sighting)).await;
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                if let Some(Instance(sighting)) = self.instances.remove(&fullname.to_lowercase()) {
                    (self.inform)(Input::Unsighted { source: Source::Mdns, peer: sighting.peer }).await;
                }
            }
            _ => {}
        }
    }

    /// Something came back: multicast works.
    async fn works(&mut self) {
        if self.health != Some(true) {
            self.health = Some(true);
            (self.inform)(Input::Source { source: Source::Mdns, health: SourceHealth::Up }).await;
        }
    }

    /// Not even our own announcement came back. If one does later, [`Self::works`] says so.
    async fn miss_echo(&mut self) {
        self.health = Some(false);
        let nowhere = if_addrs::get_if_addrs().map_or(true, |interfaces| interfaces.is_empty());
        let why = if nowhere {
            "mDNS has no network interface to use"
        } else {
            "mDNS does not work here: this node's own multicast packets do not come back"
        };
        (self.inform)(failed(why)).await;
    }

    fn announce(&mut self, advertised: &Advertised) {
        let renewed = self.open.name.service(advertised).and_then(|service| self.open.daemon.0.register(service));
        if let Err(error) = renewed {
            tracing::warn!(%error, "mDNS could not publish what has changed");
        }
    }

    async fn leave(self) {
        let ending = async {
            let goodbye = self.open.daemon.0.unregister(&self.open.fullname)?;
            // Err: the daemon has ended by itself.
            let _ = goodbye.recv_async().await;
            sleep(GOODBYE_REPEAT).await;
            self.open.daemon.0.shutdown()
        };
        match timeout(LEAVE_TIME, ending).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "mDNS did not say goodbye"),
            Err(_) => tracing::debug!("mDNS took too long to say goodbye"),
        }
    }
}
