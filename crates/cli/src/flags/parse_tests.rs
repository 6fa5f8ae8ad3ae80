use martlet_codec::PropertyId;

use super::*;
use crate::flags::Later;
use crate::flags::property::BadProperty;
use crate::format::BadFormat;
use crate::program::Manner;

fn role(program: Program, manner: Manner) -> Role {
    Role { program, manner }
}

/// Reads arguments and nothing else: no options file.
fn read(role: Role, line: &str) -> Result<Settings, Wrong> {
    let args: Vec<OsString> = line
        .split(' ')
        .filter(|arg| !arg.is_empty())
        .map(OsString::from)
        .collect();
    let mut settings = Settings::new(role);
    let asked = Arguments::new(role, &args).read_into(&mut settings)?;
    assert!(asked.is_none(), "{line}");
    rules::check(&mut settings)?;
    Ok(settings)
}

fn ours(program: Program, line: &str) -> Settings {
    read(role(program, Manner::Martlet), line).unwrap_or_else(|wrong| panic!("{line}: {wrong:?}"))
}

/// What a mosquitto program says of it.
fn said(program: Program, line: &str) -> String {
    let role = role(program, Manner::Mosquitto);
    match read(role, line) {
        Ok(_) => panic!("{line} is right"),
        Err(wrong) => wrong.mosquitto(role),
    }
}

#[test]
fn defaults() {
    let settings = ours(Program::Pub, "-t a -m b");
    assert_eq!(
        (settings.host.as_str(), settings.port(), settings.keep_alive_s),
        ("localhost", 1883, 60)
    );
    assert_eq!(
        (settings.qos, settings.retain, settings.clean_start),
        (Qos::AtMostOnce, false, true)
    );
    assert_eq!((settings.inflight_max, settings.repeat.count), (20, 1));
    assert_eq!(settings.first_version(), Version::V5);
    assert!(settings.may_fall_back());
    for (program, version) in [
        (Program::Pub, Version::V3_1_1),
        (Program::Sub, Version::V3_1_1),
        (Program::Rr, Version::V5),
    ] {
        let settings = Settings::new(role(program, Manner::Mosquitto));
        assert_eq!(settings.first_version(), version);
        assert!(!settings.may_fall_back());
    }
}

#[test]
fn values() {
    let settings = ours(
        Program::Sub,
        "-h h -p 1884 -u me -P secret -i id -k 30 -q 2 -t a/# -t +/b -T a/x -U old -C 5 -W 9 -V 5 -x 0x10 -M 3 -v -N \
         --pretty -F %t --random-filter 12.5 --will-topic w --will-payload gone --will-qos 1 --will-retain -A ::1 \
         --retain-handling new --retain-as-published -R -d --quiet -E -c --nodelay --no-tls",
    );
    assert_eq!((settings.host.as_str(), settings.port()), ("h", 1884));
    assert_eq!(settings.username.as_deref(), Some("me"));
    assert_eq!(settings.password.as_deref(), Some(&b"secret"[..]));
    assert_eq!(settings.client_id.as_deref(), Some("id"));
    assert_eq!((settings.keep_alive_s, settings.qos), (30, Qos::ExactlyOnce));
    let filters: Vec<&str> = settings.filters.iter().map(FilterBuf::as_str).collect();
    assert_eq!(filters, ["a/#", "+/b"]);
    assert_eq!((settings.filters_out.len(), settings.unsubscribe.len()), (1, 1));
    assert_eq!((settings.count, settings.timeout_s), (Some(5), Some(9)));
    assert_eq!(
        (settings.version, settings.session_expiry_s),
        (Some(Version::V5), Some(16))
    );
    assert_eq!((settings.inflight_max, settings.random_filter), (3, 125));
    assert!(settings.verbose && !settings.eol && settings.pretty && settings.format.is_some());
    assert_eq!(settings.will.topic.unwrap().as_str(), "w");
    assert_eq!(settings.will.payload.as_deref(), Some(&b"gone"[..]));
    assert!(settings.will.retain && settings.will.qos == Qos::AtLeastOnce);
    assert_eq!(settings.bind.as_deref(), Some("::1"));
    // -R comes last and has the last word.
    assert_eq!(settings.retain_handling, RetainHandling::Never);
    assert!(settings.retain_as_published && settings.no_retained && settings.exit_after_suback);
    assert!(settings.debug && settings.quiet && !settings.clean_start && settings.no_tls);
}

