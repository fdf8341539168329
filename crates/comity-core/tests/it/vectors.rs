//! The test vectors in `vectors/` are what this code makes today; `vectors/reproduce.py` makes or
//! checks the same from the protocol text alone. To write them anew after a change that is meant:
//! `COMITY_WRITE_VECTORS=1 cargo test -p comity-core --test it vectors`.

use bytes::{Bytes, BytesMut};
use comity_core::card::Card;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, More, Priority, Ttl};
use comity_core::id::{Libp2pId, MessageId, PeerId, encode_base64};
use comity_core::identity::canonical;
use comity_core::identity::key::{self, KeyPair};
use comity_core::identity::seal;
use comity_core::identity::signature::{self, Context};
use comity_core::journal::{
    Chain, Checkpoint, Consistency, Draft, EntryKind, EntryProof, Head, Inclusion, Placed, root_of,
};
use comity_core::payload::Payload;
use comity_core::time::Timestamp;
use comity_core::wire::announce::{self, PeerInfo, Topics};
use comity_core::wire::compact::{self, ChannelTable};
use comity_core::wire::journal as journal_forms;
use comity_core::wire::json::{self, Spelling};
use comity_core::wire::signal::{self, Signal};
use comity_core::wire::strict;
use comity_core::wire::txt::{self, Txt};
use comity_core::wire::{card, pack};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// RFC 8785, appendix B: the bits of a double, and its text.
const NUMBERS: [(u64, &str); 24] = [
    (0x0000_0000_0000_0000, "0"),
    (0x8000_0000_0000_0000, "0"),
    (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"),
    (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
    (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
    (0x4340_0000_0000_0000, "9007199254740992"),
    (0xc340_0000_0000_0000, "-9007199254740992"),
    (0x4430_0000_0000_0000, "295147905179352830000"),
    (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
    (0x44b5_2d02_c7e1_4af6, "1e+23"),
    (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
    (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
    (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
    (0x444b_1ae4_d6e2_ef50, "1e+21"),
    (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
    (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
    (0x41b3_de43_5555_5553, "333333333.3333332"),
    (0x41b3_de43_5555_5554, "333333333.33333325"),
    (0x41b3_de43_5555_5555, "333333333.3333333"),
    (0x41b3_de43_5555_5556, "333333333.3333334"),
    (0x41b3_de43_5555_5557, "333333333.33333343"),
    (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
    (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
];

/// RFC 8785, sections 3.2.2 and 3.2.3, and what they leave open: a document, and its canonical text.
const DOCUMENTS: [(&str, &str); 5] = [
    (
        r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    ),
    (
        r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#,
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    ),
    (r#" [ 56 , { "d" : true , "10" : null , "1" : [ ] } ] "#, r#"[56,{"1":[],"10":null,"d":true}]"#),
    (
        r#"[9007199254740993,18446744073709551615,-9223372036854775808,-0,1.0]"#,
        "[9007199254740992,18446744073709552000,-9223372036854776000,0,1]",
    ),
    (
        r#""\u0000\u0007\b\t\n\u000b\f\r\u001f\u007f\u2028""#,
        "\"\\u0000\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f\u{7f}\u{2028}\"",
    ),
];

#[test]
fn canonical_json_is_that_of_rfc_8785() {
    for (bits, text) in NUMBERS {
        let number = Value::from(f64::from_bits(bits));
        assert_eq!(String::from_utf8(canonical::to_vec(&number)).unwrap(), text);
    }
    for (document, text) in DOCUMENTS {
        let value = strict::parse(document.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(canonical::to_vec(&value)).unwrap(), text);
    }
}

#[test]
fn the_vector_files_are_what_this_code_makes() {
    // Tests are run in the folder of their package, wherever they were built.
    let folder = Path::new("vectors");
    let write = std::env::var_os("COMITY_WRITE_VECTORS").is_some();
    for (name, vectors) in [
        ("canonical", canonical_vectors()),
        ("identity", identity_vectors()),
        ("signature", signature_vectors()),
        ("card", card_vectors()),
        ("announce", announce_vectors()),
        ("signal", signal_vectors()),
        ("message", message_vectors()),
        ("seal", seal_vectors()),
        ("compact", compact_vectors()),
        ("txt", txt_vectors()),
        ("gossip", crate::gossip::vectors()),
        ("journal", journal_vectors()),
        ("federation", crate::federation::vectors()),
        ("basin", crate::basin::vectors()),
        ("knowledge", crate::knowledge::vectors()),
    ] {
        let file = folder.join(name).with_extension("json");
        let text = format!("{vectors:#}\n");
        if write {
            std::fs::write(&file, &text).unwrap();
        }
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(stored == text, "vectors/{name}.json differs from what the code makes");
    }
}

#[test]
#[ignore = "needs python3 with `cryptography` and `jsonschema`, and libzstd: cargo xtask test runs it"]
fn an_independent_implementation_makes_the_same_vectors() {
    let status = std::process::Command::new("python3").arg("vectors/reproduce.py").status().unwrap();
    assert!(status.success());
}

fn canonical_vectors() -> Value {
    let number = |(bits, text): (u64, &str)| json!({"bits": format!("{bits:016x}"), "text": text});
    let document = |(document, canonical): (&str, &str)| json!({"document": document, "canonical": canonical});
    json!({"numbers": NUMBERS.map(number).to_vec(), "documents": DOCUMENTS.map(document).to_vec()})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Four keys: of ones, of twos, the first of RFC 8032 (7.1), and all bits set.
fn keys() -> [KeyPair; 4] {
    let rfc: Vec<u8> = (0..32)
        .map(|at| &"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"[2 * at..2 * at + 2])
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    [
        KeyPair::from_seed([1; 32]),
        KeyPair::from_seed([2; 32]),
        KeyPair::from_seed(rfc.try_into().unwrap()),
        KeyPair::from_seed([255; 32]),
    ]
}

fn identity_vectors() -> Value {
    let form = |key: &KeyPair| {
        json!({
            "seed": hex(key.seed()),
            "public_key": hex(key.node().as_bytes()),
            "node": key.node().to_string(),
            "short": key.node().short(),
            "peer": key.peer().to_string(),
            "libp2p": Libp2pId::from(key.node()).to_string(),
            "libp2p_cid": Libp2pId::from(key.node()).to_cid(),
            "sealing_public_key": hex(&key::sealing_key(&key.node()).unwrap()),
        })
    };
    let foreign_ids = ["mqtt:home/peers:kitchen", "libp2p:12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"];
    let foreign = |id: &str| json!({"foreign_id": id, "peer": PeerId::of_foreign(id).to_string()});
    json!({
        "keys": keys().iter().map(form).collect::<Vec<_>>(),
        "foreign": Vec::from(foreign_ids.map(foreign)),
    })
}

fn signature_vectors() -> Value {
    let key = &keys()[0];
    let value = json!({"ttl": 60, "payload": {"é": [1.0, 1e21, -0.0, "\u{7f}\n\""], "€": null, "a": {}}, "from": "x"});
    let signed = |context: Context| {
        let signature = signature::sign(key, context, &value);
        json!({"context": context.name(), "sig": encode_base64(&signature)})
    };
    json!({
        "seed": hex(key.seed()),
        "value": value,
        "canonical": String::from_utf8(canonical::to_vec(&value)).unwrap(),
        "signatures": Context::ALL.map(signed),
    })
}

fn time() -> Timestamp {
    Timestamp::from_millis(1_782_000_000_000)
}

fn card_vectors() -> Value {
    let key = &keys()[0];
    let least = Card {
        name: "Ann".to_owned(),
        protocol: "1.0.0".to_owned(),
        started_at: time(),
        issued_at: time(),
        expires_at: time() + Duration::from_secs(24 * 3600),
        ..Card::default()
    };
    let full = Card {
        service: "kernel".to_owned(),
        version: "0.1.0".to_owned(),
        capabilities: vec!["search".to_owned(), "übersetzen".to_owned()],
        roles: vec!["scribe".to_owned()],
        expertise: vec!["rust".to_owned()],
        reports_to: vec!["lead".to_owned()],
        protocols: vec!["dashflow".to_owned()],
        endpoints: vec!["https://192.168.1.5:8400".to_owned()],
        origin: Some("example.org".to_owned()),
        detail: Some(Map::from_iter([("cores".to_owned(), json!(2))])),
        ..least.clone()
    };
    let signed = [least, full].map(|one| {
        let value = card::sign(&one, key);
        assert!(card::verify(&value, time()).is_ok());
        value
    });
    json!({"seed": hex(key.seed()), "cards": signed})
}

fn announce_vectors() -> Value {
    let key = &keys()[0];
    let id = key.peer().to_string();
    let least =
        PeerInfo { id: id.clone(), last_seen: Some(time()), session: Some("s-1".to_owned()), ..PeerInfo::default() };
    let full = PeerInfo {
        url: Some("https://192.168.1.5:8400/signal".to_owned()),
        capabilities: vec!["search".to_owned(), "übersetzen".to_owned()],
        protocols: vec!["webrtc-data".to_owned()],
        protocol_version: Some("1.0.0".to_owned()),
        metadata: Map::from_iter([("version".to_owned(), json!("0.1.0")), ("uptime".to_owned(), json!(7))]),
        expires_at: Some(time() + Duration::from_secs(90)),
        ..least.clone()
    };
    let topics = Topics::new(announce::PREFIX).unwrap();
    let infos = [least, full].map(|info| {
        let value = announce::sign_info(&info, key);
        let read = announce::read_info(value.to_string().as_bytes()).unwrap();
        assert_eq!(read, PeerInfo { key: Some(key.node()), ..info });
        value
    });
    json!({
        "seed": hex(key.seed()),
        "topics": {
            "announce": topics.announce(&id),
            "capability": topics.capability(&id, "search"),
            "goodbye": topics.goodbye(&id),
            "signal": topics.signal(&id, &keys()[1].peer().to_string()),
        },
        "infos": infos,
        "capability": announce::sign_capability("search", "0.1.0", "s-1", key),
        "goodbye": announce::sign_goodbye("stopped", "s-1", key),
    })
}

fn signal_vectors() -> Value {
    let [ann, bob] = &keys()[..2] else { unreachable!("there are more") };
    let sdp = "v=0\r\na=ice-ufrag:abcd\r\na=fingerprint:sha-256 AA:BB\r\n";
    let session = "0f0f0f0f-0000-4000-8000-000000000007".parse().unwrap();
    let fragment = signal::fragment("u", "p", &["candidate:1 1 udp 9 10.0.0.1 5 typ host".to_owned()]);
    let signals = [(signal::Kind::Offer, sdp), (signal::Kind::Candidates, &fragment), (signal::Kind::End, "")];
    let signals = signals.map(|(kind, sdp)| {
        let signal = Signal { kind, session, from: ann.node(), to: bob.node(), at: time(), sdp: sdp.to_owned() };
        let (header, entropy) = (signal.to_header(ann), [9; 32]);
        let sealed = signal.seal(ann, entropy).unwrap();
        assert_eq!(Signal::from_header(&header, sdp, &bob.node(), time()).as_ref(), Ok(&signal));
        assert_eq!(Signal::open(&sealed, bob, ann.peer(), time()).as_ref(), Ok(&signal));
        json!({"kind": kind.name(), "sdp": sdp, "ts": time().millis(), "session": session.to_string(), "header": header,
            "entropy": hex(&entropy), "sealed": hex(&sealed)})
    });
    json!({"from_seed": hex(ann.seed()), "to_seed": hex(bob.seed()), "signals": signals})
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn uuid(number: u128) -> MessageId {
    MessageId(Uuid::from_u128(number << 64 | 0x4000_8000_0000_0000_0000 | number))
}

fn broadcast() -> Message {
    Message {
        id: Some(uuid(1)),
        from: keys()[0].peer(),
        to: Address::Broadcast,
        kind: Kind::Status,
        channel: channel("_status"),
        priority: Priority::Background,
        timestamp: time() + Duration::from_millis(123),
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload: Payload::from_value(&json!({"working_on": "Übersicht", "progress": 0.5})).unwrap(),
        more: None,
    }
}

fn messages() -> [Message; 3] {
    let more = More {
        topic: Some("weather".to_owned()),
        thread: Some("t-1".to_owned()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..More::default()
    };
    [
        broadcast(),
        Message {
            to: Address::Group,
            kind: Kind::Bug,
            channel: channel("custom:x"),
            priority: Priority::Critical,
            ..broadcast()
        },
        Message {
            to: Address::Peer(keys()[1].peer()),
            kind: Kind::Response,
            channel: channel("_direct"),
            priority: Priority::Normal,
            ttl: Ttl::MAX,
            reply_to: Some(uuid(2)),
            more: Some(Box::new(more)),
            ..broadcast()
        },
    ]
}

fn message_vectors() -> Value {
    let key = &keys()[0];
    let forms = |message: Message| {
        let mut signed = message.clone();
        json::sign(&mut signed, key);
        assert_eq!(json::proven_key(&signed), Ok(Some(key.node())));
        json!({
            "design": json::to_value(&message, Spelling::Design),
            "coded": json::to_value(&message, Spelling::Coded),
            "signed": json::to_value(&signed, Spelling::Design),
        })
    };
    json!({"seed": hex(key.seed()), "messages": messages().map(forms)})
}

fn sealed(kind: Kind, reply_to: Option<MessageId>, payload: &Value, entropy: u8) -> (Message, Vec<u8>) {
    let [from, to, ..] = keys();
    let payload = Payload::from_value(payload).unwrap();
    let plain = payload.to_pack().to_vec();
    let mut message = Message {
        to: Address::Peer(to.peer()),
        kind,
        channel: channel("_direct"),
        priority: Priority::Normal,
        reply_to,
        payload,
        ..broadcast()
    };
    seal::seal(&mut message, &to.node(), &from, [entropy; 32]).unwrap();
    json::sign(&mut message, &from);
    (message, plain)
}

fn seal_vectors() -> Value {
    let [from, to, ..] = keys();
    let vector = |(kind, reply_to, payload, entropy): (Kind, Option<MessageId>, Value, u8)| {
        let (message, plain) = sealed(kind, reply_to, &payload, entropy);
        assert_eq!(seal::open(&message, &to, &from.node()).unwrap().to_value(), payload);
        json!({
            "entropy": hex(&[entropy; 32]),
            "payload": payload,
            "plain": hex(&plain),
            "sealed": hex(message.payload.bytes()),
            "message": json::to_value(&message, Spelling::Design),
        })
    };
    let cases = [
        (Kind::Query, None, json!({"question": "wer?", "n": [1, -1, 300, 70_000, 1.5, true, null]}), 9),
        (Kind::Response, Some(uuid(2)), json!("antwort"), 10),
    ];
    json!({"from_seed": hex(from.seed()), "to_seed": hex(to.seed()), "messages": cases.map(vector)})
}

fn compact_vectors() -> Value {
    let mut table = ChannelTable::default();
    let names = ["_status", "_direct", "_presence", "custom:72849"];
    for name in names {
        table.insert(channel(name)).unwrap();
    }
    let packed = |value: &Value| Payload::from_pack(pack::from_value(value)).unwrap();
    let [_, _, response] = messages();
    let plain = Message { timestamp: time(), ..broadcast() };
    let (mut secret, _) = sealed(Kind::Query, None, &json!({"question": "wer?"}), 11);
    secret.more = None;
    let nothing = Payload::Empty;
    let messages = [
        ("status", plain.clone()),
        (
            "heartbeat",
            Message {
                id: None,
                kind: Kind::Heartbeat,
                channel: channel("_presence"),
                payload: nothing,
                ..plain.clone()
            },
        ),
        ("directed", Message { more: None, timestamp: time(), ..response.clone() }),
        ("sealed", secret),
        ("compressed", Message { payload: packed(&json!({"text": "comity ".repeat(400)})), ..plain.clone() }),
        ("extended", response),
        ("collision", Message { channel: channel("custom:410610"), ..plain.clone() }),
        ("unnamed", Message { channel: channel("custom:other"), ..plain }),
    ];
    let mut batch = BytesMut::new();
    let frame = |(name, message): &(&str, Message)| {
        let mut frame = BytesMut::new();
        assert!(compact::encode(message, &table, &mut frame));
        let mut read = Vec::new();
        compact::decode(&frame.clone().freeze(), &table, time(), &mut read).unwrap();
        batch.extend_from_slice(&frame);
        json!({"name": name, "frame": hex(&frame), "message": json::to_value(&read[0], Spelling::Design)})
    };
    let frames: Vec<_> = messages.iter().map(frame).collect();
    let mut read = Vec::new();
    compact::decode(&Bytes::from(batch), &table, time(), &mut read).unwrap();
    assert_eq!(read.len(), messages.len());
    json!({"channels": names, "frames": frames})
}

fn txt_vectors() -> Value {
    let key = &keys()[0];
    let small = Txt {
        id: Some(key.peer()),
        name: "Ann – Küche".to_owned(),
        version: "0.1.0".to_owned(),
        capabilities: vec!["search".to_owned(), "a,b".to_owned(), "100%".to_owned()],
        endpoint: "http://192.168.1.5:8400".to_owned(),
        key: Some(key.node()),
        metadata: BTreeMap::from([("room".to_owned(), "7;b".to_owned()), ("a:b".to_owned(), "50%".to_owned())]),
        more: false,
    };
    let large = Txt {
        name: "é".repeat(200),
        capabilities: (0..100).map(|number| format!("capability-{number}")).collect(),
        metadata: (0..100).map(|number| (format!("key-{number:02}"), "value".repeat(5))).collect(),
        ..small.clone()
    };
    let record = |txt: &Txt| {
        let strings = txt::encode(txt);
        let read = txt::decode(strings.iter().map(|(key, value)| (key.as_str(), value.as_bytes())));
        json!({
            "said": fields(txt),
            "strings": strings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(),
            "read": fields(&read),
        })
    };
    let records: Vec<_> = [small, large].iter().map(record).collect();
    json!({ "records": records })
}

fn fields(txt: &Txt) -> Value {
    json!({
        "id": txt.id.map(|id| id.to_string()),
        "name": txt.name,
        "version": txt.version,
        "capabilities": txt.capabilities,
        "endpoint": txt.endpoint,
        "key": txt.key.map(|key| key.to_string()),
        "metadata": txt.metadata,
        "more": txt.more,
    })
}

/// Entries of every type, of which these are the last of a group.
const GROUP_ENDS: [u64; 5] = [0, 3, 4, 9, 14];

/// How many of them a checkpoint stands in for.
const DROPPED: usize = 6;

fn journal_vectors() -> Value {
    let key = &keys()[0];
    let author = key.node().to_string();
    let mut chain = Chain::new(key.node());
    let (mut lines, mut leaves, mut heads, mut dropped) = (Vec::new(), Vec::new(), Vec::new(), None);
    for (index, kind) in (0..).zip(EntryKind::ALL) {
        // One clock was set back in between.
        let at = if index == 7 { time() } else { time() + Duration::from_secs(index * 60) };
        let said =
            json!({"message_type": "task_progress", "number": index, "é": [0.1, 1e21, -0.0, "\u{7f}\n"], "€": null});
        let draft = Draft::new(kind, at, said.as_object().unwrap().clone()).unwrap();
        let placed = Placed::new(&author, &draft, index, &chain.prev());
        chain.push(placed.hash);
        leaves.push(placed.hash);
        if GROUP_ENDS.contains(&index) {
            heads.push(Head::sign(key, chain.journal().unwrap(), chain.range()));
        }
        let signature = heads.last().filter(|head| head.size == index + 1).map(|head| &head.signature);
        let mut line = Vec::new();
        placed.write(signature, &mut line);
        lines.push(String::from_utf8(line).unwrap().trim_end().to_owned());
        if leaves.len() == DROPPED {
            dropped = Some(Checkpoint::sign(key, chain.journal().unwrap(), chain.prev(), chain.range().clone()));
        }
    }
    let mut node = |level: u32, index: u64| {
        let begin = usize::try_from(index << level).unwrap();
        Ok::<_, std::convert::Infallible>(root_of(&leaves[begin..begin + (1 << level)]))
    };
    let inclusion = Inclusion::make(5, 15, &mut node).unwrap();
    let growth = Consistency::make(10, 15, &mut node).unwrap();
    growth.check(&heads[3].root, &heads[4].root).unwrap();
    let proof = EntryProof { line: lines[5].clone().into_bytes(), inclusion, head: heads[4] };
    proof.check().unwrap();
    let checkpoint = String::from_utf8(journal_forms::write_checkpoint(&dropped.unwrap())).unwrap();
    let pruned = [&[checkpoint], &lines[DROPPED..]].concat();
    json!({
        "seed": hex(key.seed()),
        "pruned": pruned,
        "whole": lines,
        "proof": journal_forms::entry_proof_to_value(&proof),
        "growth": journal_forms::consistency_to_value(&growth),
    })
}
