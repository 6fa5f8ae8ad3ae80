//! MQTT over QUIC from end to end: the broker's listener, `quic://` of the programs, and the client library.
#![cfg(feature = "quic")]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::pki::Pki;
use common::{Broker, folder, free_port, martlet, run, signal, wait_for};
use martlet_client::blocking::Client;
use martlet_client::tls::Source;
use martlet_client::{Message, Options, Protocol, Qos, ReasonCode, Reconnect, Subscribe, Tls, filter, topic};

/// A broker with a listener of QUIC, where it logs, its certificates, and the port.
struct Here {
    broker: Broker,
    log: PathBuf,
    pki: Pki,
    port: u16,
}

impl Here {
    /// `more` stands below the listener.
    fn start(name: &str, more: impl Fn(&Pki) -> String) -> Self {
        let folder = folder(name);
        let pki = Pki::make(&folder);
        let (port, log) = (free_port(), folder.join("broker.log"));
        let config = format!(
            "log_dest file {}\nlistener {port} 127.0.0.1\nprotocol quic\n{}{}",
            log.display(),
            pki.server("server"),
            more(&pki)
        );
        Self {
            broker: Broker::start_with(&folder, &config),
            log,
            pki,
            port,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn tls(&self) -> Tls {
        Tls {
            authorities: Some(Source::File(self.pki.file("ca.pem").into())),
            ..Tls::default()
        }
    }

    fn options(&self) -> Options {
        Options::new("localhost", self.port).quic().tls(self.tls())
    }
}

#[test]
fn programs_of_all_versions() {
    let here = Here::start("quic-programs", |_| String::new());
    let (authority, port) = (here.pki.file("ca.pem"), here.port);
    for version in ["31", "311", "5"] {
        let words = format!("by-quic-in-{version}");
        let way = format!("-L quic://localhost:{port}/quic/topic --cafile {authority} -V {version}");
        run(martlet(&format!("pub {way} -q 2 -r -m {words}"))).ok();
        let came = run(martlet(&format!("sub {way} -q 2 -C 1 -W 15"))).ok();
        assert_eq!(came.text(), format!("{words}\n"));
    }
}

#[test]
fn the_client_in_all_versions() {
    let here = Here::start("quic-client", |_| String::new());
    for protocol in [Protocol::V3_1, Protocol::V3_1_1, Protocol::V5] {
        let reconnect = Reconnect::fixed(Duration::from_millis(20));
        let options = here.options().protocol(protocol).reconnect(reconnect);
        let (client, _) = Client::connect(options).unwrap();
        let mut messages = client
            .subscribe(Subscribe::to(filter!("q/+"), Qos::ExactlyOnce))
            .unwrap();
        let large: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let message = Message::new(topic!("q/a"), large.clone()).qos(qos);
            client.publish(message).unwrap().wait().unwrap();
            let came = messages.recv().unwrap();
            assert_eq!(came.qos, qos);
            assert!(came.payload == large);
        }
        client
            .disconnect(ReasonCode::Success, martlet_codec::PropertiesBuf::new())
            .unwrap();
    }
    let (log, place) = (here.log(), format!(" listener={} ", here.port));
    assert!(log.contains(" from=127.0.0.1:") && log.contains(&place), "{log}");
}

#[test]
fn what_is_wrong_is_named() {
    let here = Here::start("quic-wrong", |_| String::new());
    let (authority, port) = (here.pki.file("ca.pem"), here.port);
    let cases = [
        (
            format!("quic://localhost:{port}/t --cafile {authority} --ws"),
            "quic:// goes without",
        ),
        (format!("quic://localhost:{port}/t"), "error[T010]"),
        (
            format!("quic://localhost:{port}/t --cafile {authority} --tls-alpn h3"),
            "--tls-alpn says 'mqtt'",
        ),
    ];
    for (line, words) in cases {
        let ran = run(martlet(&format!("pub -L {line} -m x")));
        assert_eq!(ran.status, 1, "{line}");
        assert!(ran.stderr.contains(words), "{line}: {}", ran.stderr);
    }
    let folder = folder("quic-config");
    let config = folder.join("broker.conf");
    let cases = [
        ("listener 1\nprotocol quic\n", "error[T001]"),
        (
            "listener 0 /tmp/x.sock\nprotocol quic\n",
            "a Unix socket does not speak QUIC",
        ),
    ];
    for (text, words) in cases {
        std::fs::write(&config, text).unwrap();
        let ran = run(martlet(&format!("broker -c {}", config.display())));
        let said = format!("{}{}", ran.text(), ran.stderr);
        assert!(said.contains(words), "{text}: {said}");
    }
}

/// Whose certificate it is, is who logs in; a new certificate holds after SIGHUP; and a stop is said.
#[test]
fn a_listener_like_all_others() {
    let here = Here::start("quic-mutual", |pki| {
        let authority = pki.file("ca.pem");
        format!("cafile {authority}\nrequire_certificate true\nuse_identity_as_username true\n")
    });
    let file = |name: &str| Source::File(here.pki.file(name).into());
    let shown = || Tls {
        identity: Some((file("client.pem"), file("client.key"))),
        ..here.tls()
    };
    let (client, _) = Client::connect(here.options().tls(shown())).unwrap();
    wait_for("the log has its user", || here.log().contains(" user=sensor-7 "));
    Client::connect(here.options()).unwrap_err();
    wait_for("the log says why", || {
        here.log().contains("reason=no_certificate")
    });

    std::fs::copy(here.pki.file("both.pem"), here.pki.file("server.pem")).unwrap();
    std::fs::copy(here.pki.file("both.key"), here.pki.file("server.key")).unwrap();
    let by_address = || Options::new("127.0.0.1", here.port).quic().tls(shown());
    Client::connect(by_address()).unwrap_err();
    signal(here.broker.id(), "HUP");
    wait_for("the certificate is new", || {
        here.log().contains("certificates.reloaded")
    });
    Client::connect(by_address()).unwrap();

    signal(here.broker.id(), "TERM");
    let cause = client.closed().to_string();
    assert!(cause.contains("shutting down"), "{cause}");
}