#[test]
fn long_names_and_values_that_begin_with_a_dash() {
    let settings = ours(
        Program::Pub,
        "--topic a --message -5 --host h --port 1 --qos 1 --retain --id -x --repeat 3 --repeat-delay 0.5 -x -1",
    );
    assert_eq!(settings.input, Some(Input::Text(b"-5".to_vec())));
    assert_eq!(settings.client_id.as_deref(), Some("-x"));
    assert_eq!(
        (settings.repeat.count, settings.repeat.delay),
        (3, Duration::from_millis(500))
    );
    assert_eq!(settings.session_expiry_s, Some(u32::MAX));
    assert_eq!(
        ours(Program::Pub, "-t a -m b -i i -x ∞").session_expiry_s,
        Some(u32::MAX)
    );
}

#[test]
fn joined_forms_are_ours_alone() {
    let settings = ours(Program::Sub, "-vN -ta --topic=b -p1884");
    let filters: Vec<&str> = settings.filters.iter().map(FilterBuf::as_str).collect();
    assert_eq!(filters, ["a", "b"]);
    assert_eq!(settings.port(), 1884);
}

#[test]
fn switches_then_an_option() {
    let settings = ours(Program::Sub, "-vt a");
    assert!(settings.verbose);
    assert_eq!(settings.filters.len(), 1);
    for line in ["-vt a", "-ta", "--topic=a"] {
        let text = said(Program::Sub, line);
        assert!(text.starts_with("Error: Unknown option '-"), "{text}");
    }
    for line in ["-vz", "-zv", "--verbose=1", "-t a --topci b", "-vta", "-Dpublish"] {
        let wrong = read(role(Program::Sub, Manner::Martlet), line);
        assert!(matches!(wrong, Err(Wrong::Unknown(_))), "{line}: {wrong:?}");
    }
}

#[test]
fn properties_of_packets() {
    let settings = ours(
        Program::Pub,
        "-t a -m b -D publish user-property k v -D PUBLISH content-type -t --property connect receive-maximum 5 \
         -D will will-delay-interval 3 --will-topic w -D disconnect session-expiry-interval 7 \
         -D connect authentication-data abc -D connect authentication-method plain",
    );
    let publish = settings.properties.publish.as_properties();
    assert_eq!(publish.user_properties().collect::<Vec<_>>(), [("k", "v")]);
    assert_eq!(publish.text(PropertyId::ContentType), Some("-t"));
    assert_eq!(
        settings
            .properties
            .connect
            .as_properties()
            .receive_maximum()
            .unwrap()
            .get(),
        5
    );
    assert_eq!(
        settings
            .will
            .properties
            .as_properties()
            .number(PropertyId::WillDelayInterval),
        Some(3)
    );
    assert_eq!(
        settings.properties.disconnect.as_properties().session_expiry_s(),
        Some(7)
    );
    assert_eq!(settings.version, Some(Version::V5));
    assert!(!settings.may_fall_back());
}

