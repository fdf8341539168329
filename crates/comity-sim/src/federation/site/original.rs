//! A member of the original design, which signs its requests and nothing in them: the hub attests what it says. It keeps
//! no line, and what it has to say is on the disk of one of the sites.

use super::*;

/// How long whoever is not answered waits.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Site {
    pub(super) fn speaks_for_guest(&self) -> bool {
        self.kind == Kind::Attested && self.number == ODD
    }

    /// Joins: of whoever signs anything, its joining too, a hub attests nothing.
    pub(super) fn join_unsigned(&mut self, now: Duration) {
        self.disk.synced.unsigned.insert(JOINING, moment(now).wall);
        self.submit_unsigned();
    }

    /// Submits what waits, one after the other.
    pub(super) fn submit_unsigned(&mut self) {
        let Some(up) = self.up.as_mut().filter(|up| !up.is_submitting) else { return };
        if let Some((saying, at)) = self.disk.synced.unsigned.first_key_value().map(|(saying, at)| (*saying, *at)) {
            up.is_submitting = true;
            self.ask(0, Call::Unsigned { saying }, Request::Unsigned { saying, at });
        }
    }

    /// What became of it. Only now does its author know that it is kept.
    pub(super) fn decided_on_unsigned(
        &mut self,
        saying: Saying,
        answer: Option<&Answer>,
        now: Duration,
        books: &mut Books,
    ) {
        let Some(up) = &mut self.up else { return };
        up.is_submitting = false;
        let Some(Answer::Outcomes(outcomes)) = answer else {
            up.look_at = up.look_at.min(now + AGAIN_AFTER);
            return;
        };
        match outcomes.first() {
            Some(Outcome::Taken) => {
                if saying != JOINING {
                    books.kept_by_hub(GUEST, saying, now);
                }
                self.disk.synced.unsigned.remove(&saying);
                self.submit_unsigned();
            }
            Some(Outcome::Refused(Refusal::Forbidden(Forbidden::NotInvited)) | Outcome::Later(_)) | None => {
                // The hub has not invited it yet, or is not ready.
                up.look_at = up.look_at.min(now + AGAIN_AFTER);
            }
            Some(Outcome::Refused(why)) => books.blame(format!("the hub refused the unsigned {saying}: {why}")),
        }
    }
}

/// What a hub makes of it.
pub(super) fn attested(saying: Saying, at: Timestamp) -> Authored {
    let (channel, origin, own_id) = (channel(), origin_of(GUEST), saying.to_string());
    let (kind, data) =
        if saying == JOINING { (Change::Joined.kind(), Change::Joined.data()) } else { ("message", json!(saying)) };
    Authored::attest(&Draft {
        channel: &channel,
        kind,
        origin: &origin,
        author_seq: None,
        at,
        data: &data,
        prev_seen: None,
        attested: Some(&own_id),
    })
}
