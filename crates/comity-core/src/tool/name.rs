//! The names of tool servers and tools, and the one name by which a remote tool appears to assistants on this machine.
//! A policy never looks at that name. See "Calls" in `protocols/federation.md`.

use crate::federation::Origin;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Longest name of a tool server.
const SERVER_MAX: usize = 32;

/// Longest name of a tool (MCP, "Tool names").
const TOOL_MAX: usize = 128;

/// Longest name that every MCP client takes.
const LOCAL_MAX: usize = 64;

/// Letters of the hash in a shortened name.
const HASH: usize = 8;

/// A text that is no name of a tool server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tool server's name has 1 to {SERVER_MAX} of a-z, 0-9 and `-`")]
pub struct BadServerName;

/// A text that is no name of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tool's name has 1 to {TOOL_MAX} of A-Z, a-z, 0-9, `_`, `-`, `.` and `/`")]
pub struct BadToolName;

/// The name of a tool server, if it is one.
///
/// # Errors
/// [`BadServerName`].
pub fn server_name(text: &str) -> Result<&str, BadServerName> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=SERVER_MAX).contains(&text.len()) && text.bytes().all(plain) { Ok(text) } else { Err(BadServerName) }
}

/// The name of a tool, if it is one. Nothing in it is hidden or looks like something else.
///
/// # Errors
/// [`BadToolName`].
pub fn tool_name(text: &str) -> Result<&str, BadToolName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    if (1..=TOOL_MAX).contains(&text.len()) && text.bytes().all(plain) { Ok(text) } else { Err(BadToolName) }
}

/// The name by which a tool of another origin appears to MCP clients here: `beta_test__files__read_file`.
///
/// No label of an origin has a `_`, so that `_` for its dots and its colon leaves any two origins apart. A name that is
/// too long, or has other letters than clients take, is cut and ends with a hash of the whole of it.
pub fn local_name(origin: &Origin, server: &str, tool: &str) -> String {
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let name = format!("{}__{server}__{tool}", origin.as_str().replace(['.', ':'], "_"));
    if name.len() <= LOCAL_MAX && name.bytes().all(taken) {
        return name;
    }
    let mut short: String = name.chars().map(|c| if c.is_ascii() && taken(c as u8) { c } else { '-' }).collect();
    short.truncate(LOCAL_MAX - HASH - 1);
    short.push('_');
    let hash = Sha256::digest(format!("{origin}\0{server}\0{tool}"));
    for byte in hash.iter().take(HASH / 2) {
        write!(short, "{byte:02x}").expect("writing to a String does not fail");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn names_of_servers_and_tools_are_plain() {
        for good in ["files", "a", "0-1", &"x".repeat(32)] {
            assert_eq!(server_name(good), Ok(good));
        }
        for bad in ["", "Files", "a_b", "a__b", "a.b", "a b", "ﬁles", &"x".repeat(33)] {
            assert_eq!(server_name(bad), Err(BadServerName), "{bad}");
        }
        for bad in ["", "read file", "read\u{202e}", "read\u{200b}", "reаd", "a\u{1b}[2J", "a\n", &"x".repeat(129)] {
            assert_eq!(tool_name(bad), Err(BadToolName), "{bad:?}");
        }
        assert_eq!(tool_name("fs.read/File_2-x"), Ok("fs.read/File_2-x"));
    }

    #[test]
    fn a_remote_tool_has_a_name_that_every_client_takes() {
        let beta = origin("beta.test");
        assert_eq!(local_name(&beta, "files", "read_file"), "beta_test__files__read_file");
        assert_eq!(local_name(&origin("localhost:8400"), "f", "t"), "localhost_8400__f__t");
        for (server, tool) in [("files", "a.b"), ("files", &"x".repeat(128)[..]), ("files", "a/b")] {
            let name = local_name(&beta, server, tool);
            assert!(name.len() <= LOCAL_MAX && name.starts_with("beta_test__files__"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{name}");
        }
    }

    #[test]
    fn no_two_tools_have_one_name() {
        let beta = origin("beta.test");
        let name = |tool: &str| local_name(&beta, "files", tool);
        assert_ne!(name("a.b"), name("a/b"));
        assert_ne!(name("a.b"), name("a-b"));
        let long = "x".repeat(100);
        assert_ne!(name(&format!("{long}1")), name(&format!("{long}2")));
        assert_ne!(local_name(&beta, "f", "t"), local_name(&origin("beta-test.test"), "f", "t"));
        assert_ne!(local_name(&origin("a.b"), "c", "d"), local_name(&origin("a.b.c"), "d", "d"));
        assert_ne!(local_name(&origin("a.test"), "b", "c__d"), local_name(&origin("a.test"), "b-c", "d"));
    }
}
