//! `martlet bench` as a program: its output, its exit status, Ctrl-C, and the relay.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use common::pki::Pki;
use common::{Broker, end, free_port, martlet, run, signal, wait_for};

#[test]
fn a_run_ends_well_and_says_what_it_found() {
    let broker = Broker::start();
    let us = std::process::id();
    let line = format!("bench pairs --pairs 3 --seconds 0.2 --warm-up 0 --server-pid {us}");
    let text = run(broker.client(&line)).ok().text().to_owned();
    for words in [
        "3 pairs, QoS 0",
        "latency",
        "us of CPU a message",
        "0 lost, 0 repeated",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn connections_and_kept_messages() {
    let broker = Broker::start();
    for line in [
        "bench connect --at-once 4 --seconds 0.2",
        "bench idle --connections 30",
        "bench retained --messages 300 -V 5",
        "bench offline --messages 300 -q 2",
        "bench pairs --pairs 3 --seconds 0.2 --warm-up 0 -q 1 --stored",
        "bench stored subscribe --sessions 30 --filters 3",
        "bench stored publish --sessions 30 --messages 20 --publishers 7 -q 2",
        "bench stored take --sessions 30 --messages 20 -q 2",
    ] {
        run(broker.client(line)).ok();
    }
    let forgotten = run(broker.client("bench stored take --sessions 31 --messages 0"));
    assert_eq!(forgotten.status, 1, "there are only 30");
    assert!(
        forgotten.stderr.contains("without the session"),
        "{}",
        forgotten.stderr
    );
}

#[test]
fn over_tls_and_websocket() {
    let folder = common::folder("bench-tls");
    let pki = Pki::make(&folder);
    let tls = pki.server("both");
    let options = format!("--cafile {}", pki.file("ca.pem"));
    let cases = [
        (tls.clone(), options.clone(), "MQTT 3.1.1 over TLS\n"),
        (
            format!("{tls}protocol websockets\n"),
            format!("{options} --ws"),
            "MQTT 3.1.1 over WebSocket and TLS\n",
        ),
        (
            "protocol websockets\n".to_owned(),
            "--ws --ws-path /x".to_owned(),
            "MQTT 3.1.1 over WebSocket\n",
        ),
    ];
    for (lines, options, words) in cases {
        let broker = Broker::start_with(&folder, &lines);
        for line in [
            "bench connect --at-once 4 --seconds 0.2",
            "bench idle --connections 130 --settle 0",
            "bench pairs --pairs 3 --seconds 0.2 --warm-up 0 -q 2",
            // Packets of many records and frames.
            "bench pairs --pairs 2 --seconds 0.2 --warm-up 0 --size 300000 --window 2",
            "bench stored subscribe --sessions 3",
        ] {
            let ran = run(broker.client(&format!("{line} {options}"))).ok();
            assert!(ran.text().contains(words), "{line}: {}", ran.text());
        }
    }
}

#[test]
fn over_a_unix_socket() {
    let folder = common::folder("bench-unix");
    // The system has room for 107 bytes.
    let socket = std::env::temp_dir().join(format!("martlet-bench-{}.sock", std::process::id()));
    let path = socket.display();
    let broker = Broker::start_with(&folder, &format!("listener 0 {path}\n"));
    for line in [
        "bench connect --at-once 4 --seconds 0.2",
        "bench pairs --pairs 3 --seconds 0.2 --warm-up 0 -q 1",
        "bench pairs --pairs 2 --seconds 0.2 --warm-up 0 --size 300000 --window 2",
    ] {
        let ran = run(martlet(&format!("{line} --unix {path}"))).ok();
        assert!(
            ran.text().contains("MQTT 3.1.1 over a Unix socket\n"),
            "{line}: {}",
            ran.text()
        );
    }
    drop(broker);
    // The file is still there, and nobody behind it.
    let stale = folder.join("stale");
    drop(std::os::unix::net::UnixListener::bind(&socket).or_else(|_| {
        std::fs::remove_file(&socket)?;
        std::os::unix::net::UnixListener::bind(&socket)
    }));
    for line in ["bench connect", "pub -t a -m x"] {
        let ran = run(martlet(&format!("{line} --unix {path}")));
        let said = format!("error[C001]: {path} refused the connection: nothing listens at that socket.\n");
        assert!(ran.stderr.starts_with(&said), "{line}: {}", ran.stderr);
        let ran = run(martlet(&format!("{line} --unix {}", stale.display())));
        assert!(ran.stderr.starts_with("error[C003]"), "{line}: {}", ran.stderr);
    }
    let _ = std::fs::remove_file(&socket);
    let both = run(martlet(&format!("bench connect --unix {path} -p 1883")));
    assert_ne!(both.status, 0);
}

/// A SOCKS5 proxy without a login that connects to `port`, whatever it is asked for, or to nobody; where it is, and what it
/// was asked for.
fn proxy(port: Option<u16>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (at, asked) = (
        listener.local_addr().unwrap().port(),
        Arc::new(Mutex::new(Vec::new())),
    );
    let log = Arc::clone(&asked);
    // It ends with its test's process.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut bytes = [0; 5];
            client.read_exact(&mut bytes[..3]).unwrap();
            assert_eq!(bytes[..3], [5, 1, 0]);
            client.write_all(&[5, 0]).unwrap();
            client.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes[..4], [5, 1, 0, 3]);
            let mut place = vec![0; usize::from(bytes[4]) + 2];
            client.read_exact(&mut place).unwrap();
            let (name, number) = place.split_at(place.len() - 2);
            let number = u16::from_be_bytes([number[0], number[1]]);
            let name = String::from_utf8_lossy(name);
            log.lock().unwrap().push(format!("{name}:{number}"));
            let code = if port.is_some() { 0 } else { 2 };
            client.write_all(&[5, code, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
            let Some(port) = port else { continue };
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    // Either side may cut it.
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (at, asked)
}

#[test]
fn through_a_proxy() {
    let broker = Broker::start();
    let (at, asked) = proxy(Some(broker.port));
    let to = format!("-h broker.invalid -p 1883 --proxy socks5h://127.0.0.1:{at}");
    for line in [
        "bench connect --at-once 4 --seconds 0.2",
        "bench pairs --pairs 3 --seconds 0.2 --warm-up 0 -q 1",
    ] {
        let ran = run(martlet(&format!("{line} {to}"))).ok();
        let words = "MQTT 3.1.1 through a proxy\n";
        assert!(ran.text().contains(words), "{line}: {}", ran.text());
    }
    let asked = asked.lock().unwrap();
    assert!(
        asked.len() > 6 && asked.iter().all(|place| place == "broker.invalid:1883"),
        "{asked:?}"
    );

    let (at, _) = proxy(None);
    let cases = [
        (format!("socks5h://127.0.0.1:{at}"), "error[C008]"),
        (
            format!("socks5h://127.0.0.1:{}", free_port()),
            "error[C008]: the proxy 127.0.0.1:",
        ),
        (
            "ftp://127.0.0.1".to_owned(),
            "error[C015]: --proxy: 'ftp://127.0.0.1' is not the URL of a proxy",
        ),
    ];
    for (url, words) in cases {
        let ran = run(martlet(&format!("bench connect -h broker.invalid --proxy {url}")));
        assert_eq!(ran.status, 1, "{url}");
        assert!(ran.stderr.starts_with(words), "{url}: {}", ran.stderr);
    }
}

#[test]
fn options_of_tls_that_are_wrong() {
    let cases = [
        (
            "--insecure",
            "--insecure needs TLS: add --cafile FILE, --capath DIR or --tls-use-os-certs",
        ),
        ("--cert c.pem", "--key"),
        ("--ws-path /x", "--ws"),
        ("--cafile no/such.pem", "no/such.pem"),
        ("--tls-use-os-certs --ciphers RC4-MD5", "RC4-MD5"),
        ("--tls-use-os-certs --tls-version tlsv1.1", "tlsv1.1"),
        ("--ws --ws-path /a\u{e4}", "must be escaped"),
    ];
    let broker = Broker::start();
    for (options, words) in cases {
        let ran = run(broker.client(&format!("bench idle --connections 1 {options}")));
        assert_ne!(ran.status, 0, "{options}");
        assert!(ran.stderr.contains(words), "{options}: {}", ran.stderr);
    }
}

#[test]
fn ctrl_c_prints_what_there_is() {
    let broker = Broker::start();
    let line = "bench pairs --pairs 2 --seconds 60 --warm-up 0";
    let load = broker.client(line).spawn().unwrap();
    let stat = format!("/proc/{}/stat", load.id());
    wait_for("the load is at work", || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        // User time in hundredths of a second: behind the name, the 12th field.
        let user = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .nth(11);
        user.is_some_and(|ticks| ticks.parse::<u64>().is_ok_and(|ticks| ticks > 5))
    });
    signal(load.id(), "INT");
    let ran = end(load);
    assert_eq!(ran.status, 1);
    assert!(ran.text().contains("ended early  stopped"), "{}", ran.text());
    assert!(ran.text().contains("0 lost, 0 repeated"), "{}", ran.text());
}

#[test]
fn no_broker_no_run() {
    let ran = run(martlet(&format!("bench pairs -p {}", free_port())));
    assert_eq!(ran.status, 1);
    assert!(
        ran.stderr.starts_with("error[C001]: 127.0.0.1:") && !ran.stderr.contains("os error"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_relay_reads_and_writes_once_for_what_it_moves() {
    for (pattern, flags) in [
        ("pairs", "pairs --pairs 4"),
        ("fan-out", "fan-out --subscribers 4"),
        ("fan-in", "fan-in --publishers 4"),
    ] {
        let mut relay = martlet(&format!("bench relay --pattern {pattern} --count 4"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(relay.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let line = format!("bench {flags} --raw --seconds 0.2 --warm-up 0 -p {}", port.trim());
        run(martlet(&line)).ok();
        signal(relay.id(), "TERM");
        let mut counts = String::new();
        output.read_to_string(&mut counts).unwrap();
        relay.wait().unwrap();
        let count = |name: &str| -> u64 {
            let (_, rest) = counts.split_once(&format!("\"{name}\":")).unwrap();
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap();
            digits.parse().unwrap()
        };
        let receivers = if pattern == "fan-out" { 4 } else { 1 };
        assert!(count("reads") > 0, "{counts}");
        assert_eq!(
            count("bytes_written"),
            count("bytes_read") * receivers,
            "{counts}"
        );
        // A read of a part of a message has nothing to write.
        assert!(count("writes") <= count("reads") * receivers, "{counts}");
        assert_eq!(count("in_vain"), 0, "{counts}");
    }
}
