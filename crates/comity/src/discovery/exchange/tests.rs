//! The exchange on answers as peers give them.
