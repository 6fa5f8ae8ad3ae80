//! `martlet passwd`, and `mosquitto_passwd` by name: what becomes of the file, and what is said, word for word.

mod common;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{MARTLET, Ran, folder, link, plain, run, run_with};
use martlet_users::{Users, Verdict};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// `martlet passwd` with these arguments.
fn passwd<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = plain(MARTLET);
    command.arg("passwd").args(args);
    command
}

/// A file in a folder of its own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = folder(&format!("passwd-{name}-{}", std::process::id())).join("users");
    std::fs::write(&path, text).unwrap();
    path
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn check(path: &Path, user: &str, password: &str) -> Verdict {
    Users::read(text(path).as_bytes())
        .unwrap()
        .check(user, password.as_bytes())
}

/// What was said on standard output, all having gone well.
fn said(ran: Ran) -> String {
    ran.ok().text().to_owned()
}

#[test]
fn users_are_added_changed_and_taken_out() {
    let path = file("life", "# users of the plant\n\n");
    let set = |user: &str, password: &str| {
        let mut command = passwd(["-b"]);
        command.arg(&path).args([user, password]);
        said(run(command))
    };
    assert_eq!(set("alice", "one"), "Adding password for user alice\n");
    assert_eq!(set("bob", "-two"), "Adding password for user bob\n");
    assert_eq!(check(&path, "alice", "one"), Verdict::Accepted);
    assert_eq!(check(&path, "bob", "-two"), Verdict::Accepted);
    assert_eq!(set("alice", "three"), "Updating password for user alice\n");
    assert_eq!(check(&path, "alice", "one"), Verdict::WrongPassword);
    assert_eq!(check(&path, "alice", "three"), Verdict::Accepted);
    let lines = text(&path);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[..2], ["# users of the plant", ""]);
    for (line, user) in lines[2..].iter().zip(["alice", "bob"]) {
        let start = format!("{user}:$argon2id$v=19$m=47104,t=1,p=1$");
        assert!(line.starts_with(&start), "{line}");
    }
    let mut delete = passwd(["-D"]);
    delete.arg(&path).arg("alice");
    assert_eq!(said(run(delete)), "");
    assert_eq!(check(&path, "alice", "three"), Verdict::UnknownUser);
    assert_eq!(check(&path, "bob", "-two"), Verdict::Accepted);
}

#[test]
fn each_method_writes_what_it_is_called() {
    let path = file("methods", "");
    for (options, start) in [
        ("-H argon2id", "x:$argon2id$"),
        ("-H sha512-pbkdf2", "x:$7$210000$"),
        ("-H sha512-pbkdf2 -I 1234", "x:$7$1234$"),
        ("-H sha512", "x:$6$"),
    ] {
        let mut command = passwd(options.split(' '));
        command.arg("-b").arg(&path).args(["x", "secret"]);
        run(command).ok();
        assert!(text(&path).starts_with(start), "{}", text(&path));
        assert_eq!(check(&path, "x", "secret"), Verdict::Accepted, "{options}");
    }
}

#[test]
fn plain_text_is_hashed_where_it_stands() {
    let path = file("update", "# old\nalice:one\r\nbob:two:three\n");
    for _ in 0..2 {
        let mut update = passwd(["-H", "sha512", "-U"]);
        update.arg(&path);
        run(update).ok();
        assert_eq!(check(&path, "alice", "one"), Verdict::Accepted);
        assert_eq!(check(&path, "bob", "two:three"), Verdict::Accepted);
    }
    assert!(text(&path).starts_with("# old\nalice:$6$") && text(&path).contains("==\r\nbob:$6$"));
}

#[test]
fn mode_and_links_stay_and_nothing_is_left_behind() {
    let path = file("mode", "");
    let name = path.with_file_name("link");
    symlink("users", &name).unwrap();
    for mode in [0o640, 0o600, 0o604] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let mut command = passwd(["-H", "sha512", "-b"]);
        command.arg(&name).args(["x", "secret"]);
        run(command).ok();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, mode);
        assert!(name.symlink_metadata().unwrap().is_symlink());
    }
    let mut names: Vec<_> = path
        .parent()
        .unwrap()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["link", "users"]);
}

