//! A log that nobody reads.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use martlet_interop::{Folder, Killed, bare, free_port};
use martlet_robustness::{Client, Options, wait};

/// More lines than the queue of the log (8,192) and a pipe (64 KiB) take.
const LINES: u64 = 20_000;

/// Nobody reads the other end of the pipe, and the broker goes on. What did not fit is counted, so that what was
/// written and what was lost make up all that was to be said.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up() {
    let port = free_port();
    let folder = Folder::new("log");
    let child = bare(folder.path())
        .args(["--bind", "127.0.0.1", "-p", &port.to_string(), "-v"])
        .args(["--set", "sys_interval=0"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the broker starts");
    let mut broker = Killed(child);
    let pipe = broker.0.stderr.take().expect("it is a pipe");
    let mut lines = BufReader::new(pipe).lines();
    let mut next = move || {
        let line = lines.next().expect("the broker runs");
        line.expect("the log is text")
    };
    while !next().contains(&format!("127.0.0.1:{port}")) {}
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let mut client = Client::connect(address, &Options::new("talker"));
    // One line each.
    for _ in 0..LINES {
        client.subscribe("a/log", 0);
    }
    client.publish("b", b"x", 2);

    // It is read again. Once there is room, the next line tells of those that were lost.
    let has_room = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut told, mut lost) = (0, 0);
            while told + lost < LINES {
                let line = next();
                told += u64::from(line.contains("client.subscribed") && line.contains("client=talker"));
                if let Some((_, count)) = line.split_once("log.lost lines=") {
                    lost += count.parse::<u64>().expect("a number");
                }
                has_room.store(told > 5_000, Ordering::Relaxed);
            }
            (told, lost)
        });
        wait("room in the log", Duration::from_secs(20), || {
            has_room.load(Ordering::Relaxed)
        });
        drop(Client::connect(address, &Options::new("later")));
        let (told, lost) = reading.join().expect("it was read");
        println!("{told} lines told, {lost} lost");
        assert!(lost > 0, "the log was full");
        assert_eq!(told + lost, LINES);
    });
    client.ping();
}
