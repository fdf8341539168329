//! The command as a user runs it: real processes, real sockets, a node or two in folders of their
//! own. The control door and its client are proved here too, since every command goes through them.

mod agents;
mod claims;
mod commands;
mod node;
mod port;
