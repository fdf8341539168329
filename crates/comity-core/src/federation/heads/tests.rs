//! Lines of two members, compared by hand.

use super::*;
use crate::identity::key::KeyPair;
use crate::time::Timestamp;

fn channel() -> ChannelId {
    "!a:hub.test".parse().expect("a channel")
}

fn placed(seq: u64, id: u8, term: u64) -> Placed {
    let (id, prev) = (EventId::from_bytes([id; 20]), (seq > 1).then(|| EventId::from_bytes([0; 20])));
    let of = (Timestamp::from_millis(seq), term);
    Placed { id, order: Order::sign(&KeyPair::from_seed([2; 32]), (&channel(), id), (seq, prev), of) }
}

/// A line whose events have these ids, from 1 on; those in capitals are of the second term.
fn line(ids: &str) -> Vec<Placed> {
    let place = |(seq, id): (u64, u8)| placed(seq, id, if id.is_ascii_uppercase() { 2 } else { 1 });
    (1..).zip(ids.bytes()).map(place).collect()
}

/// What comes of it when the one with the first line compares with the other, of which it sees all from `first` on.
fn compared(mine: &str, theirs: &str, first: u64, agreed: Agreed) -> (Verdict, usize) {
    let (mine, theirs) = (line(mine), line(theirs));
    run(Comparison::new(channel(), (first, mine.len() as u64), agreed), (&mine, &theirs), first)
}

fn run(mut comparison: Comparison, (mine, theirs): (&[Placed], &[Placed]), first: u64) -> (Verdict, usize) {
    let at = |line: &[Placed], seq: u64| line.get(usize::try_from(seq).expect("small") - 1).copied();
    let digest = |line: &[Placed], after: u64, upto: u64| {
        Digest::of((after + 1..=upto).map(|seq| at(line, seq).expect("asked of what is there").id))
    };
    let here = |seq: u64| at(mine, seq).filter(|_| seq >= first);
    let last = *theirs.last().expect("a line");
    let mut verdict = comparison.handle_head(&Head { first: 1, last }, here(last.order.seq).as_ref());
    for asked in 0..70 {
        verdict = match verdict {
            Verdict::AskDigest { after, upto } => {
                let (here, there) = (digest(mine, after, upto), digest(theirs, after, upto));
                comparison.handle_digest((after, upto), there, here)
            }
            Verdict::AskPlace { seq } => {
                comparison.handle_place(&at(theirs, seq).expect("there"), &at(mine, seq).expect("here"))
            }
            done => return (done, asked),
        };
    }
    panic!("it comes to no end");
}

#[test]
fn one_line_fits_however_far_each_has_come() {
    for (mine, theirs, upto) in
        [("abcdefg", "abcdefg", 7), ("abc", "abcdefg", 3), ("abcdefg", "abc", 3), ("abcD", "abcDE", 4)]
    {
        let (verdict, _) = compared(mine, theirs, 1, Agreed::default());
        let Verdict::Fits(agreed) = verdict else { panic!("{mine} {theirs}: {verdict:?}") };
        assert_eq!(agreed.upto, upto, "{mine} {theirs}");
        let again = compared(mine, theirs, 1, agreed);
        assert_eq!(again, (verdict, 0), "what was agreed on is not asked for again");
    }
}

#[test]
fn another_event_in_the_middle_is_found_though_the_lines_end_alike() {
    for (mine, theirs, seq) in
        [("abcdefg", "abXdefg", 3), ("abcdefg", "abcdefx", 7), ("abc", "xbcdefg", 1), ("abcdefg", "abx", 3)]
    {
        let theirs = theirs.to_ascii_lowercase();
        let (verdict, asked) = compared(mine, &theirs, 1, Agreed::default());
        let Verdict::Proven(proof) = verdict else { panic!("{mine} {theirs}: {verdict:?}") };
        assert_eq!((proof.place(), proof.verify()), ((seq, 1), Ok([KeyPair::from_seed([2; 32]).node(); 2])));
        assert!(asked <= 6, "{mine} {theirs}: {asked}");
    }
}

