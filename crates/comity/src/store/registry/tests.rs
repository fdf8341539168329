//! What was written is there after the file is opened again, and nobody else can read it.

use super::file::{CACHE_KIB, STEPS, open};
use super::*;
use crate::scratch::Scratch;
use crate::store::{connect, schema};
use comity_core::id::NodeId;
use comity_core::registry::key::Secret;
use comity_core::registry::profile::{Registration, Told};
use comity_core::registry::roster::Holder;
use comity_core::wire::federation::well_known::Endpoint;
use comity_core::wire::mesh::registry::write_register;
use sqlx::Connection;
use std::os::unix::fs::PermissionsExt;

fn kept(name: &str, holder: Holder) -> Kept {
    let registration = Registration {
        node: NodeName::new(name).expect("a name"),
        service_name: "kernel".to_owned(),
        endpoint: Endpoint::read("https://192.0.2.7:8400").expect("a URL"),
        capabilities: vec!["search".to_owned()],
        basin_signature: vec![0.1; 256],
        centroids: vec![vec![0.3; 256]; 2],
        settings: Told { dim: Some(256), ..Told::default() },
        key: None,
    };
    Kept { registration, holder, is_key_proved: false, load: None, last_heartbeat: Timestamp::from_millis(1000) }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_and_no_key_is_in_the_file() {
    let folder = Scratch::new();
    let path = folder.path().join("registry.db");
    let secret = Secret::from_entropy([7; 32]);
    let (one, other) = (kept("a", Holder::ApiKey(secret.hash())), kept("b", Holder::Key(NodeId::from_bytes([3; 32]))));
    let other = Kept { is_key_proved: true, ..other };
    let (first, second) = (KeyHash::from_bytes([1; 32]), KeyHash::from_bytes([2; 32]));
    let (node, at) = (one.registration.node.clone(), Timestamp::from_millis(5));
    let issued = Issued { node, at, token: Some(first) };
    let unknown = Issued { node: other.registration.node.clone(), at, token: None };
    let token = Token { uses_left: 2, expires: Timestamp::from_millis(9000) };
    let later = Timestamp::from_millis(2000);
    let (mut writer, empty) = open(&path).await.expect("a file");
    assert!(empty.nodes.is_empty() && empty.keys.is_empty() && empty.tokens.is_empty());
    let writes = [
        Write::Node(Box::new(one.clone())),
        Write::Node(Box::new(other.clone())),
        Write::Node(Box::new(kept("c", one.holder))),
        Write::NodeOut(NodeName::new("c").expect("a name")),
        Write::Key(secret.hash(), issued.clone()),
        Write::Key(second, unknown.clone()),
        Write::Token(first, token),
        Write::Token(second, token),
        Write::TokenOut(second),
        Write::Heard(vec![(one.registration.node.clone(), later)], later),
    ];
    writer.commit(&writes).await.expect("a commit");
    writer.close().await;
    let (_, mut restored) = open(&path).await.expect("a file");
    assert_eq!(restored.nodes, [Kept { last_heartbeat: later, ..one }, other]);
    let mut keys = vec![(secret.hash(), issued), (second, unknown)];
    keys.sort_by_key(|(hash, _)| *hash);
    restored.keys.sort_by_key(|(hash, _)| *hash);
    assert_eq!((restored.keys, restored.tokens), (keys, vec![(first, token)]));
    assert_eq!((restored.heard_until, restored.damaged), (later, 0));
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let bytes = std::fs::read(&path).expect("a file");
    assert!(!bytes.windows(20).any(|part| part == &secret.expose().as_bytes()[4..24]), "nothing of the key itself");
}

#[tokio::test]
async fn a_file_of_the_first_version_is_kept_and_what_it_does_not_say_is_not_proved() {
    let folder = Scratch::new();
    let path = folder.path().join("registry.db");
    let mut connection = connect(&path, CACHE_KIB).await.expect("a file");
    schema::upgrade(&mut connection, &STEPS[..1], &path).await.expect("the first version");
    let one = kept("a", Holder::ApiKey(KeyHash::from_bytes([1; 32])));
    sqlx::query("INSERT INTO node (name, body, by_key, holder, last_heartbeat) VALUES ('a', ?, 0, ?, 1000)")
        .bind(write_register(&one.registration))
        .bind(vec![1_u8; 32])
        .execute(&mut connection)
        .await
        .expect("a row");
    sqlx::query("INSERT INTO api_key (hash, node, issued) VALUES (?, 'a', 5)")
        .bind(vec![1_u8; 32])
        .execute(&mut connection)
        .await
        .expect("a row");
    connection.close().await.expect("it is closed");
    let (_, restored) = open(&path).await.expect("it is upgraded");
    let issued = Issued { node: one.registration.node.clone(), at: Timestamp::from_millis(5), token: None };
    assert_eq!((restored.nodes, restored.damaged), (vec![one], 0));
    assert_eq!(restored.keys, [(KeyHash::from_bytes([1; 32]), issued)]);
}
