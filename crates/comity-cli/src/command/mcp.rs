//! `comity mcp`: carries MCP between an agent's standard streams and the node, byte for byte. The
//! MCP server itself is in the node (`comity`'s `door/mcp.rs`), the same that `/mcp` serves.

use super::{caller, client, up};
use crate::args::{Everywhere, Mcp, Up};
use crate::exit::Failure;
use crate::page::say;
use comity_client::{Client, Error};
use tokio::io::AsyncWriteExt;

pub(crate) fn run(everywhere: &Everywhere, flags: Mcp) -> Result<(), Failure> {
    let client = client(everywhere)?;
    match caller(carry(&client)) {
        Err(Failure::Node(Error::NoNode { .. })) if flags.up => {
            up::run_while(everywhere, Up::default(), |node| async move { carry(&node).await })
        }
        Err(Failure::Node(error @ Error::NoNode { .. })) => {
            say("comity: or let this command run one: `comity mcp --up`");
            Err(error.into())
        }
        ended => ended,
    }
}

/// Carries until either side ends.
async fn carry(client: &Client) -> Result<(), Failure> {
    let (mut from_node, mut to_node) = tokio::io::split(client.mcp().await?);
    let (mut agent_says, mut agent_hears) = (tokio::io::stdin(), tokio::io::stdout());
    let hearing = async {
        tokio::io::copy(&mut from_node, &mut agent_hears).await?;
        agent_hears.flush().await
    };
    tokio::pin!(hearing);
    tokio::select! {
        said = tokio::io::copy(&mut agent_says, &mut to_node) => {
            // The agent has said all: what it asked is still answered before the node closes.
            said?;
            to_node.shutdown().await?;
            Ok(hearing.await?)
        }
        ended = &mut hearing => {
            ended?;
            // A node that is still there ended only this: what the agent said first was no MCP.
            let why = match client.node().await {
                Ok(_) => "the node ended the conversation: an agent begins with MCP's `initialize`",
                Err(_) => "the node stopped",
            };
            Err(Failure::Other(why.to_owned()))
        }
    }
}
