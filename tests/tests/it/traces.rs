//! Traces: what one node says and another hears is one trace at an OpenTelemetry collector.

use comity_tests::PATIENCE;
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::peers;
use serde_json::Value;

fn span(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The spans of a message, by the node that made each: how it was sent, how it was admitted.
fn spans_of(collector: &mut Lines, message: &str) -> (Value, Value) {
    let mut found: Vec<Value> = Vec::new();
    collector.wait_for("the message's spans", PATIENCE, |line| {
        found.extend(Some(span(line)).filter(|span| span["attributes"]["id"] == message));
        (found.len() == 2).then_some(())
    });
    let named = |name: &str| found.iter().find(|span| span["name"] == name).cloned();
    let spans = named("message sent").zip(named("message admitted"));
    spans.unwrap_or_else(|| panic!("other spans than those: {found:?}"))
}

#[test]
fn a_message_between_two_nodes_is_one_trace_whose_parent_is_its_sender() {
    let mut collector = Lines::start(&mut peers::python("collector.py"));
    let endpoint = text(&span(&collector.next(PATIENCE).expect("it listens"))["ready"]);
    let traced = [("COMITY_OTLP_ENDPOINT", endpoint.as_str()), ("COMITY_OTLP_TOKEN", "let-me-in")];
    let ann = Node::alone_with("ann", &traced);
    let peer = ann.url();
    let bob = Node::alone_with("bob", &[traced[0], traced[1], ("COMITY_PEERS", &peer)]);
    ann.knows(&bob);
    bob.knows(&ann);

    let mut traces = Vec::new();
    for words in [["send", "bob", "over the link"], ["send", "_suggestions", "to all"]] {
        let mut inbox = bob.follow(&["inbox", "--follow", "--peek"]);
        let id = text(&ann.json(&[&words[..], &["--priority", "normal"]].concat())["id"]);
        inbox.wait_for("message", PATIENCE, |line| line.contains(&id).then_some(()));
        let (sent, admitted) = spans_of(&mut collector, &id);
        let made_by = |span: &Value| text(&span["resource"]["service.instance.id"]);
        assert_eq!((made_by(&sent).as_str(), made_by(&admitted).as_str()), ("ann", "bob"));
        assert_eq!(sent["trace"], admitted["trace"], "one trace");
        assert_eq!(sent["span"], admitted["parent"], "its parent is the sender's span");
        assert_eq!((text(&sent["trace"]).len(), text(&sent["span"]).len()), (32, 16));
        assert_eq!(sent["parent"], "", "it begins where it was said");
        assert_eq!(admitted["attributes"]["from"], ann.id());
        for span in [&sent, &admitted] {
            assert_eq!(
                (&span["resource"]["service.name"], &span["token"]),
                (&"comity".into(), &"Bearer let-me-in".into())
            );
            assert!(!span.to_string().contains(words[2]), "no content: {span}");
        }
        traces.push(text(&sent["trace"]));
    }
    assert_ne!(traces[0], traces[1], "each message its own trace");
}

#[test]
fn a_collector_that_is_gone_holds_up_neither_messages_nor_the_end() {
    let nobody = format!("http://127.0.0.1:{}", comity_tests::node::free_port());
    let ann = Node::alone_with("ann", &[("COMITY_OTLP_ENDPOINT", &nobody)]);
    let bob = Node::alone("bob", &["--peer", &ann.url()]);
    ann.knows(&bob);
    let mut inbox = bob.follow(&["inbox", "--follow"]);
    ann.says(&["send", "bob", "all the same", "--priority", "normal"]);
    inbox.wait_for("message", PATIENCE, |line| line.contains("all the same").then_some(()));
    let start = std::time::Instant::now();
    let (status, _folder) = ann.stop();
    assert!(status.success() && start.elapsed() < std::time::Duration::from_secs(5), "{status}, {:?}", start.elapsed());
}
