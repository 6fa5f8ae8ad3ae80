//! SIGTERM and SIGINT: clients are told, wills go out, and the process ends in time. Other signals do not end it.

use std::path::Path;
use std::time::Duration;

use martlet_codec::{ReasonCode, Version};
use martlet_robustness::{Client, Got, Live, Options, wait};

const EXIT_MAX: Duration = Duration::from_secs(5);

fn stops(signal: &str, durability: &str) {
    let durability_set = format!("durability={durability}");
    let mut broker = Live::start(&format!("stop-{signal}-{durability}"), &[&durability_set]);
    let mut watcher = broker.client("watcher");
    watcher.subscribe("will/#", 0);
    let with_will = |id: &'static str, version, expiry_s, will_delay_s, topic| {
        Client::connect(
            broker.address(),
            &Options {
                version,
                expiry_s,
                will_delay_s,
                will: Some((topic, id)),
                ..Options::new(id)
            },
        )
    };
    let mut at_once = with_will("at once", Version::V5, 0, 0, "will/at once");
    let mut delayed = with_will("delayed", Version::V5, 3_600, 600, "will/delayed");
    let mut old = with_will("old", Version::V3_1_1, 0, 0, "will/old");
    let mut away = with_will("away", Version::V5, 3_600, 600, "will/away");
    away.raw(&[0xe0, 1, 4]);
    assert_eq!(away.answer(), Got::Closed);

    // A client that never reads: its output is full, and its DISCONNECT waits behind it.
    let mut stuck = broker.client("stuck");
    stuck.subscribe("flood", 0);
    let mut publisher = broker.client("publisher");
    let payload = vec![0; 100_000];
    for _ in 0..300 {
        publisher.publish("flood", &payload, 0);
    }
    publisher.ping();

    broker.signal(signal);
    // Where state is memory each session ends with the broker, so that no delay outlives it. Wills of stored sessions
    // wait for the next start.
    let expected = match durability {
        "none" => &["will/at once", "will/away", "will/delayed", "will/old"][..],
        _ => &["will/at once", "will/old"],
    };
    let mut wills: Vec<String> = (0..expected.len())
        .map(|_| watcher.publish_within(Duration::from_secs(5)).expect("a will").0)
        .collect();
    wills.sort();
    assert_eq!(wills, expected);
    for client in [&mut watcher, &mut at_once, &mut delayed, &mut publisher] {
        let got = client.answer();
        assert!(
            matches!(got, Got::Disconnect(ReasonCode::ServerShuttingDown, _)),
            "{got:?}"
        );
        assert_eq!(client.answer(), Got::Closed);
    }
    assert_eq!(old.answer(), Got::Closed);
    let (status, took) = broker.wait_exit(EXIT_MAX);
    assert_eq!(status.code(), Some(0), "{status}");
    println!("{signal}: ended after {took:?} more");
    let log = broker.log();
    assert!(
        log.contains("broker.stopped") && !log.contains("panicked"),
        "{log}"
    );
    drop(stuck);
}

#[test]
fn on_sigterm_clients_are_told_and_wills_go_out() {
    stops("TERM", "fsync");
    stops("TERM", "none");
}

#[test]
fn on_sigint_clients_are_told_and_wills_go_out() {
    stops("INT", "fsync");
}

#[test]
fn without_clients_it_ends_at_once() {
    let mut broker = Live::start("stop-alone", &[]);
    broker.signal("TERM");
    let (status, took) = broker.wait_exit(Duration::from_secs(1));
    assert_eq!(status.code(), Some(0), "after {took:?}");
}

/// What logrotate does: the file is renamed, SIGHUP comes, and what is logged from then on is in a new file.
#[test]
fn on_sighup_the_log_files_are_opened_anew() {
    let folder = std::env::temp_dir().join(format!("martlet-rotate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the log");
    let (path, old) = (folder.join("a.log"), folder.join("a.log.1"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let log_dest = format!("log_dest=file {}", path.display());
    let mut broker = Live::start("stop-HUP", &[&log_dest]);
    let mut client = broker.client("before");
    let bound = Duration::from_secs(10);
    wait("a line in the first file", bound, || {
        read(&path).contains("client=before")
    });

    std::fs::rename(&path, &old).expect("it can be renamed");
    broker.signal("HUP");
    wait("a line in the second file", bound, || {
        read(&path).contains("warn config.reload")
    });
    drop(broker.client("after"));
    wait("the next", bound, || read(&path).contains("client=after"));
    assert!(!read(&old).contains("config.reload") && !read(&old).contains("client=after"));

    // Where it cannot be opened, lines go on into the file that there is.
    std::fs::rename(&path, &old).expect("it can be renamed");
    std::fs::create_dir(&path).expect("a folder in its place");
    broker.signal("HUP");
    wait("why", bound, || {
        read(&old).contains("error log.not_reopened") && read(&old).contains("reason=\"it is a folder\"")
    });

    // Nor do these end it.
    broker.signal("USR1");
    broker.signal("USR2");
    client.ping();
    broker.assert_well();
    broker.wait_exit_by("TERM");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn the_pid_file_is_there_while_it_runs() {
    let path = std::env::temp_dir().join(format!("martlet-stop-pid-{}", std::process::id()));
    let pid_file = format!("pid_file={}", path.display());
    let mut broker = Live::start("stop-pid", &[&pid_file]);
    let content = format!("{}\n", broker.pid());
    wait("the process identifier", Duration::from_secs(10), || {
        std::fs::read_to_string(&path).is_ok_and(|found| found == content)
    });
    broker.wait_exit_by("TERM");
    assert!(!path.exists(), "it is left behind");
}
