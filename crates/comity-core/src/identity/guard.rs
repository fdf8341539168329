//! The one guard for every address learned from others. See "Dialling" in
//! `protocols/identity.md`. It says no; in which order the rest is dialled is the peer book's
//! business.

use crate::peers::{Candidate, Source};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The period of [`Config::dials_max`].
const PERIOD: Duration = Duration::from_secs(60);

/// Most tellers whose dials are counted at once; the news of others is refused until some have been quiet.
const TELLERS_MAX: usize = 1024;

/// What a guard must know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where this node's control and metrics doors listen: never dialled.
    pub own_doors: Vec<SocketAddr>,
    /// New addresses dialled per minute for one teller (a source, and there one address that told). 32 by default:
    /// less slows the discovery of large networks, more lets a liar use this node to scan.
    pub dials_max: usize,
}

/// The guard: its configuration, this machine's addresses, and the dials of the last minute.
#[derive(Debug, Clone)]
pub struct Guard {
    config: Config,
    interfaces: Vec<IpNet>,
    /// Addresses let through lately, by who told of them.
    lately: BTreeMap<Teller, Vec<(SocketAddr, Duration)>>,
}

/// Who told of an address: a source, and there the address the news came from.
type Teller = (Source, Option<IpAddr>);

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Nobody can be there: unspecified, multicast, broadcast, or port 0.
    #[error("nobody can answer at this address")]
    Unusable,
    /// A cloud's metadata service.
    #[error("the address of a metadata service")]
    Metadata,
    /// One of this node's own doors that no peer may reach.
    #[error("the address of a door of this node")]
    OwnDoor,
    /// A loopback address that was not learned on loopback.
    #[error("a loopback address that was told from elsewhere")]
    Loopback,
    /// Neither on a network of this machine nor where the news came from.
    #[error("an address that is not the teller's own")]
    Elsewhere,
    /// A private address to which another organisation's name or document leads.
    #[error("a private address, which is not listed")]
    Private,
    /// Too many new addresses within a minute from this teller.
    #[error("too many new addresses from one teller")]
    TooMany,
}

impl Default for Config {
    fn default() -> Self {
        Self { own_doors: Vec::new(), dials_max: 32 }
    }
}

impl Guard {
    /// A guard that does not know this machine's addresses yet.
    pub fn new(config: Config) -> Self {
        Self { config, interfaces: Vec::new(), lately: BTreeMap::new() }
    }

    /// Tells the guard this machine's addresses and networks.
    pub fn set_interfaces(&mut self, interfaces: Vec<IpNet>) {
        self.interfaces = interfaces;
    }

    /// Whether this address may be dialled now. `told_by` is the address the news came from, `now` the time since the
    /// node started. An address that was let through within the last minute does not count again.
    pub fn permit(&mut self, candidate: &Candidate, told_by: Option<IpAddr>, now: Duration) -> Result<(), Forbidden> {
        let told_by = told_by.map(|address| address.to_canonical());
        let address = SocketAddr::new(candidate.address.ip().to_canonical(), candidate.address.port());
        self.place(address, candidate.source, told_by)?;
        // What a person asks for is not a scan.
        if candidate.source == Source::Manual { Ok(()) } else { self.count((candidate.source, told_by), address, now) }
    }

    /// Whether this address may be dialled at all, however many were dialled lately.
    pub fn judge(&self, candidate: &Candidate, told_by: Option<IpAddr>) -> Result<(), Forbidden> {
        let address = SocketAddr::new(candidate.address.ip().to_canonical(), candidate.address.port());
        self.place(address, candidate.source, told_by.map(|address| address.to_canonical()))
    }

    fn place(&self, address: SocketAddr, source: Source, told_by: Option<IpAddr>) -> Result<(), Forbidden> {
        let ip = address.ip();
        if address.port() == 0 || is_unusable(ip) {
            return Err(Forbidden::Unusable);
        }
        if is_metadata(ip) {
            return Err(Forbidden::Metadata);
        }
        if self.is_own_door(address) {
            return Err(Forbidden::OwnDoor);
        }
        match source {
            Source::Manual => Ok(()),
            _ if ip.is_loopback() => {
                if self.learned_here(told_by) {
                    Ok(())
                } else {
                    Err(Forbidden::Loopback)
                }
            }
            // Neither a peer that tells of others, nor a broker, nor a registry is where they are.
            Source::Exchange | Source::Mqtt | Source::Registry => Ok(()),
            // Whoever speaks for itself can only be where it spoke from, or on a network we share.
            Source::Mdns | Source::Inbound | Source::Gossip if told_by == Some(ip) || self.is_near(ip) => Ok(()),
            Source::Mdns | Source::Inbound | Source::Gossip => Err(Forbidden::Elsewhere),
        }
    }

