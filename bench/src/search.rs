//! Nearest neighbours: how many vectors are linked and how many questions answered in a second of one processor, at which
//! recall against an exact scan, beside hnswlib and usearch on the same vectors in the same run; what the index holds in
//! memory, and how soon it answers after a restart.

use crate::clusters::{Clusters, DIMENSION, similarity};
use crate::server::Folder;
use comity_index::{Graph, Scratch, Shelf};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// Questions, which are in no index.
const QUERIES: usize = 1000;

/// Neighbours that are asked for.
const WANTED: usize = 10;

/// Candidates whose exact distance is computed, from the file.
const CANDIDATES: usize = 30;

/// Efforts that are tried.
const EFFORTS: [usize; 9] = [16, 24, 32, 64, 96, 128, 192, 256, 400];

/// Recall at which rates are compared.
const RECALL: f64 = 0.99;

/// What one contestant came to.
struct Figures {
    name: &'static str,
    built: f64,
    memory: f64,
    /// Effort, recall, and questions a second.
    asked: Vec<(usize, f64, f64)>,
}

pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let counts: Vec<usize> =
        words.iter().map(|word| word.parse().map_err(|_| format!("{word} is no number"))).collect::<Result<_, _>>()?;
    let counts = if counts.is_empty() { vec![50_000] } else { counts };
    for count in counts {
        measure(count)?;
    }
    Ok(())
}

fn measure(count: usize) -> Result<(), String> {
    let folder = Folder::new();
    fs::create_dir(folder.path()).map_err(|error| error.to_string())?;
    let mut source = Clusters::new();
    let vectors = source.draw(count);
    let queries = source.draw(QUERIES);
    let began = Instant::now();
    let truth = truth(&vectors, &queries);
    println!(
        "{count} vectors of {DIMENSION} numbers, {QUERIES} questions for {WANTED}; exact scan {:.1?}",
        began.elapsed()
    );
    write(&folder.path().join("vectors"), &vectors)?;
    write(&folder.path().join("queries"), &queries)?;
    let bytes: Vec<u8> = truth.iter().flatten().flat_map(|place| place.to_le_bytes()).collect();
    fs::write(folder.path().join("truth"), bytes).map_err(|error| error.to_string())?;

    let ours = comity(folder.path(), &vectors, &queries, &truth)?;
    // Theirs are held in memory twice: once read, once indexed.
    drop(vectors);
    let mut all = vec![ours];
    for name in ["hnswlib", "usearch"] {
        all.push(rival(folder.path(), name)?);
    }
    table(&all);
    Ok(())
}

/// This project's index: in memory, and the exact vectors in a file.
fn comity(folder: &Path, vectors: &[f32], queries: &[f32], truth: &[Vec<u32>]) -> Result<Figures, String> {
    let shelf = Shelf::open(&folder.join("shelf"), DIMENSION).map_err(|error| error.to_string())?;
    let before = resident();
    let began = processor();
    let rows: Vec<(u32, &[f32])> = (0..).zip(vectors.chunks(DIMENSION)).collect();
    for rows in rows.chunks(4096) {
        shelf.write(rows).map_err(|error| error.to_string())?;
    }
    shelf.sync().map_err(|error| error.to_string())?;
    let (mut graph, mut scratch) = (Graph::new(DIMENSION), Scratch::new());
    for (place, vector) in &rows {
        graph.put(*place, vector);
    }
    while let Some(plan) = graph.plan(&mut scratch) {
        graph.link(plan);
    }
    let built = rows.len() as f64 / (processor() - began);
    let file = folder.join("graph");
    let mut to = BufWriter::new(File::create(&file).map_err(|error| error.to_string())?);
    graph.write(&mut to, 1).and_then(|()| to.flush()).map_err(|error| error.to_string())?;
    let memory = resident() - before;
    drop(graph);

    // From here on as after a restart.
    let began = Instant::now();
    let mut from = File::open(&file).map_err(|error| error.to_string())?;
    let bytes = from.metadata().map_or(0, |about| about.len());
    let (graph, _) = Graph::read(&mut from, bytes).map_err(|error| error.to_string())?;
    let first = ask(&graph, &shelf, &queries[..DIMENSION], 128, &mut scratch)?;
    println!(
        "comity: restart to first answer {:.1?} ({} found); graph {:.0} MB in memory, {:.0} MB on disk",
        began.elapsed(),
        first.len(),
        graph.memory() as f64 / 1e6,
        bytes as f64 / 1e6
    );
    let mut asked = Vec::new();
    for effort in EFFORTS {
        let (mut hits, mut best) = (0, f64::MAX);
        for _ in 0..3 {
            hits = 0;
            let began = processor();
            for (query, truth) in queries.chunks(DIMENSION).zip(truth) {
                let found = ask(&graph, &shelf, query, effort, &mut scratch)?;
                hits += found.iter().filter(|place| truth.contains(place)).count();
            }
            best = best.min(processor() - began);
        }
        asked.push((effort, hits as f64 / (QUERIES * WANTED) as f64, QUERIES as f64 / best));
    }
    Ok(Figures { name: "comity", built, memory, asked })
}

