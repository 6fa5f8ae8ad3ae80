//! What people read when TLS does not come about, word for word: `golden/tls_*.txt`, written anew by `UPDATE=1`.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use common::pki::Pki;
use common::{Broker, golden, refusing};

struct Stage {
    folder: PathBuf,
    pki: Pki,
}

impl Stage {
    fn set(name: &str) -> Self {
        let folder = common::folder(name);
        let pki = Pki::make(&folder);
        Self { folder, pki }
    }

    fn broker(&self, lines: &str) -> Broker {
        Broker::start_with(&self.folder, lines)
    }

    /// Compares what `lines` print, to a server on that port.
    fn compare(&self, name: &str, port: u16, lines: &[&str]) {
        let names = [
            ("DIR", self.folder.to_str().unwrap()),
            ("PORT", &port.to_string()),
        ];
        golden(name, lines, &names);
    }
}

#[test]
fn t010_an_authority_that_is_not_trusted() {
    let stage = Stage::set("t010");
    let broker = stage.broker(&stage.pki.server("server"));
    stage.compare(
        "tls_T010",
        broker.port,
        &[
            "martlet pub -h localhost -p PORT --cafile DIR/other-ca.pem -t a -m x",
            "martlet sub -h localhost -p PORT --cafile DIR/other-ca.pem -t a",
            "martlet pub -h localhost -p PORT --cafile DIR/other-ca.pem --insecure -t a -m x",
            "martlet bench connect -h localhost -p PORT --cafile DIR/other-ca.pem",
            "mosquitto_pub -h localhost -p PORT --cafile DIR/other-ca.pem -t a -m x",
            "mosquitto_sub -h localhost -p PORT --cafile DIR/other-ca.pem -t a",
            "martlet help T010",
        ],
    );
}

#[test]
fn t011_another_name() {
    let stage = Stage::set("t011");
    let broker = stage.broker(&stage.pki.server("server"));
    stage.compare(
        "tls_T011",
        broker.port,
        &[
            "martlet pub -h 127.0.0.1 -p PORT --cafile DIR/ca.pem -t a -m x",
            "martlet pub -h 127.0.0.1 -p PORT --cafile DIR/ca.pem --insecure -t a -m x",
            "martlet bench connect -h 127.0.0.1 -p PORT --cafile DIR/ca.pem",
            "mosquitto_pub -h 127.0.0.1 -p PORT --cafile DIR/ca.pem -t a -m x",
            "martlet help T011",
        ],
    );
}

#[test]
fn t012_a_port_that_does_not_speak_tls() {
    let stage = Stage::set("t012");
    let ours = stage.broker("");
    let lines = [
        "martlet pub -h localhost -p PORT --cafile DIR/ca.pem -t a -m x",
        "martlet bench connect -h localhost -p PORT --cafile DIR/ca.pem",
        "mosquitto_pub -h localhost -p PORT --cafile DIR/ca.pem -t a -m x",
    ];
    stage.compare("tls_T012_ours", ours.port, &lines);
    // Others answer, or say nothing and close.
    stage.compare(
        "tls_T012_http",
        saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        &lines,
    );
    stage.compare("tls_T012_mqtt", saying(&[0x20, 2, 0, 1]), &lines);
    stage.compare("tls_T012_closed", saying(b""), &lines);
    stage.compare("tls_T012_help", ours.port, &["martlet help T012"]);
}

/// A server that answers the first bytes of each client with `answer`, and closes.
fn saying(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut first = [0; 4_096];
            let _ = stream.read(&mut first);
            let _ = stream.write_all(answer);
        }
    });
    port
}

#[test]
fn t013_a_port_that_expects_tls() {
    let stage = Stage::set("t013");
    let broker = stage.broker(&stage.pki.server("server"));
    stage.compare(
        "tls_T013",
        broker.port,
        &[
            "martlet pub -h localhost -p PORT -t a -m x",
            "martlet sub -h localhost -p PORT -t a -V 311",
            "mosquitto_pub -h localhost -p PORT -t a -m x",
            "martlet help T013",
        ],
    );
}

#[test]
fn t014_not_valid_today() {
    let stage = Stage::set("t014");
    let lines = [
        "martlet pub -h localhost -p PORT --cafile DIR/ca.pem -t a -m x",
        "martlet bench connect -h localhost -p PORT --cafile DIR/ca.pem",
        "mosquitto_pub -h localhost -p PORT --cafile DIR/ca.pem -t a -m x",
    ];
    for kind in ["expired", "early"] {
        let broker = stage.broker(&stage.pki.server(kind));
        stage.compare(&format!("tls_T014_{kind}"), broker.port, &lines);
        stage.compare("tls_T014_help", broker.port, &["martlet help T014"]);
    }
}

#[test]
fn t015_nothing_in_common() {
    let stage = Stage::set("t015");
    let server = stage.pki.server("server");
    let newest = stage.broker(&format!(
        "{server}tls_version tlsv1.3\nciphers_tls1.3 TLS_AES_128_GCM_SHA256\n"
    ));
    let other = "--tls-version tlsv1.3 --ciphers TLS_AES_256_GCM_SHA384";
    stage.compare(
        "tls_T015",
        newest.port,
        &[
            &format!("martlet pub -h localhost -p PORT --cafile DIR/ca.pem {other} -t a -m x"),
            &format!("mosquitto_pub -h localhost -p PORT --cafile DIR/ca.pem {other} -t a -m x"),
            "martlet help T015",
        ],
    );
    let mutual = format!(
        "{server}cafile {}\nrequire_certificate true\n",
        stage.pki.file("ca.pem")
    );
    let mutual = stage.broker(&mutual);
    stage.compare(
        "tls_T015_mutual",
        mutual.port,
        &[
            "martlet pub -h localhost -p PORT --cafile DIR/ca.pem -t a -m x",
            "martlet sub -h localhost -p PORT --cafile DIR/ca.pem -t a",
            "martlet bench connect -h localhost -p PORT --cafile DIR/ca.pem",
            "mosquitto_pub -h localhost -p PORT --cafile DIR/ca.pem -t a -m x",
            "martlet pub -h localhost -p PORT --cafile DIR/ca.pem --cert DIR/client.pem --key DIR/client.key -t a -m x",
        ],
    );
}

/// An answer that is no alert is no reason to advise TLS.
#[test]
fn a_refusal_in_the_clear_is_not_t013() {
    let port = refusing(|_| vec![0x20, 3, 0, 0x87, 0]);
    let ran = common::ran(
        "martlet pub -h 127.0.0.1 -p PORT -t a -m x",
        &[("PORT", &port.to_string())],
    );
    assert!(ran.stderr.starts_with("error[A001]"), "{}", ran.stderr);
}
