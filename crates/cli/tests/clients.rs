//! `pub`, `sub` and `rr` against a running broker.

mod common;

use std::io::BufRead;

use common::{Broker, folder, link, martlet, plain, run, run_with, signal, wait_for};

const VERSIONS: [&str; 3] = ["31", "311", "5"];

#[test]
fn each_version_and_qos() {
    let broker = Broker::start();
    for subscriber in VERSIONS {
        for qos in 0..3 {
            let sub = broker.sub(&format!("-v -t S013/# -C 3 -q 2 -F %t|%p|%q -V {subscriber}"));
            for publisher in VERSIONS {
                broker.publish(&format!(
                    "-t S013/MOT01/RECM -m DRVZ+1000 -q {qos} -V {publisher}"
                ));
            }
            let expected = format!("S013/MOT01/RECM|DRVZ+1000|{qos}\n").repeat(3);
            let ran = sub.end();
            assert_eq!((ran.status, ran.text()), (0, expected.as_str()), "{}", ran.stderr);
        }
    }
}

#[test]
fn topic_and_payload() {
    let broker = Broker::start();
    let sub = broker.sub("-v -t # -C 4");
    broker.publish("-t a/b -m x");
    broker.publish("-t a/b -n");
    let mut spaces = broker.client("pub");
    spaces.args(["-t", "温度 1/a b", "-m", "21 °C"]);
    run(spaces).ok();
    let file = folder("payload").join("payload");
    std::fs::write(&file, b"from a file").unwrap();
    let mut from_file = broker.client("pub -t f");
    from_file.arg("-f").arg(file);
    run(from_file).ok();
    assert_eq!(
        sub.end().text(),
        "a/b x\na/b (null)\n温度 1/a b 21 °C\nf from a file\n"
    );
}

#[test]
fn standard_input() {
    let broker = Broker::start();
    let sub = broker.sub("-t in -C 4 -q 2");
    run_with(broker.client("pub -t in -l -q 2"), b"one\n\ntwo\nthree").ok();
    run_with(broker.client("pub -t in -s"), b"all\nof it").ok();
    // An empty line is an empty message, of which nothing is printed.
    assert_eq!(sub.end().text(), "one\ntwo\nthree\n");
    let sub = broker.sub("-t in -C 1");
    run_with(broker.client("pub -t in -s"), b"all\nof it").ok();
    assert_eq!(sub.end().text(), "all\nof it\n");
    run_with(broker.client("pub -t in -l"), b"").ok();
}

#[test]
fn many_lines_in_order() {
    let broker = Broker::start();
    let lines = (0..5_000).fold(String::new(), |lines, n| format!("{lines}{n}\n"));
    for qos in 1..3 {
        let sub = broker.sub("-t in -C 5000 -q 2");
        run_with(
            broker.client(&format!("pub -t in -l -q {qos} -M 7")),
            lines.as_bytes(),
        )
        .ok();
        let ran = sub.end();
        assert!(ran.text() == lines, "{}", ran.text().len());
    }
}

#[test]
fn large_and_binary_payloads() {
    let broker = Broker::start();
    let payload: Vec<u8> = (0..1_048_576_u32).map(|n| (n * 7 % 251) as u8).collect();
    for version in ["311", "5"] {
        let sub = broker.sub(&format!("-t big -C 1 -N -q 1 -V {version}"));
        run_with(
            broker.client(&format!("pub -t big -s -q 1 -V {version}")),
            &payload,
        )
        .ok();
        assert!(sub.end().stdout == payload);
    }
}

