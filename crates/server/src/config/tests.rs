//! The configuration as a whole: what files and flags come to. Messages are golden tests, in `tests/config.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::*;

fn read(text: &str, overrides: &Overrides, mode: Mode) -> Config {
    parse(Path::new("t.conf"), text.as_bytes(), overrides, mode).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

fn config(text: &str) -> Config {
    read(text, &Overrides::default(), Mode::Native)
}

fn flags(bind: &[&str], port: Option<u16>, set: &[&str]) -> Overrides {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Overrides {
        bind: owned(bind),
        port,
        set: owned(set),
        ..Overrides::default()
    }
}

fn places(config: &Config) -> Vec<String> {
    config.listeners.iter().map(|l| l.place.to_string()).collect()
}

fn codes(text: &str, overrides: &Overrides) -> Vec<&'static str> {
    match parse(Path::new("t.conf"), text.as_bytes(), overrides, Mode::Native) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.findings.iter().map(|f| f.code.as_str()).collect(),
    }
}

/// What a listener lets in: clients without a user, and users of that file.
fn doors(text: &str, overrides: &Overrides) -> Vec<(bool, Option<String>)> {
    let config = read(text, overrides, Mode::Native);
    let file = |l: &Listener| {
        l.password_file
            .as_ref()
            .map(|file| file.path.display().to_string())
    };
    config
        .listeners
        .iter()
        .map(|l| (l.allow_anonymous, file(l)))
        .collect()
}

