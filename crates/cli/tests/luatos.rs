//! Scripts of LuatOS modules against Martlet and against mosquitto, and what `martlet lua` does around them.
//!
//! Each case is a script in `luatos/`, whose first line names the rows of `R0` that it shows. A line that begins with `@`
//! asks the harness for something: to kill the broker or to start it again.

mod common;
#[path = "luatos/fake.rs"]
mod fake;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use common::pki::Pki;
use common::{BOUND, MARTLET, end, folder, free_port, plain, run, wait_for};

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Martlet,
    Mosquitto,
}

/// A broker with a listener of each kind, for one case.
struct Site {
    kind: Kind,
    folder: PathBuf,
    broker: Option<Child>,
    /// Name and port of each listener.
    ports: Vec<(&'static str, u16)>,
    /// The one that wants a login.
    login: Option<Child>,
}

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/luatos")
}

impl Site {
    fn new(kind: Kind, name: &str) -> Self {
        let folder = folder(&format!("luatos-{kind:?}-{name}"));
        let pki = Pki::make(&folder);
        encrypted_key(&folder);
        let names = [
            "port", "tls", "mutual", "no_san", "expired", "ws", "wss", "six", "login",
        ];
        let ports: Vec<_> = names.into_iter().map(|name| (name, free_port())).collect();
        let port = |name: &str| ports.iter().find(|(known, _)| *known == name).unwrap().1;
        let (both, web) = (pki.server("both"), "protocol websockets\n");
        let listeners = [
            ("port", "127.0.0.1", String::new()),
            ("tls", "127.0.0.1", both.clone()),
            (
                "mutual",
                "127.0.0.1",
                format!("{both}cafile {}\nrequire_certificate true\n", pki.file("ca.pem")),
            ),
            ("no_san", "127.0.0.1", pki.server("no-san")),
            ("expired", "127.0.0.1", pki.server("expired")),
            ("ws", "127.0.0.1", web.to_owned()),
            ("wss", "127.0.0.1", format!("{both}{web}")),
            ("six", "::1", String::new()),
        ];
        let mut text = String::from("allow_anonymous true\n");
        for (name, address, lines) in listeners {
            text += &format!("listener {} {address}\n{lines}", port(name));
        }
        std::fs::write(folder.join("broker.conf"), text).unwrap();
        let users = folder.join("users");
        std::fs::write(&users, "").unwrap();
        let made = plain("mosquitto_passwd")
            .arg("-b")
            .arg(&users)
            .args(["alice", "secret"])
            .output();
        assert!(made.expect("mosquitto_passwd is installed").status.success());
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\n",
            port("login"),
            users.display()
        );
        std::fs::write(folder.join("login.conf"), text).unwrap();
        let mut site = Self {
            kind,
            folder,
            broker: None,
            ports,
            login: None,
        };
        site.broker = Some(site.start("broker.conf", "port"));
        site.login = Some(site.start("login.conf", "login"));
        let (last, six) = (site.port("wss"), site.port("six"));
        wait_for("all listeners listen", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, last)).is_ok()
                && TcpStream::connect((Ipv6Addr::LOCALHOST, six)).is_ok()
        });
        site
    }

    fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|(known, _)| *known == name).unwrap().1
    }

    fn start(&self, config: &str, listener: &str) -> Child {
        let mut command = match self.kind {
            Kind::Martlet => {
                let mut command = plain(MARTLET);
                command.args(["broker", "--durability", "none", "--data-dir"]);
                command
                    .arg(self.folder.join(config).with_extension("data"))
                    .arg("-c");
                command
            }
            Kind::Mosquitto => {
                let mut command = plain("mosquitto");
                command.arg("-c");
                command
            }
        };
        let log = std::fs::File::create(self.folder.join(format!("{config}.log"))).unwrap();
        let errors = log.try_clone().unwrap();
        let started = command
            .arg(self.folder.join(config))
            .stdout(log)
            .stderr(errors)
            .spawn();
        let child = started.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let port = self.port(listener);
        wait_for("the broker listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        child
    }

    /// `martlet sub` at work.
    fn subscriber(&self, line: &str) -> Example {
        let mut command = common::martlet(&format!("sub {line}"));
        command.args(["-h", "127.0.0.1", "-p", &self.port("port").to_string()]);
        Example(command.spawn().unwrap())
    }

    fn publish(&self, line: &str) {
        let mut command = common::martlet(&format!("pub {line}"));
        command.args(["-h", "127.0.0.1", "-p", &self.port("port").to_string()]);
        run(command).ok();
    }

    fn kill(&mut self) {
        if let Some(mut broker) = self.broker.take() {
            broker.kill().unwrap();
            broker.wait().unwrap();
        }
    }

    /// Runs a case to its end, and does what it asks for.
    fn run(&mut self, name: &str) {
        let fake = fake::start();
        let mut command = plain(MARTLET);
        // Beside the certificates, where a script looks for `/luadb/`.
        let script = self.folder.join(format!("{name}.lua"));
        std::fs::copy(cases().join(format!("{name}.lua")), &script).unwrap();
        command.args(["lua", "--path"]).arg(cases()).arg(script);
        for (name, port) in &self.ports {
            command.arg(format!("{name}={port}"));
        }
        command
            .arg(format!("fake={fake}"))
            .arg(format!("mirror={}", fake::start_mirror()));
        command
            .arg(format!("nobody={}", free_port()))
            .arg(format!("folder={}", self.folder.display()));
        if ("localhost", 0)
            .to_socket_addrs()
            .is_ok_and(|mut found| found.any(|address| address.is_ipv6()))
        {
            command.arg("six_name=localhost");
        }
        let mut child = command
            .env("SSL_CERT_FILE", self.folder.join("other-ca.pem"))
            .spawn()
            .unwrap();
        let lines = lines_of(&mut child);
        let mut said = String::new();
        while let Ok(line) = lines.recv_timeout(BOUND) {
            match line.as_str() {
                "@kill" => self.kill(),
                "@start" => self.broker = Some(self.start("broker.conf", "port")),
                _ => said += &(line + "\n"),
            }
        }
        let ran = end(child);
        let log = std::fs::read_to_string(self.folder.join("broker.conf.log")).unwrap_or_default();
        assert_eq!(
            (ran.status, ran.stderr.as_str()),
            (0, ""),
            "{name}:\n{said}\nthe broker:\n{log}"
        );
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut login) = self.login.take() {
            let _ = login.kill();
            let _ = login.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The lines of standard output, as they come.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// `client.key` twice more, encrypted with `123456`: as of today, and as OpenSSL did long ago.
fn encrypted_key(folder: &Path) {
    let made = Command::new("openssl")
        .args([
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-256-cbc",
            "-passout",
            "pass:123456",
            "-in",
        ])
        .arg(folder.join("client.key"))
        .arg("-out")
        .arg(folder.join("client-encrypted.key"))
        .stderr(Stdio::inherit())
        .status();
    assert!(made.expect("openssl is installed").success());
    let made = Command::new("openssl")
        .args([
            "pkey",
            "-traditional",
            "-aes256",
            "-passout",
            "pass:123456",
            "-in",
        ])
        .arg(folder.join("client.key"))
        .arg("-out")
        .arg(folder.join("client-old.key"))
        .status();
    assert!(made.expect("openssl is installed").success());
}

/// Makes a test of each script for each broker, and one that says when one is missing.
macro_rules! cases {
    ($($case:ident)*) => {
        mod martlet { $(#[test] fn $case() {
            super::Site::new(super::Kind::Martlet, stringify!($case)).run(stringify!($case));
        })* }
        mod mosquitto { $(#[test] fn $case() {
            super::Site::new(super::Kind::Mosquitto, stringify!($case)).run(stringify!($case));
        })* }
        const CASES: &[&str] = &[$(stringify!($case)),*];
    };
}

