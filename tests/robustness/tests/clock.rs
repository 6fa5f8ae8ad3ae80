//! The clock of the system is set, and what expires does so by the time that passed: under the built broker.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use martlet_codec::{
    Address, Delivery, Extras, PropertiesBuf, PropertyId, Publish, ReasonCode, Topic, Version,
};
use martlet_robustness::{Client, Got, Live, Options, TroubledDisk, wait};

const DAY_S: i64 = 86_400;
const WILL: (&str, &str) = ("state/will", "the will");

/// By how much a clock is wrong that shows the first day of 1970.
fn in_1970() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    1_000 - i64::try_from(now.as_secs()).expect("it fits")
}

fn lives(id: &str, expiry_s: u32) -> Options<'_> {
    Options {
        clean: false,
        expiry_s,
        ..Options::new(id)
    }
}

/// Connects; whether its session was there.
fn comes_back(broker: &Live, options: &Options<'_>) -> (Client, bool) {
    let mut client = Client::open(broker.address(), Version::V5);
    client.raw(&options.encode());
    match client.answer() {
        Got::ConnAck(ReasonCode::Success, is_present) => (client, is_present),
        got => panic!("{} is not let in: {got:?}", options.id),
    }
}

fn leave(mut client: Client) {
    client.raw(&[0xe0, 0]);
    assert_eq!(client.answer(), Got::Closed);
}

/// Publishes at QoS 1 what expires.
fn publish(client: &mut Client, topic: &str, expiry_s: u32, retain: bool) {
    let mut properties = PropertiesBuf::new();
    properties.number(PropertyId::MessageExpiryInterval, expiry_s);
    let publish = Publish {
        dup: false,
        retain,
        delivery: Delivery::AtLeastOnce(client.id()),
        address: Address::Name(Topic::new(topic).expect("a topic")),
        properties: properties.as_properties(),
        payload: b"expires",
    };
    let mut bytes = Vec::new();
    publish.encode(Version::V5, Extras::NONE, &mut bytes);
    client.raw(&bytes);
    let got = client.answer();
    assert!(matches!(got, Got::PubAck(_, code) if !code.is_error()), "{got:?}");
}

/// Sessions, messages, retained messages and a will that last for different times.
fn set_up(broker: &Live) {
    let mut away = Client::connect(broker.address(), &lives("away", 3_600));
    away.subscribe("state/#", 1);
    leave(away);
    leave(Client::connect(broker.address(), &lives("sooner", 3_000)));
    let mortal = Options {
        will: Some(WILL),
        will_delay_s: 3_000,
        ..lives("mortal", 7_200)
    };
    drop(Client::connect(broker.address(), &mortal));
    wait("that it is lost is told", Duration::from_secs(15), || {
        let log = broker.log();
        log.lines()
            .any(|line| line.contains("client=mortal") && line.contains("closed by client"))
    });
    // What is acknowledged is written, and so is all that was before it.
    let mut publisher = broker.client("publisher");
    for (kind, retain) in [("queued", false), ("retained", true)] {
        publish(&mut publisher, &format!("state/{kind}/sooner"), 3_000, retain);
        publish(&mut publisher, &format!("state/{kind}/later"), 3_590, retain);
    }
    leave(publisher);
}

/// What comes to a client until it has heard `count` messages and no more.
fn topics(client: &mut Client, count: usize) -> Vec<String> {
    let mut topics = Vec::new();
    while topics.len() < count {
        let got = client.answer();
        client.acknowledge(&got);
        match got {
            Got::Publish { topic, .. } => topics.push(topic),
            got => panic!("{got:?} after {topics:?}"),
        }
    }
    client.ping();
    topics.sort();
    topics
}

fn collected(broker: &Live, count: usize) -> Vec<String> {
    let (mut away, is_present) = comes_back(broker, &lives("away", 3_600));
    assert!(is_present, "{}", broker.log());
    topics(&mut away, count)
}

