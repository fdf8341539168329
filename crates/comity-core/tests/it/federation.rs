//! Vectors of federation: requests, answers, events in their places, changes of keys, proofs and streams, made from
//! fixed keys and times.

use comity_core::federation::event::Draft;
use comity_core::federation::heads::{Placed, Proof};
use comity_core::federation::{Authored, ChannelId, Event, EventId, Order, Origin};
use comity_core::id::encode_base64;
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::wire::federation::authorization::{Answer, Authorization, ContentHash, Request};
use comity_core::wire::federation::stream::Chain;
use comity_core::wire::federation::well_known::Rotation;
use comity_core::wire::federation::{event, proof};
use serde_json::{Value, json};

fn alpha() -> (Origin, KeyPair) {
    ("alpha.test".parse().unwrap(), KeyPair::from_seed([1; 32]))
}

fn beta() -> (Origin, KeyPair) {
    ("beta.test:8443".parse().unwrap(), KeyPair::from_seed([2; 32]))
}

fn at(number: u64) -> Timestamp {
    Timestamp::from_millis(1_782_000_000_000 + number)
}

pub(crate) fn vectors() -> Value {
    let (alpha, beta) = (alpha(), beta());
    let line = line();
    let values: Vec<Value> = line.iter().map(event::to_value).collect();
    let rotation = Rotation::sign(&alpha.1, beta.1.node(), &alpha.0, at(9));
    let channel: ChannelId = "!project:alpha.test".parse().unwrap();
    let placed = Placed { id: line[1].authored.id, order: line[1].order };
    let (again, hub) = (EventId::from_bytes([7; 20]), &alpha.1);
    let order = Order::sign(hub, (&channel, again), (2, Some(line[0].authored.id)), (at(8), 1));
    let split = Proof::of(&channel, &placed, &Placed { id: again, order }).unwrap();
    json!({
        "keys": {"alpha.test": "01".repeat(32), "beta.test:8443": "02".repeat(32)},
        "channel": channel.to_string(),
        "requests": requests(&alpha, &beta),
        "line": values,
        "rotation": {"origin": alpha.0.as_str(), "value": rotation.to_value()},
        "proof": proof::to_value(&split),
    })
}

/// Requests of alpha to beta, each with its answer; the last one is answered event by event.
fn requests(alpha: &(Origin, KeyPair), beta: &(Origin, KeyPair)) -> Value {
    let told = ["{\"progress\":1,\"total\":2}", "{\"call_id\":\"1\",\"result\":{\"content\":[]}}"];
    let mut chain = Chain::default();
    told.iter().for_each(|data| chain.add(data.as_bytes()));
    let get = ("GET", "/federation/v1/channels/%21a:b.test/events?after=0&limit=500", "");
    let put = ("PUT", "/smcp/federation/v1/send/Zm9v", "{\"origin\":\"alpha.test\", \"events\":[]}");
    let call = ("POST", "/federation/v1/call", "{\"call_id\":\"1\"}");
    let answers = [
        (get, 403, json!("{\"code\":\"not_member\"}"), ContentHash::of(b"{\"code\":\"not_member\"}")),
        (put, 200, json!(""), ContentHash::of(b"")),
        (call, 200, json!(told), chain.content()),
    ];
    let one = |(number, ((method, uri, body), status, answer, content)): (usize, _)| {
        let request = Request { method, uri, content: ContentHash::of(str::as_bytes(body)) };
        let time = at(u64::try_from(number).unwrap());
        let nonce = [u8::try_from(number).unwrap(); 16];
        let signed = Authorization::sign(&alpha.1, (&alpha.0, &beta.0), request, (time, nonce));
        let answered = Answer { status, content, at: time };
        json!({
            "origin": alpha.0.as_str(), "destination": beta.0.as_str(), "method": method, "uri": uri, "body": body,
            "ts": time.millis(), "nonce": encode_base64(&nonce), "header": signed.to_header(),
            "status": status, "answer": answer,
            "answer_header": signed.sign_answer(&beta.1, &beta.0, request, answered),
        })
    };
    answers.into_iter().enumerate().map(one).collect()
}

/// A line: its hub's own event, a member's, and one that its hub attests.
fn line() -> Vec<Event> {
    let channel: ChannelId = "!project:alpha.test".parse().unwrap();
    let (alpha, beta) = (alpha(), beta());
    let data = [json!({"topic": "plans"}), json!({"text": "é\u{202e}\n", "number": 1.5e300}), json!([])];
    let draft = |at, kind, origin, author_seq, data, prev_seen, attested| Draft {
        channel: &channel,
        kind,
        origin,
        author_seq,
        at,
        data,
        prev_seen,
        attested,
    };
    let first = Authored::sign(&alpha.1, &draft(at(1), "naomi:channel.topic", &alpha.0, Some(1), &data[0], None, None));
    let seen = Some(first.id);
    let second = Authored::sign(&beta.1, &draft(at(2), "message", &beta.0, Some(1), &data[1], seen, None));
    let third = Authored::attest(&draft(at(3), "message", &beta.0, None, &data[2], None, Some("$their-own:id")));
    let mut prev = None;
    let place = |(seq, authored): (u64, Authored)| {
        let order = Order::sign(&alpha.1, (&channel, authored.id), (seq, prev), (at(10 + seq), 1));
        prev = Some(authored.id);
        Event { authored, order }
    };
    (1..).zip([first, second, third]).map(place).collect()
}
