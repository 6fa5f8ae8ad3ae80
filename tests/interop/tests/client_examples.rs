//! The examples of the client against the built broker: they print what the client's README shows.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use martlet_interop::{Broker, text};

/// The built example.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its program");
    let profile = test.ancestors().nth(2).expect("target/debug/deps");
    let example = profile.join("examples").join(name);
    assert!(
        example.is_file(),
        "there is no {}: run `cargo build --workspace --examples`",
        example.display()
    );
    example
}

struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(name: &str, broker: &Broker) -> Run {
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let child = Command::new(example(name))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    Run(child.expect("the example starts"))
}

fn printed(name: &str, broker: &Broker) -> String {
    let mut run = start(name, broker);
    let mut printed = Vec::new();
    let mut output = run.0.stdout.take().expect("a pipe");
    output.read_to_end(&mut printed).expect("what it prints");
    assert!(run.0.wait().expect("it ends").success(), "{name} failed");
    text(&printed)
}

/// The blocks of the README by the heading above them.
fn shown() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/client/README.md");
    let readme = std::fs::read_to_string(path).expect("the client has a README");
    let sections = readme.split("\n### ").skip(1);
    let block = |section: &str| {
        let (name, rest) = section.split_once('\n')?;
        let (_, rest) = rest.split_once("```text\n")?;
        let (block, _) = rest.split_once("```")?;
        Some((name.to_owned(), block.to_owned()))
    };
    sections.filter_map(block).collect()
}

fn check(name: &str) {
    let broker = Broker::start(&format!("example-{name}"));
    assert_eq!(printed(name, &broker), shown()[name]);
}

#[test]
fn connect() {
    check("connect");
}

#[test]
fn qos() {
    check("qos");
}

#[test]
fn retained() {
    check("retained");
}

#[test]
fn store() {
    check("store");
}

#[test]
fn will() {
    check("will");
}

#[test]
fn publish_and_subscribe() {
    let broker = Broker::start("example-publish-and-subscribe");
    let mut subscriber = start("subscribe", &broker);
    let mut lines = BufReader::new(subscriber.0.stdout.take().expect("a pipe"));
    let mut came = String::new();
    lines.read_line(&mut came).expect("what it prints");
    let published = printed("publish", &broker);
    lines.read_to_string(&mut came).expect("what it prints");
    assert_eq!(
        (published, came),
        (shown()["publish"].clone(), shown()["subscribe"].clone())
    );
}

#[test]
fn all_are_shown() {
    let names: Vec<String> = shown().into_keys().collect();
    assert_eq!(
        names,
        [
            "connect",
            "publish",
            "qos",
            "retained",
            "store",
            "subscribe",
            "will"
        ]
    );
}