#[test]
fn users_keep_strangers_out_unless_they_are_let_in() {
    let none = Overrides::default();
    let users = |file: &str| Some(file.to_owned());
    let table = [
        ("password_file u", vec![(false, users("u"))]),
        ("password_file u\nallow_anonymous true", vec![(true, users("u"))]),
        (
            "listener 1883 127.0.0.1\npassword_file u\nlistener 1884 127.0.0.1\nlistener_allow_anonymous true",
            vec![(false, users("u")), (true, users("u"))],
        ),
        (
            "per_listener_settings true\nlistener 1883 127.0.0.1\npassword_file u\nlistener 1884 127.0.0.1\n\
             password_file v\nallow_anonymous true\nlistener 1885 127.0.0.1\nallow_anonymous true\nlistener 1886 127.0.0.1",
            vec![
                (false, users("u")),
                (true, users("v")),
                (true, None),
                (false, None),
            ],
        ),
        (
            "per_listener_settings true\nport 1883\npassword_file u",
            vec![(false, users("u"))],
        ),
        (
            "per_listener_settings true\npassword_file u",
            vec![(false, users("u"))],
        ),
        (
            "per_listener_settings false\nlistener 1883\npassword_file u\nlistener 1884",
            vec![(false, users("u")), (false, users("u"))],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(doors(text, &none), expected, "{text}");
    }
    let text =
        "per_listener_settings true\nlistener 1883 127.0.0.1\npassword_file u\nlistener 1884 127.0.0.1";
    let flags = flags(&[], None, &["password_file=w", "allow_anonymous=true"]);
    assert_eq!(doors(text, &flags), vec![(true, users("w")), (true, users("w"))]);
}

#[test]
fn what_else_belongs_to_a_listener_if_it_is_to() {
    let text = "per_listener_settings true\nlistener 1883\nallow_zero_length_clientid false\nauto_id_prefix a-\nlistener 1884";
    let config = config(text);
    let of = |l: &Listener| (l.allow_zero_length_clientid, l.auto_id_prefix.clone());
    let found: Vec<_> = config.listeners.iter().map(of).collect();
    assert_eq!(found, [(false, "a-".to_owned()), (true, "auto-".to_owned())]);
}

#[test]
fn what_would_change_its_meaning_is_an_error() {
    let none = Overrides::default();
    assert_eq!(
        codes("password_file u\nper_listener_settings true", &none),
        ["F008"]
    );
    assert_eq!(
        codes(
            "allow_anonymous true\nlistener 1\nper_listener_settings true",
            &none
        ),
        ["F008"]
    );
    assert_eq!(
        codes(
            "per_listener_settings true\npassword_file u\nlistener 1883",
            &none
        ),
        ["F008"]
    );
    assert_eq!(codes("password_file u\npassword_file v", &none), ["F007"]);
}

#[test]
fn the_table_is_sound() {
    let mut names = std::collections::BTreeSet::new();
    for directive in DIRECTIVES {
        assert!(names.insert(directive.name), "{} twice", directive.name);
        assert!(
            directive.alias.is_empty() || names.insert(directive.alias),
            "{} twice",
            directive.alias
        );
        assert!(directive.help.ends_with('.'), "{}", directive.name);
        assert!(find(directive.name).is_some_and(|d| d.name == directive.name));
        if let Kind::Number(range) = directive.kind {
            let special = range.special.and_then(|(n, _)| u64::try_from(n).ok());
            assert!(range.min <= range.max, "{}", directive.name);
            assert!(
                special.is_none_or(|n| n < range.min || n > range.max),
                "{}",
                directive.name
            );
        }
    }
    assert!(find("plugin_opt_x").is_some() && find("auth_opt_db_password").is_some());
    assert!(find("plugin_opt_").is_none() && find("").is_none());
}

#[test]
fn without_a_word_it_listens_on_the_loopback() {
    let config = config("");
    assert_eq!(places(&config), ["localhost:1883"]);
    let listener = &config.listeners[0];
    assert!(listener.allow_anonymous);
    assert_eq!(listener.origin, Origin::Default);
    assert_eq!(
        (listener.qos_max, listener.alias_in_max, listener.alias_out_max),
        (2, 10, 10)
    );
    assert_eq!(listener.auto_id_prefix, "auto-");
    assert_eq!(
        (config.shards, config.connections_max, config.half_open_max),
        (None, None, 20_000)
    );
    assert_eq!(
        (config.connect_timeout_ms, config.sys_interval_s),
        (10_000, Some(10))
    );
    assert!(config.tcp_nodelay && config.warnings.is_empty());
    assert_eq!(config.log.destinations, [LogDestination::Stderr]);
    assert_eq!(config.log.types, LogTypes::DEFAULT);
    let broker = &config.broker;
    assert_eq!((broker.inflight_out_max, broker.receive_maximum), (64, 1024));
    assert_eq!(broker.queued_messages_max, None);
    assert_eq!(
        (broker.queued_bytes_max, broker.kept_queued_bytes_max),
        (Some(64 << 20), Some(1 << 30))
    );
    assert_eq!(broker.queued_bytes_total_max, 16 << 30);
    assert_eq!(
        (broker.packet_bytes_max, broker.payload_bytes_max),
        (2_000_000, None)
    );
    assert_eq!(
        (broker.session_expiry_s_max, broker.retain_expiry_s_max),
        (None, None)
    );
    assert_eq!(
        (broker.keep_alive_s_max, broker.server_keep_alive_s),
        (None, None)
    );
    assert_eq!(broker.overlapping, Overlapping::Once);
    assert_eq!(
        broker.receive_maximum_exceeded,
        ReceiveMaximumExceeded::Disconnect
    );
}

#[test]
fn mosquitto_mode_has_its_own_defaults() {
    let config = read("", &Overrides::default(), Mode::Mosquitto);
    let broker = &config.broker;
    assert_eq!((broker.inflight_out_max, broker.receive_maximum), (20, 20));
    assert_eq!(broker.queued_messages_max, Some(1000));
    assert_eq!(
        (broker.queued_bytes_max, broker.kept_queued_bytes_max),
        (None, None)
    );
    assert_eq!(
        (broker.overlapping, broker.sessions_max),
        (Overlapping::Each, None)
    );
    assert_eq!(broker.receive_maximum_exceeded, ReceiveMaximumExceeded::Warn);
    assert!(!config.tcp_nodelay);
    assert_eq!(config.log.timestamp, Some(Timestamp::EpochSeconds));
}

#[test]
fn who_may_log_in() {
    let none = Overrides::default();
    let table: &[(&str, Overrides, &[bool])] = &[
        ("", none.clone(), &[true]),
        ("", flags(&[], Some(1884), &[]), &[true]),
        ("listener 1883 127.0.0.1", none.clone(), &[true]),
        ("listener 1883 localhost", none.clone(), &[true]),
        (
            "listener 1883 127.0.0.1\nlistener 1883 ::1",
            none.clone(),
            &[true, true],
        ),
        ("listener 1883", none.clone(), &[false]),
        ("port 1883", none.clone(), &[false]),
        ("bind_address 127.0.0.1", none.clone(), &[true]),
        ("listener 1883 192.168.1.1", none.clone(), &[false]),
        (
            "listener 1883 127.0.0.1\nlistener 1884",
            none.clone(),
            &[false, false],
        ),
        ("listener 1883\nallow_anonymous true", none.clone(), &[true]),
        ("allow_anonymous false", none.clone(), &[false]),
        (
            "allow_anonymous false",
            flags(&[], None, &["allow_anonymous=true"]),
            &[true],
        ),
        ("", flags(&["127.0.0.1"], None, &[]), &[true]),
        ("", flags(&["0.0.0.0"], None, &[]), &[false]),
        ("", flags(&["*"], None, &["allow_anonymous=true"]), &[true]),
        (
            "listener 1883\nlistener_allow_anonymous true\nlistener 1884",
            none.clone(),
            &[true, false],
        ),
        (
            "allow_anonymous true\nlistener 1883\nlistener 1884\nlistener_allow_anonymous false",
            none,
            &[true, false],
        ),
    ];
    for (text, overrides, expected) in table {
        let config = read(text, overrides, Mode::Native);
        let allowed: Vec<bool> = config.listeners.iter().map(|l| l.allow_anonymous).collect();
        assert_eq!(allowed, *expected, "{text} {overrides:?}");
        assert_eq!(config.warnings.is_empty(), expected.iter().all(|a| *a), "{text}");
    }
}

#[test]
fn listener_directives_belong_to_their_block() {
    let config = config(
        "port 1880\nmax_qos 0\nlistener 1881 127.0.0.1\nmax_qos 1\nmax_connections 5\nqueue_qos0_messages true\n\
         listener 1882 127.0.0.1\nsocket_domain ipv4\naccept_protocol_versions 4 5\nmax_topic_alias 0\nauto_id_prefix x\n\
         listener_auto_id_prefix y\nlistener 1883 ::1\n",
    );
    let [first, second, third, fourth] = &config.listeners[..] else {
        panic!("{config:?}")
    };
    assert_eq!((first.qos_max, second.qos_max, third.qos_max), (0, 1, 2));
    assert_eq!((second.connections_max, third.connections_max), (Some(5), None));
    assert_eq!((third.place.family, third.alias_in_max), (Some(Family::V4), 0));
    assert_eq!(
        third.versions,
        Versions {
            v3_1: false,
            v3_1_1: true,
            v5: true
        }
    );
    assert_eq!(
        (third.auto_id_prefix.as_str(), fourth.auto_id_prefix.as_str()),
        ("y", "x")
    );
    assert_eq!(fourth.origin.to_string(), "t.conf:13   listener 1883 ::1");
    assert!(config.broker.queue_qos0);
}

#[test]
fn above_all_listeners_they_are_the_default_listeners() {
    assert_eq!(config("max_qos 1").listeners[0].qos_max, 1);
    assert_eq!(config("max_qos 1\nport 1884").listeners[0].qos_max, 1);
    assert_eq!(
        read("max_qos 1", &flags(&["::1"], None, &[]), Mode::Native).listeners[0].qos_max,
        1
    );
    assert_eq!(codes("max_qos 1\nlistener 1884", &Overrides::default()), ["F008"]);
}

#[test]
fn flags_win() {
    let one = "listener 1883 127.0.0.1\nmax_qos 1\n";
    let of = |overrides: &Overrides| read(one, overrides, Mode::Native);
    let port = of(&flags(&[], Some(1999), &[]));
    assert_eq!(
        (places(&port), port.listeners[0].qos_max),
        (vec!["127.0.0.1:1999".into()], 1)
    );
    assert_eq!(port.listeners[0].origin.to_string(), "--port 1999");
    let binds = of(&flags(&["[::1]:7", "localhost"], Some(8), &["max_qos=2"]));
    assert_eq!(places(&binds), ["[::1]:7", "localhost:8"]);
    assert!(binds.listeners.iter().all(|l| l.qos_max == 2));
    assert_eq!(places(&of(&flags(&["10.0.0.1"], None, &[]))), ["10.0.0.1:1883"]);
    assert_eq!(places(&of(&flags(&[], Some(0), &[]))), ["127.0.0.1:0"]);
    let two = "listener 1883\nlistener 1884\nallow_anonymous true\n";
    assert_eq!(codes(two, &flags(&[], Some(1885), &[])), ["F019"]);
    let every = read(two, &flags(&[], None, &["max_topic_alias=3"]), Mode::Native);
    assert!(every.listeners.iter().all(|l| l.alias_in_max == 3));
    let set = of(&flags(
        &[],
        None,
        &[
            "auto_id_prefix=a=b",
            "log_type=error",
            "log_type=debug",
            "shards=2",
        ],
    ));
    assert_eq!(
        (set.listeners[0].auto_id_prefix.as_str(), set.shards),
        ("a=b", Some(2))
    );
    assert!(set.log.types.contains(LogType::Debug) && !set.log.types.contains(LogType::Notice));
    let verbose = Overrides {
        verbose: 1,
        ..Overrides::default()
    };
    assert_eq!(
        read("log_type none", &verbose, Mode::Native).log.types,
        LogTypes::ALL
    );
    let quiet = Overrides {
        verbose: 1,
        quiet: true,
        ..Overrides::default()
    };
    assert_eq!(
        read("log_type all", &quiet, Mode::Native).log.types,
        LogTypes::NONE
    );
}

#[test]
fn windows() {
    let table = [
        ("max_inflight_messages 20", (20, 20)),
        ("max_inflight_messages 0", (65_535, 65_535)),
        ("max_inflight_messages 65535", (65_535, 65_535)),
        ("receive_maximum 5", (64, 5)),
        ("receive_maximum 5\nmax_inflight_messages 20", (20, 5)),
        ("max_inflight_messages 20\nmax_inflight_messages 1", (1, 1)),
    ];
    for (text, expected) in table {
        let broker = config(text).broker;
        assert_eq!(
            (broker.inflight_out_max, broker.receive_maximum),
            expected,
            "{text}"
        );
    }
}

#[test]
fn queues() {
    let of = |text| {
        let broker = config(text).broker;
        let plain = (broker.queued_messages_max, broker.queued_bytes_max);
        (plain, broker.kept_queued_bytes_max)
    };
    let bytes = Some(64 << 20);
    let on_disk = Some(1 << 30);
    assert_eq!(of("max_queued_messages 5"), ((Some(5), bytes), on_disk));
    assert_eq!(of("max_queued_messages 0"), ((None, bytes), on_disk));
    assert_eq!(of("persistence false"), ((None, bytes), bytes));
    assert_eq!(of("durability none"), ((None, bytes), bytes));
    assert_eq!(of("max_queued_bytes 9"), ((None, Some(9)), Some(9)));
    assert_eq!(of("max_queued_bytes_session 9"), ((None, bytes), Some(9)));
    assert_eq!(
        of("max_queued_bytes_session 0\nmax_queued_bytes 7"),
        ((None, Some(7)), None)
    );
}

#[test]
fn values_of_the_rest() {
    let config = config(
        "persistent_client_expiration 2d\nretain_expiry_interval 3\nallow_duplicate_messages true\nsys_interval 0\n\
         log_dest none\nlog_dest file /tmp/a b.log\nlog_dest stdout unbuffered\nlog_dest stdout\nlog_timestamp false\n\
         retain_available 0\nmax_keepalive 60\nserver_keep_alive 60\nreceive_maximum_exceeded warn\n",
    );
    assert_eq!(config.broker.session_expiry_s_max, Some(172_800));
    assert_eq!(config.broker.retain_expiry_s_max, Some(180));
    assert_eq!(config.broker.overlapping, Overlapping::Each);
    assert_eq!((config.sys_interval_s, config.log.timestamp), (None, None));
    let [LogDestination::File(file), LogDestination::Stdout] = &config.log.destinations[..] else {
        panic!("{:?}", config.log.destinations)
    };
    assert_eq!(file.path, PathBuf::from("/tmp/a b.log"));
    assert!(matches!(file.origin, Origin::File { line: 6, .. }), "{file:?}");
    assert!(!config.broker.retain_available);
    assert_eq!(
        config.broker.receive_maximum_exceeded,
        ReceiveMaximumExceeded::Warn
    );
    let silent = read(
        "log_dest stderr\nlog_dest none",
        &Overrides::default(),
        Mode::Native,
    );
    assert!(silent.log.destinations.is_empty());
}

#[test]
fn user_means_something_to_root_alone() {
    let errors = |root: bool, text: &str| {
        let mut draft = Draft::default();
        Reader::new(&mut draft, root).main_bytes(Path::new("t.conf"), text.as_bytes());
        build::build(draft, &Overrides::default(), Mode::Native).is_err()
    };
    assert!(errors(true, "user mosquitto"));
    assert!(!errors(true, "user root"));
    assert!(!errors(false, "user mosquitto"));
}

#[test]
fn bytes_at_the_edges_of_a_line() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let files: [&[u8]; 6] = [
        b"\xef\xbb\xbflistener 1884 127.0.0.1",
        b"listener 1884 127.0.0.1\r\n\r\n",
        b"\t listener\t1884 \t127.0.0.1\t# x\n",
        b"# \xff not text, but a comment\nlistener 1884 127.0.0.1",
        b"   # indented\nlistener 1884 127.0.0.1\n\n\n",
        b"listener 0x75c 127.0.0.1",
    ];
    for bytes in files {
        let read = parse(Path::new("t"), bytes, &Overrides::default(), Mode::Native).unwrap();
        let place = &read.listeners[0].place;
        assert_eq!((&place.bind, place.port), (&Bind::Address(address), 1884));
    }
}

