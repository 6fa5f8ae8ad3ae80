//! Mosquitto's command-line tools as Debian packages them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use martlet_interop::{Broker, on_mosquitto, run, text};

const PATIENCE: Duration = Duration::from_secs(15);

/// One broker and the tools, speaking one version.
struct Tools {
    broker: Broker,
    version: &'static str,
}

/// A running `mosquitto_sub`, subscribed. Its lines are `topic|payload|QoS|RETAIN`.
struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Tools {
    fn start(version: &'static str, case: &str) -> Self {
        Self {
            broker: Broker::start(&format!("tools-{version}-{case}")),
            version,
        }
    }

    fn v5(&self) -> bool {
        self.version == "mqttv5"
    }

    fn command(&self, tool: &str, args: &[&str]) -> Command {
        let mut command = Command::new(tool);
        let port = self.broker.port().to_string();
        command
            .args(["-h", "127.0.0.1", "-p", &port, "-V", self.version])
            .args(args);
        command
    }

    /// Runs `mosquitto_pub` to its end.
    fn publish(&self, args: &[&str]) {
        let output = run(&mut self.command("mosquitto_pub", args));
        assert!(
            output.status.success(),
            "mosquitto_pub {args:?}: {}",
            text(&output.stderr)
        );
    }

    /// Runs `mosquitto_pub` with `input` on its standard input.
    fn publish_input(&self, args: &[&str], input: &str) {
        let mut child = self
            .command("mosquitto_pub", args)
            .stdin(Stdio::piped())
            .spawn()
            .expect("mosquitto_pub");
        child
            .stdin
            .take()
            .expect("a pipe")
            .write_all(input.as_bytes())
            .expect("mosquitto_pub reads");
        assert!(
            child.wait().expect("mosquitto_pub ends").success(),
            "mosquitto_pub {args:?}"
        );
    }

    /// Runs `mosquitto_sub` to its end, at most for the time of our patience.
    fn fetch(&self, args: &[&str]) -> Vec<u8> {
        let patience = PATIENCE.as_secs().to_string();
        let output = run(self.command("mosquitto_sub", args).args(["-W", &patience]));
        assert!(
            output.status.success(),
            "mosquitto_sub {args:?}: {} {}",
            output.status,
            text(&output.stderr)
        );
        output.stdout
    }

    /// Starts `mosquitto_sub` and waits until each of its filters is acknowledged.
    fn subscriber(&self, args: &[&str]) -> Subscriber {
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "mosquitto_sub"])
            .args(self.command("mosquitto_sub", args).get_args());
        let child = command
            .args(["-d", "-F", "> %t|%p|%q|%r"])
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("mosquitto_sub");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let subscriber = Subscriber { child, lines };
        subscriber.wait_for("Subscribed");
        subscriber
    }
}

impl Subscriber {
    /// What follows `start` in the next line that has it.
    fn wait_for(&self, start: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(start) {
                        return rest.to_owned();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("mosquitto_sub: no line {start:?} within {PATIENCE:?}")
                }
                Err(RecvTimeoutError::Disconnected) => panic!("mosquitto_sub ended, no line {start:?} came"),
            }
        }
    }

    /// The next message is this one.
    fn expect(&self, message: &str) {
        assert_eq!(self.wait_for("> "), message);
    }

    /// Ends the program as SIGKILL does: nothing more is sent.
    fn kill(&mut self) {
        self.child.kill().expect("mosquitto_sub runs");
        self.child.wait().expect("mosquitto_sub is ours");
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `-c` needs in 5.0 to keep a session.
fn keep(tools: &Tools) -> &'static [&'static str] {
    if tools.v5() {
        &["-c", "-x", "3600"]
    } else {
        &["-c"]
    }
}

fn topic_of_the_document(tools: &Tools) {
    let subscriber = tools.subscriber(&["-v", "-t", "S013/MOT01/RECM"]);
    tools.publish(&["-t", "S013/MOT01/RECM", "-m", "DRVZ+1000"]);
    subscriber.expect("S013/MOT01/RECM|DRVZ+1000|0|0");
    tools.publish(&["-t", "S013/MOT01/RECM", "-m", "DRVZ+1000", "-r"]);
    let printed = tools.fetch(&["-v", "-t", "S013/#", "-C", "1"]);
    assert_eq!(text(&printed), "S013/MOT01/RECM DRVZ+1000\n");
}

fn qos_both_directions(tools: &Tools) {
    for granted in ["0", "1", "2"] {
        let subscriber = tools.subscriber(&["-t", "q", "-q", granted]);
        for qos in ["0", "1", "2"] {
            tools.publish(&["-t", "q", "-m", "payload", "-q", qos]);
            subscriber.expect(&format!("q|payload|{}|0", qos.min(granted)));
        }
    }
}

fn order_is_kept(tools: &Tools) {
    let subscriber = tools.subscriber(&["-t", "lines", "-q", "1"]);
    let lines: Vec<String> = (0..500).map(|number| number.to_string()).collect();
    tools.publish_input(&["-t", "lines", "-q", "1", "-l"], &(lines.join("\n") + "\n"));
    for line in lines {
        subscriber.expect(&format!("lines|{line}|1|0"));
    }
}

