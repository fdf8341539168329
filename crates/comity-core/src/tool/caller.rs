//! Who calls a tool, and whom a rule of the policy means.

use crate::federation::Origin;
use std::fmt;
use std::str::FromStr;

/// What a local MCP client's name begins with where callers are written.
const CLIENT: &str = "client:";

/// Longest name of a local MCP client, bytes.
const CLIENT_MAX: usize = 128;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// The user whose node this is. The policy is theirs, and does not bind them.
    Owner,
    /// An MCP client on this machine, by the name it gives itself, which proves nothing.
    Client(String),
    /// Another organisation, which signed the call.
    Origin(Origin),
}

impl fmt::Display for Caller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => out.write_str("owner"),
            Self::Client(name) => write!(out, "{CLIENT}{name}"),
            Self::Origin(origin) => origin.fmt(out),
        }
    }
}

/// A text that names no caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`owner`, an origin such as beta.test, or `client:` and the name of an MCP client is wanted")]
pub struct NotACaller;

impl FromStr for Caller {
    type Err = NotACaller;

    fn from_str(text: &str) -> Result<Self, NotACaller> {
        match text.strip_prefix(CLIENT) {
            _ if text == "owner" => Ok(Self::Owner),
            Some(name) if is_client(name) => Ok(Self::Client(name.to_owned())),
            Some(_) => Err(NotACaller),
            None => Origin::said(text).map(Self::Origin).map_err(|_| NotACaller),
        }
    }
}

fn is_client(name: &str) -> bool {
    (1..=CLIENT_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Whom a rule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Every other organisation.
    AnyOrigin,
    /// One of them.
    Origin(Origin),
    /// Every MCP client on this machine.
    AnyClient,
    /// One of them.
    Client(String),
}

impl Who {
    /// Whether this caller is meant.
    pub fn means(&self, caller: &Caller) -> bool {
        match (self, caller) {
            (Self::AnyOrigin, Caller::Origin(_)) | (Self::AnyClient, Caller::Client(_)) => true,
            (Self::Origin(origin), Caller::Origin(caller)) => origin == caller,
            (Self::Client(name), Caller::Client(caller)) => name == caller,
            _ => false,
        }
    }

    /// Whether one is named.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Self::Origin(_) | Self::Client(_))
    }
}

impl FromStr for Who {
    type Err = NotACaller;

    fn from_str(text: &str) -> Result<Self, NotACaller> {
        match text {
            "*" => Ok(Self::AnyOrigin),
            "client:*" => Ok(Self::AnyClient),
            _ => match text.parse()? {
                Caller::Origin(origin) => Ok(Self::Origin(origin)),
                Caller::Client(name) => Ok(Self::Client(name)),
                Caller::Owner => Err(NotACaller),
            },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOrigin => out.write_str("*"),
            Self::Origin(origin) => origin.fmt(out),
            Self::AnyClient => write!(out, "{CLIENT}*"),
            Self::Client(name) => write!(out, "{CLIENT}{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_read_as_they_are_written() {
        for text in ["owner", "beta.test", "beta.test:8443", "client:claude code"] {
            assert_eq!(text.parse::<Caller>().map(|caller| caller.to_string()), Ok(text.to_owned()));
        }
        for text in ["*", "client:*", "beta.test", "client:x"] {
            assert_eq!(text.parse::<Who>().map(|who| who.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "*.test", "client:", "127.0.0.1", "client:a\nb"] {
            assert!(text.parse::<Caller>().is_err() && text.parse::<Who>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_cannot_call_itself_an_origin() {
        let client: Caller = Caller::Client("beta.test".to_owned());
        assert!(!"beta.test".parse::<Who>().expect("one").means(&client));
        assert!(!"*".parse::<Who>().expect("one").means(&client));
        assert!(!"*".parse::<Who>().expect("one").means(&Caller::Owner));
    }
}