#[test]
fn a_new_file_is_for_its_owner_alone_and_never_in_the_place_of_another() {
    let path = file("create", "");
    std::fs::remove_file(&path).unwrap();
    let create = || {
        let mut command = passwd(["-c", "-H", "sha512", "-b"]);
        command.arg(&path).args(["x", "secret"]);
        run(command)
    };
    assert_eq!(said(create()), "Adding password for user x\n");
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    let before = text(&path);
    assert_eq!(create().status, 1);
    assert_eq!(text(&path), before);
    let printed = said(run(passwd(["-c", "-H", "sha512", "-b", "-", "x", "secret"])));
    let users = Users::read(printed.as_bytes()).unwrap();
    assert_eq!(users.check("x", b"secret"), Verdict::Accepted);
}

#[test]
fn the_password_may_come_from_a_pipe() {
    let path = file("pipe", "");
    let piped = |input: &str| {
        let mut command = passwd(["-H", "sha512"]);
        command.arg(&path).arg("x");
        run_with(command, input.as_bytes())
    };
    for input in [
        "pass word\n",
        "pass word",
        "pass word\r\n",
        "pass word\npass word\n",
    ] {
        piped(input).ok();
        assert_eq!(check(&path, "x", "pass word"), Verdict::Accepted, "{input:?}");
    }
    let before = text(&path);
    for (input, status) in [("", 1), ("\n", 1), ("a\nb\n", 2)] {
        assert_eq!(piped(input).status, status, "{input:?}");
    }
    assert_eq!(text(&path), before);
}

/// Two at once: neither change is lost.
#[test]
fn changes_at_the_same_time_all_take_place() {
    let path = file("race", "");
    let users: Vec<String> = (0..16).map(|nth| format!("user-{nth}")).collect();
    let children: Vec<_> = users
        .iter()
        .map(|user| {
            let mut command = passwd(["-H", "sha512", "-b"]);
            command.arg(&path).args([user, "secret"]).spawn().unwrap()
        })
        .collect();
    for child in children {
        Ran::from(child.wait_with_output().unwrap()).ok();
    }
    for user in &users {
        assert_eq!(check(&path, user, "secret"), Verdict::Accepted, "{user}");
    }
}

/// A terminal, and the program on it.
struct Typist {
    terminal: std::fs::File,
    child: std::process::Child,
    shown: String,
}

impl Typist {
    fn start(mut command: Command) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let other = std::fs::File::options()
            .read(true)
            .write(true)
            .open(name)
            .unwrap();
        let child = command
            .stdin(OwnedFd::from(other.try_clone().unwrap()))
            .stderr(OwnedFd::from(other))
            .spawn()
            .unwrap();
        Self {
            terminal: terminal.into(),
            child,
            shown: String::new(),
        }
    }

    /// Waits until the screen shows that, and types.
    fn answer(&mut self, prompt: &str, keys: &str) {
        let mut byte = [0];
        while !self.shown.ends_with(prompt) {
            self.terminal.read_exact(&mut byte).unwrap();
            self.shown.push(byte[0] as char);
        }
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// The exit status, and all that the screen showed.
    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap().code().unwrap();
        let mut rest = Vec::new();
        // It fails once nobody has the other end any more, and by then all was read.
        let _ = self.terminal.read_to_end(&mut rest);
        self.shown += &String::from_utf8_lossy(&rest);
        (status, self.shown)
    }
}

#[test]
fn on_a_terminal_it_is_asked_for_twice_and_not_shown() {
    let path = file("terminal", "");
    let start = || {
        let mut command = passwd(["-H", "sha512"]);
        command.arg(&path).arg("x");
        Typist::start(command)
    };
    let mut typist = start();
    typist.answer("Password: ", "secrex\x7ft\r");
    typist.answer("Reenter password: ", "secret\n");
    let (status, shown) = typist.end();
    assert_eq!(
        (status, shown.replace('\r', "").as_str()),
        (0, "Password: \nReenter password: \n")
    );
    assert_eq!(check(&path, "x", "secret"), Verdict::Accepted);

    let mut typist = start();
    typist.answer("Password: ", "other\n");
    typist.answer("Reenter password: ", "another\n");
    let (status, shown) = typist.end();
    assert!(
        status == 2 && shown.contains("U002") && !shown.contains("other"),
        "{shown}"
    );

    let mut typist = start();
    typist.answer("Password: ", "oth\x03");
    let (status, shown) = typist.end();
    assert!(status == 130 && shown.contains("interrupted"), "{shown}");
    assert_eq!(check(&path, "x", "secret"), Verdict::Accepted);
}