fn retained_set_replace_clear(tools: &Tools) {
    let check = |expected: &[&str]| {
        let subscriber = tools.subscriber(&["-t", "r/#", "-q", "2"]);
        tools.publish(&["-t", "r/live", "-m", "live", "-q", "2"]);
        for message in expected.iter().chain(&["r/live|live|2|0"]) {
            subscriber.expect(message);
        }
    };
    tools.publish(&["-t", "r/t", "-m", "first", "-r", "-q", "1"]);
    check(&["r/t|first|1|1"]);
    tools.publish(&["-t", "r/t", "-m", "second", "-r", "-q", "2"]);
    check(&["r/t|second|2|1"]);
    tools.publish(&["-t", "r/t", "-r", "-n"]);
    check(&[]);
}

fn retained_removed(tools: &Tools) {
    for topic in ["r/a", "r/b"] {
        tools.publish(&["-t", topic, "-m", "kept", "-r", "-q", "1"]);
    }
    let remover = tools.subscriber(&["-t", "r/#", "-q", "1", "--remove-retained"]);
    // It clears with a PUBLISH of its own for each.
    for _ in 0..2 {
        remover.wait_for("received PUBACK");
    }
    let subscriber = tools.subscriber(&["-t", "r/#"]);
    tools.publish(&["-t", "r/live", "-m", "live"]);
    subscriber.expect("r/live|live|0|0");
}

fn wildcards(tools: &Tools) {
    let hash = tools.subscriber(&["-t", "a/#"]);
    let plus = tools.subscriber(&["-t", "a/+"]);
    for topic in ["a", "a/b", "a/b/c", "b/a", "a/end"] {
        tools.publish(&["-t", topic, "-m", "x"]);
    }
    for topic in ["a", "a/b", "a/b/c", "a/end"] {
        hash.expect(&format!("{topic}|x|0|0"));
    }
    for topic in ["a/b", "a/end"] {
        plus.expect(&format!("{topic}|x|0|0"));
    }
}

fn topics_in_chinese_and_with_spaces(tools: &Tools) {
    for topic in ["温度/传感器", "with spaces/in levels", "/", "emoji/🐦"] {
        let subscriber = tools.subscriber(&["-t", topic, "-q", "1"]);
        tools.publish(&["-t", topic, "-m", topic, "-q", "1"]);
        subscriber.expect(&format!("{topic}|{topic}|1|0"));
    }
}

fn payload_sizes(tools: &Tools) {
    let file = tools.broker.folder().join("payload");
    let name = file.to_str().expect("a UTF-8 path");
    for size in [1, 127, 128, 16_384, 1 << 20] {
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        std::fs::write(&file, &payload).expect("a file of our own");
        tools.publish(&["-t", "size", "-f", name, "-r", "-q", "1"]);
        assert!(
            tools.fetch(&["-t", "size", "-C", "1", "-N", "-q", "1"]) == payload,
            "{size} bytes differ"
        );
    }
    let subscriber = tools.subscriber(&["-t", "empty"]);
    tools.publish(&["-t", "empty", "-n"]);
    subscriber.expect("empty||0|0");
}

fn will_after_kill(tools: &Tools) {
    let watcher = tools.subscriber(&["-t", "will", "-q", "1"]);
    let will = [
        "--will-topic",
        "will",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
        "--will-retain",
    ];
    tools.subscriber(&[&["-t", "any"], &will[..]].concat()).kill();
    watcher.expect("will|gone|1|0");
    tools
        .subscriber(&["-t", "will", "-q", "1"])
        .expect("will|gone|1|1");
}

