//! coturn, as it comes from Debian: a STUN and TURN server of a test.

use crate::PATIENCE;
use crate::lab::Host;
use crate::lines::Lines;
use std::time::Duration;

/// Its port for STUN and TURN, by UDP and TCP.
const PORT: u16 = 3478;

/// Whom it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// User `kern` with the password `turnpass`.
    Password,
    /// Whoever makes a password of the shared secret `north`.
    Secret,
}

/// A running server.
#[derive(Debug)]
pub struct Coturn {
    process: Lines,
    host: Host,
}

impl Coturn {
    /// A server on a host of a lab.
    pub fn on(host: &Host, login: Login) -> Self {
        let address = &host.address;
        let mut command = host.command("stdbuf");
        command.args(["-oL", "turnserver", "-n", "--realm=test.local", "--no-tls", "--no-dtls", "--no-cli", "-v"]);
        command.args([format!("--listening-ip={address}"), format!("--relay-ip={address}")]);
        command.args([
            format!("--listening-port={PORT}"),
            "--min-port=49160".to_owned(),
            "--max-port=49960".to_owned(),
        ]);
        command.args(["--log-file=stdout", "--simple-log", "--pidfile=/dev/null", "--db=:memory:"]);
        command.args(match login {
            Login::Password => &["--lt-cred-mech", "--user=kern:turnpass"][..],
            Login::Secret => &["--use-auth-secret", "--static-auth-secret=north"],
        });
        let mut process = Lines::start(&mut command);
        let listens = format!("IPv4. UDP listener opened on: {address}:{PORT}");
        process.wait_for("running server", PATIENCE, |line| line.contains(&listens).then_some(()));
        Self { process, host: host.clone() }
    }

    /// Its address for STUN: `stun:…`.
    pub fn stun(&self) -> String {
        format!("stun:{}", self.host.address)
    }

    /// Its address for TURN by UDP: `turn:…`.
    pub fn turn(&self) -> String {
        format!("turn:{}", self.host.address)
    }

    /// Its address for TURN by TCP.
    pub fn turn_tcp(&self) -> String {
        format!("turn:{}?transport=tcp", self.host.address)
    }

    /// Ends it; nothing is left of what it lent.
    pub fn stop(mut self) {
        self.process.signal("TERM");
        self.process.ended(PATIENCE);
    }

    /// Waits until it was told that an address is not needed any more.
    pub fn given_back(&mut self, within: Duration) {
        let told = |line: &str| (line.contains("refreshed") && line.contains("lifetime=0")).then_some(());
        self.process.wait_for("address that was given back", within, told);
    }

    /// Waits until it has counted the packets of an allocation that ended, and that it relayed for: how many it received
    /// and sent there.
    pub fn relayed(&mut self, within: Duration) -> (u64, u64) {
        self.process.wait_for("relayed packets", within, |line| {
            let rest = line.split_once("peer usage:")?.1;
            let figure = |name: &str| rest.split_once(name)?.1.split(',').next()?.trim().parse::<u64>().ok();
            let (received, sent) = (figure("rp=")?, figure("sp=")?);
            (received > 0 && sent > 0).then_some((received, sent))
        })
    }
}
