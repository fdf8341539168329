//! Files from node to node, as people send them: by mesh and by WebRTC, over links that are cut, past full disks,
//! and from and to programs that lie.

use comity_tests::disk::Disk;
use comity_tests::folder::Folder;
use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use comity_tests::node::{Node, comity};
use comity_tests::{PATIENCE, peers, until};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// A file large enough to be cut in the middle, MiB.
const LARGE: usize = 48;

/// How long a link that is cut may take to be noticed, and to come back.
const CUT: Duration = Duration::from_secs(90);

/// Two nodes on loopback, by mesh, of which the second knows the first.
fn pair() -> (Node, Node) {
    let bob = Node::alone("bob", &[]);
    let ann = Node::alone("ann", &["--peer", &bob.url()]);
    ann.knows(&bob);
    bob.knows(&ann);
    bob.says(&["trust", "ann"]);
    (ann, bob)
}

/// Bytes that look like nothing, of that many MiB.
fn large(folder: &Folder, name: &str, mebibytes: usize) -> PathBuf {
    let path = folder.path().join(name);
    let shell = format!("head -c {} /dev/urandom > \"$0\"", mebibytes << 20);
    peers::output(Command::new("sh").args(["-c", &shell]).arg(&path));
    path
}

/// `comity receive` into this folder, once it is in line.
fn receiving(node: &Node, into: &Path, words: &[&str]) -> Lines {
    let into = into.display().to_string();
    let mut receiver = node.follow(&[&["receive", "--into", &into], words].concat());
    event(&mut receiver, "waiting");
    receiver
}

/// The next event of this kind.
fn event(lines: &mut Lines, kind: &str) -> Value {
    lines.wait_for(kind, CUT, |line| {
        let value: Value = serde_json::from_str(line).expect("events are JSON, one a line");
        (value["event"] == kind).then_some(value)
    })
}

fn send(node: &Node, to: &str, paths: &[&Path]) -> Output {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let words = [vec!["send-file", to], paths.iter().map(String::as_str).collect()].concat();
    node.run(&words)
}

fn done(output: &Output) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
}

fn refused(output: &Output, code: i32, because: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(because), "{told}");
}

fn same(one: &Path, other: &Path) {
    peers::output(Command::new("cmp").arg(one).arg(other));
}

/// How many bytes of parts there are in a folder.
fn in_parts(folder: &Path) -> u64 {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let parts = found.filter(|entry| entry.file_name().to_string_lossy().ends_with(".comity-part"));
    parts.filter_map(|part| part.metadata().ok()).map(|part| part.len()).sum()
}

#[test]
fn files_and_folders_arrive_whole_whoever_dialled_and_are_not_sent_twice() {
    let (ann, bob) = pair();
    let (here, there) = (Folder::new(), Folder::new());
    let photo = large(&here, "photo.raw", 3);
    let album = here.path().join("album");
    std::fs::create_dir_all(album.join("deep/empty")).expect("a folder");
    std::fs::write(album.join("deep/note.txt"), "hello\n").expect("a file");
    std::os::unix::fs::symlink("/etc/passwd", album.join("link")).expect("a link");
    let mut receiver = receiving(&bob, there.path(), &[]);
    done(&send(&ann, "bob", &[&photo, &album]));
    let received = event(&mut receiver, "received");
    assert_eq!((&received["files"], &received["from"]["trust"]), (&5.into(), &"known".into()), "{received}");
    same(&photo, &there.path().join("photo.raw"));
    same(&album.join("deep/note.txt"), &there.path().join("album/deep/note.txt"));
    assert!(there.path().join("album/deep/empty").is_dir() && !there.path().join("album/link").exists());

    let again = ann.run(&["send-file", "bob", &photo.display().to_string(), "--json"]);
    done(&again);
    let printed = String::from_utf8_lossy(&again.stdout);
    assert!(!printed.contains("begun"), "nothing had to be sent: {printed}");
    let all = |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|event| event["bytes"] == 3 << 20);
    assert!(printed.lines().any(|line| line.contains("progress") && all(line)), "all of it is there: {printed}");

    std::fs::write(album.join("deep/note.txt"), "changed\n").expect("a file");
    refused(&send(&ann, "bob", &[&album]), 4, "1 of 4 were not taken");
    assert_eq!(std::fs::read_to_string(there.path().join("album/deep/note.txt")).expect("a file"), "hello\n");
    drop(receiver);
    let mut receiver = receiving(&bob, there.path(), &["--overwrite", "--once"]);
    done(&send(&ann, "bob", &[&album]));
    assert!(receiver.ended(PATIENCE).success());
    assert_eq!(std::fs::read_to_string(there.path().join("album/deep/note.txt")).expect("a file"), "changed\n");

    let mut receiver = receiving(&ann, there.path(), &["--from", "bob", "--once"]);
    let back = large(&here, "back.raw", 2);
    done(&send(&bob, "ann", &[&back]));
    assert!(receiver.ended(PATIENCE).success());
    same(&back, &there.path().join("back.raw"));
}