/// The nearest, by the graph and then by the exact vectors.
fn ask(graph: &Graph, shelf: &Shelf, query: &[f32], effort: usize, scratch: &mut Scratch) -> Result<Vec<u32>, String> {
    let found = graph.search(query, CANDIDATES.min(effort), effort, None, scratch);
    let places: Vec<u32> = found.iter().map(|found| found.place).collect();
    let mut near = Vec::with_capacity(places.len());
    shelf
        .read_many(&places, |place, vector| near.push((similarity(query, vector), place)))
        .map_err(|error| error.to_string())?;
    near.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    Ok(near.into_iter().take(WANTED).map(|(_, place)| place).collect())
}

/// A library of others, in a process of its own.
fn rival(folder: &Path, name: &'static str) -> Result<Figures, String> {
    let python = std::env::var_os("BENCH_SEARCH_PYTHON").ok_or("run this by `cargo xtask bench search`")?;
    let script = comity_tests::root().join("bench/rival.py");
    let efforts: Vec<String> = EFFORTS.iter().map(ToString::to_string).collect();
    let mut command = Command::new(python);
    let output = command.arg(script).arg(folder).arg(name).arg(efforts.join(",")).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(|line| serde_json::from_str(line).map_err(|error| error.to_string()));
    let lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
    let number = |line: &Value, name: &str| line[name].as_f64().unwrap_or(0.0);
    let (head, rest) = lines.split_first().ok_or("it printed nothing")?;
    let asked = |line: &Value| (number(line, "effort") as usize, number(line, "recall"), number(line, "queries"));
    let (built, memory) = (number(head, "built"), number(head, "memory"));
    Ok(Figures { name, built, memory, asked: rest.iter().map(asked).collect() })
}

fn table(all: &[Figures]) {
    println!(
        "{:10} {:>12} {:>11}  questions a second of one processor, at recall (effort)",
        "", "built/s", "memory MB"
    );
    for one in all {
        let asked: Vec<String> =
            one.asked.iter().map(|(effort, recall, rate)| format!("{rate:.0} at {recall:.4} ({effort})")).collect();
        println!("{:10} {:>12.0} {:>11.0}  {}", one.name, one.built, one.memory / 1e6, asked.join(", "));
    }
    let at_recall = |one: &Figures| one.asked.iter().find(|(_, recall, _)| *recall >= RECALL).map(|(_, _, rate)| *rate);
    let Some((ours, theirs)) = all.split_first() else { return };
    for other in theirs {
        let queries = match (at_recall(ours), at_recall(other)) {
            (Some(ours), Some(theirs)) => format!("{:.2}", ours / theirs),
            (Some(_), None) => format!("{} does not reach {RECALL}", other.name),
            (None, _) => format!("comity does not reach {RECALL}"),
        };
        println!(
            "comity to {}: built {:.2}, questions at recall {RECALL}: {queries}; goal 1 each",
            other.name,
            ours.built / other.built
        );
    }
}

/// The nearest by looking at all, on two threads.
fn truth(vectors: &[f32], queries: &[f32]) -> Vec<Vec<u32>> {
    let (first, second) = queries.split_at(QUERIES / 2 * DIMENSION);
    std::thread::scope(|scope| {
        let halves = [first, second].map(|queries| scope.spawn(move || scanned(vectors, queries)));
        halves.into_iter().flat_map(|half| half.join().expect("a scan does not panic")).collect()
    })
}

fn scanned(vectors: &[f32], queries: &[f32]) -> Vec<Vec<u32>> {
    let nearest = |query: &[f32]| {
        let mut near: Vec<(f32, u32)> = Vec::with_capacity(WANTED + 1);
        for (place, vector) in (0..).zip(vectors.chunks(DIMENSION)) {
            let similarity = similarity(query, vector);
            if near.len() < WANTED || similarity > near[WANTED - 1].0 {
                let at = near.partition_point(|(other, _)| *other >= similarity);
                near.insert(at, (similarity, place));
                near.truncate(WANTED);
            }
        }
        near.into_iter().map(|(_, place)| place).collect()
    };
    queries.chunks(DIMENSION).map(nearest).collect()
}

fn write(path: &Path, numbers: &[f32]) -> Result<(), String> {
    let mut to = BufWriter::new(File::create(path).map_err(|error| error.to_string())?);
    numbers.iter().try_for_each(|number| to.write_all(&number.to_le_bytes())).map_err(|error| error.to_string())?;
    to.flush().map_err(|error| error.to_string())
}

/// Seconds of processor that this process has used.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos: f64 = stat.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    nanos / 1e9
}

/// Bytes of this process that are in memory and its own.
fn resident() -> f64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Vec<f64> = statm.split_whitespace().filter_map(|text| text.parse().ok()).collect();
    (pages.get(1).unwrap_or(&0.0) - pages.get(2).unwrap_or(&0.0)) * 4096.0
}
