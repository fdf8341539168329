//! Gossip messages from outside: an example of each type, what other programs write, and what is refused. They are
//! kept in `vectors/gossip.json`, where Python's `jsonschema` judges the same examples, each changed in many ways.

use comity_core::claim::{Finish, Lease, Outcome, Standing, Task, TaskId, Word};
use comity_core::id::{Libp2pId, NodeId};
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::topic::{Name, Topic, Topics};
use comity_core::wire::gossip::{self, BadGossip, Envelope, Fault, Kind, task};
use comity_core::wire::strict::BadJsonReason;
use serde_json::{Map, Value, json};

fn time() -> Timestamp {
    Timestamp::from_millis(1_782_000_000_123)
}

fn author(seed: u8) -> NodeId {
    KeyPair::from_seed([seed; 32]).node()
}

/// What each type may say: its `data`, and what else there is in the envelope. The protocol's own examples are those of
/// availability, of help and of claims.
fn examples() -> Vec<(Kind, Value, Value)> {
    let mut examples = coordination();
    examples.extend(meta());
    examples.extend(roles());
    examples.extend(context());
    examples
}

fn coordination() -> Vec<(Kind, Value, Value)> {
    let at = "2026-06-21T00:00:00.000Z";
    vec![
        (
            Kind::TaskAnnouncement,
            json!({"task_id": "hive-15", "title": "Add WebSocket support", "repository": {"owner": "acme", "name": "hive"},
                "labels": ["feature"], "estimated_hours": 8, "required_skills": ["rust"], "lease": 1_782_000_000_000_u64}),
            json!({"project_id": "hive", "priority": "medium", "required_expertise": ["WebSockets", "rust"]}),
        ),
        (
            Kind::TaskAnnouncement,
            json!({"type": "scenario_task", "repository": "bzzz", "task_number": 23, "blocked_by": []}),
            json!({}),
        ),
        (Kind::TaskClaim, json!({"task_id": "hive-15", "agent_id": "walnut-1"}), json!({})),
        (Kind::TaskClaim, json!({"task_id": 15, "agent_id": "walnut-1", "action": "claimed"}), json!({})),
        (Kind::TaskProgress, json!({"task_id": "hive-15", "agent_id": "walnut-1", "progress": 0.4}), json!({})),
        (
            Kind::TaskComplete,
            json!({"task_id": "hive-15", "agent_id": "walnut-1", "status": "completed", "result": {"pull_request": 91}}),
            json!({}),
        ),
        (Kind::TaskComplete, json!({"task_id": 15, "status": "failed", "reason": "the tests hang"}), json!({})),
        (
            Kind::CapabilityBroadcast,
            json!({"node_id": "12D3*a1b2c3", "capabilities": ["code-review", "übersetzen"], "models": ["phi3"],
                "version": "0.2.0", "specialization": "backend", "reason": "startup"}),
            json!({}),
        ),
        (
            Kind::AvailabilityBroadcast,
            json!({"node_id": "12D3*a1b2c3", "available_for_work": true, "current_tasks": 1, "max_tasks": 3,
                "last_activity": at, "status": "working", "timestamp": at}),
            json!({}),
        ),
        (
            Kind::AvailabilityBroadcast,
            json!({"node_id": "12D3*a1b2c3", "available_for_work": false, "current_tasks": ["hive-15", 23, "x"],
                "last_activity": 1_782_000_000, "status": "busy", "timestamp": 1_782_000_000}),
            json!({}),
        ),
    ]
}

