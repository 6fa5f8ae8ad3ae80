//! What people read when something is wrong, end to end on the real binary: `golden/*.txt`, written anew by
//! `UPDATE=1`. Ports, process identifiers, times and folders stand there as words in capitals.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use martlet_codec::Version;
use martlet_interop::{binary, free_port, text};
use martlet_robustness::{Client, Got, Live, Options, UsersFile, wait};

fn compare(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, found).expect("the file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "{} (UPDATE=1 writes it anew)", file.display());
}

/// Runs command lines to their end; `replace` has what differs from run to run.
fn commands(name: &str, lines: &[&str], replace: &[(&str, &str)]) {
    let mut found = String::new();
    for line in lines {
        let typed = replace
            .iter()
            .fold((*line).to_owned(), |line, (real, word)| line.replace(word, real));
        let mut words = typed.split_whitespace();
        assert_eq!(words.next(), Some("martlet"));
        let output = Command::new(binary())
            .args(words)
            .env_remove("XDG_CONFIG_HOME")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .expect("martlet runs");
        let _ = writeln!(found, "$ {line}");
        for stream in [&output.stdout, &output.stderr] {
            // Which brokers run here is not the test's to know.
            let printed = text(stream);
            let lines = printed.split_inclusive('\n');
            found.extend(lines.filter(|line| {
                !line.starts_with("  listening here: ") && !line.starts_with("  fix: martlet ")
            }));
        }
        let _ = writeln!(found, "[status {}]\n", output.status.code().unwrap_or(-1));
    }
    let found = replace
        .iter()
        .fold(found, |found, (real, word)| found.replace(real, word));
    compare(name, &found);
}

/// The lines of a log that have one of the words, without their times; ports of clients are `FROM`.
fn log_lines(broker: &Live, words: &[&str]) -> String {
    let log = broker.log();
    let lines = log
        .lines()
        .filter(|line| words.iter().any(|word| line.contains(word)));
    let lines = lines.map(|line| {
        let line = line.split_once(": ").map_or(line, |(_, line)| line);
        let mut parts = line.split("127.0.0.1:");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            let _ = write!(out, "127.0.0.1:FROM{}", &part[digits..]);
        }
        out + "\n"
    });
    lines.collect()
}

#[test]
fn nothing_listens() {
    let port = free_port().to_string();
    commands(
        "nothing_listens",
        &[
            "martlet sub -h 127.0.0.1 -p PORT -t a",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
            "martlet help C001",
        ],
        &[(&port, "PORT")],
    );
}

/// The words behind `DNS:` are the resolver's, and differ where there is no network.
#[test]
fn host_name() {
    let output = Command::new(binary())
        .args(["sub", "-h", "nosuch.invalid", "-t", "a"])
        .output()
        .expect("martlet runs");
    let said = text(&output.stderr);
    let (start, end) = said.split_once("(DNS: ").unwrap_or((&said, ""));
    let (_, end) = end.rsplit_once(").").unwrap_or(("", end));
    let status = output.status.code().unwrap_or(-1);
    compare(
        "host_name",
        &format!("{start}(DNS: WORDS).{end}[status {status}]\n"),
    );
}

