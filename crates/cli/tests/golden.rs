//! What people read when something is wrong, word for word: `golden/*.txt`, written anew by `UPDATE=1`.

mod common;

use common::{MARTLET, Ran, free_port, plain, refusing, run};

/// Compares what command lines print with a file; the port is not the test's to know.
fn golden(name: &str, port: u16, lines: &[&str]) {
    common::golden(name, lines, &[("PORT", &port.to_string())]);
}

fn ran(line: &str) -> Ran {
    common::ran(line, &[])
}

#[test]
fn wrong_arguments() {
    golden(
        "wrong_arguments",
        free_port(),
        &[
            "martlet pub -t",
            "martlet pub -t a",
            "martlet pub -t a/# -m x",
            "martlet pub -t a -m x -q 3",
            "martlet pub -t a -m x --tpoic b",
            "martlet pub -t a -m x --cafile no/such/ca.pem",
            "martlet pub -t a -m x --cafile ca.pem --cert c.pem",
            "martlet pub -t a -m x --insecure",
            "martlet pub -t a -m x --cafile ca.pem --ciphers RC4-MD5",
            "martlet pub -t a -m x --cafile ca.pem --tls-version tlsv1.1",
            "martlet pub -t a -m x --psk 00",
            "martlet pub -t a -m x --tls-engine e",
            "martlet pub -t a -m x --key k.pem --keyform engine",
            "martlet pub -t a -m x --proxy ftp://h",
            "martlet pub -t a -m x -L http://h/t",
            "martlet pub -t a -m x -S",
            "martlet pub -t a -m x --unix no/such.sock",
            "martlet pub -m x -L unix:///no/such.sock -t a",
            "martlet pub -m x -L unix://%2Fno%2Fsuch.sock/a",
            "martlet pub -m x -L unix:///no/such.sock",
            "martlet pub -m x -L unix://",
            "martlet pub -t a -m x -o no/such/file",
            "martlet pub -t a -m x -x 5 -V 311",
            "martlet pub -t a -m x -D publish contet-type y",
            "martlet pub -t a -m x -D publish response-topic a/#",
            "martlet pub -t a -m x -D publish content-type a -D publish content-type b",
            "martlet pub -t a -m x -p 0",
            "martlet pub -t a -f no/such/file",
            "martlet sub",
            "martlet sub a/b",
            "martlet sub -t a -F %z",
            "martlet rr -t a -m x",
            "martlet help C999",
            "martlet broker --confg x",
            "martlet broker -p x",
            "martlet bench pairs --pair 3",
            "martlet completions --foo",
            "martlet brokr",
            "mosquitto -c mosquitto.conf",
            "mosquitto_pub -t",
            "mosquitto_pub -t a/# -m x",
            "mosquitto_pub -t a -m x --foo",
            "mosquitto_pub -t a -m x --cafile no/such/ca.pem",
            "mosquitto_pub -t a -m x --cafile ca.pem --cert c.pem",
            "mosquitto_pub -t a -m x --psk 00",
            "mosquitto_pub -t a -m x -D publish topic-alias 0",
            "mosquitto_pub -t a -m x -i ''",
            "mosquitto_pub -t a -s",
            "mosquitto_pub -t a -m x -o no/such/file",
            "mosquitto_pub -t a -f no/such/file",
            "mosquitto_sub",
            "mosquitto_sub -t a -F %z",
            "mosquitto_rr -t a -m x",
        ],
    );
}

#[test]
fn no_server() {
    golden(
        "no_server",
        free_port(),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
            "martlet sub -h 127.0.0.1 -p PORT -t a",
            "martlet rr -h 127.0.0.1 -p PORT -t a -e b -m x",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x --quiet",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x -A 192.0.2.1",
            "martlet bench pairs -h 127.0.0.1 -p PORT",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a",
            "mosquitto_rr -h 127.0.0.1 -p PORT -t a -e b -m x",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a --quiet",
        ],
    );
}

/// The words behind `DNS:` are the resolver's, and differ where there is no network.
#[test]
fn no_host() {
    let ours = ran("martlet pub -h nosuch.invalid -t a -m x");
    let first = "error[C002]: cannot find a host named 'nosuch.invalid' (DNS: ";
    assert!(
        ours.stderr.starts_with(first) && ours.stderr.ends_with(").\n"),
        "{ours:?}"
    );
    assert_eq!(ours.status, 1);
    let theirs = ran("mosquitto_pub -h nosuch.invalid -t a -m x");
    assert_eq!(theirs.stderr, "Unable to connect (Lookup error.).\n");
    assert_eq!(theirs.status, 1);
}

fn connack(version: u8, v3: u8, v5: u8) -> Vec<u8> {
    if version == 5 {
        vec![0x20, 3, 0, v5, 0]
    } else {
        vec![0x20, 2, 0, v3]
    }
}

#[test]
fn refused_login() {
    golden(
        "refused_login",
        refusing(|version| connack(version, 5, 0x87)),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x -u alice -P secret",
            "martlet sub -h 127.0.0.1 -p PORT -t a -u alice -V 311",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x -V 5",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a -V 5",
            "mosquitto_rr -h 127.0.0.1 -p PORT -t a -e b -m x",
        ],
    );
}

