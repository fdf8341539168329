//! How far a peer is trusted, and who is admitted at all. See "Trust" in `protocols/identity.md`.

use ipnet::IpNet;
use std::net::IpAddr;

/// How far a peer, or one message, can be trusted. The order is the order of trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// Plain HTTP or unsigned.
    Unverified,
    /// Proved possession of its key on this connection, or for this message.
    Verified,
    /// Verified, and its key is on this node's list.
    Known,
}

impl Trust {
    /// The name on the wire and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Verified => "verified",
            Self::Known => "known",
        }
    }
}

/// Who is admitted at all (`local.trust`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everybody from a private or loopback address, known peers from any other. The default.
    Open,
    /// Verified peers.
    Verified,
    /// Known peers.
    Known,
}

impl Admission {
    /// The least trust that is admitted from this address. What comes from an address of this
    /// machine (`own`) comes from this machine, even where that address is public.
    pub fn wanted(self, address: IpAddr, own: &[IpNet]) -> Trust {
        let near = is_private(address) || own.iter().any(|own| own.addr() == address.to_canonical());
        match self {
            Self::Known => Trust::Known,
            _ if !near => Trust::Known,
            Self::Verified => Trust::Verified,
            Self::Open => Trust::Unverified,
        }
    }
}

/// Whether the address is loopback, private (RFC 1918, RFC 4193) or link-local.
pub fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_node_admits_only_known_peers_from_public_addresses() {
        let public = IpAddr::from([203, 0, 113, 1]);
        let private = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(Admission::Open.wanted(public, &[]), Trust::Known);
        assert_eq!(Admission::Open.wanted(private, &[]), Trust::Unverified);
        assert_eq!(Admission::Verified.wanted(private, &[]), Trust::Verified);
        let own = ["203.0.113.1/24".parse().expect("a net")];
        assert_eq!(Admission::Open.wanted(public, &own), Trust::Unverified);
        assert_eq!(Admission::Open.wanted([203, 0, 113, 2].into(), &own), Trust::Known);
        let mapped: IpAddr = "::ffff:192.168.1.1".parse().expect("an address");
        assert_eq!(Admission::Open.wanted(mapped, &[]), Trust::Unverified);
    }
}
