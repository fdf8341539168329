//! A Comity node as a library.

pub mod config;
pub mod home;
#[cfg(test)]
mod scratch;
