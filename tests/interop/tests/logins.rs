//! Users and passwords: clients of other people, and password files that Debian's `mosquitto_passwd` writes.

use std::path::{Path, PathBuf};
use std::process::Command;

use martlet_interop::{Broker, Scripts, binary, run, text};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// A password file with one user of each kind of hash, all with the password `pass word`.
fn users(name: &str) -> PathBuf {
    let folder = martlet_interop::target()
        .join("tmp")
        .join(format!("users-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the file");
    let file = folder.join("users");
    let passwd = |mut command: Command, options: &[&str], user: &str| {
        command
            .args(options)
            .arg("-b")
            .arg(&file)
            .args([user, "pass word"]);
        let output = run(&mut command);
        assert!(output.status.success(), "{user}: {}", text(&output.stderr));
    };
    let ours = || {
        let mut command = Command::new(binary());
        command.arg("passwd");
        command
    };
    // Theirs come first: their tool does not get past methods that it does not know.
    std::fs::write(&file, "").expect("the file can be written");
    passwd(Command::new("mosquitto_passwd"), &["-H", "sha512"], "theirs-6");
    passwd(
        Command::new("mosquitto_passwd"),
        &["-H", "sha512-pbkdf2"],
        "theirs-7",
    );
    passwd(ours(), &["-H", "sha512"], "ours-6");
    passwd(ours(), &["-H", "sha512-pbkdf2"], "ours-7");
    passwd(ours(), &[], "ours-argon2id");
    file
}

const USERS: [&str; 5] = ["theirs-6", "theirs-7", "ours-6", "ours-7", "ours-argon2id"];

fn broker(name: &str, users: &Path) -> Broker {
    let setting = format!("password_file={}", users.display());
    Broker::start_with(name, &["--set", &setting], &[])
}

#[test]
fn mosquitto_pub() {
    let users = users("pub");
    let broker = broker("logins-pub", &users);
    let publish = |version: &str, login: &[&str]| {
        let mut command = Command::new("mosquitto_pub");
        let port = broker.port().to_string();
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-V",
            version,
            "-t",
            "a",
            "-m",
            "x",
            "-q",
            "1",
        ]);
        run(command.args(login)).status.code()
    };
    for version in VERSIONS {
        for user in USERS {
            assert_eq!(
                publish(version, &["-u", user, "-P", "pass word"]),
                Some(0),
                "{version} {user}"
            );
        }
        let refused = Some(if version == "mqttv5" { 135 } else { 5 });
        for login in [
            &["-u", "ours-6", "-P", "password"][..],
            &["-u", "nobody", "-P", "pass word"],
            &["-u", "ours-6"],
            &[],
        ] {
            assert_eq!(publish(version, login), refused, "{version} {login:?}");
        }
    }
}

#[test]
fn paho() {
    let users = users("paho");
    let broker = broker("logins-paho", &users);
    let said = |version: &str, user: &str, password: &str| {
        let mut command = Scripts::Paho.script("login");
        let output = run(command.args([&broker.port().to_string(), version, user, password]));
        assert!(
            output.status.success(),
            "{version} {user}: {}",
            text(&output.stderr)
        );
        text(&output.stdout).trim_end().to_owned()
    };
    for version in ["v31", "v311", "v5"] {
        assert_eq!(said(version, "theirs-7", "pass word"), "Success");
        assert_eq!(said(version, "ours-argon2id", "pass word"), "Success");
        assert_eq!(said(version, "ours-argon2id", "password"), "Not authorized");
        assert_eq!(said(version, "nobody", "pass word"), "Not authorized");
    }
}

/// What we write is read by Debian's broker too, where it knows the method.
#[test]
fn debians_broker_reads_our_file() {
    let file = users("debian");
    let text = std::fs::read_to_string(&file).expect("the file is there");
    let known: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("$argon2id$"))
        .collect();
    std::fs::write(&file, known).expect("the file can be written");
    let port = martlet_interop::free_port();
    let config = file.with_file_name("mosquitto.conf");
    let lines = format!("listener {port} 127.0.0.1\npassword_file {}\n", file.display());
    std::fs::write(&config, lines).expect("the configuration can be written");
    let mut broker = Debian(
        Command::new("mosquitto")
            .arg("-c")
            .arg(&config)
            .spawn()
            .expect("mosquitto starts"),
    );
    broker.wait_until_it_listens(port);
    for user in ["theirs-7", "ours-6", "ours-7"] {
        let publish = |password: &str| {
            let mut command = Command::new("mosquitto_pub");
            command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "a", "-m", "x"]);
            run(command.args(["-u", user, "-P", password])).status.code()
        };
        assert_eq!(publish("pass word"), Some(0), "{user}");
        assert_eq!(publish("password"), Some(5), "{user}");
    }
}

/// Debian's broker, ended with its test.
struct Debian(std::process::Child);

impl Debian {
    fn wait_until_it_listens(&mut self, port: u16) {
        let start = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.0.try_wait().expect("it is ours");
            assert!(
                ended.is_none() && start.elapsed().as_secs() < 10,
                "it does not listen: {ended:?}"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
