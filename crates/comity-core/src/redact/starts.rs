//! Where in a text a rule may begin: a filter over pairs of letters, that says no to nearly every place at once, and
//! behind it the starts themselves. What of the filter a text touches is small, so that it stays in a processor's
//! nearest cache, and no step waits for the one before, as an automaton's does. After Hyperscan's FDR (NSDI 2019).

use super::rule::Find;
use super::rules;
use super::seek::{is_start, spellings};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes that the filter tells apart: those of ASCII. Others pass for one of them, and the start itself tells.
const CLASSES: usize = 128;

const PAIRS: usize = CLASSES * CLASSES;

/// Groups of starts, each with three bits of its own in the filter. Those of two letters and of three have theirs,
/// for what follows them may be anything.
const GROUPS: usize = 21;

/// The groups of starts of four letters and more.
const LONG_GROUPS: Range<usize> = 4..GROUPS;

/// All starts of the rules.
pub(super) struct Starts {
    /// For each pair, the groups with a start whose first letters it is, its second and third, its third and fourth.
    filter: Vec<u64>,
    /// For each pair, where in `starts` those are that begin so.
    begins: Vec<(u16, u16)>,
    /// The first bytes of each of `starts`.
    heads: Vec<Head>,
    starts: Vec<Start>,
}

/// The first four bytes of a start, or as many as it has: what four bytes of a text are compared with at once.
struct Head {
    /// What makes letters small where case does not count.
    small: u32,
    /// Which bits are of the start.
    kept: u32,
    written: u32,
}

impl Head {
    fn new(start: &Start) -> Self {
        const SMALL: u8 = b'a' - b'A';
        let (mut small, mut kept, mut written) = ([0; 4], [0; 4], [0; 4]);
        for (at, byte) in start.written.iter().take(4).enumerate() {
            small[at] = if start.any_case && byte.is_ascii_alphabetic() { SMALL } else { 0 };
            (kept[at], written[at]) = (0xff, byte | small[at]);
        }
        let number = u32::from_le_bytes;
        Self { small: number(small), kept: number(kept), written: number(written) }
    }

    fn may_stand(&self, here: u32) -> bool {
        (here | self.small) & self.kept == self.written
    }
}

#[derive(Clone)]
struct Start {
    written: Box<[u8]>,
    any_case: bool,
    /// Whether it is a token that begins with a letter, and so behind none.
    apart: bool,
    rule: usize,
}

impl Start {
    fn stands_at(&self, text: &[u8], at: usize) -> bool {
        let Some(here) = text.get(at..at + self.written.len()) else { return false };
        if self.any_case { here.eq_ignore_ascii_case(&self.written) } else { here == &*self.written }
    }

    /// The pairs that may stand at a place of it, where it may be over before.
    fn pairs(&self, at: usize) -> Vec<usize> {
        let cases = |at: usize| match self.written.get(at) {
            None => (0..CLASSES).collect(),
            Some(byte) if self.any_case => {
                vec![class(byte.to_ascii_lowercase()), class(byte.to_ascii_uppercase())]
            }
            Some(byte) => vec![class(*byte)],
        };
        let seconds: Vec<usize> = cases(at + 1);
        cases(at).into_iter().flat_map(|first| seconds.iter().map(move |second| first * CLASSES + second)).collect()
    }
}

fn class(byte: u8) -> usize {
    usize::from(byte) % CLASSES
}

impl Starts {
    /// Those of all rules but the ones that are off.
    pub(super) fn new(off: &BTreeSet<&str>) -> Self {
        let mut begins: BTreeMap<usize, Vec<Start>> = BTreeMap::new();
        for (rule_number, rule) in rules::all().enumerate().filter(|(_, rule)| !off.contains(rule.name)) {
            for start in rule.starts {
                // The filter knows no case but that of ASCII.
                let spells = rule.any_case && !start.is_ascii();
                let spelled = if spells { spellings(start) } else { BTreeSet::from([(*start).to_owned()]) };
                for one in spelled {
                    let written: Box<[u8]> = one.into_bytes().into();
                    let apart =
                        !rule.any_case && matches!(rule.find, Find::After(_)) && written[0].is_ascii_alphanumeric();
                    let start = Start { written, any_case: rule.any_case, apart, rule: rule_number };
                    for pair in BTreeSet::from_iter(start.pairs(0)) {
                        begins.entry(pair).or_default().push(start.clone());
                    }
                }
            }
        }
        let folded = begins.values().flatten().map(|start| start.written.to_ascii_lowercase());
        let alphabet: Vec<Vec<u8>> = folded.collect::<BTreeSet<_>>().into_iter().collect();
        let mut places = vec![(0, 0); PAIRS];
        let mut filter = vec![0; PAIRS];
        let mut starts: Vec<Start> = Vec::new();
        for (pair, here) in begins {
            let from = starts.len();
            for start in here {
                let group = 1_u64 << group(&start, &alphabet);
                filter[pair] |= group;
                start.pairs(1).into_iter().for_each(|pair| filter[pair] |= group << GROUPS);
                start.pairs(2).into_iter().for_each(|pair| filter[pair] |= group << (2 * GROUPS));
                starts.push(start);
            }
            places[pair] = (u16::try_from(from).unwrap_or(u16::MAX), u16::try_from(starts.len()).unwrap_or(u16::MAX));
        }
        Self { filter, begins: places, heads: starts.iter().map(Head::new).collect(), starts }
    }