fn retained(broker: &Live, count: usize) -> Vec<String> {
    let mut reader = broker.client("reader");
    reader.subscribe("state/retained/#", 0);
    topics(&mut reader, count)
}

const ALL: [&str; 4] = [
    "state/queued/later",
    "state/queued/sooner",
    "state/retained/later",
    "state/retained/sooner",
];

fn assert_all_there(broker: &Live) {
    assert_eq!(retained(broker, 2), ALL[2..]);
    assert_eq!(collected(broker, 4), ALL);
    let (_, is_present) = comes_back(broker, &lives("sooner", 3_000));
    assert!(is_present, "{}", broker.log());
}

#[test]
fn a_clock_that_is_set_while_the_broker_runs_expires_nothing() {
    let disk = TroubledDisk::new("clock-set");
    disk.set_clock(in_1970());
    let mut broker = disk.start("clock-set", &[]);
    set_up(&broker);
    // It learns the time, then is set far ahead, and back.
    for (nth, wrong_s) in [0, 3_650 * DAY_S, -10 * DAY_S].into_iter().enumerate() {
        disk.set_clock(wrong_s);
        wait("that it was set is told", Duration::from_secs(15), || {
            broker.log().matches("clock.set").count() == nth + 1
        });
        assert_eq!(retained(&broker, 2), ALL[2..], "set by {wrong_s} s");
    }
    broker.wait_sys("clients/expired", 0);
    assert!(!broker.log().contains("session.expired"), "{}", broker.log());
    broker.assert_well();
    drop(broker);
    let broker = disk.start("clock-set-again", &[]);
    assert_all_there(&broker);
}

#[test]
fn a_board_that_starts_in_1970_and_learns_the_time_while_it_is_off_expires_nothing() {
    let disk = TroubledDisk::new("clock-1970");
    disk.set_clock(in_1970());
    let broker = disk.start("clock-1970", &[]);
    set_up(&broker);
    drop(broker);
    disk.set_clock(0);
    let broker = disk.start("clock-known", &[]);
    assert_eq!(retained(&broker, 2), ALL[2..]);
    drop(broker);
    // It is in 1970 again, as after each loss of power, and after that it is not.
    disk.set_clock(in_1970());
    drop(disk.start("clock-1970-again", &[]));
    disk.set_clock(0);
    assert_all_there(&disk.start("clock-known-again", &[]));
}

#[test]
fn what_expires_does_so_by_the_time_that_passed_while_nothing_ran() {
    let disk = TroubledDisk::new("clock-passes");
    let broker = disk.start("clock-passes", &[]);
    set_up(&broker);
    drop(broker);
    disk.set_clock(3_500);
    let broker = disk.start("clock-passes-again", &[]);
    let mut watcher = broker.client("watcher");
    watcher.subscribe(WILL.0, 0);
    assert_eq!(retained(&broker, 1), ALL[2..3]);
    let (_, is_present) = comes_back(&broker, &lives("sooner", 3_000));
    assert!(!is_present, "its time was over");
    // The will was due, and waits for those who come back at first.
    assert_eq!(topics(&mut watcher, 1), [WILL.0]);
    assert_eq!(collected(&broker, 2), [ALL[0], ALL[2]]);
    drop(broker);
    disk.set_clock(7_300);
    let broker = disk.start("clock-passes-over", &[]);
    let (_, is_present) = comes_back(&broker, &lives("mortal", 7_200));
    assert!(!is_present, "its time was over");
}

#[test]
fn a_session_that_ends_after_a_restart_is_told() {
    let disk = TroubledDisk::new("clock-ends");
    let broker = disk.start("clock-ends", &[]);
    leave(Client::connect(broker.address(), &lives("short", 4)));
    drop(broker);
    let broker = disk.start("clock-ends-again", &[]);
    broker.wait_log("session.expired");
    broker.wait_sys("clients/expired", 1);
}
