//! The configuration read from real files, variables and flags.

use super::*;
use crate::scratch::Scratch;

fn with_file(text: &str) -> Result<(Config, Vec<Origin>), ConfigError> {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.toml");
    std::fs::write(&path, text).expect("a file");
    Config::read(&Sources { usual_file: Some(path), ..Sources::default() })
}

fn variables(list: &[(&str, &str)]) -> Sources {
    let variables = list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { variables, ..Sources::default() }
}

fn from<'a>(origins: &'a [Origin], key: &str) -> &'a Origin {
    origins.iter().find(|origin| origin.key == key).expect("every key has an origin")
}

#[test]
fn a_node_without_any_configuration_is_useful() {
    let (config, origins) = Config::read(&Sources::default()).expect("the defaults");
    assert_eq!(config, Config::default());
    assert_eq!(config.http.ports, 8400..=8499);
    assert_eq!(config.admission, Admission::Open);
    assert_eq!(config.mdns, Some(Mdns::default()));
    assert_eq!(config.limits.messages_per_second, 10);
    assert_eq!(config.inbox.keep, Duration::from_secs(7 * 86_400));
    assert_eq!(config.name_of(&NodeId::from_bytes([0; 32])), "node-AAAAAAAA");
    assert!(origins.iter().all(|origin| origin.from == "default"), "{origins:?}");
    assert_eq!(origins.len(), KEYS.len());
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let scratch = Scratch::new();
    let path = scratch.path().join("comity.toml");
    std::fs::write(&path, "name = \"file\"\n[http]\nport = 9000\n[limits]\nseen = 5\n").expect("a file");
    let mut sources = variables(&[("COMITY_HTTP_PORT", "9001"), ("COMITY_NAME", "1234"), ("HOME", "/root")]);
    sources.usual_file = Some(path.clone());
    sources.flags = vec![Flag { name: "--port", key: "http.port", values: vec!["9002".to_owned()] }];
    let (config, origins) = Config::read(&sources).expect("all is valid");
    assert_eq!((config.http.ports, config.limits.seen), (9002..=9002, 5));
    assert_eq!(config.name.as_deref(), Some("1234"), "a name of digits is a name");
    assert_eq!(from(&origins, "http.port").from, "--port");
    assert_eq!(from(&origins, "name").from, "COMITY_NAME");
    assert_eq!(from(&origins, "limits.seen").from, path.display().to_string());
    assert_eq!(from(&origins, "limits.connections").from, "default");
}

#[test]
fn what_a_program_says_comes_from_it_whatever_it_is_called() {
    let name = Flag { name: "the application", key: "name", values: vec!["planner".to_owned()] };
    let (_, origins) = Config::read(&Sources { flags: vec![name], ..Sources::default() }).expect("all is valid");
    assert_eq!(from(&origins, "name").from, "the application");
    assert_eq!(from(&origins, "capabilities").from, "default");
}

