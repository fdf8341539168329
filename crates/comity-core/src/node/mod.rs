//! The router: owns the parts of a node, gives each input to the part that decides, and collects
//! what must be done. It has no rules of its own.

mod contract;

pub use contract::{
    Answer, Ask, Boot, DialFailure, DialOutcome, Effect, Event, Input, LinkLoss, ListenFilter, PostFailure, Proof, Record,
    Refusal, Restored, Send, SourceHealth, Timer,
};