fn meta() -> Vec<(Kind, Value, Value)> {
    vec![
        (
            Kind::MetaDiscussion,
            json!({"issue_id": 15, "message": "Here is my plan. What are your thoughts?", "plan": "1. the frames\n2. a door"}),
            json!({"hop_count": 1, "thread_id": "hive-15"}),
        ),
        (
            Kind::TaskHelpRequest,
            json!({"issue_id": 15, "repository": "acme/hive", "reason": "the handshake is not documented"}),
            json!({"thread_id": "help-15", "priority": "high"}),
        ),
        (
            Kind::TaskHelpRequest,
            json!({"task_id": "hive-15", "help_needed": "a review of the handshake", "urgency": "high"}),
            json!({}),
        ),
        (
            Kind::TaskHelpResponse,
            json!({"issue_id": 15, "can_help": true, "capabilities": ["websockets"]}),
            json!({"hop_count": 2, "thread_id": "help-15"}),
        ),
        (
            Kind::CoordinationRequest,
            json!({"session_id": "dep_1_15", "participants": ["walnut-1", "oak-2"], "tasks_involved": ["hive-15", "bzzz-23"]}),
            json!({"thread_id": "dep_1_15"}),
        ),
        (
            Kind::CoordinationComplete,
            json!({"session_id": "dep_1_15", "resolution": "The contract comes first."}),
            json!({"thread_id": "dep_1_15"}),
        ),
        (
            Kind::DependencyAlert,
            json!({"dependency": {"task1": "hive-15", "task2": "bzzz-23", "relationship": "API_Contract", "confidence": 0.8}}),
            json!({"priority": "medium"}),
        ),
        (
            Kind::EscalationTrigger,
            json!({"session_id": "dep_1_15", "escalation_reason": "Message limit exceeded", "requires_human": true}),
            json!({"priority": "urgent", "thread_id": "dep_1_15"}),
        ),
    ]
}

