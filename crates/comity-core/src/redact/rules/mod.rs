//! The kinds of secret that are known without configuration, from their vendors' published formats. A table
//! in the language and no file beside it: the compiler reads it, a start-up does not, and a row can name a check.

mod calls;
mod cloud;
mod code;
mod data;
mod fields;
mod intelligence;
mod keys;
mod links;
mod network;
mod shell;
mod smaller;
mod speech;
mod trade;
mod watch;
mod work;

use super::rule::Rule;

/// All of them. Where two find the same, the earlier one names it.
pub(super) const TABLES: &[&[Rule]] = &[
    keys::RULES,
    code::RULES,
    cloud::RULES,
    intelligence::RULES,
    trade::RULES,
    speech::RULES,
    work::RULES,
    watch::RULES,
    smaller::RULES,
    links::RULES,
    data::RULES,
    network::RULES,
    shell::RULES,
    calls::RULES,
    fields::RULES,
];

/// Every rule, in the order of the tables.
pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    TABLES.iter().flat_map(|table| table.iter())
}
