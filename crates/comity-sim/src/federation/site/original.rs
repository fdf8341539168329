//! A member that signs nothing of what it says, as in the original design: its requests are signed, and the hub attests
//! what is in them.

use super::*;

/// How long whoever is not answered waits.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Site {
    pub(super) fn signs_nothing(&self) -> bool {
        self.kind == Kind::Attested && self.number == ODD
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
                books.kept_by_hub(self.number, saying, now);
                self.disk.synced.unsigned.remove(&saying);
                self.submit_unsigned();
            }
            Some(Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember)) | Outcome::Later(_)) | None => {
                // It has not joined yet, or the hub has not.
                up.look_at = up.look_at.min(now + AGAIN_AFTER);
            }
            Some(Outcome::Refused(why)) => books.blame(format!("the hub refused the unsigned {saying}: {why}")),
        }
    }
}

/// What a hub makes of it.
pub(super) fn attested(from: usize, saying: Saying, at: Timestamp) -> Authored {
    let (channel, origin, data, own_id) = (channel(), origin_of(from), json!(saying), saying.to_string());
    Authored::attest(&Draft {
        channel: &channel,
        kind: "message",
        origin: &origin,
        author_seq: None,
        at,
        data: &data,
        prev_seen: None,
        attested: Some(&own_id),
    })
}