#[test]
fn lists_and_tables_come_from_variables_and_flags_too() {
    let mut sources = variables(&[
        ("COMITY_PEERS", "http://a:1, b:2,[fd00::1]:3,fd00::2,10.0.0.1"),
        ("COMITY_METADATA", "room=4, floor = 2"),
        ("COMITY_TRUSTED_PROXIES", "10.0.0.0/8,192.168.1.1"),
        ("COMITY_LOCAL_TRUST", "known"),
    ]);
    sources.flags = vec![
        Flag { name: "--capability", key: "capabilities", values: vec!["a,b".to_owned(), "c".to_owned()] },
        Flag { name: "--no-mdns", key: "mdns.enabled", values: vec!["false".to_owned()] },
    ];
    let (config, _) = Config::read(&sources).expect("all is valid");
    let peers: Vec<String> = config.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["a:1", "b:2", "[fd00::1]:3", "[fd00::2]:8400", "10.0.0.1:8400"]);
    assert_eq!(config.metadata.get("floor").map(String::as_str), Some("2"));
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.capabilities, ["a,b", "c"]);
    assert_eq!((config.mdns, config.admission), (None, Admission::Known));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest_one_and_the_file() {
    let check = |text: &str, key: &str, nearest: &str| {
        let error = with_file(text).expect_err("the key does not exist").to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains(&format!("`{nearest}`")), "{error}");
        assert!(error.contains("comity.toml"), "{error}");
    };
    check("nmae = \"a\"", "nmae", "name");
    check("[http]\nprot = 8400", "http.prot", "http.port");
    check("[limit]\nseen = 3", "limit", "limits");
    check("port = 8400", "port", "http.port");
    check("[local.trust]\nlevel = 1", "local.trust", "local.trust");
}

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest_one() {
    let error = Config::read(&variables(&[("COMITY_HTTP_PROT", "1")])).expect_err("it does not exist").to_string();
    assert!(error.contains("COMITY_HTTP_PORT"), "{error}");
    Config::read(&variables(&[("COMITY_HOME", "/x"), ("COMITY_LOG", "debug")])).expect("these are no keys");
    let of_a_query = ["COMITY_QUERY", "COMITY_FROM", "COMITY_KEY", "COMITY_TRUST"].map(|name| (name, "x"));
    Config::read(&variables(&of_a_query)).expect("a program that answers may run a node");
}

#[test]
fn a_wrong_value_names_its_key_and_where_it_came_from() {
    let check = |text: &str, key: &str| {
        let error = with_file(text).expect_err("the value is wrong").to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains("comity.toml"), "{error}");
    };
    check("name = 3", "name");
    check("name = \"\"", "name");
    check("[http]\nport = 70000", "http.port");
    check("[http]\nport = 9\nport_last = 8", "http.port_last");
    check("[http]\nlisten = [\"localhost\"]", "http.listen");
    check("[http]\norigins = [\"*\"]", "http.origins");
    check("[local]\ntrust = \"everybody\"", "local.trust");
    check("[tls]\ncert = \"a.pem\"", "tls.cert");
    check("[limits]\nseen = 0", "limits.seen");
    check("[limits]\nseen = -1", "limits.seen");
    check("[limits]\nseen = 1.5", "limits.seen");
    check("[inbox]\ndays = 9223372036854775807", "inbox.days");
    check("[log]\nformat = \"xml\"", "log.format");
    check("[otlp]\nendpoint = \"collector\"", "otlp.endpoint");
    check("[otlp]\nendpoint = \"http://user@c:4318/a@b\"", "otlp.endpoint");
    check(&format!("[metadata]\nroom = \"{}\"", "x".repeat(129)), "metadata");
    check("[metadata]\nroom = \"4\\n\"", "metadata");
    check("[metadata]\n\"\" = \"4\"", "metadata");
    let many: String = (0..33).map(|number| format!("key{number} = \"\"\n")).collect();
    check(&format!("[metadata]\n{many}"), "metadata");
    let quotes: String = (0..32).map(|number| format!("key{number} = '{}'\n", "\"".repeat(128))).collect();
    let words = vec![format!("'{}'", "\"".repeat(128)); 32].join(",");
    check(&format!("capabilities = [{words}]\n[metadata]\n{quotes}"), "metadata");
    check("peers = [\"ftp://a\"]", "peers");
    check("peers = [\"a:0\"]", "peers");
    check("trusted_proxies = [\"10.0.0.0/99\"]", "trusted_proxies");
}

#[test]
fn a_file_that_is_not_toml_names_the_file_and_the_line() {
    let error = with_file("name = \"a\"\nname\n").expect_err("it is not TOML").to_string();
    assert!(error.contains("comity.toml") && error.contains("line 2"), "{error}");
}

#[test]
fn a_named_file_must_be_there_and_the_usual_one_need_not() {
    let missing = Some(PathBuf::from("/nonexistent/comity.toml"));
    Config::read(&Sources { usual_file: missing.clone(), ..Sources::default() }).expect("it is optional");
    let named = Config::read(&Sources { named_file: missing, ..Sources::default() });
    assert!(matches!(named, Err(ConfigError::NoFile { .. })));
}

