//! What the tests of the binary share: the binary itself, a broker, servers that misbehave on purpose.
#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod pki;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whatever is waited for, not longer than this.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

pub(crate) const MARTLET: &str = env!("CARGO_BIN_EXE_martlet");

/// A folder for one test, empty at first.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A program without the defaults, the colours and the time zone of whoever runs the tests.
pub(crate) fn plain(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env(
            "XDG_CONFIG_HOME",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-options"),
        )
        .env("NO_COLOR", "1")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// `martlet` with arguments that are divided by spaces.
pub(crate) fn martlet(line: &str) -> Command {
    let mut command = plain(MARTLET);
    command.args(line.split_whitespace());
    command
}

/// The binary under one of mosquitto's names. Tests run as processes or as threads, so each link has a folder
/// that no other has.
pub(crate) fn link(name: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder(&format!("links-{}-{nth}", std::process::id())).join(name);
    std::os::unix::fs::symlink(MARTLET, &path).unwrap();
    path
}

/// What a program left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is text")
    }

    /// Panics unless it ended well and said nothing on standard error.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(
            (self.status, self.stderr.as_str()),
            (0, ""),
            "{}",
            String::from_utf8_lossy(&self.stdout)
        );
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a program to its end, with this on standard input.
pub(crate) fn run_with(mut command: Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let ran = end(child);
    let _ = writer.join();
    ran
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command) -> Ran {
    end(command.spawn().unwrap())
}

/// Waits for a program, and ends it when the bound is over.
pub(crate) fn end(child: Child) -> Ran {
    let id = child.id();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    if let Ok(output) = receiver.recv_timeout(BOUND) {
        return output.into();
    }
    signal(id, "KILL");
    let output: Ran = receiver.recv().unwrap().into();
    panic!("it did not end: {output:?}");
}

/// Sends a signal to a program that this test started.
pub(crate) fn signal(id: u32, name: &str) {
    let killed = Command::new("kill")
        .args([format!("-{name}"), id.to_string()])
        .status();
    assert!(killed.unwrap().success());
}

/// Runs a command line; in it, and in what it prints, each name stands for its value.
pub(crate) fn ran(line: &str, names: &[(&str, &str)]) -> Ran {
    let mut line = line.to_owned();
    for (name, value) in names {
        line = line.replace(name, value);
    }
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let mut command = match program {
        "martlet" => plain(MARTLET),
        name => plain(link(name)),
    };
    command.args(words.map(|word| if word == "''" { "" } else { word }));
    run(command)
}

/// Runs command lines and compares what they print with `golden/NAME.txt`, which `UPDATE=1` writes anew.
pub(crate) fn golden(name: &str, lines: &[&str], names: &[(&str, &str)]) {
    let mut found = String::new();
    for line in lines {
        let ran = ran(line, names);
        found += &format!("$ {line}\n{}", String::from_utf8_lossy(&ran.stdout));
        // Which brokers run here is not the test's to know.
        let lines = ran.stderr.split_inclusive('\n');
        found.extend(
            lines.filter(|line| {
                !line.starts_with("  listening here: ") && !line.starts_with("  fix: martlet")
            }),
        );
        found += &format!("[status {}]\n\n", ran.status);
    }
    for (name, value) in names {
        found = found.replace(value, name);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "{} (UPDATE=1 writes it anew)", file.display());
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A broker of one test.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
}

impl Broker {
    /// Our broker, or Debian's with `TEST_BROKER=mosquitto`.
    pub(crate) fn start() -> Self {
        let port = free_port();
        Self::start_at(port)
    }

    pub(crate) fn start_at(port: u16) -> Self {
        let command = match std::env::var("TEST_BROKER") {
            Ok(program) => {
                let mut command = plain(program);
                command.args(["-p", &port.to_string()]);
                command
            }
            Err(_) => martlet(&format!("broker --bind 127.0.0.1 -p {port} --durability none")),
        };
        Self::spawn(command, port)
    }