#[test]
fn retained_messages() {
    let broker = Broker::start();
    for topic in ["r/1", "r/2", "r/3"] {
        broker.publish(&format!("-t {topic} -m {topic} -r -q 1"));
    }
    let all = run(broker.client("sub -v -t r/# -C 3")).ok();
    let mut lines: Vec<&str> = all.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["r/1 r/1", "r/2 r/2", "r/3 r/3"]);
    // -R prints none of them, --retain-handling never sends none.
    for line in ["-R", "-R -V 311", "--retain-handling never"] {
        let ran = run(broker.client(&format!("sub -t r/# -W 1 {line}")));
        assert_eq!((ran.status, ran.text()), (27, ""), "{line}");
    }
    // The first message that is not retained ends it.
    let only = broker.sub("--retained-only -t r/# -F %t");
    broker.publish("-t r/4 -m live");
    let ran = only.end();
    assert_eq!((ran.status, ran.text().lines().count()), (0, 3));
    // Removed are those that are not filtered out.
    run(broker.client("sub --remove-retained -t r/# -T r/2 -C 2")).ok();
    let left = run(broker.client("sub -t r/# -F %t%r -W 1"));
    assert_eq!((left.status, left.text()), (27, "r/21\n"));
}

#[test]
fn retain_as_published() {
    let broker = Broker::start();
    for (line, expected) in [("", "0\n"), ("--retain-as-published", "1\n")] {
        let sub = broker.sub(&format!("-t keep -F %r -R -C 1 {line}"));
        broker.publish("-t keep -m x -r");
        // With the flag kept, -R takes it for a retained message.
        if line.is_empty() {
            assert_eq!(sub.end().text(), expected);
        } else {
            sub.signal("TERM");
            assert_eq!(sub.end().text(), "");
            let sub = broker.sub("-t keep2 -F %r -C 1 --retain-as-published");
            broker.publish("-t keep2 -m x -r");
            assert_eq!(sub.end().text(), expected);
        }
    }
}

#[test]
fn filters_out_and_many_filters() {
    let broker = Broker::start();
    let sub = broker.sub("-t a/# -t b/+ -T a/no/# -T b/no -F %t -C 3");
    for topic in ["a/1", "a/no/1", "b/1", "b/no", "c", "a/2/3"] {
        broker.publish(&format!("-t {topic} -m x"));
    }
    assert_eq!(sub.end().text(), "a/1\nb/1\na/2/3\n");
}

#[test]
fn properties_arrive() {
    let broker = Broker::start();
    let sub = broker.sub("-t p -C 1 -q 1 -D subscribe subscription-identifier 7 -F %C|%D|%E|%F|%P|%R|%S|%m");
    broker.publish(
        "-t p -m x -q 1 -D publish content-type text/plain -D publish correlation-data id \
         -D publish message-expiry-interval 600 -D publish payload-format-indicator 1 \
         -D publish user-property k v -D publish user-property k w -D publish response-topic re",
    );
    assert_eq!(sub.end().text(), "text/plain|id|600|1|k:v k:w|re|7|1\n");
    let sub = broker.sub("-t alias -C 3 -v");
    broker.publish("-t alias -m x --repeat 3 -q 1 -D publish topic-alias 1");
    assert_eq!(sub.end().text(), "alias x\n".repeat(3));
}

#[test]
fn repeats() {
    let broker = Broker::start();
    let sub = broker.sub("-t again -C 3");
    broker.publish("-t again -m x --repeat 3 --repeat-delay 0.01 -q 2");
    assert_eq!(sub.end().text(), "x\n".repeat(3));
}

#[test]
fn stored_sessions() {
    let broker = Broker::start();
    for version in ["311", "5"] {
        let name = format!("-i keeper{version} -c -q 1 -V {version}");
        run(broker.client(&format!("sub -t s/# -t t/# -E {name}"))).ok();
        broker.publish("-t s/1 -m kept -q 1");
        let sub = run(broker.client(&format!("sub -v -t s/# -C 1 {name}"))).ok();
        assert_eq!(sub.text(), "s/1 kept\n");
        run(broker.client(&format!("sub -U s/# -E {name}"))).ok();
        broker.publish("-t s/1 -m lost -q 1");
        broker.publish("-t t/1 -m kept -q 1");
        let sub = run(broker.client(&format!("sub -v -U none -C 1 {name}"))).ok();
        assert_eq!(sub.text(), "t/1 kept\n");
    }
}