    fn count(&mut self, teller: Teller, address: SocketAddr, now: Duration) -> Result<(), Forbidden> {
        let lately = |(_, at): &(SocketAddr, Duration)| now.saturating_sub(*at) < PERIOD;
        if !self.lately.contains_key(&teller) && self.lately.len() >= TELLERS_MAX {
            self.lately.retain(|_, dials| dials.iter().any(lately));
            if self.lately.len() >= TELLERS_MAX {
                return Err(Forbidden::TooMany);
            }
        }
        let dials = self.lately.entry(teller).or_default();
        dials.retain(lately);
        if dials.iter().any(|(known, _)| *known == address) {
            return Ok(());
        }
        if dials.len() >= self.config.dials_max {
            return Err(Forbidden::TooMany);
        }
        dials.push((address, now));
        Ok(())
    }

    fn is_own_door(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let here = ip.is_loopback() || self.is_own(ip);
        self.config.own_doors.iter().any(|door| {
            let same =
                door.ip().to_canonical() == ip || (here && (door.ip().is_unspecified() || door.ip().is_loopback()));
            same && door.port() == address.port()
        })
    }

    /// Whether the news came over loopback, or from this machine, or there is no other network.
    fn learned_here(&self, told_by: Option<IpAddr>) -> bool {
        match told_by {
            Some(teller) => teller.is_loopback() || self.is_own(teller),
            None => self.interfaces.iter().all(|network| network.addr().is_loopback()),
        }
    }

    fn is_own(&self, ip: IpAddr) -> bool {
        self.interfaces.iter().any(|network| network.addr() == ip)
    }

    /// Whether the address is on a network that this machine is on.
    fn is_near(&self, ip: IpAddr) -> bool {
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        link_local || self.interfaces.iter().any(|network| network.contains(&ip))
    }
}

/// Whether an address of a WebRTC candidate may be tried: with packets that only a peer of the same
/// session understands, and not to this machine unless this node is nowhere else.
pub fn permit_path(address: SocketAddr, only_loopback: bool) -> Result<(), Forbidden> {
    let ip = address.ip().to_canonical();
    if address.port() == 0 || is_unusable(ip) {
        return Err(Forbidden::Unusable);
    }
    if is_metadata(ip) {
        return Err(Forbidden::Metadata);
    }
    if ip.is_loopback() && !only_loopback { Err(Forbidden::Loopback) } else { Ok(()) }
}

/// Whether an address may be dialled to which the name or the document of another organisation leads: a public one, or
/// one of these networks; never a door of this node (`own_doors`, with the addresses they are reached at).
pub fn permit_origin(address: SocketAddr, listed: &[IpNet], own_doors: &[SocketAddr]) -> Result<(), Forbidden> {
    let ip = address.ip().to_canonical();
    if address.port() == 0 || is_unusable(ip) {
        return Err(Forbidden::Unusable);
    }
    if is_metadata(ip) {
        return Err(Forbidden::Metadata);
    }
    let is_here = |door: &SocketAddr| {
        let door_ip = door.ip().to_canonical();
        door.port() == address.port() && (door_ip == ip || (ip.is_loopback() && door_ip.is_unspecified()))
    };
    if own_doors.iter().any(is_here) {
        return Err(Forbidden::OwnDoor);
    }
    if is_public(ip) || listed.iter().any(|network| network.contains(&ip)) { Ok(()) } else { Err(Forbidden::Private) }
}

/// Whether an address is one of the internet, and of no network of its own (RFC 6890 and its successors).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [first, second, third, _] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            let is_special = (first, second, third) == (192, 0, 0) || (first == 198 && (18..20).contains(&second));
            let is_other = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation();
            !(is_shared || is_special || is_other || first >= 240)
        }
        IpAddr::V6(v6) => {
            // Global unicast; of it not what translates or tunnels to IPv4, which could be any of the above.
            let segments = v6.segments();
            let tunnels = segments[0] == 0x2002 || (segments[0] == 0x2001 && segments[1] < 0x200);
            let is_documentation = segments[0] == 0x2001 && segments[1] == 0xdb8 || segments[0] == 0x3fff;
            segments[0] & 0xe000 == 0x2000 && !tunnels && !is_documentation
        }
    }
}