/// All that goes wrong, in both manners.
#[test]
fn words() {
    let path = file("words", "# users\nalice:plain\nbroken\nbob:$9$x$y\n");
    let missing = path.with_file_name("missing");
    let mut found = String::new();
    for line in [
        "passwd",
        "passwd FILE",
        "passwd FILE alice secret",
        "passwd -b FILE alice",
        "passwd -b -D FILE alice",
        "passwd -c -U FILE",
        "passwd -U FILE alice",
        "passwd -I 10 -b FILE alice secret",
        "passwd -H md5 -b FILE alice secret",
        "passwd -H sha512-pbkdf2 -I 0 -b FILE alice secret",
        "passwd -x FILE alice",
        "passwd -b FILE a:b secret",
        "passwd -b FILE #a secret",
        "passwd -b FILE alice ''",
        "passwd -c -b FILE alice secret",
        "passwd -b MISSING alice secret",
        "passwd -D FILE carol",
        "passwd -U FILE",
        "passwd -H sha512 -b FILE dave secret",
        "mosquitto_passwd",
        "mosquitto_passwd -x FILE alice",
        "mosquitto_passwd -H md5 -b FILE alice secret",
        "mosquitto_passwd -c -D FILE alice",
        "mosquitto_passwd -b FILE a:b secret",
        "mosquitto_passwd -b FILE alice ''",
        "mosquitto_passwd -c -b FILE alice secret",
        "mosquitto_passwd -b MISSING alice secret",
        "mosquitto_passwd -D FILE carol",
        "mosquitto_passwd -U FILE",
        "mosquitto_passwd -H sha512 -b FILE dave secret",
        "help U002",
        "help U101",
    ] {
        let args = line.split(' ').map(|word| match word {
            "''" => "",
            "FILE" => path.to_str().unwrap(),
            "MISSING" => missing.to_str().unwrap(),
            word => word,
        });
        let mut args: Vec<&str> = args.collect();
        let mut command = if args[0] == "mosquitto_passwd" {
            plain(link(args.remove(0)))
        } else {
            plain(MARTLET)
        };
        command.args(args);
        let ran = run(command);
        let prompt = if line.starts_with("mosquitto") {
            ""
        } else {
            "martlet "
        };
        let _ = writeln!(found, "$ {prompt}{line}");
        found += &String::from_utf8_lossy(&ran.stdout);
        found += &ran.stderr;
        let _ = writeln!(found, "[status {}]\n", ran.status);
    }
    let found = found
        .replace(missing.to_str().unwrap(), "MISSING")
        .replace(path.to_str().unwrap(), "FILE");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/passwd.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(found, expected, "{} (UPDATE=1 writes it anew)", golden.display());
    assert!(text(&path).starts_with("# users\nalice:plain\nbroken\nbob:$9$x$y\ndave:$6$"));
}

/// Where Debian's tool is installed: each reads what the other wrote.
#[test]
fn mosquitto_passwd_and_ours_share_a_file() {
    let path = file("shared", "");
    let theirs = Command::new("mosquitto_passwd")
        .arg("-b")
        .arg(&path)
        .args(["theirs", "secret"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if theirs.is_err() {
        eprintln!("mosquitto_passwd is not installed");
        return;
    }
    assert_eq!(check(&path, "theirs", "secret"), Verdict::Accepted);
    let mut ours = passwd(["-H", "sha512-pbkdf2", "-I", "1000", "-b"]);
    ours.arg(&path).args(["ours", "secret"]);
    run(ours).ok();
    let theirs = Command::new("mosquitto_passwd")
        .args(["-H", "sha512", "-b"])
        .arg(&path)
        .args(["theirs", "other"])
        .stdout(Stdio::null())
        .status();
    assert!(theirs.unwrap().success());
    assert_eq!(check(&path, "theirs", "other"), Verdict::Accepted);
    assert_eq!(check(&path, "ours", "secret"), Verdict::Accepted);
}