#[test]
fn errors_are_bounded_and_counted() {
    let text = "nonsense 1\n".repeat(1000);
    let errors = parse(
        Path::new("t"),
        text.as_bytes(),
        &Overrides::default(),
        Mode::Native,
    )
    .expect_err("all wrong");
    let max = crate::limits::CONFIG_FINDINGS_MAX;
    assert_eq!((errors.findings.len(), errors.more), (max, 1000 - max));
    assert!(errors.to_string().ends_with("... and 950 more errors"));
    let many: Vec<String> = (1..=300)
        .map(|port| format!("listener {port} 127.0.0.1\nmax_qos 1"))
        .collect();
    assert_eq!(codes(&many.join("\n"), &Overrides::default()), ["F016"; 44]);
}

#[test]
fn files_that_are_none() {
    let folder = std::env::temp_dir().join(format!("martlet-config-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("conf.d")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let read = |name: &str| load(Some(&folder.join(name)), &Overrides::default(), Mode::Native);
    let code = |name: &str| read(name).map_or_else(|e| e.findings[0].code.as_str(), |_| "");
    assert_eq!(code("missing.conf"), "F010");
    assert_eq!(code("conf.d"), "F012");
    write("huge.conf", &"#".repeat(crate::limits::CONFIG_FILE_BYTES_MAX + 1));
    assert_eq!(code("huge.conf"), "F011");
    write("no-folder.conf", "include_dir /nonexistent/folder\n");
    assert_eq!(code("no-folder.conf"), "F010");
    for name in ["b.conf", "A.conf", "01.conf", "a.conf", "B.conf", "00.conf"] {
        write(&format!("conf.d/{name}"), &format!("auto_id_prefix {name}\n"));
    }
    write("conf.d/ignored.txt", "nonsense\n");
    write(
        "main.conf",
        &format!("include_dir {}\n", folder.join("conf.d").display()),
    );
    let errors = read("main.conf").expect_err("the prefix is set six times");
    let order: Vec<String> = errors
        .findings
        .iter()
        .map(|finding| match &finding.place {
            Place::Line { file, .. } => file.rsplit('/').next().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, ["01.conf", "A.conf", "a.conf", "B.conf", "b.conf"]);
    assert!(errors.findings[0].message.contains("conf.d/00.conf:1"));
    write("conf.d/00.conf", "include_dir /tmp\n");
    assert!(
        read("main.conf")
            .expect_err("nested")
            .to_string()
            .contains("error[F015]")
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A port of UDP is another one than that of TCP.
#[test]
fn quic() {
    const TLS: &str = "certfile a.pem\nkeyfile a.key\n";
    let codes = |text: &str| codes(text, &Overrides::default());
    let good = format!("listener 8883\n{TLS}listener 8883\nprotocol quic\n{TLS}");
    if cfg!(not(feature = "quic")) {
        assert_eq!(codes(&good), ["F023"]);
        return;
    }
    let config = config(&format!("allow_anonymous true\n{good}"));
    let schemes: Vec<_> = config.listeners.iter().map(Listener::scheme).collect();
    assert_eq!(schemes, ["mqtts", "quic"]);
    assert_eq!(codes("allow_anonymous true\nlistener 1\nprotocol quic"), ["T001"]);
    let unix = format!("allow_anonymous true\nlistener 0 /run/x\nprotocol quic\n{TLS}");
    assert_eq!(codes(&unix), ["F017"]);
    let twice = format!(
        "allow_anonymous true\n{}",
        format!("listener 1\nprotocol quic\n{TLS}").repeat(2)
    );
    assert_eq!(codes(&twice), ["F009"]);
}
