//! Users and passwords on the built broker: who comes in, what a storm of logins does to others, and what happens when
//! the users change.

use std::time::{Duration, Instant};

use martlet_codec::{ReasonCode, Version};
use martlet_robustness::{Client, Got, Live, Options, UsersFile, wait};

const BOUND: Duration = Duration::from_secs(20);

fn options<'a>(id: &'a str, user: &'a str, password: &'a str) -> Options<'a> {
    Options {
        user: Some(user),
        password: Some(password),
        ..Options::new(id)
    }
}

/// A client that has sent its CONNECT.
fn sent(broker: &Live, options: &Options<'_>) -> Client {
    let mut client = Client::open(broker.address(), options.version);
    client.raw(&options.encode());
    client
}

/// What a client is told that logs in so.
fn told(broker: &Live, user: &str, password: &str) -> ReasonCode {
    match sent(broker, &options("asks", user, password)).answer() {
        Got::ConnAck(code, _) => code,
        got => panic!("{user}: {got:?}"),
    }
}

#[test]
fn users_of_a_file_come_in_with_their_passwords() {
    let users = UsersFile::new("come");
    users.set("alice", "secret");
    users.set_costly("bob", "pass word");
    let mut broker = Live::start("logins-come", &[&users.setting(), "allow_anonymous=true"]);
    assert_eq!(told(&broker, "alice", "secret"), ReasonCode::Success);
    assert_eq!(told(&broker, "bob", "pass word"), ReasonCode::Success);
    assert_eq!(told(&broker, "bob", "pass"), ReasonCode::NotAuthorized);
    assert_eq!(told(&broker, "bo", "pass word"), ReasonCode::NotAuthorized);
    for version in [Version::V3_1, Version::V3_1_1] {
        let right = Options {
            version,
            ..options("three", "alice", "secret")
        };
        assert_eq!(
            sent(&broker, &right).answer(),
            Got::ConnAck(ReasonCode::Success, false)
        );
        let wrong = Options {
            password: Some("guess"),
            ..right
        };
        let mut wrong = sent(&broker, &wrong);
        assert_eq!(wrong.answer(), Got::ConnAck(ReasonCode::NotAuthorized, false));
        assert_eq!(wrong.answer(), Got::Closed);
    }
    broker.assert_well();
}

/// With a session each in the other thread, so that every second client moves, and packets behind each CONNECT.
#[test]
fn many_come_in_at_once_with_what_they_send_behind() {
    const CLIENTS: usize = 200;
    let users = UsersFile::new("many");
    users.set("alice", "secret");
    let mut broker = Live::start(
        "logins-many",
        &[&users.setting(), "allow_anonymous=true", "shards=2"],
    );
    for round in 0..2 {
        let ids: Vec<String> = (0..CLIENTS).map(|nth| format!("client-{nth}")).collect();
        let mut clients: Vec<Client> = ids
            .iter()
            .map(|id| {
                let options = Options {
                    clean: false,
                    expiry_s: 60,
                    ..options(id, "alice", "secret")
                };
                let mut client = sent(&broker, &options);
                client.raw(&[0xc0, 0]);
                client
            })
            .collect();
        for client in &mut clients {
            assert_eq!(client.answer(), Got::ConnAck(ReasonCode::Success, round == 1));
            assert_eq!(client.answer(), Got::Pong);
        }
    }
    broker.assert_well();
}