#[test]
fn what_cannot_be_read_is_left_out_and_said_and_the_rest_arrives() {
    let (ann, bob) = pair();
    let (here, there) = (Folder::new(), Folder::new());
    let album = here.path().join("album");
    std::fs::create_dir_all(album.join("closed/inside")).expect("a folder");
    for name in ["a", "locked", "z"] {
        std::fs::write(album.join(name), name).expect("a file");
    }
    for name in ["locked", "closed"] {
        std::fs::set_permissions(album.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o0))
            .expect("it is ours");
    }
    let _receiver = receiving(&bob, there.path(), &[]);
    let sent = unprivileged(&ann.command(&["send-file", "bob", &album.display().to_string()]));
    refused(&sent, 4, "2 could not be read");
    let told = String::from_utf8_lossy(&sent.stderr);
    assert!(told.contains("album/locked is not sent") && told.contains("album/closed is not sent"), "{told}");
    for name in ["a", "z"] {
        assert_eq!(std::fs::read_to_string(there.path().join("album").join(name)).expect("it arrived"), name);
    }
    assert!(there.path().join("album/closed").is_dir() && !there.path().join("album/locked").exists());
}

/// What comes of a command that may not do more than anybody: whoever runs the tests as root reads and writes
/// everything else.
fn unprivileged(command: &Command) -> Output {
    let mut without = Command::new("setpriv");
    without.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]);
    without.arg(command.get_program()).args(command.get_args());
    without.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    without.output().expect("setpriv is there")
}

#[test]
fn a_folder_that_may_not_be_written_is_refused_before_anybody_sends() {
    let (bob, there) = (Node::alone("bob", &[]), Folder::new());
    std::fs::set_permissions(there.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555)).expect("it is ours");
    let into = there.path().display().to_string();
    refused(&unprivileged(&bob.command(&["receive", "--into", &into])), 2, "Permission denied");
}

