//! What can be asked of a message that met none of the commoner ends: each cause by its own name.

use super::*;
use crate::identity::trust::Admission;

/// A message of node 0, as it comes over the link to node 1.
fn brought(pair: &Pair, to: Address, channel: &str) -> Message {
    let channel = Channel::new(channel).expect("a channel");
    Message { from: pair.nodes[0].me(), to, channel, ..bug(pair.now) }
}

fn bring(pair: &mut Pair, message: Message) -> Vec<FateKind> {
    let id = message.id.expect("an id");
    pair.tell(1, Input::Messages { link: LINK, batch: vec![message], unreadable: Vec::new() });
    pair.why(1, id)
}

#[test]
fn what_waits_for_a_link_is_queued_until_there_is_one() {
    let mut pair = Pair::new();
    for whom in [0, 1] {
        pair.tell(whom, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    }
    let message = send(1, Priority::Normal);
    let id = message.id;
    pair.ask(0, Ask::Send(message));
    assert_eq!(pair.why(0, id), [FateKind::Queued]);
    pair.link();
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.why(0, id), [FateKind::Queued, FateKind::Sent, FateKind::Inbox]);
}

#[test]
fn a_broadcast_on_a_channel_that_nobody_here_listens_to_is_not_subscribed() {
    let mut pair = Pair::new();
    let message = brought(&pair, Address::Broadcast, "custom:unheard");
    assert_eq!(bring(&mut pair, message), [FateKind::NotSubscribed]);
}

#[test]
fn what_is_for_somebody_else_is_at_the_wrong_destination() {
    let mut pair = Pair::new();
    let message = brought(&pair, Address::Peer(PeerId(Uuid::from_u128(77))), "_bugs");
    assert_eq!(bring(&mut pair, message), [FateKind::WrongDestination]);
}

#[test]
fn a_stranger_where_only_known_peers_are_admitted_is_not_admitted() {
    let mut pair = Pair::with(|config| config.admission = Admission::Known);
    let message = bug(pair.now);
    let id = message.id.expect("an id");
    let proof = Proof { via: Via::Post, address: [127, 0, 0, 1].into(), key: None };
    pair.tell(1, Input::Arrived { ticket: TICKET, message: Box::new(message), proof });
    assert_eq!(pair.why(1, id), [FateKind::NotAdmitted]);
}

#[test]
fn a_question_that_nobody_answers_says_so_to_both() {
    let mut pair = Pair::new();
    let question = Send { kind: Kind::Query, ..send(1, Priority::Normal) };
    let (sender, receiver) = pair.fates(question);
    assert_eq!((sender.first(), sender.last()), (Some(&FateKind::Sent), Some(&FateKind::NoAnswerer)));
    assert_eq!(receiver.first(), Some(&FateKind::NoAnswerer));
}