/// One thread checks and few may wait: the others are told that the broker is busy, and a client that is connected
/// notices nothing. Those who go while they wait cost nobody a hash.
#[test]
fn a_storm_of_logins_is_bounded_and_holds_nobody_up() {
    const WAITING: usize = 20;
    let users = UsersFile::new("storm");
    users.set_costly("alice", "secret");
    let waiting_max = format!("max_waiting_logins={WAITING}");
    let settings = [
        users.setting(),
        waiting_max,
        "allow_anonymous=true".into(),
        "login_threads=1".into(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut broker = Live::start("logins-storm", &settings);
    let mut bystander = broker.client("bystander");
    let id = |nth: usize| format!("storm-{nth}");
    let ids: Vec<String> = (0..10 * WAITING).map(id).collect();
    let mut clients: Vec<Client> = ids
        .iter()
        .map(|id| sent(&broker, &options(id, "alice", "guess")))
        .collect();
    let start = Instant::now();
    bystander.ping();
    let pinged = start.elapsed();
    let (mut busy, mut denied) = (0, 0);
    for client in &mut clients {
        match client.answer() {
            Got::ConnAck(ReasonCode::ServerBusy, _) => busy += 1,
            Got::ConnAck(ReasonCode::NotAuthorized, _) => denied += 1,
            got => panic!("{got:?}"),
        }
    }
    println!("pinged within {pinged:?} while {denied} logins were checked; {busy} were too many");
    assert!(denied >= WAITING && busy > 0, "{denied} checked, {busy} busy");
    assert!(pinged < Duration::from_secs(2), "{pinged:?}");
    wait("a line for each", BOUND, || {
        let log = broker.log();
        log.matches("reason=wrong_password").count() == denied
            && log
                .matches("as many logins wait to be checked as may wait")
                .count()
                == busy
    });

    // Those who go: their logins wait, and are passed over.
    let leaving: Vec<Client> = ids[..WAITING]
        .iter()
        .map(|id| sent(&broker, &options(id, "alice", "guess")))
        .collect();
    drop(leaving);
    wait("room for one more", BOUND, || {
        told(&broker, "alice", "secret") == ReasonCode::Success
    });
    broker.assert_well();
}

#[test]
fn on_sighup_users_change_and_who_is_gone_is_closed() {
    let users = UsersFile::new("change");
    for user in ["alice", "bob", "carol"] {
        users.set(user, "secret");
    }
    let mut broker = Live::start("logins-change", &[&users.setting(), "allow_anonymous=true"]);
    let connect = |user| Client::connect(broker.address(), &options(user, user, "secret"));
    let (mut alice, mut bob, mut carol) = (connect("alice"), connect("bob"), connect("carol"));
    let mut anonymous = broker.client("anonymous");
    users.remove("alice");
    users.set("bob", "other");
    users.set("dave", "new");
    assert_eq!(told(&broker, "bob", "other"), ReasonCode::NotAuthorized);
    broker.signal("HUP");
    for client in [&mut alice, &mut bob] {
        assert!(
            matches!(client.answer(), Got::Disconnect(ReasonCode::NotAuthorized, Some(why)) if why.contains("another password"))
        );
        assert_eq!(client.answer(), Got::Closed);
    }
    carol.ping();
    anonymous.ping();
    assert_eq!(told(&broker, "alice", "secret"), ReasonCode::NotAuthorized);
    assert_eq!(told(&broker, "bob", "secret"), ReasonCode::NotAuthorized);
    assert_eq!(told(&broker, "bob", "other"), ReasonCode::Success);
    assert_eq!(told(&broker, "dave", "new"), ReasonCode::Success);
    broker.assert_well();
}

#[test]
fn on_sighup_a_file_with_a_mistake_changes_nothing() {
    let users = UsersFile::new("mistake");
    users.set("alice", "secret");
    let mut broker = Live::start("logins-mistake", &[&users.setting(), "allow_anonymous=true"]);
    let mut alice = Client::connect(broker.address(), &options("alice", "alice", "secret"));
    for (mistake, line) in [
        (
            Some("alice:plain\n"),
            "users:1: the password of user 'alice' is plain text.",
        ),
        (
            Some("bob\n"),
            "users:1: a line is NAME:HASH, and this one has no colon.",
        ),
        (None, "there is no password file"),
    ] {
        match mistake {
            Some(text) => std::fs::write(users.path(), text).expect("the file can be written"),
            None => std::fs::remove_file(users.path()).expect("the file can be removed"),
        }
        let kept = broker.log().matches("users.kept").count();
        broker.signal("HUP");
        wait("a word in the log", BOUND, || {
            broker.log().matches("users.kept").count() == kept + 1
        });
        let log = broker.log();
        assert!(
            log.contains("error users.not_read code=U10") && log.contains(line),
            "{log}"
        );
        alice.ping();
        assert_eq!(told(&broker, "alice", "secret"), ReasonCode::Success);
        assert_eq!(told(&broker, "bob", ""), ReasonCode::NotAuthorized);
        let has_secret = log.contains("alice:plain") || log.contains("secret");
        assert!(!has_secret, "a password in the log: {log}");
    }
    // An empty file is no mistake, and lets nobody in.
    std::fs::write(users.path(), "").expect("the file can be written");
    broker.signal("HUP");
    broker.wait_log("users.none");
    assert!(matches!(
        alice.answer(),
        Got::Disconnect(ReasonCode::NotAuthorized, _)
    ));
    assert_eq!(told(&broker, "alice", "secret"), ReasonCode::NotAuthorized);
    broker.assert_well();
}
