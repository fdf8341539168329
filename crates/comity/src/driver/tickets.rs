//! Who waits for which answer. A slab: the number of a ticket is a place in a table, so that a
//! question costs neither hashing nor, once the table has grown, memory.

use comity_core::id::Ticket;
use comity_core::node::Answer;
use tokio::sync::oneshot;

/// The ticket of questions whose answer nobody wants.
const NOBODY: Ticket = Ticket(u64::MAX);

/// The open questions. Every ticket is answered exactly once; the number of questions is bounded by
/// the tasks that wait.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiting: Vec<Option<oneshot::Sender<Answer>>>,
    free: Vec<usize>,
}

impl Tickets {
    /// A ticket for this asker.
    pub(super) fn open(&mut self, reply: oneshot::Sender<Answer>) -> Ticket {
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        });
        self.waiting[place] = Some(reply);
        Ticket(place as u64)
    }

    /// A ticket for an asker who does not want to know.
    pub(super) fn open_for_nobody(&self) -> Ticket {
        NOBODY
    }

    /// Gives the answer; an asker that is gone loses nothing.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let place = usize::try_from(ticket.0).unwrap_or(usize::MAX);
        if let Some(reply) = self.waiting.get_mut(place).and_then(Option::take) {
            self.free.push(place);
            let _ = reply.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reaches_its_asker_and_frees_the_place() {
        let mut tickets = Tickets::default();
        let (first, mut first_answer) = oneshot::channel();
        let (gone, _) = oneshot::channel();
        let (ticket, other) = (tickets.open(first), tickets.open(gone));
        tickets.answer(tickets.open_for_nobody(), Answer::Done);
        tickets.answer(other, Answer::Done);
        tickets.answer(ticket, Answer::Accepted);
        assert!(matches!(first_answer.try_recv(), Ok(Answer::Accepted)));
        let (next, _answer) = oneshot::channel();
        assert_eq!(tickets.open(next), ticket);
    }
}