#[test]
fn the_count_takes_no_more_than_it_prints() {
    let broker = Broker::start();
    run(broker.client("sub -t c -E -i counter -c -q 1")).ok();
    run_with(broker.client("pub -t c -l -q 1"), b"1\n2\n3\n").ok();
    for expected in ["1\n", "2\n", "3\n"] {
        let sub = run(broker.client("sub -t c -C 1 -i counter -c -q 1")).ok();
        assert_eq!(sub.text(), expected);
    }
}

#[test]
fn time_is_over() {
    let broker = Broker::start();
    let ours = run(broker.client("sub -t nothing -W 1"));
    assert_eq!(
        (ours.status, ours.stderr.as_str()),
        (27, "error[C020]: stopped after 1 s, as -W says.\n")
    );
    let rr = run(broker.client("rr -t nothing -e none -m x -W 1"));
    assert_eq!(rr.status, 27);
    let mut theirs = plain(link("mosquitto_sub"));
    theirs.args([
        "-h",
        "127.0.0.1",
        "-t",
        "nothing",
        "-W",
        "1",
        "-p",
        &broker.port.to_string(),
    ]);
    let theirs = run(theirs);
    assert_eq!((theirs.status, theirs.stderr.as_str()), (27, "Timed out\n"));
}

#[test]
fn request_and_response() {
    let broker = Broker::start();
    for version in ["311", "5"] {
        let mut responder = broker.sub(&format!("-t ask -F %p -C 1 -V {version}"));
        let mut asked = responder.stdout();
        let rr = broker
            .client(&format!("rr -t ask -e answer -m status -v -V {version}"))
            .spawn()
            .unwrap();
        let mut line = String::new();
        asked.read_line(&mut line).unwrap();
        assert_eq!(line, "status\n");
        broker.publish("-t answer -m good");
        let ran = common::end(rr);
        assert_eq!((ran.status, ran.text()), (0, "answer good\n"), "{}", ran.stderr);
        responder.end();
    }
    let echo = run(broker.client("rr -t echo -e echo -m x --latency -F %R/%p")).ok();
    assert!(echo.text().starts_with("echo/x\nLatency: "), "{}", echo.text());
}

#[test]
fn a_will_is_published_for_the_killed() {
    let broker = Broker::start();
    let watcher = broker.sub("-v -t will/# -C 2");
    let lost = broker.sub("-t x --will-topic will/1 --will-payload gone --will-qos 1");
    lost.signal("KILL");
    lost.end();
    // Asked to go, it goes with its will, as mosquitto_sub does in 5.0.
    let asked = broker.sub("-t x --will-topic will/2 --will-payload left");
    asked.signal("TERM");
    assert_eq!(asked.end().status, 0);
    assert_eq!(watcher.end().text(), "will/1 gone\nwill/2 left\n");
}

#[test]
fn interrupts_end_it_well() {
    let broker = Broker::start();
    for name in ["INT", "TERM"] {
        let sub = broker.sub("-t x");
        sub.signal(name);
        assert_eq!(sub.end().status, 0);
    }
}

#[test]
fn a_reader_that_goes_ends_it() {
    let broker = Broker::start();
    let mut sub = broker.sub("-t x");
    let mut stdout = sub.stdout();
    broker.publish("-t x -m 1");
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "1\n");
    drop(stdout);
    broker.publish("-t x -m 2");
    let ran = sub.end();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let broker = Broker::start();
    broker.publish("-t full -m x -r -q 1");
    let full = |mut command: std::process::Command| {
        let device = std::fs::OpenOptions::new().write(true).open("/dev/full");
        command.stdout(device.unwrap());
        run(command)
    };
    let why = "rror: cannot write to standard output: no space left on device.\n";
    for line in ["sub -t full -C 1", "sub -t full", "rr -t ask -e full -m x"] {
        let ran = full(broker.client(line));
        let expected = why.replace("rror:", "error[C014]:");
        assert_eq!((ran.status, ran.stderr), (1, expected), "{line}");
    }
    let mut theirs = plain(link("mosquitto_sub"));
    theirs.args(["-h", "127.0.0.1", "-t", "full", "-C", "1", "-p"]);
    theirs.arg(broker.port.to_string());
    let ran = full(theirs);
    let expected = why.replace("rror: c", "Error: C");
    assert_eq!((ran.status, ran.stderr), (0, expected));
}

