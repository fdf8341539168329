//! A node as a DNS-SD service, and a service as a sighting. Everything in a record is a claim by
//! whoever sent it: only addresses of the service itself become candidates.

use super::{Advertised, SERVICE};
use comity_core::id::PeerId;
use comity_core::peers::{Candidate, Sighting, Source};
use comity_core::wire::txt;
use mdns_sd::{InterfaceId, ResolvedService, ScopedIp, ServiceInfo};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};

/// Longest instance name, bytes: one DNS label.
const LABEL_MAX: usize = 63;

/// Most candidates of one sighting: several addresses on several interfaces, and two ports.
const CANDIDATES_MAX: usize = 32;

/// How this start of a node is called on the network.
#[derive(Debug, Clone)]
pub(super) struct Name {
    instance: String,
    host: String,
}

impl Name {
    /// The node's name and a random suffix, which keeps two of one name, or two starts of one node,
    /// apart: of 10,000 starts on one network, two have the same with a chance of 3 in 10^12. The host
    /// name says nothing of the machine.
    pub(super) fn new(name: &str) -> Self {
        let suffix = format!("{:016x}", rand::random::<u64>());
        let mut label: String = name.chars().filter(|c| !c.is_control()).collect();
        label.truncate(label.floor_char_boundary(LABEL_MAX - suffix.len() - 1));
        Self { instance: format!("{label}-{suffix}"), host: format!("comity-{suffix}.local.") }
    }

    /// The service to publish. The library fills in the addresses, and follows their changes.
    ///
    /// The names are not probed, as RFC 6762, section 8.1, asks for names that another host may want:
    /// nobody else wants these. A probe costs a second, and two where this machine is on one network
    /// twice: it hears there what it asks on its other interface, with the addresses of that one, takes
    /// it for another host's and gives way to it.
    pub(super) fn service(&self, advertised: &Advertised) -> Result<ServiceInfo, mdns_sd::Error> {
        let strings = txt::encode(&advertised.txt);
        let service = ServiceInfo::new(SERVICE, &self.instance, &self.host, "", advertised.port, &strings[..])?;
        let mut service = service.enable_addr_auto();
        service.set_requires_probe(false);
        Ok(service)
    }
}

/// What a resolved service says of a peer; `None` when it has no address that can be dialled.
pub(super) fn sighting(service: &ResolvedService) -> Option<Sighting> {
    let strings = service.get_properties().iter().map(|string| (string.key(), string.val().unwrap_or_default()));
    let said = txt::decode(strings);
    let port = service.get_port();
    let addresses: BTreeSet<SocketAddr> =
        service.get_addresses().iter().flat_map(|address| addresses(address, port)).collect();
    let candidates = with_endpoint(&addresses, &said.endpoint);
    if candidates.is_empty() {
        return None;
    }
    let fullname = service.get_fullname();
    let instance = fullname.strip_suffix(SERVICE).unwrap_or(fullname).trim_end_matches('.');
    Some(Sighting {
        source: Source::Mdns,
        told_by: on_loopback(service).then_some(Ipv4Addr::LOCALHOST.into()),
        peer: said
            .key
            .map(|key| key.peer())
            .or(said.id)
            .unwrap_or_else(|| PeerId::of_foreign(&format!("mdns:{}", fullname.to_lowercase()))),
        key: said.key,
        name: if said.name.is_empty() { instance.to_owned() } else { said.name },
        version: said.version,
        capabilities: said.capabilities,
        candidates,
        metadata: said.metadata,
        rendezvous: None,
    })
}

fn addresses(address: &ScopedIp, port: u16) -> Vec<SocketAddr> {
    match address {
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            vec![SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into()]
        }
        other => vec![SocketAddr::new(other.to_ip_addr(), port)],
    }
}

/// The service's own addresses, and its endpoint where that is one of them: another address would
/// be somebody else's.
fn with_endpoint(addresses: &BTreeSet<SocketAddr>, endpoint: &str) -> Vec<Candidate> {
    let host_and_port = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let endpoint: Option<SocketAddr> = host_and_port.and_then(|text| text.trim_end_matches('/').parse().ok());
    let own = endpoint.filter(|endpoint| addresses.iter().any(|address| address.ip() == endpoint.ip()));
    let all: BTreeSet<SocketAddr> =
        addresses.iter().copied().chain(own).filter(|address| address.port() != 0).collect();
    let candidate = |address| Candidate { address, source: Source::Mdns };
    all.into_iter().take(CANDIDATES_MAX).map(candidate).collect()
}

/// Whether the service was heard on a loopback interface, so that its loopback addresses are ours.
fn on_loopback(service: &ResolvedService) -> bool {
    let loopbacks: Vec<String> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(if_addrs::Interface::is_loopback)
        .map(|interface| interface.name)
        .collect();
    let is_loopback = |id: &InterfaceId| loopbacks.contains(&id.name);
    service.get_addresses().iter().filter(|address| matches!(address.to_ip_addr(), ip if ip.is_loopback())).any(
        |address| match address {
            ScopedIp::V4(v4) => v4.interface_ids().iter().any(is_loopback),
            ScopedIp::V6(v6) => is_loopback(v6.scope_id()),
            _ => false,
        },
    )
}