cases! {
    auth broker_gone connect constants create disconnect document ipv6 keepalive many publish recv rx_size sent session store subscribe
    takeover timeout tls unreachable version5 violations websocket will
}

/// Makes a test of each script that needs no broker but the one in its own process.
macro_rules! runtime {
    ($($case:ident)*) => {
        mod runtime { $(#[test] fn $case() { super::in_virtual_time(stringify!($case)); })* }
        const RUNTIME: &[&str] = &[$(stringify!($case)),*];
    };
}

runtime! { buffers clock libraries logs policy tasks texts }

fn in_virtual_time(name: &str) {
    let folder = folder(&format!("luatos-runtime-{name}"));
    let script = folder.join(format!("{name}.lua"));
    std::fs::copy(cases().join("runtime").join(format!("{name}.lua")), &script).unwrap();
    let mut command = plain(MARTLET);
    command.args([
        "lua",
        "--virtual-time",
        "--set",
        "mobile.csq=20",
        "--imei",
        "861234567890123",
        "--path",
    ]);
    command
        .arg(cases())
        .arg(script)
        .args(["port=1883", "imei=861234567890123"]);
    let ran = run(command);
    assert_eq!(
        (ran.status, ran.stderr.as_str()),
        (0, ""),
        "{name}:\n{}",
        ran.text()
    );
}

/// The scripts that run here, each with the rows that its first line names.
fn rows(folder: &Path) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_none_or(|extension| extension != "lua") || name == "t" {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        let words = first.trim_start_matches("-- ").split(' ');
        let rows = words
            .filter(|word| word.starts_with("R0."))
            .map(str::to_owned)
            .collect();
        found.push((name, rows));
    }
    found.sort();
    found
}

#[test]
fn every_script_is_a_case() {
    for (folder, here) in [(cases(), CASES), (cases().join("runtime"), RUNTIME)] {
        let names: Vec<String> = rows(&folder).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, here, "scripts of {}, and cases", folder.display());
    }
}

