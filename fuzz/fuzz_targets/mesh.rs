//! What nodes of a mesh say to each other: whatever can be read is written and read again the same.
#![no_main]

use comity_core::basin::filter::{Filters, tags};
use comity_core::basin::settings::Settings;
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::wire::mesh::document::{read_batch, read_line};
use comity_core::wire::mesh::query::{Answer, LIMIT_MAX, Query};
use comity_core::wire::mesh::sync::{Cursor, PageWriter, Source, SyncQuery};
use comity_core::wire::mesh::{knowledge, registry, sync};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = Filters::parse([text]);
        let _ = SyncQuery::read(Some(text), None);
        let _ = SyncQuery::read(None, Some(text));
        let _ = knowledge::Batch::read(Some(text), None);
        let _ = registry::Page::read(Some(text), Some(text));
    }
    questions(body);
    documents(body);
    updates(body);
    entries(body);
    nodes(body);
});

fn questions(body: &[u8]) {
    let settings = Settings::default();
    if let Ok(query) = Query::read(body) {
        assert_eq!(Query::read(&query.to_json()), Ok(query.clone()));
        let _ = query.point(&settings);
    }
    if let Ok((answer, _)) = Answer::read(body, &settings, LIMIT_MAX) {
        let written = answer.to_value().to_string();
        let (again, left_out) = Answer::read(written.as_bytes(), &settings, LIMIT_MAX).expect("it was written here");
        assert_eq!((again.results.len(), left_out.total()), (answer.results.len(), 0));
    }
}

fn documents(body: &[u8]) {
    let batch = read_batch(body).into_iter().flatten().flatten();
    for document in batch.chain(read_line(0, body).ok().flatten()) {
        if let Ok(metadata) = document.record_metadata() {
            let _ = tags(&metadata);
            let _ = metadata.shown();
        }
    }
}

fn updates(body: &[u8]) {
    let node = KeyPair::from_seed([1; 32]).node();
    let source = Source { sender: Some(node), named: &|name| (name == "ann").then_some(node), now: Timestamp::from_millis(1) };
    if let Ok(updates) = sync::read_broadcast(body, source) {
        let again = sync::read_broadcast(&sync::write_broadcast(&updates.records), source).expect("it was written here");
        if !updates.records.is_empty() {
            assert_eq!(again.records, updates.records);
        }
        let settings = Settings::default();
        for record in &updates.records {
            let _ = record.check(&settings, &node);
        }
    }
    if let Ok(page) = sync::read_page(body, source) {
        let mut writer = PageWriter::new();
        page.updates.records.iter().for_each(|record| writer.add(record));
        let written = writer.finish(Cursor { log: 7, after: 8 });
        let again = sync::read_page(&written, source).expect("it was written here");
        assert_eq!((again.updates.records, again.updates.bad_count), (page.updates.records, 0));
    }
}

fn entries(body: &[u8]) {
    if let Ok(signed) = knowledge::Signed::read(body) {
        assert_eq!(knowledge::Signed::read(&signed.write()), Ok(signed));
    }
    if let Ok(request) = knowledge::read_request(body) {
        assert_eq!(knowledge::read_request(&knowledge::write_request(&request)), Ok(request));
    }
    let _ = knowledge::read_found(body);
    let _ = knowledge::read_pulled(body);
    let _ = knowledge::read_shared(body);
}

fn nodes(body: &[u8]) {
    if let Ok(said) = registry::read_register(body) {
        let again = registry::read_register(&registry::write_register(&said)).expect("it was written here");
        assert_eq!(again, said);
    }
    if let Ok((node, beat)) = registry::read_heartbeat(body) {
        assert_eq!(registry::read_heartbeat(&registry::write_heartbeat(&node, &beat)), Ok((node.clone(), beat)));
        let _ = registry::Registered::read(body, &node);
    }
    if let Ok(node) = registry::KernelNode::read(body) {
        assert_eq!(registry::KernelNode::read(&node.write()), Ok(node));
    }
    let _ = registry::read_beaten(body);
    let _ = registry::read_nodes(body);
}