#[test]
fn paths_in_the_file_start_at_the_file() {
    let (config, _) = with_file("[tls]\ncert = \"a.pem\"\nkey = \"/k.pem\"").expect("valid");
    let tls = config.tls.expect("both are set");
    assert!(tls.cert.is_absolute() && tls.cert.ends_with("a.pem"), "{:?}", tls.cert);
    assert_eq!(tls.key, PathBuf::from("/k.pem"));
}

#[test]
fn secrets_are_never_shown() {
    let (config, origins) = with_file("[otlp]\nendpoint = \"http://c:4318\"\ntoken = \"hush\"").expect("valid");
    assert_eq!(config.otlp.as_ref().and_then(|otlp| otlp.token.as_deref()), Some("hush"));
    assert_eq!(from(&origins, "otlp.token").value, "(hidden)");
    assert!(!format!("{config:?}{origins:?}").contains("hush"));
    let refused = with_file("[otlp]\nendpoint = \"http://user:hush@c:4318\"").expect_err("it would be shown");
    assert!(refused.to_string().contains("otlp.token") && !refused.to_string().contains("hush"), "{refused}");
}

#[test]
fn the_example_file_is_what_the_keys_say() {
    let path = "../../deploy/comity.toml";
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(path, example()).expect("the example can be written");
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == example(), "deploy/comity.toml is out of date: run this test with UPDATE_EXAMPLE=1");
}

#[test]
fn every_line_of_the_example_can_be_uncommented() {
    let text: String = example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split_once(" = ").is_some_and(|(key, _)| is_key(key)) => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    // Of the ways to give brokers, relays, or a registry, a secret only one may be used.
    let text = text.replacen("password_file = ", "# ", 1).replacen("token = ", "# ", 1);
    let text = text.replacen("secret_file = ", "# ", 1).replacen("api_key_file = ", "# ", 1);
    let (config, origins) = with_file(&text).expect("the example is valid");
    let unused = ["mqtt.password_file", "mqtt.token", "webrtc.secret_file", "mesh.api_key_file"];
    let others = |key: &str| !unused.contains(&key);
    let mut said = origins.iter().filter(|origin| others(&origin.key));
    assert!(said.all(|origin| origin.from.ends_with("comity.toml")), "{origins:?}");
    let defaults = Config::default();
    assert_eq!((config.limits, config.inbox, config.log), (defaults.limits, defaults.inbox, defaults.log));
    assert_eq!((config.http.ports, config.admission), (defaults.http.ports, defaults.admission));
}

#[test]
fn brokers_come_from_the_file_the_variable_of_the_protocol_or_flags() {
    let brokers = |config: Config| config.mqtt.map(|mqtt| mqtt.brokers.len());
    assert_eq!(brokers(Config::default()), None);
    let (config, _) = with_file("[mqtt]\nbrokers = [\"mqtt://a\", \"embedded\", \"mqtt://a:1883\"]\n").expect("good");
    assert_eq!(brokers(config), Some(2));
    let variables = vec![("MQTT_BROKER".to_owned(), "mqtt://a,wss://b".to_owned())];
    let sources = Sources { variables, ..Sources::default() };
    let (config, origins) = Config::read(&sources).expect("good");
    assert_eq!(brokers(config), Some(2));
    let origin = origins.iter().find(|origin| origin.key == "mqtt.brokers").expect("the key");
    assert_eq!(origin.from, "MQTT_BROKER");
}