#[test]
fn who_takes_over_a_client_identifier_ends_the_other() {
    let broker = Broker::start();
    let first = broker.sub("-t x -i dd");
    let second = broker.sub("-t x -i dd -C 1");
    let ran = first.end();
    assert_eq!(ran.status, 4, "{}", ran.stderr);
    let why = "error[C007]: the server ended the connection: session taken over (0x8e).\n";
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
    // It does not come back.
    broker.publish("-t x -m 1 -q 1");
    let ran = second.end();
    assert_eq!((ran.status, ran.text()), (0, "1\n"), "{}", ran.stderr);
}

#[test]
fn packets_are_shown_with_the_name_of_the_client() {
    let broker = Broker::start();
    let ours = run(broker.client("pub -t a -m x -d"));
    let lines: Vec<&str> = ours.stderr.lines().collect();
    assert_eq!(lines[0], "Client (to be assigned) sending CONNECT");
    let named = lines[1].strip_prefix("Client ").unwrap();
    let id = named.strip_suffix(" received CONNACK (0)").unwrap();
    assert!(!id.is_empty() && !id.starts_with('('), "{id}");
    let given = run(broker.client("pub -t a -m x -d -i me"));
    assert!(
        given.stderr.starts_with("Client me sending CONNECT\n"),
        "{}",
        given.stderr
    );
    for (version, is_named) in [("5", true), ("311", false)] {
        let mut theirs = plain(link("mosquitto_pub"));
        theirs.args(["-h", "127.0.0.1", "-t", "a", "-m", "x", "-d", "-V", version, "-p"]);
        theirs.arg(broker.port.to_string());
        let theirs = run(theirs).ok();
        let lines: Vec<&str> = theirs.text().lines().collect();
        assert_eq!(lines[0], "Client (null) sending CONNECT");
        assert_eq!(
            lines[1] != "Client (null) received CONNACK (0)",
            is_named,
            "{lines:?}"
        );
    }
}

#[test]
fn it_waits_for_the_server_to_come_back() {
    let broker = Broker::start();
    let port = broker.port;
    let mut sub = broker.sub("-t back -v -C 1");
    let id = sub.id();
    drop(broker);
    let broker = Broker::start_at(port);
    let mut stdout = sub.stdout();
    // Nobody says when it is back: publish until it hears.
    let heard = std::thread::spawn(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).map(|_| line)
    });
    wait_for("a message after the restart", || {
        broker.publish("-t back -m again");
        heard.is_finished()
    });
    assert_eq!(heard.join().unwrap().unwrap(), "back again\n");
    let ran = sub.end();
    assert_eq!(ran.status, 0);
    assert!(
        ran.stderr.contains("warning: connected again.\n"),
        "{id} {}",
        ran.stderr
    );
}

#[test]
fn the_options_file() {
    let broker = Broker::start();
    let config = folder("options");
    let text = format!("# where\n-h 127.0.0.1\n-p {}\n-q 1\n", broker.port);
    std::fs::write(config.join("mosquitto_pub"), &text).unwrap();
    std::fs::write(config.join("mosquitto_sub"), text + "-v\n-t file\n").unwrap();
    std::fs::write(
        config.join("named"),
        format!("-h 127.0.0.1\n-p {}\n-t named\n", broker.port),
    )
    .unwrap();
    let sub = broker.sub("-t file -t named -C 3 -F %t|%q -q 1");
    let mut default = martlet("pub -t file -m x");
    run(default_options(&mut default, &config)).ok();
    let mut over = martlet("pub -t file -m x -q 0");
    run(default_options(&mut over, &config)).ok();
    let mut named = martlet("pub -m x -o");
    named.arg(config.join("named"));
    run(named).ok();
    assert_eq!(sub.end().text(), "file|1\nfile|0\nnamed|0\n");
}