fn will_delay(tools: &Tools) {
    let watcher = tools.subscriber(&["-t", "will"]);
    let will = [
        "-x",
        "60",
        "--will-topic",
        "will",
        "--will-payload",
        "late",
        "-D",
        "will",
        "will-delay-interval",
        "1",
    ];
    let mut leaver = tools.subscriber(&[&["-t", "any"], &will[..]].concat());
    let start = Instant::now();
    leaver.kill();
    watcher.expect("will|late|0|0");
    // Mosquitto counts in whole seconds of the clock.
    assert!(
        on_mosquitto() || start.elapsed() > Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
}

fn session_resumed_after_death(tools: &Tools) {
    let args = [keep(tools), &["-i", "same", "-t", "s", "-q", "2"]].concat();
    tools.subscriber(&args).kill();
    for qos in ["1", "2"] {
        tools.publish(&["-t", "s", "-m", "while dead", "-q", qos]);
    }
    let printed = tools.fetch(&[&args[..], &["-C", "2", "-F", "%p|%q"]].concat());
    assert_eq!(text(&printed), "while dead|1\nwhile dead|2\n");
}

fn session_resumed_after_disconnect(tools: &Tools) {
    let args = [keep(tools), &["-i", "same", "-t", "s", "-q", "1"]].concat();
    tools.fetch(&[&args[..], &["-E"]].concat());
    tools.publish(&["-t", "s", "-m", "while away", "-q", "1"]);
    assert_eq!(
        text(&tools.fetch(&[&args[..], &["-C", "1"]].concat())),
        "while away\n"
    );
}

fn shared_each_message_once(tools: &Tools) {
    let members = [(); 2].map(|()| tools.subscriber(&["-t", "$share/g/s", "-t", "end", "-q", "1"]));
    let sent: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    tools.publish_input(&["-t", "s", "-q", "1", "-l"], &(sent.join("\n") + "\n"));
    tools.publish(&["-t", "end", "-n", "-q", "1"]);
    let share = |member: &Subscriber| -> Vec<String> {
        let lines = std::iter::repeat_with(|| member.wait_for("> ")).take_while(|line| line != "end||1|0");
        lines
            .map(|line| line.replace("s|", "").replace("|1|0", ""))
            .collect()
    };
    let shares = members.each_ref().map(share);
    assert!(shares.iter().all(|share| !share.is_empty()), "{shares:?}");
    let mut all = shares.concat();
    all.sort_unstable();
    assert_eq!(all, sent);
}

fn overlapping_once(tools: &Tools) {
    if on_mosquitto() {
        return; // 2.0 sends one for each in 5.0, and otherwise one at any of the QoS
    }
    let subscriber = tools.subscriber(&["-t", "o/#", "-t", "o/t", "-t", "o/+", "-q", "1"]);
    tools.publish(&["-t", "o/t", "-m", "once", "-q", "2"]);
    tools.publish(&["-t", "o/end", "-m", "end", "-q", "2"]);
    subscriber.expect("o/t|once|1|0");
    subscriber.expect("o/end|end|1|0");
}

fn request_response(tools: &Tools) {
    let server = tools.subscriber(&["-t", "request"]);
    let request = ["-t", "request", "-e", "answer", "-m", "6 * 7", "-W", "15"];
    let asks = tools
        .command("mosquitto_rr", &request)
        .stdout(Stdio::piped())
        .spawn()
        .expect("mosquitto_rr");
    server.expect("request|6 * 7|0|0");
    tools.publish(&["-t", "answer", "-m", "42"]);
    assert_eq!(
        text(&asks.wait_with_output().expect("mosquitto_rr ends").stdout),
        "42\n"
    );
}

fn properties(tools: &Tools) {
    let pairs = [
        "user-property z 1",
        "user-property a 2",
        "content-type text/plain",
        "response-topic answer",
        "message-expiry-interval 100",
    ];
    let mut args = vec!["-t", "p", "-m", "x", "-r", "-q", "1"];
    for pair in pairs {
        args.extend(["-D", "publish"]);
        args.extend(pair.split(' '));
    }
    tools.publish(&args);
    let printed = text(&tools.fetch(&["-t", "p", "-C", "1", "-F", "%P|%C|%R|%E"]));
    assert!(
        [
            "z:1 a:2|text/plain|answer|100\n",
            "z:1 a:2|text/plain|answer|99\n"
        ]
        .contains(&&*printed),
        "{printed}"
    );
}

fn receive_maximum(tools: &Tools) {
    let subscriber = tools.subscriber(&["-t", "f", "-q", "2", "-D", "connect", "receive-maximum", "1"]);
    tools.publish_input(&["-t", "f", "-q", "2", "-l"], "1\n2\n3\n4\n");
    for payload in ["1", "2", "3", "4"] {
        subscriber.expect(&format!("f|{payload}|2|0"));
    }
}

fn topic_aliases(tools: &Tools) {
    let subscriber = tools.subscriber(&["-t", "alias/topic", "-q", "1"]);
    let alias = ["-D", "publish", "topic-alias", "1"];
    tools.publish(
        &[
            &["-t", "alias/topic", "-m", "x", "-q", "1", "--repeat", "3"],
            &alias[..],
        ]
        .concat(),
    );
    for _ in 0..3 {
        subscriber.expect("alias/topic|x|1|0");
    }
}

macro_rules! cases {
    ($($module:ident = $version:literal { $($case:ident)* })*) => {$(
        mod $module {
            $(#[test] fn $case() { super::$case(&super::Tools::start($version, stringify!($case))); })*
        }
    )*};
}

cases! {
    v31 = "mqttv31" {
        topic_of_the_document qos_both_directions order_is_kept retained_set_replace_clear retained_removed
        wildcards topics_in_chinese_and_with_spaces payload_sizes will_after_kill session_resumed_after_death
        session_resumed_after_disconnect shared_each_message_once overlapping_once
    }
    v311 = "mqttv311" {
        topic_of_the_document qos_both_directions order_is_kept retained_set_replace_clear retained_removed
        wildcards topics_in_chinese_and_with_spaces payload_sizes will_after_kill session_resumed_after_death
        session_resumed_after_disconnect shared_each_message_once overlapping_once request_response
    }
    v5 = "mqttv5" {
        topic_of_the_document qos_both_directions order_is_kept retained_set_replace_clear retained_removed
        wildcards topics_in_chinese_and_with_spaces payload_sizes will_after_kill session_resumed_after_death
        session_resumed_after_disconnect shared_each_message_once overlapping_once request_response
        will_delay properties receive_maximum topic_aliases
    }
}
