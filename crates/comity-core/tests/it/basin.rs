//! Vectors of basins: texts and their vectors, points and distances, names, signed records as they travel, what wins,
//! and rankings, made from fixed keys and times.

use comity_core::basin::merge::{Answered, Found, merge};
use comity_core::basin::metadata::Shown;
use comity_core::basin::settings::{distance, similarity};
use comity_core::basin::{DocId, Draft, Metadata, Metric, Projection, Record, Settings, encoder};
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use comity_core::wire::mesh::sync;
use serde_json::{Value, json};

const TEXTS: [(&str, usize); 6] = [
    ("The river's basin, and the basin's river.", 16),
    ("ÄRGER Größe ΟΔΟΣ 東京 42 4.2", 64),
    ("a b c d e f g h i j k l m n o p q r s t u v w x y z", 7),
    ("snake_case kebab-case CamelCase\n\ttabs", 256),
    ("one", 1),
    ("!?…", 8),
];

const URLS: [&str; 2] = ["https://example.org/a", "https://例え.jp/"];

fn key() -> KeyPair {
    KeyPair::from_seed([1; 32])
}

fn settings(dimension: usize, projection: Projection) -> Settings {
    Settings::new(dimension, Metric::FisherRao, projection, "hash").unwrap()
}

fn time() -> Timestamp {
    Timestamp::from_millis(1_782_000_000_000)
}

/// Numbers as their little-endian bytes: a decimal would hide which ones they are.
fn hex(numbers: &[f32]) -> String {
    numbers.iter().flat_map(|number| number.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
}

fn record(version: u64, vector: Option<Vec<f32>>, metadata: &str) -> Record {
    let doc_id = if version < 4 { DocId::of_url("https://example.org/a") } else { "a-\"é\"".parse().unwrap() };
    let metadata = Metadata::parse(metadata).unwrap();
    let draft = Draft { doc_id, vector, metadata, version, timestamp: time() };
    Record::sign(draft, &settings(4, Projection::Sphere), &key()).unwrap()
}

fn records() -> Vec<Record> {
    vec![
        record(1, Some(vec![0.1, -2.0, 1e-20, 16_777_216.0]), "{}"),
        record(
            2,
            Some(vec![f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), -0.0]),
            r#"{"url":"https://example.org/a","n":[1.50,1e21]}"#,
        ),
        record(3, None, "{}"),
        record(1 << 53, Some(vec![0.3, 1.0 / 3.0, 123_456.79, 1e10]), r#"{"title":"É \"x\""}"#),
    ]
}

pub(crate) fn vectors() -> Value {
    let encoded = |(text, dimension): (&str, usize)| {
        let vector = encoder::encode(text, dimension);
        json!({"text": text, "dimension": dimension, "vector": vector.map(|vector| hex(&vector))})
    };
    let update = |record: &Record| {
        let mut out = Vec::new();
        sync::write_update(&mut out, record);
        Value::from(String::from_utf8(out).unwrap())
    };
    let named = |url: &str| json!({"url": url, "doc_id": DocId::of_url(url).as_str()});
    json!({
        "seed": "01".repeat(32),
        "encoded": TEXTS.map(encoded).to_vec(),
        "names": Vec::from(URLS.map(named)),
        "points": points(),
        "updates": records().iter().map(update).collect::<Vec<_>>(),
        "ranking": ranking(),
    })
}

fn points() -> Vec<Value> {
    let pairs: [(Projection, [f32; 3], [f32; 3]); 4] = [
        (Projection::Sphere, [3.0, -4.0, 0.5], [0.1, 0.2, 0.3]),
        (Projection::Sphere, [1e30, 1e30, -1e30], [1e-30, -1e-30, 1e-40]),
        (Projection::Simplex, [3.0, 4.0, 0.5], [0.1, 0.2, 0.3]),
        (Projection::Simplex, [1.0, 0.0, 0.0], [0.0, 0.0, 9.0]),
    ];
    let point = |(projection, one, other): (Projection, [f32; 3], [f32; 3])| {
        let settings = settings(3, projection);
        let units = [settings.unit(&one).unwrap(), settings.unit(&other).unwrap()];
        json!({
            "projection": projection.name(),
            "numbers": [hex(&one), hex(&other)],
            "units": [hex(&units[0]), hex(&units[1])],
            "similarity": similarity(&units[0], &units[1]),
            // Systems differ in the last digits of an arc cosine.
            "distance": (distance(&units[0], &units[1]) * 1e9).round() / 1e9,
        })
    };
    pairs.map(point).to_vec()
}

/// A result as a node says it: url, name, distance.
type Said = (&'static str, &'static str, f64);

/// What three nodes found, and the one ranking of it.
fn ranking() -> Value {
    let answers: [(&str, f64, &[Said]); 3] = [
        ("a", 1.0, &[("https://x.test", "x1", 0.5), ("https://x.test", "x2", 0.25), ("", "own", 1.0)]),
        ("b", 0.5, &[("https://x.test", "x3", 0.25), ("https://y.test", "y1", 0.125), ("", "own", 1.0)]),
        ("c", 1.0, &[("https://y.test", "y1", 2.0), ("https://z.test", "z1", 3.0)]),
    ];
    let found = |(url, doc_id, distance): &Said| Found {
        doc_id: doc_id.parse().unwrap(),
        shown: Shown { url: (!url.is_empty()).then(|| (*url).to_owned()), ..Shown::default() },
        distance: *distance,
    };
    let answered = answers.map(|(node, freshness, list)| Answered {
        node: node.to_owned(),
        freshness,
        found: list.iter().map(found).collect(),
    });
    let said = |(url, doc_id, distance): &Said| json!({"url": url, "doc_id": doc_id, "distance": distance});
    let said = answers.map(|(node, freshness, list)| {
        json!({"node": node, "freshness": freshness, "found": list.iter().map(said).collect::<Vec<_>>()})
    });
    let ranked = merge(&settings(4, Projection::Sphere), answered.to_vec(), 10).ranked;
    let ranked = ranked.iter().map(|one| json!([one.node, one.found.doc_id.as_str(), one.found.distance, one.score]));
    json!({"answers": said.to_vec(), "ranked": ranked.collect::<Vec<_>>()})
}

#[test]
fn every_update_of_the_vectors_counts() {
    for record in records() {
        assert_eq!(record.check(&settings(4, Projection::Sphere), &key().node()), Ok(()));
    }
}