#[test]
fn every_row_has_a_script() {
    let mut shown = std::collections::BTreeSet::new();
    for folder in [cases(), cases().join("runtime")] {
        shown.extend(rows(&folder).into_iter().flat_map(|(_, rows)| rows));
    }
    let missing: Vec<String> = (1..=77)
        .map(|n| format!("R0.{n}"))
        .filter(|row| !shown.contains(row))
        .collect();
    assert!(missing.is_empty(), "no script names {missing:?}");
}

#[test]
fn a_port_may_be_a_pseudo_terminal() {
    let folder = folder("luatos-pty");
    let script = folder.join("uart.lua");
    let text = "uart.on(2, 'receive', function(id, length)\n\
                    uart.write(id, uart.read(id, length):upper())\n\
                end)\n\
                uart.setup(2, 115200)\n\
                sys.run()\n";
    std::fs::write(&script, text).unwrap();
    let mut command = plain(MARTLET);
    command.args(["lua", "--set", "uart.2=pty"]).arg(script);
    let mut child = Example(command.spawn().unwrap());
    let line = lines_of(&mut child.0).recv_timeout(BOUND).unwrap();
    let name = line.strip_prefix("I/uart port 2 is ").unwrap();
    let mut terminal = std::fs::File::options()
        .read(true)
        .write(true)
        .open(name)
        .unwrap();
    terminal.write_all(b"at+gmr\r").unwrap();
    let mut answer = [0; 7];
    terminal.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"AT+GMR\r");
}

#[test]
fn a_task_that_never_waits_meets_the_limit_too() {
    let mut command = plain(MARTLET);
    command
        .args(["lua", "--time-limit", "0.2"])
        .arg(cases().join("command/forever.lua"))
        .arg("busy task");
    assert_eq!(run(command).status, 124);
}

