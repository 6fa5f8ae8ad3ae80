//! Servers found by SRV records: `martlet pub -S`, `martlet sub -S` and the client.

use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Output};

use martlet_client::blocking::Client;
use martlet_client::{Message, Options, Qos, topic};
use martlet_interop::{Broker, Transport, binary, free_port, run, text};

/// A name server that knows two names: of both the first server is away, the second is there.
fn name_server(plain: u16, secured: u16) -> SocketAddr {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    // It ends with its test's process.
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((bytes, from)) = socket.recv_from(&mut question) {
            let question = &question[..bytes];
            let port = match &question[12..] {
                name if name.starts_with(b"\x05_mqtt\x04_tcp\x09localhost\0") => Some(plain),
                name if name.starts_with(b"\x0c_secure-mqtt\x04_tcp\x09localhost\0") => Some(secured),
                _ => None,
            };
            let _ = socket.send_to(&answer(question, port), from);
        }
    });
    address
}

/// The bytes of an answer: no such name, or two records.
fn answer(question: &[u8], port: Option<u16>) -> Vec<u8> {
    let (code, records) = if port.is_some() { (0, 2) } else { (3, 0) };
    let mut bytes = [
        &question[..2],
        &[0x81, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0],
        &question[12..],
    ]
    .concat();
    for (priority, port) in port.into_iter().flat_map(|port| [(1, free_port()), (2, port)]) {
        let target = b"\x09localhost\0";
        // The name of the question, SRV, IN, a minute.
        bytes.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 6 + target.len() as u8]);
        bytes.extend([0, priority, 0, 0]);
        bytes.extend(port.to_be_bytes());
        bytes.extend(target);
    }
    bytes
}

fn martlet(program: &str, names: SocketAddr, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args([program, "-S", "--name-server", &names.to_string()]);
    command.args(["-t", "srv/topic", "-q", "1"]).args(more);
    run(&mut command)
}

#[test]
fn the_programs_find_their_server() {
    let broker = Broker::start_over("srv-programs", Transport::Tls, "");
    let names = name_server(broker.port(), broker.other_port());
    let authority = broker.folder().join("ca.pem").display().to_string();
    for more in [
        &["-h", "localhost"][..],
        &["-h", "localhost", "--cafile", &authority],
    ] {
        let words = format!("by {} words", more.len());
        let sent = martlet("pub", names, &[more, &["-r", "-m", &words]].concat());
        assert!(sent.status.success(), "{}", text(&sent.stderr));
        let came = martlet("sub", names, &[more, &["-C", "1", "-W", "15"]].concat());
        assert_eq!(text(&came.stdout), format!("{words}\n"), "{}", text(&came.stderr));
    }
}

#[test]
fn a_domain_without_records_is_told() {
    let names = name_server(1, 1);
    let failed = martlet("pub", names, &["-h", "example.invalid", "-m", "x"]);
    assert_eq!(failed.status.code(), Some(1));
    let expected =
        "cannot find a server by _mqtt._tcp.example.invalid: the DNS has no SRV record of that name.";
    assert!(
        text(&failed.stderr).contains(expected),
        "{}",
        text(&failed.stderr)
    );
    assert!(text(&failed.stderr).contains("C016"), "{}", text(&failed.stderr));
}

#[test]
fn the_client_finds_its_server() {
    let broker = Broker::start("srv-client");
    let names = name_server(broker.port(), 1);
    let (client, _) = Client::connect(Options::new("localhost", 1).srv([names])).unwrap();
    let message = Message::new(topic!("srv/topic"), "x").qos(Qos::ExactlyOnce);
    client.publish(message).unwrap().wait().unwrap();
}
