//! How fast files go from node to node: over a link of 100 Mbit/s and 20 ms each way, by mesh and by WebRTC, and over
//! one without limits beside aiortc (Python), which sends the same bytes over a data channel and does nothing else.
//! Two network namespaces with a cable between them. Needs root, iproute2 and a C compiler.

use comity_tests::folder::Folder;
use comity_tests::lab::{Cable, Lab};
use comity_tests::lines::Lines;
use comity_tests::mosquitto::Mosquitto;
use comity_tests::node::Node;
use comity_tests::{peers, until};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How large the file is, MiB.
const SIZE: usize = 64;

/// How often each is measured.
const ROUNDS: usize = 3;

/// What the shaped link carries, Mbit/s.
const RATE: f64 = 100.0;

/// How long a packet takes over it, one way.
const DELAY: Duration = Duration::from_millis(20);

/// How long nodes may take to be linked, and a program to say something.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a file may take.
const PATIENCE_FILE: Duration = Duration::from_secs(300);

/// A program that sends a file by aiortc, or takes one.
const AIORTC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/aiortc_file.py");

/// Prints a line for each kind of link.
pub(crate) fn run() -> Result<(), String> {
    println!("{:<48} {:>9} {:>9}  goal", "what", "MB/s", "Mbit/s");
    for way in ["mesh", "webrtc"] {
        let what = format!("file of {SIZE} MiB, {way}, {RATE} Mbit/s, 20 ms");
        let rate = median(|| between_nodes(&shaped(), way))?;
        show(&what, rate, &format!("{:.0} % of the link, >= 80 %", rate * 8.0 / 1e6 / RATE * 100.0));
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(between_nodes(&Lab::bridge(2), "webrtc")?);
        theirs.push(by_aiortc(&Lab::bridge(2))?);
    }
    let (ours, theirs) = (middle(ours), middle(theirs));
    show(&format!("file of {SIZE} MiB, webrtc, no limits"), ours, &format!("{:.1} times aiortc", ours / theirs));
    show("  aiortc, the same bytes", theirs, "");
    Ok(())
}

fn show(what: &str, rate: f64, goal: &str) {
    println!("{what:<48} {:>9.1} {:>9.1}  {goal}", rate / 1e6, rate * 8.0 / 1e6);
}

fn median(measure: impl Fn() -> Result<f64, String>) -> Result<f64, String> {
    Ok(middle((0..ROUNDS).map(|_| measure()).collect::<Result<_, _>>()?))
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Two hosts, on the shaped link.
fn shaped() -> Lab {
    let lab = Lab::apart(Cable { delay: DELAY, loss_percent: 0 });
    for number in 1..=2 {
        let mut tc = lab.host(number).command("tc");
        let shape = format!("qdisc add dev eth0 root tbf rate {RATE}mbit burst 64kbit latency 50ms");
        peers::output(tc.args(shape.split(' ')));
    }
    lab
}

/// A file that cannot be made smaller.
fn file(folder: &Folder) -> std::path::PathBuf {
    let path = folder.path().join("file");
    let shell = format!("head -c {} /dev/urandom > \"$0\"", SIZE << 20);
    peers::output(Command::new("sh").args(["-c", &shell]).arg(&path));
    path
}

/// Bytes a second from the start of the command that sends until it ends, and the file is there.
fn between_nodes(lab: &Lab, way: &str) -> Result<f64, String> {
    let hosts = [lab.host(1), lab.host(2)];
    let broker = Mosquitto::on(&hosts[0]);
    let known = match way {
        "mesh" => ["--peer".to_owned(), format!("{}:8400", hosts[1].address)],
        _ => ["--broker".to_owned(), broker.url()],
    };
    let words = ["--no-mdns", &known[0], &known[1]];
    let bob = Node::on(&hosts[1], "bob", if way == "mesh" { &words[..1] } else { &words });
    let ann = Node::on(&hosts[0], "ann", &words);
    until("link", PATIENCE, || ann.peer(&bob.id()).filter(|peer| peer["link"] == way && peer["presence"] == "online"));
    until("link back", PATIENCE, || bob.peer(&ann.id()).filter(|peer| peer["presence"] == "online"));
    let folder = Folder::new();
    let (file, into) = (file(&folder), folder.path().join("in"));
    let mut receiver = bob.follow(&["receive", "--once", "--from", &ann.id(), "--into", &into.display().to_string()]);
    receiver.wait_for("waiting", PATIENCE, |line| line.contains("waiting").then_some(()));
    let began = Instant::now();
    ann.says(&["send-file", &bob.id(), &file.display().to_string()]);
    Ok(rate(began, &file, &into.join("file")))
}

fn rate(began: Instant, sent: &Path, received: &Path) -> f64 {
    let took = began.elapsed().as_secs_f64();
    peers::output(Command::new("cmp").arg(sent).arg(received));
    (SIZE << 20) as f64 / took
}

/// The same from the answer to the offer until the other side has written all.
fn by_aiortc(lab: &Lab) -> Result<f64, String> {
    let folder = Folder::new();
    let (file, copy) = (file(&folder), folder.path().join("copy"));
    let start = |host: usize, words: [&str; 1], path: &Path| {
        Lines::start(&mut lab.host(host).run(peers::python(AIORTC).args(words).arg(path)))
    };
    let (mut sender, mut receiver) = (start(1, ["send"], &file), start(2, ["take"], &copy));
    let word = |lines: &mut Lines| lines.next(PATIENCE).ok_or_else(|| "aiortc says nothing".to_owned());
    receiver.say(&word(&mut sender)?);
    sender.say(&word(&mut receiver)?);
    let began = Instant::now();
    receiver.wait_for("end", PATIENCE_FILE, |line| (line == "done").then_some(()));
    Ok(rate(began, &file, &copy))
}
