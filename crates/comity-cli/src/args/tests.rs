//! What command lines mean, and which are refused.

use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn read(line: &str) -> Result<Line, clap::Error> {
    Line::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Line::command().debug_assert();
}

#[test]
fn every_command_of_the_documentation_is_there() {
    let names: Vec<_> = Line::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let wanted = "up peers discover announce federation:peers broker trust send topic role project room claims channel \
                  federation journal index search know ask-mesh mesh tool task worker policy redact send-file receive watch ask \
                  answer inbox digest attention subscribe unsubscribe status why id key config doctor code mcp bench \
                  read-pdf completions man";
    assert_eq!(names.join(" "), wanted);
}

#[test]
fn up_takes_its_flags_several_times_where_that_makes_sense() {
    let line = "comity up --name n --port 0 --data-dir /d --no-mdns --peer http://a:1 --peer http://b:2 \
                --capability x --capability y --log-format json";
    let Line { everywhere, command: Command::Up(up) } = read(line).expect("a good line") else {
        panic!("another command")
    };
    assert_eq!(everywhere.data_dir, Some(PathBuf::from("/d")));
    assert_eq!((up.name.as_deref(), up.port, up.no_mdns), (Some("n"), Some(0), true));
    assert_eq!((up.peer.len(), up.capability.len()), (2, 2));
    assert_eq!(up.log_format, Some(LogFormat::Json));
}

#[test]
fn the_federation_commands_have_the_names_and_options_of_the_protocol() {
    for line in [
        "comity federation:discover --broker mqtt://a --broker mqtt://b --timeout 5s --capability c --json",
        "comity federation:announce --broker mqtt://a --interval 30",
        "comity federation:peers --broker mqtt://a --watch --json",
    ] {
        assert!(read(line).is_ok(), "{line}");
    }
}

#[test]
fn json_and_the_data_directory_may_stand_before_or_after_the_command() {
    for line in ["comity --json --data-dir /d peers", "comity peers --data-dir /d --json"] {
        let line = read(line).expect("a good line");
        assert!(line.everywhere.json);
        assert_eq!(line.everywhere.data_dir, Some(PathBuf::from("/d")));
    }
}

#[test]
fn an_unknown_priority_is_an_error_that_lists_the_known_ones() {
    let refused = read("comity send bob hi --priority loud").expect_err("no such priority");
    assert_eq!(refused.kind(), ErrorKind::ValueValidation);
    assert!(refused.to_string().contains("critical, normal, background"), "{refused}");
}

#[test]
fn a_payload_may_begin_with_a_dash() {
    for payload in ["-", "-1", "--"] {
        let line = format!("comity send bob -- {payload}");
        let Command::Send(send) = read(&line).expect("a good line").command else { panic!("another command") };
        assert_eq!(send.payload, payload);
    }
    let Command::Send(send) = read("comity send bob -5").expect("a good line").command else {
        panic!("another command")
    };
    assert_eq!(send.payload, "-5");
}

#[test]
fn the_inbox_is_taken_shown_or_both() {
    let inbox = |line| match read(line).expect("a good line").command {
        Command::Inbox(inbox) => (inbox.follow, inbox.peek, inbox.ack),
        _ => panic!("another command"),
    };
    assert_eq!(inbox("comity inbox"), (false, false, None));
    assert_eq!(inbox("comity inbox --peek --follow"), (true, true, None));
    assert_eq!(inbox("comity inbox --ack"), (false, false, Some(vec![])));
    assert_eq!(inbox("comity inbox --ack 1,2 3"), (false, false, Some(vec![1, 2, 3])));
    assert_eq!(read("comity inbox --peek --ack").expect_err("both").kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn times_have_units_and_bounds() {
    assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
    assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
    for bad in ["", "s", "0s", "-1s", "1d", "25h", "99999999999999999999s", "1.5s"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn progress_lies_between_nothing_and_all() {
    let status = |line| match read(line).map(|line| line.command) {
        Ok(Command::Status(status)) => Ok((status.set, status.progress, status.clear)),
        Ok(_) => panic!("another command"),
        Err(refused) => Err(refused.kind()),
    };
    assert_eq!(status("comity status testing --progress 0.5"), Ok((Some("testing".to_owned()), Some(0.5), false)));
    assert_eq!(status("comity status --progress 0.5"), Err(ErrorKind::MissingRequiredArgument));
    assert_eq!(status("comity status x --progress 2"), Err(ErrorKind::ValueValidation));
    assert_eq!(status("comity status x --progress NaN"), Err(ErrorKind::ValueValidation));
    assert_eq!(status("comity status x --clear"), Err(ErrorKind::ArgumentConflict));
}

#[test]
fn wrong_lines_are_usage_errors() {
    for line in
        ["comity peers extra", "comity send bob", "comity why not-a-uuid", "comity fly", "comity up --port 70000"]
    {
        assert_eq!(read(line).expect_err(line).exit_code(), 2, "{line}");
    }
}