/// The page says of each function whether it is there; this asks it.
#[test]
fn the_page_knows_every_function() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/luatos.md");
    let mut page_text = std::fs::read_to_string(&page).unwrap();
    let between = |text: &str, mark: &str| {
        let (_, rest) = text.split_once(&format!("<!-- {mark} -->\n")).unwrap();
        rest.split_once(&format!("<!-- /{mark} -->"))
            .unwrap()
            .0
            .to_owned()
    };
    let mut said = std::collections::BTreeMap::new();
    for row in between(&page_text, "functions").lines().skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        for name in cells[2].split(", ") {
            let name = format!("{}.{}", cells[1].trim_matches('`'), name.trim_matches('`'));
            assert!(
                said.insert(name.clone(), cells[3] != "absent").is_none(),
                "{name} stands twice"
            );
        }
    }
    let folder = folder("luatos-page");
    let script = folder.join("list.lua");
    let text = "for _, library in ipairs(arg) do\n\
                    for name, value in pairs(_G[library]) do\n\
                        if type(value) == 'function' then print(library .. '.' .. name) end\n\
                    end\n\
                end\n";
    std::fs::write(&script, text).unwrap();
    let libraries: std::collections::BTreeSet<&str> =
        said.keys().map(|name| name.split_once('.').unwrap().0).collect();
    let mut command = plain(MARTLET);
    command.arg("lua").arg(script).args(libraries);
    let there = run(command).ok();
    let there: std::collections::BTreeSet<&str> = there.text().lines().collect();
    for name in &there {
        assert_eq!(
            said.get(*name),
            Some(&true),
            "{name} is there: what does the page say?"
        );
    }
    let claimed = said.iter().filter(|(_, is_there)| **is_there);
    for (name, _) in claimed {
        assert!(
            there.contains(name.as_str()),
            "the page says that {name} is there"
        );
    }
    // The values that can be set.
    let mut table = String::from("| name | without |\n|---|---|\n");
    for (name, value) in martlet_luatos::VALUES {
        table += &format!("| `{name}` | `{value}` |\n");
    }
    let before = between(&page_text, "values");
    if std::env::var_os("UPDATE").is_some() {
        page_text = page_text.replace(&before, &table);
        std::fs::write(&page, &page_text).unwrap();
    }
    assert_eq!(between(&page_text, "values"), table, "UPDATE=1 writes it anew");
}