#[test]
fn what_would_give_secrets_away_is_refused() {
    for (text, wanted) in [
        ("brokers = [\"mqtt://ann:s3cret@b\"]", "set mqtt.username and mqtt.password"),
        ("brokers = [\"mqtt://b\"]\npassword = \"s3cret\"", "use mqtts:// or wss://"),
        ("brokers = [\"mqtts://b\"]\nverify = false", "set mqtt.ca_file"),
        ("brokers = [\"mqtts://b\"]\npassword = \"s3cret\"\ntoken = \"s3cret\"", "only one of"),
        ("brokers = [\"mqtts://b\"]\ncert_file = \"x\"", "mqtt.key_file must be set too"),
        ("brokers = [\"mqtts://b\"]\npassword_file = \"/nowhere/s3cret\"", "No such file"),
        ("brokers = [\"mqtts://b\"]\ninterval_seconds = 3600", "at most 1200"),
        ("prefix = \"#\"", "topic prefix"),
    ] {
        let wrong = with_file(&format!("[mqtt]\n{text}\n")).expect_err(text).to_string();
        assert!(wrong.contains(wanted) && !wrong.contains("ann:"), "{wrong}");
    }
    let text = "[mqtt]\nbrokers = [\"mqtts://127.0.0.1\"]\nverify = false\ntoken = \"s3cret\"\n";
    let (config, origins) = with_file(text).expect("on this machine");
    assert!(!format!("{config:?} {origins:?}").contains("s3cret"));
}

#[test]
fn a_relays_secret_can_stand_in_a_file_of_its_own() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join("turn"), "n0rth\n").expect("a file");
    let path = scratch.path().join("comity.toml");
    let read = |more: &str| {
        let text = format!("[webrtc]\nservers = [\"turn:a\"]\nsecret_file = \"turn\"\n{more}");
        std::fs::write(&path, text).expect("a file");
        Config::read(&Sources { usual_file: Some(path.clone()), ..Sources::default() })
    };
    let (config, _) = read("").expect("good");
    let credentials = config.webrtc.and_then(|webrtc| webrtc.credentials);
    let Some(RelayCredentials::Secret { username, secret }) = credentials else { panic!("a secret is wanted") };
    assert_eq!((username.as_str(), secret.as_str()), ("comity", "n0rth"));
    assert!(read("secret = \"s\"\n").expect_err("both").to_string().contains("only one of"));
}

fn is_key(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[test]
fn the_registry_of_a_mesh_comes_from_the_variables_of_the_protocol_and_its_key_is_never_shown() {
    let key = format!("cmt_{}", "ab".repeat(32));
    let read = |url: &str, more: &[(&str, &str)]| {
        let own = [("MESH_COORDINATOR_URL", url), ("MESH_NODE_ID", "kernel-7"), ("MESH_API_KEY", key.as_str())];
        let variables = own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::read(&Sources { variables: variables.collect(), ..Sources::default() })
    };
    let (config, origins) = read("https://registry.example:8400", &[]).expect("good");
    assert!(!format!("{config:?}{origins:?}").contains("abab"), "{config:?}");
    let mesh = config.mesh.expect("it is on");
    assert_eq!(mesh.node_name.as_ref().map(ToString::to_string).as_deref(), Some("kernel-7"));
    let coordinator = mesh.coordinator.expect("it is set");
    assert_eq!(coordinator.secret.expect("a key").expose(), key);
    for here in ["http://127.0.0.1:8400", "http://localhost:8400", "http://[::1]:8400"] {
        assert!(read(here, &[]).is_ok(), "{here}");
    }
    for elsewhere in ["http://registry.example", "http://10.0.0.1:8400", "ftp://registry.example", "registry.example"] {
        let refused = read(elsewhere, &[]).expect_err(elsewhere).to_string();
        assert!(refused.contains("mesh.coordinator_url") && !refused.contains("abab"), "{refused}");
    }
    let url = "https://registry.example";
    for (more, named) in [
        (("COMITY_MESH_COORDINATOR", "true"), "mesh.coordinator_url"),
        (("MESH_ENABLED", "false"), "mesh.coordinator_url"),
        (("COMITY_MESH_API_KEY_FILE", "/nowhere"), "mesh.api_key_file"),
        (("COMITY_MESH_COORDINATOR_KEY", "mine"), "mesh.coordinator_key"),
        (("MESH_NODE_ID", " "), "mesh.node_id"),
        (("MESH_API_KEY", "cmt_short"), "mesh.api_key"),
    ] {
        let refused = read(url, &[more]).expect_err(named).to_string();
        assert!(refused.contains(named) && !refused.contains("cmt_short"), "{refused}");
    }
}