fn roles() -> Vec<(Kind, Value, Value)> {
    let from = |role: &str| json!({"from_role": role});
    let to = |role: &str, to: &str| json!({"from_role": role, "to_roles": [to]});
    let work = json!({"from_role": "CTO", "to_roles": ["Senior Developer", "qa_lead"], "project_id": "hive",
        "priority": "high", "thread_id": "w-1", "required_expertise": ["Rust"],
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
    vec![
        (
            Kind::RoleAnnouncement,
            json!({"role": "Senior Developer", "expertise": ["rust", "networks"], "reports_to": ["CTO"], "capabilities": []}),
            from("Senior Developer"),
        ),
        (
            Kind::ExpertiseRequest,
            json!({"expertise": "networks", "question": "Which frames may be dropped?"}),
            json!({"required_expertise": ["Networks"]}),
        ),
        (
            Kind::ExpertiseResponse,
            json!({"expertise": "networks", "answer": "Those of presence."}),
            json!({"hop_count": 1}),
        ),
        (Kind::StatusUpdate, json!({"status": "in review", "blockers": []}), to("Senior Developer", "CTO")),
        (Kind::WorkAllocation, json!({"task_id": "hive-15", "assignee": "walnut-1", "due": "2026-06-30"}), work),
        (
            Kind::RoleCollaboration,
            json!({"purpose": "Release 1.0", "roles": ["qa_lead", "writer"]}),
            to("CTO", "Writer"),
        ),
        (
            Kind::MentorshipRequest,
            json!({"topic": "lifetimes", "level": "junior"}),
            to("Junior Developer", "Senior Developer"),
        ),
        (Kind::MentorshipResponse, json!({"accepted": true, "when": "tomorrow"}), json!({"hop_count": 1})),
        (Kind::ProjectUpdate, json!({"milestone": "links", "percent": 70}), json!({"project_id": "hive"})),
        (
            Kind::DeliverableReady,
            json!({"deliverable": "report.pdf", "sha256": "e3b0c44298fc1c14", "bytes": 48_213}),
            json!({"project_id": "hive", "to_roles": ["qa_lead"]}),
        ),
    ]
}

fn context() -> Vec<(Kind, Value, Value)> {
    vec![
        (
            Kind::FeedbackEvent,
            json!({"context_id": "ctx-7", "rating": 0.9, "outcome": "task_completed", "agent_id": "walnut-1"}),
            json!({}),
        ),
        (
            Kind::ContextRequest,
            json!({"task_id": "hive-15", "path": "crates/hive/src/door.rs", "max_tokens": 4096}),
            json!({}),
        ),
        (
            Kind::ContextResponse,
            json!({"request_id": "r-1", "contexts": [{"id": "ctx-7", "text": "The door takes 64 connections."}]}),
            json!({"hop_count": 1}),
        ),
        (Kind::ContextUsage, json!({"context_id": "ctx-7", "used": true, "tokens": 812}), json!({})),
        (
            Kind::ContextRelevance,
            json!({"context_id": "ctx-7", "role": "qa_lead", "score": 0.25}),
            json!({"priority": "low"}),
        ),
        (
            Kind::SlurpEventGenerated,
            json!({"event_id": "e-1", "event_type": "approval", "issue_id": 15, "participants": ["walnut-1", "oak-2"]}),
            json!({}),
        ),
        (Kind::SlurpEventAck, json!({"event_id": "e-1", "accepted": true}), json!({})),
        (
            Kind::SlurpContextUpdate,
            json!({"context_id": "ctx-7", "events": ["e-1"], "updated_at": "2026-06-21T00:00:00Z", "nested": {"a": [{"b": null}]}}),
            json!({}),
        ),
    ]
}

/// An example as the message that is sent.
fn message(kind: Kind, data: Value, more: Value) -> Value {
    let mut message = json!({"type": kind.name(), "from": Libp2pId::from(author(1)).to_string(),
        "timestamp": time().to_string(), "data": data});
    if let (Value::Object(message), Value::Object(more)) = (&mut message, more) {
        message.extend(more);
    }
    message
}

fn messages() -> Vec<(Kind, Value)> {
    examples().into_iter().map(|(kind, data, more)| (kind, message(kind, data, more))).collect()
}

fn decode(text: &str, topic: &Topic) -> Result<Envelope, BadGossip> {
    gossip::decode(text.as_bytes(), &author(1).into(), &Topics::default(), topic)
}

fn read(value: &Value) -> Result<Envelope, BadGossip> {
    decode(&value.to_string(), &Topic::new("custom").unwrap())
}

#[test]
fn an_example_of_every_type_is_read_and_written_the_same() {
    let topics = Topics::default();
    let messages = messages();
    for kind in Kind::ALL {
        assert!(messages.iter().any(|(one, _)| *one == kind), "{kind:?}");
    }
    for (kind, message) in messages {
        let topic = topics.of_kind(kind);
        let envelope = decode(&message.to_string(), topic).unwrap();
        assert_eq!(gossip::to_value(&envelope), message);
        let text = gossip::encode(&envelope, &topics, topic).unwrap();
        assert_eq!(decode(std::str::from_utf8(&text).unwrap(), topic), Ok(envelope));
    }
}

/// What other programs write, and what is read: Go with nanoseconds, an offset and null for what is empty; JavaScript
/// with spaces and an unknown member; a CIDv1 for `from`; a whole number written as a fraction.
fn foreign() -> [(String, Value); 3] {
    let base58 = Libp2pId::from(author(1)).to_string();
    let cid = Libp2pId::from(author(1)).to_cid();
    let go = format!(
        r#"{{"type":"task_claim","from":"{base58}","timestamp":"2026-06-21T10:00:00.123456789+10:00","data":{{"task_id":15,"agent_id":"walnut-1","timestamp":1782000000}},"to_roles":null,"priority":null,"hop_count":0}}"#
    );
    let js = format!(
        "{{ \"data\": {{}},\n  \"type\": \"status_update\", \"from\": \"{base58}\", \"timestamp\": \"2026-06-21T00:00:00.123Z\", \"version\": 2 }}"
    );
    let other = format!(
        r#"{{"from":"{cid}","type":"meta_discussion","timestamp":"2026-06-21T00:00:00.123Z","hop_count":2.0,"data":{{"n":1e2}}}}"#
    );
    let reads = |kind, data, more| message(kind, data, more);
    [
        (
            go,
            reads(
                Kind::TaskClaim,
                json!({"task_id": 15, "agent_id": "walnut-1", "timestamp": 1_782_000_000}),
                json!({}),
            ),
        ),
        (js, reads(Kind::StatusUpdate, json!({}), json!({}))),
        (other, reads(Kind::MetaDiscussion, json!({"n": 100.0}), json!({"hop_count": 2}))),
    ]
}

#[test]
fn what_programs_in_go_and_javascript_write_is_read() {
    for (text, reads) in foreign() {
        let envelope = decode(&text, &Topic::new("custom").unwrap()).unwrap();
        assert_eq!(gossip::to_value(&envelope), reads, "{text}");
        assert_eq!(envelope.timestamp, time());
    }
}

/// Changes that a schema refuses: the example's type, the member, its new value (none: it is left out).
fn refused() -> Vec<(Kind, &'static str, Option<Value>)> {
    vec![
        (Kind::TaskClaim, "/type", None),
        (Kind::TaskClaim, "/from", None),
        (Kind::TaskClaim, "/timestamp", None),
        (Kind::TaskClaim, "/data", None),
        (Kind::TaskClaim, "/data/task_id", None),
        (Kind::TaskClaim, "/data/agent_id", None),
        (Kind::TaskHelpResponse, "/data/can_help", None),
        (Kind::TaskHelpResponse, "/data/capabilities", None),
        (Kind::AvailabilityBroadcast, "/data/status", None),
        (Kind::TaskClaim, "/type", Some(json!(7))),
        (Kind::TaskClaim, "/from", Some(json!(["x"]))),
        (Kind::TaskClaim, "/timestamp", Some(json!(1_782_000_000))),
        (Kind::TaskClaim, "/data", Some(json!("text"))),
        (Kind::TaskClaim, "/data", Some(Value::Null)),
        (Kind::TaskClaim, "/data/task_id", Some(json!(1.5))),
        (Kind::TaskClaim, "/data/agent_id", Some(json!(""))),
        (Kind::TaskHelpResponse, "/data/can_help", Some(json!("yes"))),
        (Kind::AvailabilityBroadcast, "/data/status", Some(json!("asleep"))),
        (Kind::AvailabilityBroadcast, "/data/current_tasks", Some(json!(-1))),
        (Kind::WorkAllocation, "/hop_count", Some(json!(256))),
        (Kind::WorkAllocation, "/hop_count", Some(json!(-1))),
        (Kind::WorkAllocation, "/priority", Some(json!("critical"))),
        (Kind::WorkAllocation, "/to_roles", Some(json!("CTO"))),
        (Kind::WorkAllocation, "/to_roles", Some(json!(vec!["x"; 33]))),
        (Kind::WorkAllocation, "/required_expertise/0", Some(json!(7))),
        (Kind::WorkAllocation, "/thread_id", Some(json!("x".repeat(257)))),
        (Kind::WorkAllocation, "/from_role", Some(json!("x".repeat(129)))),
        (Kind::WorkAllocation, "/project_id", Some(json!({}))),
    ]
}

/// A message with one member changed, added or left out.
fn changed(message: &Value, pointer: &str, value: Option<&Value>) -> Value {
    let mut message = message.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    match (message.pointer_mut(parent).unwrap(), value) {
        (Value::Object(members), Some(value)) => {
            members.insert(member.to_owned(), value.clone());
        }
        (Value::Object(members), None) => {
            members.shift_remove(member);
        }
        (Value::Array(items), Some(value)) => items[member.parse::<usize>().unwrap()] = value.clone(),
        _ => panic!("{pointer} leads nowhere"),
    }
    message
}

fn example(kind: Kind) -> Value {
    messages().into_iter().find(|(one, _)| *one == kind).unwrap().1
}

#[test]
fn what_does_not_keep_to_its_schema_is_refused_and_the_member_is_named() {
    for (kind, pointer, value) in refused() {
        let bad = read(&changed(&example(kind), pointer, value.as_ref())).unwrap_err();
        let BadGossip::Schema(violation) = &bad else { panic!("{pointer}: {bad}") };
        assert_eq!(violation.pointer, pointer, "{kind:?} {pointer} {value:?}");
        assert_eq!(bad.fault(), Fault::Author);
    }
    let shown = |kind, pointer, value| read(&changed(&example(kind), pointer, value)).unwrap_err().to_string();
    assert_eq!(shown(Kind::TaskClaim, "/data/agent_id", None), "a member is missing at /data/agent_id");
    let asked = shown(Kind::WorkAllocation, "/priority", Some(&json!("critical")));
    assert_eq!(asked, "one of low, medium, high, urgent is wanted, not `critical`, at /priority");
}

#[test]
fn what_no_schema_can_say_is_refused_too() {
    let claim = example(Kind::TaskClaim);
    for (pointer, value, error) in [
        ("/from", json!("walnut"), "a libp2p PeerId is wanted at /from"),
        ("/timestamp", json!("yesterday"), "an RFC 3339 time from 1970 on is wanted at /timestamp"),
        ("/timestamp", json!("0001-01-01T00:00:00Z"), "an RFC 3339 time from 1970 on is wanted at /timestamp"),
        ("/type", json!("task_stolen"), "`task_stolen` is none of the 31 types, at /type"),
        ("/type", json!("TaskClaim"), "`TaskClaim` is none of the 31 types, at /type"),
    ] {
        assert_eq!(read(&changed(&claim, pointer, Some(&value))).unwrap_err().to_string(), error);
    }
    let later = read(&changed(&claim, "/type", Some(&json!("task_stolen")))).unwrap_err();
    assert_eq!(later.fault(), Fault::Version);
    let other = changed(&claim, "/from", Some(&json!(Libp2pId::from(author(2)).to_string())));
    assert_eq!(read(&other), Err(BadGossip::NotTheAuthor));
    assert_eq!(read(&json!([1])).unwrap_err().to_string(), "object is wanted at the top");
}

#[test]
fn a_type_on_a_topic_of_another_is_refused_in_both_directions() {
    let topics = Topics::default();
    for (kind, message) in messages() {
        let envelope = read(&message).unwrap();
        for topic in [topics.coordination(), topics.meta(), topics.context()] {
            let fits = topic == topics.of_kind(kind);
            let (came, went) = (decode(&message.to_string(), topic), gossip::encode(&envelope, &topics, topic));
            assert_eq!((came.is_ok(), went.is_ok()), (fits, fits), "{kind:?} on {topic}");
            if let (Err(came), Err(went)) = (came, went) {
                assert_eq!(came, went);
                assert_eq!(went.to_string(), format!("{} has no place on the topic {topic}", kind.name()));
            }
        }
    }
}

#[test]
fn size_depth_and_duplicates_are_bounded_in_both_directions() {
    let (topics, topic) = (Topics::default(), Topic::new("custom").unwrap());
    let with = |data: Value| changed(&example(Kind::MetaDiscussion), "/data", Some(&data));
    let envelope = |data: Value| Envelope {
        data: data.as_object().unwrap().clone(),
        ..read(&example(Kind::MetaDiscussion)).unwrap()
    };
    let room = gossip::MESSAGE_MAX - with(json!({"text": ""})).to_string().len();
    assert!(read(&with(json!({"text": "x".repeat(room)}))).is_ok());
    let over = json!({"text": "x".repeat(room + 1)});
    let too_large = BadGossip::TooLarge { bytes: gossip::MESSAGE_MAX + 1 };
    assert_eq!(read(&with(over.clone())), Err(too_large.clone()));
    assert_eq!(gossip::encode(&envelope(over), &topics, &topic), Err(too_large));

    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    assert!(read(&with(nested(30))).is_ok(), "data is the second level of 32");
    assert!(gossip::encode(&envelope(nested(30)), &topics, &topic).is_ok());
    for refused in
        [read(&with(nested(31))).map(|_| ()), gossip::encode(&envelope(nested(31)), &topics, &topic).map(|_| ())]
    {
        let Err(BadGossip::Json(bad)) = refused else { panic!("too deep") };
        assert_eq!(bad.reason, BadJsonReason::TooDeep);
    }
    let text = example(Kind::TaskClaim).to_string();
    let twice = text.replace(r#""agent_id":"#, r#""task_id":1,"agent_id":"#);
    let Err(BadGossip::Json(bad)) = decode(&twice, &topic) else { panic!("a key twice") };
    assert_eq!((bad.pointer.as_str(), bad.reason), ("/data/task_id", BadJsonReason::DuplicateKey));
    for text in ["", "{", "not JSON", &text[..text.len() - 1], &format!("{text}x")] {
        assert!(matches!(decode(text, &topic), Err(BadGossip::Json(_))), "{text}");
    }
    // Many small values cost no more than their bytes.
    let many = json!({"current": vec![0; 100_000]});
    assert!(read(&with(many)).is_ok());
}

#[test]
fn above_three_hops_a_message_is_not_answered() {
    let mut message = read(&example(Kind::TaskHelpRequest)).unwrap();
    for hops in 1..=4 {
        message = message.answer(Kind::TaskHelpResponse, author(2).into(), time(), Map::new()).unwrap();
        assert_eq!(message.hop_count, hops);
        assert_eq!(message.thread_id.as_deref(), Some("help-15"), "it stays in its conversation");
    }
    assert_eq!(message.answer(Kind::TaskHelpResponse, author(2).into(), time(), Map::new()), None);
    message.hop_count = 255;
    assert_eq!(message.answer(Kind::TaskHelpResponse, author(2).into(), time(), Map::new()), None);
}

#[test]
fn the_journal_has_a_type_for_every_message() {
    for (kind, journal) in [
        (Kind::TaskAnnouncement, "task_announced"),
        (Kind::TaskClaim, "task_claimed"),
        (Kind::TaskProgress, "task_progress"),
        (Kind::CapabilityBroadcast, "capability_broadcast"),
        (Kind::AvailabilityBroadcast, "network_event"),
        (Kind::MetaDiscussion, "collaboration"),
        (Kind::TaskHelpRequest, "collaboration"),
        (Kind::DeliverableReady, "collaboration"),
        (Kind::EscalationTrigger, "escalation"),
        (Kind::FeedbackEvent, "context_feedback"),
        (Kind::ContextRequest, "context_request"),
    ] {
        assert_eq!(read(&example(kind)).unwrap().entry_kind().name(), journal);
    }
    let ends = messages().into_iter().filter(|(kind, _)| *kind == Kind::TaskComplete);
    let ends: Vec<_> = ends.map(|(_, message)| read(&message).unwrap().entry_kind().name()).collect();
    assert_eq!(ends, ["task_completed", "task_failed"]);
}

/// What every member of every example is replaced by, to see what the schemas say of it.
fn values() -> [Value; 17] {
    let text = |length| Value::from("x".repeat(length));
    [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(255),
        json!(256),
        json!(1e300),
        text(0),
        text(80),
        text(81),
        text(129),
        text(257),
        json!([]),
        json!([1, "x"]),
        json!({}),
    ]
}

/// For each member of the message and of its data, left out and replaced by each value: whether the schema of its type
/// takes it, `+` or `-`.
fn verdicts(kind: Kind, message: &Value) -> String {
    let members = |pointer: &str, value: &Value| -> Vec<String> {
        value.as_object().unwrap().keys().map(|name| format!("{pointer}/{name}")).collect()
    };
    let pointers = [members("", message), members("/data", &message["data"])].concat();
    let values = values();
    let changes = pointers
        .iter()
        .flat_map(|pointer| std::iter::once(None).chain(values.iter().map(Some)).map(move |value| (pointer, value)));
    let verdict = |(pointer, value): (&String, Option<&Value>)| {
        if gossip::check(kind, &changed(message, pointer, value)).is_ok() { '+' } else { '-' }
    };
    changes.map(verdict).collect()
}

fn words() -> Vec<(Word, u8)> {
    let (id, lease) = (TaskId::new("hive-15").unwrap(), Lease(1_782_000_000_000));
    let (ann, bob) = (author(1), author(2));
    let task = Task { announcer: ann, id: id.clone() };
    let stands = |standing| Word::Stands { id: id.clone(), lease, standing, content: None };
    vec![
        (stands(Standing::Open), 1),
        (Word::Claim { announcer: Some(ann), id: id.clone(), lease: Some(lease), at: time() }, 2),
        (stands(Standing::Assigned(bob)), 1),
        (Word::Finish { task: task.clone(), lease, finish: Finish::Completed }, 2),
        (Word::Finish { task, lease, finish: Finish::Released }, 2),
        (stands(Standing::Ended { owner: Some(bob), outcome: Outcome::Completed }), 1),
    ]
}

/// What `vectors/gossip.json` holds.
pub(crate) fn vectors() -> Value {
    let topics = Topics::default();
    let name = Name::new("Senior Developer").unwrap();
    let messages: Vec<_> = messages()
        .into_iter()
        .map(|(kind, message)| {
            let journal = read(&message).unwrap().entry_kind().name();
            json!({"topic": topics.of_kind(kind).name(), "journal": journal, "verdicts": verdicts(kind, &message),
                "message": message})
        })
        .collect();
    let foreign = foreign().map(|(text, reads)| json!({"text": text, "reads": reads}));
    let refused: Vec<_> = refused()
        .into_iter()
        .map(|(kind, pointer, value)| {
            let message = changed(&example(kind), pointer, value.as_ref());
            json!({"schema": kind.name(), "pointer": pointer, "message": message})
        })
        .collect();
    let words = words().into_iter().map(|(word, seed)| {
        let envelope = task::write(&word, &KeyPair::from_seed([seed; 32]), "walnut-1", time());
        assert_eq!(task::read(&envelope).unwrap().map(|(from, _)| from), Some(author(seed)));
        let text = gossip::encode(&envelope, &topics, topics.coordination()).unwrap();
        json!({"seed": format!("{seed:02x}").repeat(32), "message": serde_json::from_slice::<Value>(&text).unwrap()})
    });
    json!({
        "topics": {
            "role": [name.text(), Topic::of_role(&name).name()],
            "expertise": Topic::of_expertise(&name).name(),
            "hierarchy": Topic::of_hierarchy(&name).name(),
            "project": Topic::of_project("Web-7").unwrap().name(),
            "issue": Topic::of_issue("15").unwrap().name(),
        },
        "messages": messages,
        "values": values(),
        "foreign": foreign,
        "refused": refused,
        "words": words.collect::<Vec<_>>(),
    })
}