fn default_options(command: &mut std::process::Command, config: &std::path::Path) -> std::process::Command {
    let mut fresh = plain(common::MARTLET);
    fresh.args(command.get_args()).env("XDG_CONFIG_HOME", config);
    fresh
}

#[test]
fn a_url_says_it_all() {
    let broker = Broker::start();
    let sub = broker.sub("-t from/url -C 1");
    run(martlet(&format!(
        "pub -L mqtt://127.0.0.1:{}/from/url -m x",
        broker.port
    )))
    .ok();
    assert_eq!(sub.end().text(), "x\n");
}

#[test]
fn under_mosquittos_names() {
    let broker = Broker::start();
    let port = broker.port.to_string();
    let sub = broker.sub("-t m -C 1");
    let mut command = plain(link("mosquitto_pub"));
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-t",
        "m",
        "-m",
        "x",
        "-q",
        "1",
        "-d",
    ]);
    let ran = run(command).ok();
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[0], "Client (null) sending CONNECT");
    assert_eq!(lines[1], "Client (null) received CONNACK (0)");
    assert_eq!(
        lines[2],
        "Client (null) sending PUBLISH (d0, q1, r0, m1, 'm', ... (1 bytes))"
    );
    assert_eq!(lines[3], "Client (null) received PUBACK (Mid: 1, RC:0)");
    assert_eq!(lines[4], "Client (null) sending DISCONNECT");
    assert_eq!(sub.end().text(), "x\n");
    let mut command = plain(link("mosquitto_sub"));
    command.args(["-h", "127.0.0.1", "-p", &port, "-t", "m", "-E", "-d", "-i", "me"]);
    let ran = run(command).ok();
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(
        lines[2],
        "Client me sending SUBSCRIBE (Mid: 1, Topic: m, QoS: 0, Options: 0x00)"
    );
    assert_eq!(
        lines[3..],
        [
            "Client me received SUBACK",
            "Subscribed (mid: 1): 0",
            "Client me sending DISCONNECT"
        ]
    );
    let mut version = plain(link("mosquitto_rr"));
    version.arg("--version");
    let ran = run(version);
    assert!(
        ran.text().starts_with("mosquitto_rr version 2."),
        "{}",
        ran.text()
    );
    assert_eq!(ran.status, 1);
}

#[test]
fn messages_a_second() {
    let broker = Broker::start();
    let mut sub = broker.sub("-t rate --message-rate");
    broker.publish("-t rate -m x --repeat 5 -q 1");
    let counted = sub
        .stdout()
        .lines()
        .map_while(Result::ok)
        .find(|line| line != "0 msgs/s");
    assert_eq!(counted.as_deref(), Some("5 msgs/s"));
    signal(sub.id(), "TERM");
    assert_eq!(sub.end().status, 0);
}

#[test]
fn the_wrong_port_names_the_right_one() {
    let broker = Broker::start();
    let other = common::free_port();
    let ran = run(martlet(&format!("sub -h 127.0.0.1 -p {other} -t a")));
    let mut lines = ran.stderr.lines();
    let first =
        format!("error[C001]: 127.0.0.1:{other} refused the connection: nothing listens on that port.");
    assert_eq!((ran.status, lines.next()), (1, Some(first.as_str())));
    let listed = lines.next().unwrap_or_default();
    assert!(
        listed.starts_with("  listening here: ") && listed.contains(&broker.port.to_string()),
        "{}",
        ran.stderr
    );
}

#[test]
fn waiting_for_standard_input_can_be_interrupted() {
    let broker = Broker::start();
    for line in ["pub -t a -s", "pub -t a -l", "rr -t a -e b -s"] {
        let mut command = broker.client(line);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        signal(child.id(), "INT");
        // By the signal itself, or with the status that a shell gives it.
        let status = common::end(child).status;
        assert!([-1, 130].contains(&status), "{line}: {status}");
        drop(stdin);
    }
}
