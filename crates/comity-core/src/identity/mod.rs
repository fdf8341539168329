//! One key and everything derived from it, what is signed, what is sealed, who is trusted, and
//! which addresses may be dialled. See `protocols/identity.md`.

pub mod canonical;
pub mod guard;
pub mod key;
pub mod seal;
pub mod signature;
pub mod trust;
