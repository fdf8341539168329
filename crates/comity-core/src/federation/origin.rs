//! The name that an organisation federates under: a DNS name, and a port where it is not 443. See "Discovery" in
//! `protocols/federation.md`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Longest name, bytes (RFC 1035, without the trailing dot).
const NAME_MAX: usize = 253;

/// Longest label of a name, bytes (RFC 1035).
const LABEL_MAX: usize = 63;

/// The port that no origin names.
const PORT: u16 = 443;

/// An origin, written in the one way there is: a lower-case A-label, no trailing dot, no `:443`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    text: Box<str>,
    /// Where the name ends in it.
    name: usize,
    port: u16,
}

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnOrigin {
    /// It is no DNS name.
    #[error("a DNS name is wanted: labels of letters, digits and hyphens, such as example.org")]
    Name,
    /// It is the address of a host, which names no organisation.
    #[error("an IP address is no origin: a DNS name is wanted, such as example.org")]
    Address,
    /// It could be an origin, and is not written as origins are.
    #[error("an origin is written in lower case, without a trailing dot, and internationalised names as xn--…")]
    Spelling,
    /// Its port is none, or the one that is left out.
    #[error("a port is a number from 1 to 65535 without leading zeros, and 443 is left out")]
    Port,
}

impl Origin {
    /// Its name, without the port.
    pub fn name(&self) -> &str {
        &self.text[..self.name]
    }

    /// Its port: 443 where it names none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All of it, as it is written everywhere.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads what a person wrote: in any case, with a trailing dot or `:443`.
    ///
    /// # Errors
    /// [`NotAnOrigin`], never [`NotAnOrigin::Spelling`] but for names that are not ASCII.
    pub fn said(text: &str) -> Result<Self, NotAnOrigin> {
        let lower = text.trim().to_ascii_lowercase();
        let (name, port) = match lower.rsplit_once(':') {
            Some((name, port)) => (name, Some(port).filter(|port| *port != "443")),
            None => (lower.as_str(), None),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        match port {
            Some(port) => format!("{name}:{port}").parse(),
            None => name.parse(),
        }
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || text.starts_with('[') {
            return Err(NotAnOrigin::Address);
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(read_port(port)?)),
            None => (text, None),
        };
        read_name(name)?;
        Ok(Self { text: text.into(), name: name.len(), port: port.unwrap_or(PORT) })
    }
}

fn read_port(text: &str) -> Result<u16, NotAnOrigin> {
    let port = text.parse().map_err(|_| NotAnOrigin::Port)?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_plain && port != PORT { Ok(port) } else { Err(NotAnOrigin::Port) }
}

fn read_name(name: &str) -> Result<(), NotAnOrigin> {
    if !name.is_ascii() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(NotAnOrigin::Spelling);
    }
    let labels = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && (1..=LABEL_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if labels.len() > NAME_MAX || !labels.split('.').all(is_label) {
        return Err(NotAnOrigin::Name);
    }
    if labels.len() < name.len() {
        return Err(NotAnOrigin::Spelling);
    }
    // Resolvers take such names for addresses: "127.1", "10.0.0.256".
    let last = labels.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return Err(NotAnOrigin::Address);
    }
    Ok(())
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_name_and_perhaps_a_port() {
        let read = |text: &str| text.parse::<Origin>().map(|origin| (origin.name().to_owned(), origin.port()));
        assert_eq!(read("alpha.test"), Ok(("alpha.test".to_owned(), 443)));
        assert_eq!(read("xn--bcher-kva.example:8443"), Ok(("xn--bcher-kva.example".to_owned(), 8443)));
        assert_eq!(read("localhost:8400"), Ok(("localhost".to_owned(), 8400)));
        assert_eq!(read("4chan.example").map(|origin| origin.1), Ok(443));
    }

    #[test]
    fn it_is_written_in_one_way() {
        for (text, why) in [
            ("Alpha.test", NotAnOrigin::Spelling),
            ("alpha.test.", NotAnOrigin::Spelling),
            ("bücher.example", NotAnOrigin::Spelling),
            ("alpha.test:443", NotAnOrigin::Port),
            ("alpha.test:0443", NotAnOrigin::Port),
            ("alpha.test:+80", NotAnOrigin::Port),
            ("alpha.test:0", NotAnOrigin::Port),
            ("alpha.test:65536", NotAnOrigin::Port),
            ("alpha.test:", NotAnOrigin::Port),
            ("alpha.test:80:80", NotAnOrigin::Port),
            ("", NotAnOrigin::Name),
            (".", NotAnOrigin::Name),
            ("alpha..test", NotAnOrigin::Name),
            ("-alpha.test", NotAnOrigin::Name),
            ("alpha_.test", NotAnOrigin::Name),
            ("alpha.test/x", NotAnOrigin::Name),
            ("user@alpha.test", NotAnOrigin::Name),
            ("alpha test", NotAnOrigin::Name),
            ("127.0.0.1", NotAnOrigin::Address),
            ("127.1", NotAnOrigin::Address),
            ("0x7f000001", NotAnOrigin::Address),
            ("10.0.0.256:80", NotAnOrigin::Address),
            ("[::1]", NotAnOrigin::Address),
            ("[::1]:80", NotAnOrigin::Address),
            ("::1", NotAnOrigin::Address),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(why), "{text}");
        }
        assert_eq!(format!("{}.test", "a".repeat(64)).parse::<Origin>(), Err(NotAnOrigin::Name));
        assert_eq!("a.".repeat(126).parse::<Origin>(), Err(NotAnOrigin::Spelling));
        assert_eq!(format!("{}aa", "a.".repeat(126)).parse::<Origin>(), Err(NotAnOrigin::Name));
    }

    #[test]
    fn what_a_person_writes_is_read_generously() {
        for text in ["Alpha.Test", " alpha.test ", "alpha.test.", "alpha.test:443", "ALPHA.TEST.:443"] {
            assert_eq!(Origin::said(text).expect("an origin").as_str(), "alpha.test", "{text}");
        }
        assert_eq!(Origin::said("alpha.test:8443").expect("an origin").as_str(), "alpha.test:8443");
        assert_eq!(Origin::said("10.0.0.1"), Err(NotAnOrigin::Address));
    }
}