/// Code blocks of a document, as they stand: `MARTLET_LUATOS_DOCUMENT=FILE cargo test -p martlet --test luatos -- --ignored`.
/// Each runs in a task of its own with a connected `mqttc`; the addresses and ports that it names are those of this site.
#[test]
#[ignore = "the document is not ours to keep here: name it in MARTLET_LUATOS_DOCUMENT"]
fn every_code_block_of_the_document_runs() {
    let document =
        std::env::var_os("MARTLET_LUATOS_DOCUMENT").expect("MARTLET_LUATOS_DOCUMENT names the document");
    let text = std::fs::read_to_string(&document).unwrap();
    let blocks: Vec<&str> = text
        .split("```lua\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 10, "there are {} blocks", blocks.len());
    for kind in [Kind::Martlet, Kind::Mosquitto] {
        let site = Site::new(kind, "document-blocks");
        for (name, own) in [
            ("ca.crt", "ca.pem"),
            ("client.pem", "client.pem"),
            ("client.key", "client-encrypted.key"),
        ] {
            if name != own {
                std::fs::copy(site.folder.join(own), site.folder.join(name)).unwrap();
            }
        }
        for (n, block) in blocks.iter().enumerate() {
            let script = site.folder.join(format!("block-{n}.lua"));
            // Not a character of the block is changed: the addresses are mapped around it.
            let ports = format!(
                "{{ [1884] = {}, [8883] = {} }}",
                site.port("port"),
                site.port("tls")
            );
            let text = format!(
                "local create, ports = mqtt.create, {ports}\n\
                 function mqtt.create(adapter, host, port, ...)\n\
                     if host == '120.55.137.106' then host, port = '127.0.0.1', ports[port] end\n\
                     return assert(create(adapter, host, port, ...))\n\
                 end\n\
                 sys.taskInit(function()\n\
                     mqttc = mqtt.create(nil, '120.55.137.106', 1884)\n\
                     local connected = mqttc\n\
                     mqttc:auth('document')\n\
                     mqttc:on(function(_, event) sys.publish(event) end)\n\
                     mqttc:connect()\n\
                     assert(sys.waitUntil('conack', 10000))\n\
                     do\n{block}\nend\n\
                     sys.wait(50)\n\
                     -- One that the block has made connects, too.\n\
                     if mqttc ~= connected and mqttc then\n\
                         mqttc:auth('document-2')\n\
                         mqttc:on(function(_, event) sys.publish(event .. '2') end)\n\
                         mqttc:connect()\n\
                         assert(sys.waitUntil('conack2', 10000))\n\
                     end\n\
                     os.exit(0)\n\
                 end)\n\
                 sys.run()\n"
            );
            std::fs::write(&script, text).unwrap();
            let mut command = plain(MARTLET);
            command.args(["lua", "--time-limit", "30"]).arg(script);
            let ran = run(command);
            assert_eq!(
                ran.status,
                0,
                "{kind:?}, block {n}:\n{block}\n{}{}",
                ran.text(),
                ran.stderr
            );
        }
    }
}

/// An example at work; its lines as they come.
fn example(site: &Site, name: &str) -> (Example, mpsc::Receiver<String>) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/luatos")
        .join(format!("{name}.lua"));
    let mut command = plain(MARTLET);
    command
        .arg("lua")
        .arg(script)
        .args(["127.0.0.1", &site.port("port").to_string()]);
    let mut child = command.spawn().unwrap();
    let lines = lines_of(&mut child);
    (Example(child), lines)
}

struct Example(Child);

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lines up to this one.
fn until(lines: &mpsc::Receiver<String>, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let line = lines
            .recv_timeout(BOUND)
            .unwrap_or_else(|_| panic!("no '{last}' behind {seen:?}"));
        seen.push(line);
        if seen.last().is_some_and(|line| line == last) {
            return seen;
        }
    }
}

/// Each example prints these lines, whatever is between them, in this order.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("connect", &["I/user.connect connected"]),
    (
        "publish",
        &["I/user.publish 1 is there", "I/user.publish 2 is there"],
    ),
    (
        "subscribe",
        &["I/user.subscribe granted 0", "I/user.subscribe granted 1"],
    ),
    (
        "qos",
        &[
            "I/user.qos qos/0 came with QoS 0 not acknowledged",
            "I/user.qos qos/1 came with QoS 1 acknowledged",
            "I/user.qos qos/2 came with QoS 2 acknowledged",
            "I/user.qos qos/low came with QoS 0",
        ],
    ),
    (
        "retained",
        &[
            "I/user.retained retained/state open kept",
            "I/user.retained retained/state closed new",
            "I/user.retained taken away",
        ],
    ),
    (
        "will",
        &["I/user.will will-watcher will/device gone", "I/user.will told"],
    ),
];

fn examples(kind: Kind) {
    let site = Site::new(kind, "examples");
    for (name, wanted) in EXAMPLES {
        let (_running, lines) = example(&site, name);
        for line in *wanted {
            until(&lines, line);
        }
    }
}

#[test]
fn examples_on_martlet() {
    examples(Kind::Martlet);
}

#[test]
fn examples_on_mosquitto() {
    examples(Kind::Mosquitto);
}