#[test]
fn refused_client() {
    golden(
        "refused_client",
        refusing(|version| connack(version, 2, 0x85)),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x -V 311",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a -V 5",
        ],
    );
}

#[test]
fn closed_before_the_answer() {
    golden(
        "closed",
        refusing(|_| Vec::new()),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
            "martlet sub -h 127.0.0.1 -p PORT -t a",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x",
            "mosquitto_rr -h 127.0.0.1 -p PORT -t a -e b -m x",
        ],
    );
}

#[test]
fn a_server_that_knows_3_1_1_only() {
    golden(
        "old_server",
        refusing(|version| {
            if version == 5 {
                vec![0x20, 2, 0, 1]
            } else {
                vec![0x20, 2, 0, 0]
            }
        }),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x -q 1",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x -V 5",
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x -D publish content-type y",
            "martlet sub -h 127.0.0.1 -p PORT -t a -x 5 -D connect user-property k v",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x -V 5",
        ],
    );
}

#[test]
fn refused_messages_and_subscriptions() {
    golden(
        "refused_requests",
        refusing(|version| connack(version, 0, 0)),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t no/1 -m x -q 1",
            "martlet pub -h 127.0.0.1 -p PORT -t no/1 -m x -q 1 -u alice",
            "martlet sub -h 127.0.0.1 -p PORT -t no/1 -u alice",
            "martlet sub -h 127.0.0.1 -p PORT -t no/1 -V 311",
            "martlet rr -h 127.0.0.1 -p PORT -t a -e no/1 -m x",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t no/1 -m x -q 1 -V 5",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t no/1",
            "mosquitto_rr -h 127.0.0.1 -p PORT -t a -e no/1 -m x",
        ],
    );
}

#[test]
fn a_server_that_disconnects() {
    golden(
        "disconnected",
        refusing(|_| vec![0x20, 3, 0, 0, 0, 0xe0, 2, 0x8e, 0]),
        &[
            "martlet rr -h 127.0.0.1 -p PORT -t a -e b -m x",
            "mosquitto_rr -h 127.0.0.1 -p PORT -t a -e b -m x",
        ],
    );
}

/// No retry mends it, so nobody retries.
#[test]
fn a_server_that_ends_it_for_good() {
    golden(
        "ended",
        refusing(|_| {
            let mut answer = vec![0x20, 3, 0, 0, 0];
            answer.extend([0xe0, 12, 0x95, 10, 0x1f, 0, 7]);
            answer.extend(b"too big");
            answer
        }),
        &[
            "martlet sub -h 127.0.0.1 -p PORT -t a",
            "martlet rr -h 127.0.0.1 -p PORT -t a -e b -m x",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a -V 5",
            "mosquitto_rr -h 127.0.0.1 -p PORT -t a -e b -m x",
        ],
    );
}

#[test]
fn a_server_that_speaks_http() {
    golden(
        "http",
        refusing(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        &[
            "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
            "martlet sub -h 127.0.0.1 -p PORT -t a -V 311",
            "mosquitto_pub -h 127.0.0.1 -p PORT -t a -m x",
            "mosquitto_sub -h 127.0.0.1 -p PORT -t a",
        ],
    );
}

#[test]
fn explanations() {
    golden(
        "help",
        free_port(),
        &[
            "martlet help C001",
            "martlet help a011",
            "martlet help f001",
            "martlet help F020",
            "martlet help B102",
            "martlet help max_qos",
            "martlet help max_half_open",
            "martlet help cafile",
            "martlet help T005",
            "martlet help T010",
            "martlet help psk_hint",
        ],
    );
}

#[test]
fn help_lists_all_there_is() {
    let help = run(common::martlet("help")).ok();
    for words in [
        "  A001  ",
        "  B102  ",
        "  C001  ",
        "  F001  no such option in the configuration\n",
    ] {
        assert!(help.text().contains(words), "{words}: {}", help.text());
    }
    let config = run(common::martlet("help config")).ok();
    assert!(
        config.text().contains("\n  max_qos, maximum_qos: 0 to 2\n"),
        "{}",
        config.text()
    );
    for command in ["broker", "bench", "man", "completions", "pub"] {
        let help = run(common::martlet(&format!("help {command}"))).ok();
        let usage = format!("Usage: martlet {command} ");
        assert!(help.text().contains(&usage), "{}", help.text());
    }
}

#[test]
fn man_pages_and_completions() {
    let folder = common::folder("man");
    let mut man = plain(MARTLET);
    man.args(["man", "--dir"]).arg(&folder);
    run(man).ok();
    let page = std::fs::read_to_string(folder.join("martlet-sub.1")).unwrap();
    assert!(
        page.contains("filter\\-out") && page.contains("subscription\\-identifier"),
        "{page}"
    );
    let page = std::fs::read_to_string(folder.join("martlet-broker.1")).unwrap();
    assert!(page.contains("\\fBmartlet broker\\fR"), "{page}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(common::martlet(&format!("completions {shell}"))).ok();
        assert!(ran.text().contains("retained-only"), "{shell}");
        assert!(
            ran.text().contains("cafile") && !ran.text().contains("psk"),
            "{shell}"
        );
    }
}