    /// Ours, with a listener of its own: `lines` stand below it in the configuration.
    pub(crate) fn start_with(folder: &Path, lines: &str) -> Self {
        let port = free_port();
        let file = folder.join(format!("{port}.conf"));
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{lines}");
        std::fs::write(&file, text).unwrap();
        let mut command = martlet("broker --durability none --config");
        command.arg(file);
        Self::spawn(command, port)
    }

    fn spawn(mut command: Command, port: u16) -> Self {
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self { child, port };
        wait_for("the broker listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        broker
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `martlet pub`, `sub` or `rr` with this server's address behind it.
    pub(crate) fn client(&self, line: &str) -> Command {
        let mut command = martlet(line);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command
    }

    /// A subscriber, once its subscriptions are granted.
    pub(crate) fn sub(&self, line: &str) -> Subscriber {
        Subscriber::start(self.client(&format!("sub -d {line}")))
    }

    pub(crate) fn publish(&self, line: &str) {
        run(self.client(&format!("pub {line}"))).ok();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `martlet sub` at work.
pub(crate) struct Subscriber {
    child: Option<Child>,
    stderr: JoinHandle<String>,
}

impl Subscriber {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        let stderr = std::thread::spawn(move || {
            let mut all = String::new();
            for line in stderr.lines().map_while(Result::ok) {
                if line.starts_with("Subscribed") {
                    let _ = sender.send(());
                }
                all += &(line + "\n");
            }
            all
        });
        if receiver.recv_timeout(BOUND).is_err() {
            let _ = child.kill();
            let _ = child.wait();
            panic!("no subscription was granted: {}", stderr.join().unwrap());
        }
        Self {
            child: Some(child),
            stderr,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Its output, for a test that reads it while it runs.
    pub(crate) fn stdout(&mut self) -> BufReader<std::process::ChildStdout> {
        BufReader::new(self.child.as_mut().unwrap().stdout.take().unwrap())
    }

    /// Waits until it ends by itself.
    pub(crate) fn end(mut self) -> Ran {
        let mut ran = end(self.child.take().unwrap());
        ran.stderr = self.stderr.join().unwrap();
        ran
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.id(), name);
    }
}

/// Looks again and again, within the bound.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "not so in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A server that answers CONNECT with `connack`, each later SUBSCRIBE and PUBLISH of QoS 1 with a
/// refusal, and closes when `connack` is empty.
pub(crate) fn refusing(connack: fn(version: u8) -> Vec<u8>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = refuse(stream, connack);
            });
        }
    });
    port
}

fn refuse(mut stream: TcpStream, connack: fn(u8) -> Vec<u8>) -> std::io::Result<()> {
    let mut version = 0;
    while let Some((first, body)) = packet(&mut stream)? {
        let id = |at: usize| [body[at], body[at + 1]];
        let answer = match first >> 4 {
            1 => {
                version = body[2 + usize::from(body[1])];
                let answer = connack(version);
                if answer.is_empty() {
                    return Ok(());
                }
                answer
            }
            3 if first & 0b110 != 0 => {
                let [high, low] = id(2 + usize::from(u16::from_be_bytes(id(0))));
                if version == 5 {
                    vec![0x40, 4, high, low, 0x87, 0]
                } else {
                    vec![0x40, 2, high, low]
                }
            }
            8 => {
                let [high, low] = id(0);
                if version == 5 {
                    vec![0x90, 4, high, low, 0, 0x87]
                } else {
                    vec![0x90, 3, high, low, 0x80]
                }
            }
            _ => Vec::new(),
        };
        stream.write_all(&answer)?;
    }
    Ok(())
}

fn packet(stream: &mut TcpStream) -> std::io::Result<Option<(u8, Vec<u8>)>> {
    let mut byte = [0];
    if stream.read(&mut byte)? == 0 {
        return Ok(None);
    }
    let first = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((first, body)))
}
