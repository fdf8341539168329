//! A Comity node as a library.

pub mod config;
pub mod home;
mod store;
#[cfg(test)]
mod scratch;