#[test]
fn port_in_use() {
    let mut holder = Live::start("holder", &[]);
    let (port, pid) = (holder.port().to_string(), holder.pid().to_string());
    commands(
        "port_in_use",
        &["martlet broker --bind 127.0.0.1 -p PORT", "martlet help B102"],
        &[(&port, "PORT"), (&pid, "PID")],
    );
    holder.assert_well();
    drop(holder);

    // Without --bind it wants both families of the loopback interface, and names both.
    let four = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = four.local_addr().expect("it is bound").port();
    let six = TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, port)).expect("a free port, and IPv6");
    let (port, pid) = (port.to_string(), std::process::id().to_string());
    let name = std::fs::read_to_string("/proc/self/comm").expect("there is a name");
    commands(
        "port_in_use_twice",
        &["martlet broker -p PORT"],
        &[(&port, "PORT"), (&pid, "PID"), (name.trim(), "PROGRAM")],
    );
    drop((four, six));

    // The same from a file, and held by somebody else than a martlet.
    let folder = std::env::temp_dir().join(format!("martlet-golden-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let config = folder.join("martlet.conf");
    std::fs::write(&config, format!("# ours\nlistener {port} 127.0.0.1\n")).expect("it can be written");
    commands(
        "port_in_use_from_file",
        &["martlet broker -c FOLDER/martlet.conf"],
        &[
            (&folder.to_string_lossy(), "FOLDER"),
            (&port, "PORT"),
            (&pid, "PID"),
            (name.trim(), "PROGRAM"),
        ],
    );
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn wrong_configuration() {
    let folder = std::env::temp_dir().join(format!("martlet-golden-conf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the files");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("it can be written");
    write("b.conf", "listener 1883 127.0.0.1\nallow_anonymus true\n");
    write("b2.conf", "listener 1883 127.0.0.1\nallow_anonymous maybe\n");
    write(
        "both.conf",
        "allow_anonymus true\nmax_qos 3\nmax_packet_size lots\n",
    );
    commands(
        "wrong_configuration",
        &[
            "martlet broker -c FOLDER/b.conf",
            "martlet broker -c FOLDER/b2.conf",
            "martlet broker -c FOLDER/both.conf",
            "martlet broker --set allow_anonymus=true",
            "martlet broker -c FOLDER/none.conf",
            "martlet help F001",
            "martlet help F002",
        ],
        &[(&folder.to_string_lossy(), "FOLDER")],
    );
    let _ = std::fs::remove_dir_all(&folder);
}

/// Files that the broker is to write, and that cannot be written: an error before anything listens.
#[test]
fn cannot_write() {
    let folder = std::env::temp_dir().join(format!("martlet-golden-write-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the files");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("it can be written");
    // Nobody can listen there: who looked at the files first, never tries.
    let listener = "listener 1883 192.0.2.1\n";
    let name = folder.to_string_lossy();
    write(
        "log.conf",
        &format!("{listener}log_dest stderr\nlog_dest file {name}/none/a.log\nlog_dest file {name}\n"),
    );
    write(
        "pid.conf",
        &format!(
            "port {}\nbind_address 127.0.0.1\npid_file {name}/none/pid\n",
            free_port()
        ),
    );
    commands(
        "cannot_write",
        &[
            "martlet broker -c FOLDER/log.conf",
            "martlet broker -c FOLDER/pid.conf",
            "martlet broker --bind 127.0.0.1:0 --set pid_file=FOLDER",
            "martlet help F022",
        ],
        &[(&name, "FOLDER")],
    );
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn another_protocol() {
    let mut broker = Live::start("mismatch", &[]);
    let mut stream = broker.open();
    let bound = Some(Duration::from_secs(10));
    stream.set_read_timeout(bound).expect("a bound above 0");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        .expect("the broker reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    // The start of a TLS hello.
    let mut stream = broker.open();
    stream
        .write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        .expect("the broker reads");
    let mut nothing = Vec::new();
    stream.set_read_timeout(bound).expect("a bound above 0");
    stream.read_to_end(&mut nothing).expect("it closes");
    broker.wait_log("got=tls");
    // One line for each, and no word of the rules of MQTT that other bytes happen to break.
    let log = log_lines(&broker, &["listener.mismatch", "connection.refused"]);
    let answer = answer.replace("\r\n", "\n");
    compare(
        "another_protocol",
        &format!("to HTTP:\n{answer}\nto TLS: {nothing:?}\nlog:\n{log}"),
    );
    broker.assert_well();
}

#[test]
fn packet_too_large() {
    let mut broker = Live::start("large", &[]);
    let mut found = String::new();
    for version in [Version::V5, Version::V3_1_1] {
        let options = Options {
            version,
            ..Options::new("large")
        };
        let mut client = Client::connect(broker.address(), &options);
        let head = 2_431_007 - 5;
        let payload = vec![0; head - 3 - usize::from(version == Version::V5)];
        let (bytes, _) = client.publish_bytes("a", &payload, 0);
        assert_eq!(bytes.len(), 2_431_007);
        // The length is enough to know.
        client.raw(&bytes[..1_000]);
        loop {
            let got = client.answer();
            let _ = writeln!(found, "{version}: {got:?}");
            if got == Got::Closed {
                break;
            }
        }
    }
    wait("two lines", Duration::from_secs(10), || {
        broker.log().matches("max_packet_size").count() == 2
    });
    let log = log_lines(&broker, &["max_packet_size"]);
    compare("packet_too_large", &format!("{found}\nlog:\n{log}"));
    broker.assert_well();
}

#[test]
fn one_client_identifier_twice() {
    let mut broker = Live::start("flapping", &[]);
    let mut clients = vec![broker.client("dup")];
    for _ in 0..20 {
        clients.push(broker.client("dup"));
    }
    broker.wait_log("session.flapping");
    let told = clients[0].answer();
    let log = log_lines(&broker, &["session.flapping"]);
    compare(
        "one_client_identifier_twice",
        &format!("to the first: {told:?}\nlog:\n{log}"),
    );
    broker.assert_well();
}

#[test]
fn more_than_the_receive_maximum() {
    let mut found = String::new();
    for way in ["disconnect", "warn"] {
        let exceeded = format!("receive_maximum_exceeded={way}");
        let mut broker = Live::start(&format!("beyond-{way}"), &["receive_maximum=2", &exceeded]);
        let mut client = broker.client("eager");
        let mut bytes = Vec::new();
        // Nothing is released, so that each takes one more of the two.
        for _ in 0..4 {
            bytes.append(&mut client.publish_bytes("a", b"x", 2).0);
        }
        client.raw(&bytes);
        let _ = writeln!(found, "{way}:");
        for _ in 0..4 {
            let got = client.answer();
            let _ = writeln!(found, "{got:?}");
        }
        let told = if way == "warn" {
            "receive_maximum.exceeded"
        } else {
            "client.disconnected client=eager"
        };
        broker.wait_log(told);
        let log = log_lines(&broker, &["receive_maximum.exceeded", "client.disconnected"]);
        let lines = log.lines().filter(|line| line.contains("client=eager"));
        found.extend(lines.map(|line| format!("log: {line}\n")));
        broker.assert_well();
    }
    compare("more_than_the_receive_maximum", &found);
}

#[test]
fn login_denied() {
    let users = UsersFile::new("denied");
    users.set("alice", "secret");
    let mut broker = Live::start("denied", &[&users.setting()]);
    let mut found = String::new();
    let logins = [
        (Some("alice"), Some("guess")),
        (Some("mallory"), Some("secret")),
        (Some("alice"), None),
        (None, None),
    ];
    let versions = [Version::V5, Version::V3_1_1];
    for (version, (user, password)) in versions
        .iter()
        .flat_map(|version| logins.map(|login| (*version, login)))
    {
        let options = Options {
            version,
            user,
            password,
            ..Options::new("sensor-4")
        };
        let mut client = Client::open(broker.address(), version);
        client.raw(&options.encode());
        let _ = writeln!(found, "{version}, {user:?}, {password:?}: {:?}", client.answer());
        assert_eq!(client.answer(), Got::Closed);
    }
    let count = versions.len() * logins.len();
    wait("a line for each", Duration::from_secs(10), || {
        broker.log().matches("login.denied").count() == count
    });
    let log = log_lines(&broker, &["client.refused", "login.denied"]);
    let log = log.replace(&format!("listener={}", broker.port()), "listener=PORT");
    compare("login_denied", &format!("{found}log:\n{log}"));
    broker.wait_exit_by("TERM");
}

/// What keeps a broker from starting, each line of a password file that makes no sense with what to do.
#[test]
fn password_files() {
    let users = UsersFile::new("w");
    let file = users.path().to_str().expect("a path is text").to_owned();
    let hash = "$6$WiLSH+b56k2L10sB$VvKzwdw+x9BfkRS+0AK/1G/4p9Cp08AwaDg2qDRwBuAGJxhVJRWxjgEyd5gwjkjAqKiN0XKls9/2w0J0mGgzDw==";
    let text = format!(
        "# users\nalice:{hash}\n\ncarol\ndave:\nerin:secret\nfrank:$2y$10$abc\ngrace:$7$101$abc\nalice:{hash}\n:{hash}\n"
    );
    std::fs::write(users.path(), text).expect("the file can be written");
    commands(
        "password_files",
        &[
            "martlet broker --bind 127.0.0.1 -p 0 --set password_file=FILE",
            "martlet broker --bind 127.0.0.1 -p 0 --set password_file=no/such/users",
            "martlet broker --bind 127.0.0.1 -p 0 --set password_file=.",
            "martlet help U101",
            "martlet help U102",
            "martlet help U103",
        ],
        &[(&file, "FILE")],
    );
}

/// DISCONNECT with code 4, "with will".
const DISCONNECT_WITH_WILL: [u8; 3] = [0xe0, 1, 4];

#[test]
fn comings_and_goings() {
    let mut broker = Live::start("comings", &["log_type=all"]);
    let with = |id, user, expiry_s, will| Options {
        user,
        expiry_s,
        will,
        ..Options::new(id)
    };
    let clients = [
        with("plain", None, 0, None),
        with("named", Some("alice"), 60, Some(("a/will", "gone"))),
        with("kept", None, u32::MAX, None),
    ];
    for options in &clients {
        let mut client = Client::connect(broker.address(), options);
        client.subscribe("a/0", 0);
        client.subscribe("a/1", 1);
        client.raw(&DISCONNECT_WITH_WILL);
        assert_eq!(client.answer(), Got::Closed);
    }
    wait("all have left", Duration::from_secs(10), || {
        broker.log().matches("client.disconnected").count() == clients.len()
    });
    let words = ["client.connected", "client.disconnected", "client.subscribed"];
    let log = log_lines(&broker, &words);
    let log = log.replace(&format!("listener={}", broker.port()), "listener=PORT");
    compare("comings_and_goings", &log);
    broker.assert_well();
}

/// What a broker says at its start, with the log in a file too.
#[test]
fn what_the_log_says_of_the_start() {
    let folder = std::env::temp_dir().join(format!("martlet-golden-start-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the log");
    let path = folder.join("a.log");
    let log_dest = format!("log_dest=file {}", path.display());
    let mut found = String::new();
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    for anonymous in ["allow_anonymous=true", "allow_anonymous=false"] {
        let mut broker = Live::start("start", &[anonymous, &log_dest]);
        wait("its start", Duration::from_secs(10), || {
            read().contains("broker.reach")
        });
        let _ = writeln!(found, "{anonymous}");
        let port = broker.port().to_string();
        // The port is taken for a second one, which says so in the same file.
        let output = Command::new(binary())
            .args(["broker", "--bind", "127.0.0.1", "-p", &port, "--set", &log_dest])
            .stdin(Stdio::null())
            .output()
            .expect("martlet runs");
        assert_eq!(output.status.code(), Some(1));
        let (log, pid) = (read(), broker.pid().to_string());
        let lines = log
            .lines()
            .filter(|line| !line.contains("connection.closed"))
            .map(|line| line.split_once(": ").map_or(line, |(_, line)| line));
        for line in lines {
            let line = line.replace(&format!(":{port}"), ":PORT");
            let line = line.replace(&format!("(pid {pid})"), "(pid PID)");
            let folder = line.split(' ').find_map(|word| word.strip_prefix("folder="));
            let line = folder.map_or(line.clone(), |folder| line.replace(folder, "FOLDER"));
            let _ = writeln!(found, "{line}");
        }
        broker.wait_exit_by("TERM");
        let _ = std::fs::remove_file(&path);
    }
    compare("what_the_log_says_of_the_start", &found);
    let _ = std::fs::remove_dir_all(&folder);
}