#[test]
fn a_line_that_went_on_without_some_of_it_is_no_lie() {
    for (mine, theirs, after) in
        [("abcdefg", "abcDEFG", 3), ("abcdefg", "abcDE", 3), ("abc", "ABCDEF", 0), ("abcdefg", "abcdefG", 6)]
    {
        let (verdict, _) = compared(mine, theirs, 1, Agreed { upto: 7, term: 1 });
        let Verdict::Parted { after: found, theirs: next } = verdict else { panic!("{mine} {theirs}: {verdict:?}") };
        assert_eq!((found, next.order.seq, next.order.term), (after, after + 1, 2), "{mine} {theirs}");
    }
}

#[test]
fn events_that_were_given_their_places_again_in_another_term_are_found() {
    let line = |terms: &str| -> Vec<Placed> {
        (1..).zip(terms.bytes()).map(|(seq, term)| placed(seq, seq as u8, u64::from(term - b'0'))).collect()
    };
    let has_terms = |mine: &str, theirs: &str| {
        let comparison = Comparison::new(channel(), (1, mine.len() as u64), Agreed::default()).with_terms();
        run(comparison, (&line(mine), &line(theirs)), 1).0
    };
    for (mine, theirs, after) in
        [("11333", "111115", 2), ("33333", "111115", 0), ("11113", "111115", 4), ("1113", "1111", 3)]
    {
        let verdict = has_terms(mine, theirs);
        let Verdict::Parted { after: found, theirs: next } = verdict else { panic!("{mine}: {verdict:?}") };
        assert_eq!((found, next.order.seq, next.order.term), (after, after + 1, 1), "{mine} {theirs}");
    }
    assert!(matches!(has_terms("11333", "113335"), Verdict::Fits(Agreed { upto: 5, term: 5 })));
}

#[test]
fn what_was_before_this_origin_joined_is_not_compared() {
    assert!(matches!(compared("abcdefg", "xxxdefg", 4, Agreed::default()).0, Verdict::Fits(_)));
    assert!(matches!(compared("abcdefg", "xxx", 4, Agreed::default()).0, Verdict::Fits(_)));
}

#[test]
fn who_contradicts_itself_proves_nothing() {
    let (mine, mut comparison) = (line("ab"), Comparison::new(channel(), (1, 2), Agreed::default()));
    let head = Head { first: 1, last: mine[1] };
    assert_eq!(comparison.handle_head(&head, Some(&mine[1])), Verdict::AskDigest { after: 0, upto: 2 });
    let (here, other) = (Digest::of([mine[0].id]), Digest([0; 32]));
    comparison.handle_digest((0, 2), other, here);
    assert_eq!(comparison.handle_digest((0, 1), other, here), Verdict::AskPlace { seq: 1 });
    assert_eq!(comparison.handle_place(&mine[0], &mine[0]), Verdict::Unclear);
}

#[test]
fn a_proof_is_two_events_in_one_place_of_one_term_with_both_signatures() {
    let of = |one: &Placed, other: &Placed| Proof::of(&channel(), one, other).map(|proof| proof.verify().is_ok());
    let none = Err(NotProof::NoContradiction);
    assert_eq!(of(&placed(3, 1, 1), &placed(3, 2, 1)), Ok(true));
    assert_eq!(of(&placed(3, 1, 1), &placed(3, 1, 1)), none, "one event");
    assert_eq!(of(&placed(3, 1, 1), &placed(4, 2, 1)), none, "two places");
    assert_eq!(of(&placed(3, 1, 1), &placed(3, 2, 2)), none, "two terms");
    let forged = Placed { id: EventId::from_bytes([9; 20]), ..placed(3, 1, 1) };
    assert_eq!(of(&placed(3, 1, 1), &forged), Ok(false));
    let elsewhere = "!b:hub.test".parse().expect("a channel");
    let proof = Proof::of(&elsewhere, &placed(3, 1, 1), &placed(3, 2, 1)).expect("two events");
    assert!(proof.verify().is_err(), "of another channel");
}
