//! Places of a text that are taken out: merged where they overlap or touch, and replaced by the mark.

use super::MARK;
use std::ops::Range;

/// A place, and the rule that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: Range<usize>,
    /// Its index; of merged places, the rule that was first in the tables.
    pub(super) rule: usize,
}

/// Sorts places and makes one of those that overlap or touch.
pub(super) fn merge(spans: &mut Vec<Span>) {
    spans.sort_unstable_by_key(|span| (span.range.start, span.range.end));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans.drain(..) {
        match merged.last_mut() {
            Some(last) if span.range.start <= last.range.end => {
                last.rule = last.rule.min(span.rule);
                last.range.end = last.range.end.max(span.range.end);
            }
            _ => merged.push(span),
        }
    }
    *spans = merged;
}

/// The text with a mark at each of its merged places.
pub(super) fn render(text: &str, spans: &[Span]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut kept = 0;
    for Span { range, .. } in spans {
        out.push_str(&text[kept..range.start]);
        out.push_str(MARK);
        kept = range.end;
    }
    out.push_str(&text[kept..]);
    out
}

/// Carries places of the rendered text back to the text itself: both are in order, so one walk is enough.
pub(super) fn carry_back(spans: &[Span], new: &mut [Span]) {
    new.sort_unstable_by_key(|span| span.range.start);
    let starts: Vec<(usize, usize, usize)> = marks(spans);
    for span in new {
        span.range.start = original(&starts, span.range.start, Side::Start);
        span.range.end = original(&starts, span.range.end, Side::End);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Start,
    End,
}

/// Of each mark: where it begins in the rendered text, and what it stands for in the text itself.
fn marks(spans: &[Span]) -> Vec<(usize, usize, usize)> {
    let mut at = 0;
    let mut kept = 0;
    let mut marks = Vec::with_capacity(spans.len());
    for Span { range, .. } in spans {
        at += range.start - kept;
        marks.push((at, range.start, range.end));
        at += MARK.len();
        kept = range.end;
    }
    marks
}

fn original(marks: &[(usize, usize, usize)], at: usize, side: Side) -> usize {
    let index = marks.partition_point(|(begins, ..)| *begins <= at);
    let Some((begins, start, end)) = index.checked_sub(1).map(|index| marks[index]) else { return at };
    let within = at - begins;
    if within >= MARK.len() {
        return end + within - MARK.len();
    }
    if side == Side::Start || within == 0 { start } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(range: Range<usize>, rule: usize) -> Span {
        Span { range, rule }
    }

    #[test]
    fn what_overlaps_or_touches_becomes_one() {
        let mut spans = vec![span(5..8, 2), span(0..3, 1), span(7..9, 1), span(9..10, 4)];
        merge(&mut spans);
        assert_eq!(spans, [span(0..3, 1), span(5..10, 1)]);
        assert_eq!(render("aaabbcccddX", &spans), "[REDACTED]bb[REDACTED]X");
    }

    #[test]
    fn places_after_marks_are_carried_back() {
        let spans = [span(2..5, 0), span(7..8, 0)];
        let text = "abSSScdSef";
        assert_eq!(render(text, &spans), "ab[REDACTED]cd[REDACTED]ef");
        let mut new = [span(12..14, 0), span(24..25, 0), span(0..3, 0)];
        carry_back(&spans, &mut new);
        assert_eq!(new, [span(0..5, 0), span(5..7, 0), span(8..9, 0)]);
    }
}
