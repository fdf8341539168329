//! Hosts behind NATs, and the open network between them: network namespaces with the kernel's own
//! NAT, made and removed by a test. On the open network is one public host, for brokers and relays.

use crate::folder::Folder;
use crate::lab::{Cable, Host, ip, load_rules, long_cable, name_new, remove, sweep};
use crate::lines::Lines;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a NAT chooses the port by which a host is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One for each port of the host, whomever it speaks to.
    Cone,
    /// Another one for everybody it speaks to: who was not spoken to first, does not know it.
    Symmetric,
}

/// The open network, and a host behind a NAT for each kind, from 1.
#[derive(Debug)]
pub struct Net {
    prefix: String,
    hosts: usize,
    moves: AtomicU32,
    /// Held for what they do.
    _cables: Vec<(Lines, Folder)>,
}

const BRIDGE: &str = "198.18.0.1";

impl Net {
    /// Hosts behind such NATs, at once and without loss.
    pub fn new(kinds: &[Kind]) -> Self {
        Self::with(kinds, None)
    }

    /// The same, over long cables.
    pub fn with(kinds: &[Kind], cable: Option<Cable>) -> Self {
        sweep();
        let prefix = name_new();
        let mut net = Self { prefix, hosts: kinds.len(), moves: AtomicU32::new(0), _cables: Vec::new() };
        let wan = net.wan();
        ip(&["netns", "add", &wan]);
        // Where the kernel hands bridged frames to the firewall, that is switched off here.
        sysctl(&wan, "net.bridge.bridge-nf-call-iptables=0");
        ip(&["-n", &wan, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0"]);
        ip(&["-n", &wan, "link", "set", "br0", "up"]);
        ip(&["-n", &wan, "addr", "add", &format!("{BRIDGE}/24"), "dev", "br0"]);
        // Nobody out there knows the networks behind the NATs; whoever sends there gets no answer.
        ip(&["-n", &wan, "route", "add", "blackhole", "10.0.0.0/8"]);
        let public = net.public();
        ip(&["netns", "add", &public.namespace]);
        net.plug_in(&public.namespace, "pp", &public.address, None);
        for (number, kind) in (1..).zip(kinds) {
            net.add_host(number, *kind, cable);
        }
        net
    }

    /// A cable from this namespace to the open network, with this address and the way to all others.
    fn plug_in(&mut self, namespace: &str, port: &str, address: &str, cable: Option<Cable>) {
        let wan = self.wan();
        match cable {
            None => {
                let veth = ["type", "veth", "peer", "name", port, "netns", &wan];
                ip(&[&["link", "add", "name", "eth0", "netns", namespace], &veth[..]].concat());
            }
            Some(cable) => self._cables.push(long_cable(namespace, &wan, port, cable)),
        }
        ip(&["-n", &wan, "link", "set", port, "master", "br0", "up"]);
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
        ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        ip(&["-n", namespace, "route", "add", "default", "via", BRIDGE]);
    }

    fn add_host(&mut self, number: usize, kind: Kind, cable: Option<Cable>) {
        let (nat, host) = (self.nat(number), self.host(number));
        ip(&["netns", "add", &nat]);
        self.plug_in(&nat, &format!("p{number}"), &format!("198.18.0.{}", 10 + number), cable);
        sysctl(&nat, "net.ipv4.ip_forward=1");
        ip(&["netns", "add", &host.namespace]);
        ip(&["-n", &host.namespace, "link", "set", "lo", "up"]);
        self.connect_home(number, "eth0", "lan0", 0);
        load_rules(&nat, &rules(kind));
    }

    /// A cable from a host to its NAT.
    fn connect_home(&self, number: usize, card: &str, port: &str, network: u32) {
        let (nat, Host { namespace, .. }) = (self.nat(number), self.host(number));
        let at = |last: u32| format!("10.{number}.{network}.{last}");
        ip(&["link", "add", "name", card, "netns", &namespace, "type", "veth", "peer", "name", port, "netns", &nat]);
        ip(&["-n", &nat, "addr", "add", &format!("{}/24", at(1)), "dev", port]);
        ip(&["-n", &nat, "link", "set", port, "up"]);
        ip(&["-n", &namespace, "addr", "add", &format!("{}/24", at(2)), "dev", card]);
        ip(&["-n", &namespace, "link", "set", card, "up"]);
        ip(&["-n", &namespace, "route", "add", "default", "via", &at(1)]);
    }

    /// The host gets another network card with another address, and loses the one it had, as a laptop does
    /// that is unplugged and goes on by radio.
    pub fn change_card(&self, number: usize) {
        let last = self.moves.fetch_add(1, Ordering::Relaxed);
        let host = self.host(number).namespace;
        ip(&["-n", &host, "link", "del", &format!("eth{last}")]);
        self.connect_home(number, &format!("eth{}", last + 1), &format!("lan{}", last + 1), last + 1);
    }

    /// The NAT gets another address from its provider, and forgets everything it knew.
    pub fn change_address(&self, number: usize) {
        let nat = self.nat(number);
        ip(&["-n", &nat, "addr", "flush", "dev", "eth0"]);
        ip(&["-n", &nat, "addr", "add", &format!("198.18.0.{}/24", 20 + number), "dev", "eth0"]);
        ip(&["-n", &nat, "route", "add", "default", "via", BRIDGE]);
    }

    /// From now on the NAT lets no UDP pass.
    pub fn block_udp(&self, number: usize) {
        load_rules(
            &self.nat(number),
            "table ip noudp {\n chain pass {\n type filter hook forward priority -10\n meta l4proto udp drop\n }\n}\n",
        );
    }

    /// A host behind its NAT, from 1.
    pub fn host(&self, number: usize) -> Host {
        assert!((1..=self.hosts).contains(&number), "there is no host {number}");
        Host { namespace: format!("{}h{number}", self.prefix), address: format!("10.{number}.0.2") }
    }

    /// The public host.
    pub fn public(&self) -> Host {
        Host { namespace: format!("{}p", self.prefix), address: "198.18.0.5".to_owned() }
    }

    fn nat(&self, number: usize) -> String {
        format!("{}n{number}", self.prefix)
    }

    fn wan(&self) -> String {
        format!("{}w", self.prefix)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        remove(&self.prefix);
    }
}

/// What comes from outside unasked is dropped before the NAT's own system sees it: else it would
/// take the port that a host behind it is about to use, and no NAT could be crossed.
fn rules(kind: Kind) -> String {
    let port = if kind == Kind::Cone { "persistent" } else { "fully-random" };
    format!(
        "table ip nat {{\n chain post {{\n type nat hook postrouting priority 100\n oifname \"eth0\" masquerade {port}\n }}\n}}\n\
         table ip filter {{\n chain own {{\n type filter hook input priority 0; policy drop\n \
         ct state established,related accept\n iifname != \"eth0\" accept\n }}\n \
         chain pass {{\n type filter hook forward priority 0; policy drop\n \
         ct state established,related accept\n iifname != \"eth0\" oifname \"eth0\" accept\n }}\n}}\n"
    )
}

fn sysctl(namespace: &str, setting: &str) {
    // Where there is no such setting, nothing has to be set.
    let _ = Command::new("ip").args(["netns", "exec", namespace, "sysctl", "-qw", setting]).output();
}
