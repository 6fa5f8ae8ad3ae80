//! `martlet broker` without options.

use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use martlet_interop::{Folder, Killed, bare, text};

#[test]
fn listens_on_port_1883() {
    let address = "127.0.0.1:1883";
    let free = TcpListener::bind(address).is_ok();
    let folder = Folder::new("bare");
    let broker = bare(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut broker = Killed(broker.expect("the binary starts"));
    let start = Instant::now();
    let ended = loop {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the broker neither listens on {address} nor ends"
        );
        if let Some(status) = broker.0.try_wait().expect("the broker is ours") {
            break Some(status);
        }
        if free && TcpStream::connect(address).is_ok() {
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // Where somebody else holds the port, the broker must say so: its words show the default as well.
    if let Some(status) = ended {
        let mut words = Vec::new();
        let mut errors = broker.0.stderr.take().expect("a pipe");
        std::io::Read::read_to_end(&mut errors, &mut words).expect("what the broker says");
        let words = text(&words);
        assert!(
            !free && !status.success() && words.contains(address),
            "the broker ended with {status}: {words}"
        );
    }
}