/// `comity receive` into this folder for everybody, with somebody at its terminal.
fn at_a_terminal(node: &Node, into: &Path) -> Lines {
    let receive = node.command(&["receive", "--from-anyone", "--into", &into.display().to_string()]);
    let words: Vec<_> = [receive.get_program()].into_iter().chain(receive.get_args()).collect();
    let line = words.join(std::ffi::OsStr::new(" "));
    let mut terminal = Command::new("script");
    // In place of the shell: Ctrl-C ends a shell that waits, whatever the program makes of it.
    terminal.args(["-qefc", &format!("exec {}", line.to_string_lossy()), "/dev/null"]);
    terminal.envs(receive.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shown(Lines::start(&mut terminal), "files are received into")
}

/// Waits until this is on the screen.
fn shown(mut terminal: Lines, text: &str) -> Lines {
    terminal.wait_for(text, PATIENCE, |line| line.contains(text).then_some(()));
    terminal
}

#[test]
fn a_question_stops_nothing_else_and_is_taken_back_when_the_sender_goes() {
    let (ann, bob) = pair();
    let carl = Node::alone("carl", &["--peer", &ann.url()]);
    ann.knows(&carl);
    carl.knows(&ann);
    ann.says(&["trust", "carl"]);
    let (here, there) = (Folder::new(), Folder::new());
    let (small, other) = (large(&here, "small", 1), large(&here, "other", 1));
    let terminal = at_a_terminal(&ann, there.path());
    let mut sender = bob.follow(&["send-file", "ann", &small.display().to_string()]);
    let terminal = shown(terminal, "sends 1 files");
    done(&send(&carl, "ann", &[&other]));
    let terminal = shown(terminal, "received from carl");
    event(&mut sender, "waiting");
    sender.signal("KILL");
    let mut terminal = shown(terminal, "is not asked any more");
    terminal.say("y");
    let mut sender = bob.follow(&["send-file", "ann", &small.display().to_string()]);
    let mut terminal = shown(terminal, "sends 1 files");
    assert!(!there.path().join("small").exists(), "the first answer was for nobody");
    terminal.say("y");
    event(&mut sender, "sent");
    same(&small, &there.path().join("small"));
    let _sender = bob.follow(&["send-file", "ann", &other.display().to_string()]);
    let mut terminal = shown(terminal, "sends 1 files");
    terminal.say("\u{3}");
    assert!(terminal.ended(PATIENCE).success(), "Ctrl-C ends it");
}

#[test]
fn files_go_only_to_who_takes_them_from_there() {
    let (ann, bob) = pair();
    let folder = Folder::new();
    let note = large(&folder, "note", 1);
    refused(&send(&ann, "bob", &[&note]), 4, "comity receive");
    refused(&send(&ann, "nobody", &[&note]), 4, "no peer nobody");
    let into = folder.path().join("in");
    let _receiver = receiving(&ann, &into, &[]);
    refused(&send(&bob, "ann", &[&note]), 4, "comity trust");
    let _anyone = receiving(&ann, &into, &["--from-anyone"]);
    refused(&send(&bob, "ann", &[&note]), 4, "declined");
    let mut small = receiving(&bob, &into, &["--max-size", "1000K", "--once"]);
    refused(&send(&ann, "bob", &[&note]), 4, "more than is taken");
    assert_eq!(small.ended(PATIENCE).code(), Some(4));
    let mut yes = receiving(&ann, &into, &["--from-anyone", "--yes", "--once"]);
    drop(_anyone);
    done(&send(&bob, "ann", &[&note]));
    assert!(yes.ended(PATIENCE).success());
    same(&note, &into.join("note"));
}

/// Two nodes in a lab that find each other by a broker alone, reach each other's port not, and so are linked by
/// WebRTC.
fn webrtc(lab: &Lab) -> (Node, Node, Lines) {
    for host in [1, 2] {
        let mut nft = lab.host(host).command("nft");
        nft.arg(
            "add table inet shut; add chain inet shut in { type filter hook input priority 0; }; \
                 add rule inet shut in iifname eth0 tcp dport 8400-8499 drop",
        );
        peers::output(&mut nft);
    }
    let broker = lab.host(1).address;
    let url = format!("mqtt://{broker}:1883");
    let mut program = lab.host(1).run(&comity(&["broker", "--listen", &format!("{broker}:1883")]));
    let mut embedded = Lines::start(&mut program);
    embedded.wait_for("broker", PATIENCE, |line| (!line.is_empty()).then_some(()));
    let up = |host: usize, name: &str| Node::on(&lab.host(host), name, &["--no-mdns", "--broker", &url]);
    let (ann, bob) = (up(1, "ann"), up(2, "bob"));
    for (node, other) in [(&ann, &bob), (&bob, &ann)] {
        node.sees("peer", &other.id(), PATIENCE, |peer| peer["presence"] == "online");
        until("WebRTC link", PATIENCE, || node.peer(&other.id()).filter(|peer| peer["link"] == "webrtc"));
    }
    bob.says(&["trust", &ann.id()]);
    (ann, bob, embedded)
}

#[test]
fn over_webrtc_files_go_beside_the_link() {
    let lab = Lab::bridge(2);
    let (ann, bob, _broker) = webrtc(&lab);
    let folder = Folder::new();
    let file = large(&folder, "file", 20);
    let mut receiver = receiving(&bob, &folder.path().join("in"), &["--once"]);
    done(&send(&ann, &bob.id(), &[&file]));
    assert!(receiver.ended(PATIENCE).success());
    same(&file, &folder.path().join("in/file"));
    let mut receiver = receiving(&ann, &folder.path().join("back"), &["--once", "--from", &bob.id()]);
    done(&send(&bob, &ann.id(), &[&file]));
    assert!(receiver.ended(PATIENCE).success());
    same(&file, &folder.path().join("back/file"));
}

/// Two nodes by mesh, of which the first sends so slowly that there is a middle to be cut.
fn slow_pair() -> (Lab, Node, Node) {
    let lab = Lab::bridge(2);
    let (ann, bob) = (Node::on(&lab.host(1), "ann", &[]), Node::on(&lab.host(2), "bob", &[]));
    ann.knows(&bob);
    bob.knows(&ann);
    bob.says(&["trust", "ann"]);
    let mut tc = lab.host(1).command("tc");
    peers::output(tc.args("qdisc add dev eth0 root tbf rate 40mbit burst 64kbit latency 200ms".split(' ')));
    (lab, ann, bob)
}

/// Waits until so many bytes have arrived.
fn arrived(sender: &mut Lines, bytes: usize) {
    sender.wait_for("progress", CUT, |line| {
        let value: Value = serde_json::from_str(line).expect("events are JSON, one a line");
        (value["event"] == "progress" && value["bytes"].as_u64() >= Some(bytes as u64)).then_some(())
    });
}

#[test]
fn a_link_that_is_cut_twice_in_the_middle_costs_what_was_under_way_and_no_more() {
    let (lab, ann, bob) = slow_pair();
    let folder = Folder::new();
    let (file, into) = (large(&folder, "file", LARGE), folder.path().join("in"));
    let mut receiver = receiving(&bob, &into, &["--once"]);
    let mut sender = ann.follow(&["send-file", "bob", &file.display().to_string()]);
    let mut begun = vec![event(&mut sender, "begun")["from"].as_u64().expect("a number")];
    for part in [LARGE / 3, 2 * LARGE / 3] {
        arrived(&mut sender, part << 20);
        lab.cut(1);
        event(&mut sender, "broken");
        lab.mend(1);
        begun.push(event(&mut sender, "begun")["from"].as_u64().expect("a number"));
    }
    assert_eq!(event(&mut sender, "sent")["files"], 1);
    assert!(sender.ended(PATIENCE).success() && receiver.ended(PATIENCE).success());
    same(&file, &into.join("file"));
    assert_eq!(in_parts(&into), 0);
    assert!(begun[1] >= (LARGE as u64 / 3) << 20 && begun[2] >= (2 * LARGE as u64 / 3) << 20, "{begun:?}");
}

#[test]
fn a_file_that_is_changed_while_it_is_sent_does_not_arrive_torn() {
    let (_lab, ann, bob) = slow_pair();
    let folder = Folder::new();
    let (file, into) = (large(&folder, "file", LARGE / 3), folder.path().join("in"));
    let _receiver = receiving(&bob, &into, &["--overwrite"]);
    let mut sender = ann.follow(&["send-file", "bob", &file.display().to_string()]);
    arrived(&mut sender, 4 << 20);
    large(&folder, "file", LARGE / 3);
    assert_eq!(sender.ended(CUT).code(), Some(1));
    assert!(!into.join("file").exists(), "half of it is of one file, half of another");
    done(&send(&ann, "bob", &[&file]));
    same(&file, &into.join("file"));
}

#[test]
fn when_a_node_or_a_command_is_killed_the_same_commands_go_on() {
    let (_lab, ann, bob) = slow_pair();
    let folder = Folder::new();
    let (file, into) = (large(&folder, "file", LARGE), folder.path().join("in"));
    // What is replaced is as large as what comes.
    std::fs::create_dir(&into).expect("a folder");
    large(&folder, "in/file", LARGE);
    let words = ["send-file", "bob", &file.display().to_string()];
    let receiver = receiving(&bob, &into, &["--overwrite"]);
    let mut sender = ann.follow(&words);
    arrived(&mut sender, 4 << 20);
    sender.signal("KILL");
    until("break", CUT, || (in_parts(&into) >= 4 << 20).then_some(()));
    let mut sender = ann.follow(&words);
    let from = event(&mut sender, "begun")["from"].as_u64();
    assert!(from >= Some(4 << 20), "{from:?}");
    arrived(&mut sender, 16 << 20);
    receiver.signal("KILL");
    event(&mut sender, "broken");
    drop(receiver);
    let mut receiver = receiving(&bob, &into, &["--overwrite", "--once"]);
    let from = event(&mut sender, "begun")["from"].as_u64();
    assert!(from >= Some(16 << 20), "{from:?}");
    event(&mut sender, "sent");
    assert!(receiver.ended(PATIENCE).success());
    same(&file, &into.join("file"));
}

#[test]
fn a_disk_that_fills_up_leaves_a_part_that_goes_on_when_there_is_room() {
    let (ann, bob) = pair();
    let here = Folder::new();
    let file = large(&here, "file", 12);
    let there = Folder::new();
    let disk = Disk::mounted_on(&there, 16);
    let ballast = there.path().join("ballast");
    disk.inside(&["sh", "-c", "head -c 8M /dev/zero > \"$0\"", &ballast.display().to_string()]);
    let receive = |words: &[&str]| {
        let into = there.path().join("in").display().to_string();
        let mut command = bob.command(&[&["receive", "--json", "--once", "--into", &into], words].concat());
        command.env("RUST_BACKTRACE", "0");
        let mut receiver = Lines::start(&mut disk.run(&command));
        event(&mut receiver, "waiting");
        receiver
    };
    let mut receiver = receive(&[]);
    refused(&send(&ann, "bob", &[&file]), 1, "disk over there is full");
    let broken = event(&mut receiver, "broken");
    assert!(broken["reason"].as_str().is_some_and(|reason| reason.contains("disk is full")), "{broken}");
    assert_eq!(receiver.ended(PATIENCE).code(), Some(1));
    let name = there.path().join("in/file").display().to_string();
    disk.inside(&["sh", "-c", "! test -e \"$0\" && test -s \"$0.comity-part\"", &name]);
    disk.inside(&["rm", &ballast.display().to_string()]);
    let mut receiver = receive(&[]);
    let again = ann.run(&["send-file", "bob", &file.display().to_string(), "--json"]);
    done(&again);
    let first = String::from_utf8_lossy(&again.stdout).lines().next().map(str::to_owned).unwrap_or_default();
    let begun: Value = serde_json::from_str(&first).expect("JSON");
    assert!(begun["event"] == "begun" && begun["from"].as_u64() > Some(1 << 20), "it went on: {begun}");
    assert!(receiver.ended(PATIENCE).success());
    disk.inside(&["cmp", &file.display().to_string(), &name]);
}

/// A program that speaks the transfer protocol through this node, and lies.
fn liar(node: &Node, words: &[&str]) -> Lines {
    let socket = node.data_dir().join("control/door.sock");
    Lines::start(peers::python("file_liar.py").arg(socket).args(words))
}

#[test]
fn one_sender_has_not_all_places_and_with_once_one_transfer_is_taken_at_a_time() {
    let (ann, bob) = pair();
    let carl = Node::alone("carl", &["--peer", &bob.url()]);
    bob.knows(&carl);
    carl.knows(&bob);
    bob.says(&["trust", "carl"]);
    let folder = Folder::new();
    let (note, into) = (large(&folder, "note", 1), folder.path().join("in"));
    let hold = || {
        let mut held = liar(&ann, &["send", "bob", "hold"]);
        held.wait_for("accepted offer", PATIENCE, |line| line.contains("take").then_some(()));
        held
    };
    let receiver = receiving(&bob, &into, &[]);
    let held = [hold(), hold()];
    refused(&send(&ann, "bob", &[&note]), 4, "one transfer after the other");
    done(&send(&carl, "bob", &[&note]));
    drop((receiver, held));

    let mut receiver = receiving(&bob, &into, &["--once"]);
    let held = hold();
    refused(&send(&carl, "bob", &[&note]), 4, "declined");
    held.signal("KILL");
    event(&mut receiver, "broken");
    done(&send(&carl, "bob", &[&note]));
    assert!(receiver.ended(PATIENCE).success());
}

#[test]
fn a_sender_that_lies_writes_nothing_outside_and_nothing_that_was_not_announced() {
    let (ann, bob) = pair();
    let folder = Folder::new();
    let into = folder.path().join("box/in");
    std::fs::create_dir_all(&into).expect("a folder");
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).expect("a folder");
    std::os::unix::fs::symlink(&outside, into.join("link")).expect("a link");
    let mut receiver = receiving(&bob, &into, &["--overwrite"]);
    let scene = |name: &str| {
        let mut liar = liar(&ann, &["send", "bob", name]);
        let heard: Value = serde_json::from_str(&liar.next(PATIENCE).expect("it says something")).expect("JSON");
        assert!(liar.ended(PATIENCE).success(), "{name}");
        (heard, liar)
    };
    for (name, why) in [
        ("up", "name"),
        ("deep-up", "name"),
        ("root", "name"),
        ("device", "name"),
        ("nul", "name"),
        ("escape", "name"),
        ("hidden", "name"),
        ("part", "name"),
        ("long", "name"),
        ("no-folder", "name"),
        ("link", "place"),
        ("checksum", "checksum"),
    ] {
        let (heard, _) = scene(name);
        assert_eq!((&heard["say"], &heard["why"]), (&"skip".into(), &why.into()), "{name}: {heard}");
    }
    for name in ["too-much", "more-files", "more-bytes", "endless-names", "garbage", "early-end", "huge-text"] {
        let (heard, _) = scene(name);
        assert!(heard["say"] == "failed" || heard["closed"] == true, "{name}: {heard}");
    }
    let (heard, _) = scene("too-large");
    assert_eq!(heard["why"], "too_large", "{heard}");
    assert_eq!(std::fs::read_dir(&outside).expect("a folder").count(), 0);
    let left: Vec<_> = std::fs::read_dir(&into).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["link"], "nothing of it all stands there");
    assert_eq!(std::fs::read_dir(folder.path().join("box")).expect("a folder").count(), 1);
    let honest = large(&folder, "honest", 1);
    done(&send(&ann, "bob", &[&honest]));
    event(&mut receiver, "received");
    same(&honest, &into.join("honest"));
}

#[test]
fn a_receiver_that_lies_is_left_with_a_clear_word() {
    let (ann, bob) = pair();
    let folder = Folder::new();
    let file = large(&folder, "file", 1);
    for name in ["beyond", "backwards", "early-done", "version", "garbage", "shout", "gone"] {
        let mut liar = liar(&bob, &["receive", name]);
        liar.wait_for("place in line", PATIENCE, |line| line.contains("waiting").then_some(()));
        let words = ["send-file", "bob", &file.display().to_string(), "--retry-for", "1s"];
        let output = ann.run(&words);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told}");
        assert!(!told.is_empty() && !told.contains('\u{1b}'), "{name}: {told}");
        drop(liar);
    }
}