/// A sensor whose broker goes away and comes back loses no reading.
fn sensor(kind: Kind) {
    let mut site = Site::new(kind, "sensor");
    let (running, lines) = example(&site, "sensor");
    until(&lines, "I/user.sensor reading 2 is there");
    site.kill();
    let offline = |line: &String| line.starts_with("W/user.sensor offline");
    while !offline(&lines.recv_timeout(BOUND).unwrap()) {}
    site.broker = Some(site.start("broker.conf", "port"));
    let mut watcher = site.subscriber("-t sensor/+/reading -t sensor/+/state -F %t=%p -q 1");
    let heard = lines_of(&mut watcher.0);
    let after = until(&lines, "I/user.sensor reading 5 is there");
    let there = after.iter().filter(|line| line.ends_with("is there")).count();
    assert!(there <= 3, "each is told once: {after:?}");
    let state = format!("sensor/860000000000000/state={}", "online");
    until(&heard, &state);
    // A command, and the will when it is cut.
    site.publish("-t sensor/860000000000000/set -m {\"period\":150}");
    until(&lines, "I/user.sensor every 150 ms");
    drop(running);
    until(&heard, "sensor/860000000000000/state=offline");
}

#[test]
fn a_sensor_on_martlet() {
    sensor(Kind::Martlet);
}

#[test]
fn a_sensor_on_mosquitto() {
    sensor(Kind::Mosquitto);
}

#[test]
fn what_people_read() {
    // From where cargo runs tests: longer paths are cut short by Lua.
    let dir = "tests/luatos/command";
    let lines = [
        "martlet lua DIR/main_error.lua",
        "martlet lua DIR/task_error.lua",
        "martlet lua DIR/restart.lua",
        "martlet lua --virtual-time DIR/callback_error.lua",
        "martlet lua DIR/argument_error.lua",
        "martlet lua DIR/object_error.lua",
        "martlet lua DIR/syntax_error.lua",
        "martlet lua DIR/nothing.lua",
        "martlet lua DIR/exits.lua one --two",
        "martlet lua DIR/exits.lua 7",
        "martlet lua DIR/exits.lua no",
        "martlet lua DIR/exits.lua reboot",
        "martlet lua --time-limit 0.2 DIR/forever.lua",
        "martlet lua --time-limit 0.2 DIR/forever.lua busy",
        "martlet lua --time-limit 100000 --virtual-time DIR/forever.lua",
        "martlet lua --virtual-time DIR/idle.lua",
        "martlet lua --virtual-time DIR/now.lua",
        "martlet lua --memory-limit 20 DIR/greedy.lua",
        "martlet lua --memory-limit 0 DIR/greedy.lua",
        "martlet lua --virtual-time --trace DIR/traced.lua",
        "martlet lua --check DIR/uses.lua",
        "martlet lua --check DIR/idle.lua",
        "martlet lua --check DIR/syntax_error.lua",
        "martlet lua --time-limit soon DIR/idle.lua",
        "martlet lua --set csq DIR/idle.lua",
        "martlet lua --set mobile.signal=20 DIR/idle.lua",
        "martlet lua --set mobile.csq=good DIR/idle.lua",
        "martlet lua --set network.ready=yes DIR/idle.lua",
        "martlet lua --set-from DIR/words.txt DIR/idle.lua",
        "martlet lua --set-from DIR/good.txt DIR/values.lua",
        "martlet lua --set-from DIR/good.txt --set mobile.csq=3 DIR/values.lua",
        "martlet lua --set-from DIR/wrong.txt DIR/values.lua",
        "martlet lua",
    ];
    common::golden("lua", &lines, &[("DIR", dir)]);
}

#[test]
fn a_port_may_be_standard_input_and_output() {
    let folder = folder("luatos-uart");
    let script = folder.join("uart.lua");
    let text = "uart.setup(1, 115200)\n\
                uart.on(1, 'receive', function(id, length)\n\
                    local data = uart.read(id, length)\n\
                    uart.write(id, data:upper())\n\
                    if data:find('end') then os.exit(0) end\n\
                end)\n\
                sys.run()\n";
    std::fs::write(&script, text).unwrap();
    let mut command = plain(MARTLET);
    command.args(["lua", "--set", "uart.1=stdio"]).arg(script);
    let ran = common::run_with(command, b"from the end of a wire\n").ok();
    assert_eq!(ran.text(), "FROM THE END OF A WIRE\n");
}