fn is_unusable(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0)
}

/// Where clouds answer questions about the machine to whoever asks from it.
fn is_metadata(ip: IpAddr) -> bool {
    const V4: [Ipv4Addr; 4] = [
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv4Addr::new(169, 254, 170, 2),
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(168, 63, 129, 16),
    ];
    const V6: [Ipv6Addr; 2] =
        [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
    match ip {
        IpAddr::V4(v4) => V4.contains(&v4),
        IpAddr::V6(v6) => V6.contains(&v6) || translated(v6).is_some_and(|v4| V4.contains(&v4)),
    }
}

/// The IPv4 address that a NAT64 (RFC 6052) or 6to4 (RFC 3056) address leads to.
fn translated(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) => Some(v4(g, h)),
        (0x2002, high, low, ..) => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let mut guard = Guard::new(Config { own_doors: vec![address("127.0.0.1:8500")], ..Config::default() });
        let networks = ["127.0.0.1/8", "192.168.1.5/24", "::1/128"];
        guard.set_interfaces(networks.iter().map(|text| text.parse().expect("a network")).collect());
        guard
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn judged(source: Source, text: &str, told_by: &str) -> Result<(), Forbidden> {
        let candidate = Candidate { address: address(text), source };
        guard().permit(&candidate, told_by.parse().ok(), Duration::ZERO)
    }

    #[test]
    fn an_mdns_endpoint_is_dialled_only_nearby_or_where_the_packet_came_from() {
        assert_eq!(judged(Source::Mdns, "192.168.1.9:8400", ""), Ok(()));
        assert_eq!(judged(Source::Mdns, "10.9.9.9:8400", "10.9.9.9"), Ok(()));
        assert_eq!(judged(Source::Mdns, "10.9.9.9:8400", "192.168.1.9"), Err(Forbidden::Elsewhere));
        assert_eq!(judged(Source::Mdns, "203.0.113.5:8400", ""), Err(Forbidden::Elsewhere));
        assert_eq!(judged(Source::Mdns, "[fe80::1]:8400", ""), Ok(()));
    }

    #[test]
    fn loopback_is_dialled_only_when_it_was_learned_on_this_machine() {
        for loopback in ["127.0.0.1:8400", "127.9.9.9:8400", "[::1]:8400", "[::ffff:127.0.0.1]:8400"] {
            for source in [Source::Mdns, Source::Exchange, Source::Inbound, Source::Mqtt] {
                assert_eq!(judged(source, loopback, "192.168.1.9"), Err(Forbidden::Loopback));
                assert_eq!(judged(source, loopback, ""), Err(Forbidden::Loopback));
                assert_eq!(judged(source, loopback, "127.0.0.1"), Ok(()));
                assert_eq!(judged(source, loopback, "192.168.1.5"), Ok(()));
            }
        }
        let mut alone = Guard::new(Config::default());
        alone.set_interfaces(vec!["127.0.0.1/8".parse().expect("a network")]);
        let candidate = Candidate { address: address("127.0.0.1:8400"), source: Source::Mdns };
        assert_eq!(alone.permit(&candidate, None, Duration::ZERO), Ok(()));
    }

    #[test]
    fn metadata_services_and_own_doors_are_never_dialled() {
        for source in Source::ALL {
            for metadata in [
                "169.254.169.254:80",
                "[::ffff:169.254.169.254]:80",
                "[fd00:ec2::254]:80",
                "[64:ff9b::a9fe:a9fe]:80",
                "[2002:a9fe:a9fe::1]:80",
                "100.100.100.200:80",
            ] {
                assert_eq!(judged(source, metadata, "169.254.169.254"), Err(Forbidden::Metadata), "{metadata}");
            }
            for door in ["127.0.0.1:8500", "127.0.0.2:8500", "192.168.1.5:8500", "[::1]:8500"] {
                assert_eq!(judged(source, door, "127.0.0.1"), Err(Forbidden::OwnDoor), "{door}");
            }
            for nowhere in ["0.0.0.0:8400", "[::]:8400", "224.0.0.251:5353", "255.255.255.255:1", "10.0.0.1:0"] {
                assert_eq!(judged(source, nowhere, "127.0.0.1"), Err(Forbidden::Unusable), "{nowhere}");
            }
        }
    }

    #[test]
    fn an_announced_peer_may_be_anywhere_but_on_this_machine() {
        assert_eq!(judged(Source::Mqtt, "203.0.113.5:8400", "192.168.1.9"), Ok(()));
        assert_eq!(judged(Source::Mqtt, "10.9.9.9:8400", "203.0.113.7"), Ok(()));
        assert_eq!(judged(Source::Mqtt, "127.0.0.1:8400", "203.0.113.7"), Err(Forbidden::Loopback));
        assert_eq!(judged(Source::Mqtt, "127.0.0.1:8400", "127.0.0.1"), Ok(()), "the broker is here, too");
    }

    #[test]
    fn a_person_may_name_any_other_address() {
        assert_eq!(judged(Source::Manual, "127.0.0.1:8400", ""), Ok(()));
        assert_eq!(judged(Source::Manual, "203.0.113.5:8400", ""), Ok(()));
    }

    #[test]
    fn one_teller_gets_32_new_dials_a_minute_and_others_are_not_held_up() {
        let mut guard = guard();
        let mut permit = |last: u8, told_by: u8, second: u64| {
            let ip = IpAddr::from([192, 168, 1, last]);
            let candidate = Candidate { address: SocketAddr::new(ip, 8400), source: Source::Exchange };
            guard.permit(&candidate, Some(IpAddr::from([192, 168, 1, told_by])), Duration::from_secs(second))
        };
        for last in 1..=32 {
            assert_eq!(permit(last, 9, 0), Ok(()));
        }
        assert_eq!(permit(33, 9, 59), Err(Forbidden::TooMany));
        assert_eq!(permit(1, 9, 59), Ok(()), "not new");
        assert_eq!(permit(33, 10, 59), Ok(()), "another teller");
        assert_eq!(permit(33, 9, 60), Ok(()));
    }

    #[test]
    fn tellers_are_bounded_and_forgotten_when_quiet() {
        let mut guard = guard();
        let mut permit = |told_by: u32, second: u64| {
            let candidate = Candidate { address: address("192.168.1.9:8400"), source: Source::Exchange };
            guard.permit(&candidate, Some(Ipv4Addr::from(told_by).into()), Duration::from_secs(second))
        };
        for teller in 0..1024 {
            assert_eq!(permit(0x0a00_0000 + teller, 0), Ok(()));
        }
        assert_eq!(permit(0x0b00_0000, 1), Err(Forbidden::TooMany));
        assert_eq!(permit(0x0b00_0000, 60), Ok(()));
    }

    #[test]
    fn another_organisation_leads_to_public_addresses_and_to_those_that_are_listed() {
        let listed: Vec<IpNet> = vec!["10.7.0.0/16".parse().expect("a network")];
        let doors = ["10.7.0.1:8500".parse().expect("an address"), "0.0.0.0:8600".parse().expect("an address")];
        let judge = |text: &str| permit_origin(text.parse().expect("an address"), &listed, &doors);
        for text in ["1.1.1.1:443", "[2606:4700::1]:443", "10.7.3.3:443", "[::ffff:10.7.3.3]:443", "1.1.1.1:8600"] {
            assert_eq!(judge(text), Ok(()), "{text}");
        }
        for (text, why) in [
            ("10.8.0.1:443", Forbidden::Private),
            ("192.168.1.1:443", Forbidden::Private),
            ("100.64.0.1:443", Forbidden::Private),
            ("127.0.0.1:443", Forbidden::Private),
            ("[::1]:443", Forbidden::Private),
            ("[::ffff:192.168.1.1]:443", Forbidden::Private),
            ("[fd00::1]:443", Forbidden::Private),
            ("[fe80::1]:443", Forbidden::Private),
            ("[64:ff9b::a00:1]:443", Forbidden::Private),
            ("[2002:a00:1::1]:443", Forbidden::Private),
            ("169.254.1.1:443", Forbidden::Private),
            ("169.254.169.254:80", Forbidden::Metadata),
            ("[::ffff:169.254.169.254]:80", Forbidden::Metadata),
            ("0.0.0.0:443", Forbidden::Unusable),
            ("1.1.1.1:0", Forbidden::Unusable),
            ("224.0.0.1:443", Forbidden::Unusable),
            ("10.7.0.1:8500", Forbidden::OwnDoor),
            ("127.0.0.1:8600", Forbidden::OwnDoor),
        ] {
            assert_eq!(judge(text), Err(why), "{text}");
        }
    }
}