#[test]
fn wrong_properties() {
    use BadProperty::{Command, Name, NotAllowed, NotNumber, NotSupported, OutOfRange, Refused, Twice};
    let cases = [
        ("foo content-type x", Command("foo".into())),
        ("publish foo x", Name("foo".into())),
        (
            "publish receive-maximum 1",
            NotAllowed("receive-maximum".into(), "publish".into()),
        ),
        (
            "puback user-property a b",
            NotSupported("user-property".into(), "puback".into()),
        ),
        (
            "publish subscription-identifier 1",
            NotSupported("subscription-identifier".into(), "publish".into()),
        ),
        ("connect receive-maximum x", NotNumber("x".into())),
        (
            "connect receive-maximum 65536",
            OutOfRange(65536, "receive-maximum".into()),
        ),
        (
            "connect receive-maximum -1",
            OutOfRange(-1, "receive-maximum".into()),
        ),
        (
            "connect receive-maximum 0",
            OutOfRange(0, "receive-maximum".into()),
        ),
        (
            "subscribe subscription-identifier 0",
            OutOfRange(0, "subscription-identifier".into()),
        ),
        ("publish topic-alias 0", OutOfRange(0, "topic-alias".into())),
        (
            "publish response-topic a/+",
            Refused(
                "response-topic".into(),
                "it has a wildcard ('+' or '#'), and those belong in topic filters only".into(),
            ),
        ),
        (
            "publish content-type a -D publish content-type b",
            Twice("content-type".into()),
        ),
        (
            "connect authentication-data a -D connect authentication-data b",
            Twice("authentication-data".into()),
        ),
    ];
    for (line, bad) in cases {
        match read(
            role(Program::Pub, Manner::Martlet),
            &format!("-t a -m b -D {line}"),
        ) {
            Err(Wrong::Property(found)) => assert_eq!(found, bad, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn what_mosquitto_says() {
    let usage = |program: &str| format!("\nUse '{program} --help' to see usage.\n");
    let cases = [
        (
            Program::Pub,
            "-t",
            "Error: -t argument given but no topic specified.\n\n",
        ),
        (
            Program::Pub,
            "--topic",
            "Error: -t argument given but no topic specified.\n\n",
        ),
        (
            Program::Pub,
            "-x",
            "Error: -x argument given but no session expiry interval specified.\n\n",
        ),
        (
            Program::Pub,
            "-V",
            "Error: --protocol-version argument given but no version specified.\n\n",
        ),
        (
            Program::Pub,
            "-V 4",
            "Error: Invalid protocol version argument given.\n\n",
        ),
        (
            Program::Pub,
            "-M",
            "Error: -M argument given but max_inflight not specified.\n\n",
        ),
        (
            Program::Pub,
            "-D publish",
            "Error: --property argument given but not enough arguments specified.\n\n",
        ),
        (
            Program::Pub,
            "-D publish user-property a",
            "Error: --property argument given but not enough arguments specified.\n\n",
        ),
        (
            Program::Pub,
            "--will-topic",
            "Error: --will-topic argument given but no will topic specified.\n\n",
        ),
        (Program::Pub, "--foo", "Error: Unknown option '--foo'.\n"),
        (Program::Pub, "-C 3", "Error: Unknown option '-C'.\n"),
        (Program::Pub, "-q 3", "Error: Invalid QoS given: 3\n"),
        (Program::Pub, "-p 70000", "Error: Invalid port given: 70000\n"),
        (
            Program::Pub,
            "-k 4",
            "Error: Invalid keepalive given, it must be between 5 and 65535 inclusive.\n\n",
        ),
        (
            Program::Pub,
            "-t a+",
            "Error: Invalid publish topic 'a+', does it contain '+' or '#'?\n",
        ),
        (
            Program::Sub,
            "-t a+",
            "Error: Invalid subscription topic 'a+', are all '+' and '#' wildcards correct?\n",
        ),
        (
            Program::Pub,
            "-m a -n",
            "Error: Only one type of message can be sent at once.\n\n",
        ),
        (
            Program::Pub,
            "-i a -I b",
            "Error: -i and -I argument cannot be used together.\n\n",
        ),
        (
            Program::Pub,
            "-t a -m b -c",
            "Error: You must provide a client id if you are using the -c option.\n",
        ),
        (
            Program::Pub,
            "-t a -m b --will-retain",
            "Error: Will retain given, but no will topic given.\n",
        ),
        (Program::Pub, "-L foo", "Error: Unsupported URL scheme.\n\n"),
        (
            Program::Sub,
            "-C 0 -t a",
            "Error: Invalid message count \"0\".\n\n",
        ),
        (
            Program::Sub,
            "-F %z -t a",
            "Error: Invalid format specifier 'z'.\n",
        ),
        (
            Program::Sub,
            "-F",
            "Error: -F argument given but no format specified.\n\n",
        ),
        (
            Program::Sub,
            "-v",
            "Error: You must specify a topic to subscribe to (-t) or unsubscribe from (-U).\n",
        ),
        (
            Program::Sub,
            "--retain-handling x",
            "Error: Unknown value 'x' for --retain-handling.\n\n",
        ),
        (
            Program::Rr,
            "-t a -m b",
            "Error: All of topic, message, and response topic must be supplied.\n",
        ),
    ];
    for (program, line, expected) in cases {
        assert_eq!(
            said(program, line),
            expected.to_owned() + &usage(program.mosquitto()),
            "{line}"
        );
    }
    assert_eq!(
        said(Program::Pub, "-t a"),
        "Error: Both topic and message must be supplied.\n"
    );
    assert_eq!(
        said(Program::Sub, "-t a -R --retained-only"),
        "\nError: Combining '-R' and '--retained-only' makes no sense.\n"
    );
}

#[test]
fn options_to_come_are_refused_by_name() {
    let cases = [
        ("--psk k", "--psk", Later::Psk),
        ("--tls-engine e", "--tls-engine", Later::Engine),
        ("--keyform engine", "--keyform engine", Later::Engine),
        ("--tls-keylog f", "--tls-keylog", Later::KeyLog),
    ];
    for (line, name, later) in cases {
        for manner in [Manner::Martlet, Manner::Mosquitto] {
            match read(role(Program::Pub, manner), &format!("-t a -m b {line}")) {
                Err(Wrong::Later(found, why)) => assert_eq!((found.as_str(), why), (name, later)),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
    assert_eq!(ours(Program::Pub, "-t a -m b -p 8883 --no-tls").port(), 8883);
}

#[test]
fn options_of_5_0_need_it() {
    for line in ["-D publish content-type x", "-x 5", "--retain-handling new"] {
        let sub = read(
            role(Program::Sub, Manner::Martlet),
            &format!("-t a {line} -V 311"),
        );
        assert!(matches!(sub, Err(Wrong::NeedsV5(_))), "{line}");
        assert!(
            !ours(Program::Sub, &format!("-t a {line}")).may_fall_back(),
            "{line}"
        );
        assert!(
            read(
                role(Program::Sub, Manner::Mosquitto),
                &format!("-t a {line} -V 311")
            )
            .is_ok()
        );
    }
    assert!(matches!(
        read(role(Program::Pub, Manner::Martlet), "-t a -m b -x -1"),
        Err(Wrong::NoIdForExpiry)
    ));
    assert_eq!(
        ours(Program::Sub, "-t a -c -i me").session_expiry_s,
        Some(u32::MAX)
    );
}

#[test]
fn the_options_file() {
    let path = Path::new("opts");
    let role = role(Program::Sub, Manner::Martlet);
    let mut settings = Settings::new(role);
    let text = b"# comment\n-h example.org\r\n\n-v\n-u a b\n-t x/#\n-D subscribe user-property k v\n";
    assert!(file_lines(&mut settings, path, text).unwrap().is_none());
    assert_eq!((settings.host.as_str(), settings.verbose), ("example.org", true));
    assert_eq!(settings.username.as_deref(), Some("a b"));
    assert_eq!(settings.filters.len(), 1);
    let wrong = file_lines(&mut settings, path, b"-v\n-q 7\n").unwrap_err();
    assert_eq!(wrong.origin().as_deref(), Some("opts:2"));
    assert_eq!(wrong.sentence(Program::Sub), "-q takes 0, 1 or 2, not '7'.");
}

#[test]
fn ports_and_identifiers() {
    for (manner, line) in [
        (Manner::Martlet, "-t a -m b -p 0"),
        (Manner::Mosquitto, "-t a -m b -p 0"),
        (Manner::Martlet, "-t a -m b -p 65536"),
    ] {
        let wrong = read(role(Program::Pub, manner), line);
        assert!(matches!(wrong, Err(Wrong::Port(_))), "{line}: {wrong:?}");
    }
    let with_empty_id = |role: Role, version: &str| {
        let args = ["-t", "a", "-m", "b", "-i", "", "-V", version].map(OsString::from);
        let mut settings = Settings::new(role);
        Arguments::new(role, &args).read_into(&mut settings).unwrap();
        rules::check(&mut settings)
    };
    let theirs = role(Program::Pub, Manner::Mosquitto);
    let wrong = with_empty_id(theirs, "311").unwrap_err();
    assert_eq!(wrong.mosquitto(theirs), "Error: Invalid id.\n");
    assert!(with_empty_id(theirs, "5").is_ok());
    assert!(with_empty_id(role(Program::Pub, Manner::Martlet), "311").is_ok());
}

#[test]
fn all_options_that_need_5_0_are_known() {
    let settings = ours(
        Program::Sub,
        "-t a -x 5 -D connect user-property k v -x 6 --retain-handling new",
    );
    assert_eq!(settings.needs_v5, ["-x", "-D", "--retain-handling"]);
}

#[test]
fn sentences_help() {
    let sentence = |program, line: &str| {
        let wrong = read(role(program, Manner::Martlet), line).unwrap_err();
        wrong.sentence(program)
    };
    let cases = [
        ("-t", "-t needs a value: -t TOPIC"),
        (
            "--tpoic a",
            "there is no option '--tpoic'. Did you mean '--topic'?",
        ),
        ("a/b", "'a/b' is not an option; a topic stands behind -t."),
        (
            "-t a -m b -D publish contet-type x",
            "there is no property 'contet-type'. Did you mean 'content-type'?",
        ),
        (
            "-t a -m b -D publish response-topic a/#",
            "the value of response-topic is not valid: it has a wildcard ('+' or '#'), and those belong in topic \
             filters only.",
        ),
        (
            "-t a -m b -D publish content-type x -D publish content-type y",
            "content-type is given twice, and can stand once in a packet.",
        ),
        ("-t a", "a topic and a message are needed: -t TOPIC -m MESSAGE"),
    ];
    for (line, expected) in cases {
        assert_eq!(sentence(Program::Pub, line), expected);
    }
    assert_eq!(
        Wrong::Format(BadFormat::Incomplete).sentence(Program::Sub),
        "-F ends in the middle of a % or @."
    );
}

#[test]
fn help_and_version() {
    for (text, is_help) in [("--help", true), ("--version", false)] {
        let args = [OsString::from("-v"), OsString::from(text)];
        let mut settings = Settings::new(role(Program::Sub, Manner::Martlet));
        let asked = Arguments::new(settings.role, &args)
            .read_into(&mut settings)
            .unwrap();
        assert_eq!(matches!(asked, Some(Asked::Help)), is_help);
    }
}