    /// Every start that stands in a text and the rule that begins so, in the order of the text.
    pub(super) fn find<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = (Range<usize>, usize)> + 't {
        Places { filter: &self.filter, text, at: 0, read: Read::default() }.flat_map(move |at| {
            let four = match text.get(at..at + 4) {
                Some(four) => [four[0], four[1], four[2], four[3]],
                None => std::array::from_fn(|next| text.get(at + next).copied().unwrap_or(0)),
            };
            let (from, to) = self.begins[class(four[0]) * CLASSES + class(four[1])];
            let here = usize::from(from)..usize::from(to);
            let four = u32::from_le_bytes(four);
            let may = self.heads[here.clone()].iter().zip(here).filter(move |(head, _)| head.may_stand(four));
            may.map(|(_, index)| &self.starts[index])
                .filter(move |start| start.stands_at(text, at) && (!start.apart || is_start(text, at)))
                .map(move |start| (at..at + start.written.len(), start.rule))
        })
    }
}

/// The group of a start, by its rank among all: those that begin alike share one, so that it has few beginnings.
fn group(start: &Start, alphabet: &[Vec<u8>]) -> usize {
    match start.written.len() {
        2 => 0,
        length => {
            let rank = alphabet.partition_point(|other| **other < *start.written.to_ascii_lowercase());
            if length == 3 {
                1 + rank * 3 / alphabet.len()
            } else {
                rank * LONG_GROUPS.len() / alphabet.len() + LONG_GROUPS.start
            }
        }
    }
}

/// The places of a text that the filter lets through.
struct Places<'t> {
    filter: &'t [u64],
    text: &'t [u8],
    /// What is read next.
    at: usize,
    read: Read,
}

/// What the filter remembers of the last bytes.
#[derive(Clone, Copy, Default)]
struct Read {
    pair: usize,
    /// The groups of the last pair, and of the one before.
    last: u64,
    before: u64,
}

impl Read {
    /// Reads a byte; whether a start may have begun three bytes before it.
    #[inline]
    fn passes(&mut self, filter: &[u64], byte: u8) -> bool {
        const FIRST: u64 = (1 << GROUPS) - 1;
        self.pair = (self.pair * CLASSES + class(byte)) % PAIRS;
        let groups = filter[self.pair];
        let passing = self.before & (self.last >> GROUPS) & (groups >> (2 * GROUPS)) & FIRST;
        (self.before, self.last) = (self.last, groups);
        passing != 0
    }
}

/// A start is known at its fourth byte.
const KNOWN_AT: usize = 3;

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let filter = self.filter.get(..PAIRS)?;
        let mut read = self.read;
        for (index, byte) in self.text.get(self.at..).unwrap_or_default().iter().enumerate() {
            if read.passes(filter, *byte) && self.at + index >= KNOWN_AT {
                let at = self.at + index;
                (self.at, self.read) = (at + 1, read);
                return Some(at - KNOWN_AT);
            }
        }
        self.at = self.at.max(self.text.len());
        // Behind the text stand two bytes that are of no start.
        while self.at < self.text.len() + 2 {
            let passes = read.passes(filter, 0);
            (self.at, self.read) = (self.at + 1, read);
            if passes && self.at > KNOWN_AT {
                return Some(self.at - 1 - KNOWN_AT);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_is_found_wherever_it_stands() {
        let starts = Starts::new(&BTreeSet::new());
        for (index, rule) in rules::all().enumerate() {
            for start in rule.starts {
                for before in ["", " ", ". ", "\n\n\n"] {
                    for behind in ["", "x", "yz", " 12"] {
                        let text = format!("{before}{start}{behind}");
                        let place = before.len()..before.len() + start.len();
                        let found = starts.find(text.as_bytes()).any(|found| found == (place.clone(), index));
                        assert!(found, "{}: {text:?}", rule.name);
                    }
                }
            }
        }
    }
}
