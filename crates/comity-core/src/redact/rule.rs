//! What a rule is: where a secret of its kind begins, what follows, and what tells it from its lookalikes.
//! The rules themselves are the tables in `rules/`; here is nothing of any vendor.

use super::field::Noun;

/// How bad it is when a secret of a kind gets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It opens little, or is a secret only in company.
    Low,
    /// It opens something small, or is not certainly a secret.
    Medium,
    /// It opens an account or a service.
    High,
    /// It opens everything of an owner, or cannot be taken back.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name in configuration and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One kind of secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    pub(super) tags: &'static [&'static str],
    /// How secrets of this kind, or what stands before them, begin: what the prefilter looks for.
    pub(super) starts: &'static [&'static str],
    /// Whether upper and lower case of the start are the same.
    pub(super) any_case: bool,
    pub(super) find: Find,
    pub(super) check: Check,
    /// A text in which `@` is a secret of this kind; made from the pattern where there is none.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests make secrets from it"))]
    pub(super) example: &'static str,
}

/// How a rule goes on where one of its starts stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Find {
    /// By a pattern of what follows the start. The secret is the first group, or all with the start.
    After(&'static str),
    /// By letters and digits in front of the start, so many at least and at most, and a pattern of what follows.
    Around((usize, usize), &'static str),
    /// By the identifier around the word, and the value that it is given.
    Field(Noun),
    /// By a sentence around the word, and what it says to be the value.
    Said(Noun),
    /// By the password in `scheme://user:password@host`.
    Address,
    /// By the password in front of this: `user:password@tcp(host)`.
    Before,
    /// By the lines up to the end of the block.
    Block,
    /// By three parts, the first of which says what signs the second.
    WebToken,
    /// By the column of that name in a list of values.
    Columns,
    /// By the column of that name in a table.
    Grid,
    /// By the name that follows a value.
    Paired,
    /// By a heading, and the list of codes behind it.
    Codes,
    /// By twelve words and more behind what names them.
    Seed,
}

/// What a match must be besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing that documentation prints.
    Printed,
    /// As a machine draws it: letters and digits, of some entropy, and no words.
    Random,
    /// What people choose: no template, no mask, no `changeme`.
    Chosen,
    /// The last six characters are the CRC-32 of the others, or it is [`Check::Random`]. A wrong checksum alone
    /// does not make a secret harmless: it may be cut, or mistyped, or of another generation.
    Checksum,
    /// What people choose, and no plain word: for places where one may stand as well.
    Strong,
    /// What only a machine draws: letters and digits, long, and no words or id between hyphens.
    Drawn,
    /// Base64 of a name, a colon and a password.
    Basic,
    /// This stands within [`NEAR_BYTES`] of it.
    Near(&'static str),
}

/// How far from a match [`Check::Near`] looks, bytes.
pub(super) const NEAR_BYTES: usize = 1024;

/// A rule for tokens that begin with one of `starts`.
pub(super) const fn token(
    name: &'static str,
    severity: Severity,
    tags: &'static [&'static str],
    starts: &'static [&'static str],
    tail: &'static str,
) -> Rule {
    let find = Find::After(tail);
    Rule { name, severity, tags, starts, any_case: false, find, check: Check::Printed, example: "" }
}

/// A rule for tokens that are known by something in their midst or at their end.
pub(super) const fn around(
    name: &'static str,
    severity: Severity,
    tags: &'static [&'static str],
    starts: &'static [&'static str],
    before: (usize, usize),
    tail: &'static str,
) -> Rule {
    Rule { find: Find::Around(before, tail), ..token(name, severity, tags, starts, "") }
}

/// A rule for what follows a word, in any case; the secret is the pattern's group.
pub(super) const fn after(
    name: &'static str,
    severity: Severity,
    tags: &'static [&'static str],
    words: &'static [&'static str],
    tail: &'static str,
) -> Rule {
    Rule { any_case: true, check: Check::Chosen, ..token(name, severity, tags, words, tail) }
}

/// A rule that has code of its own.
pub(super) const fn special(
    name: &'static str,
    severity: Severity,
    tags: &'static [&'static str],
    starts: &'static [&'static str],
    find: Find,
    example: &'static str,
) -> Rule {
    Rule { find, example, ..after(name, severity, tags, starts, "") }
}

impl Rule {
    pub(super) const fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    pub(super) const fn random(self) -> Self {
        self.check(Check::Random)
    }
}
