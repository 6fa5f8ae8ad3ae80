//! What an acknowledgement waits for, by the listener that it leaves from.

use std::time::Duration;

use martlet_codec::{Ack, Packet, ReasonCode};
use martlet_interop::free_port;
use martlet_robustness::{Client, Got, Live, Options, TroubledDisk};

const TOPIC: &str = "stored";

/// How long an acknowledgement is given that must not come.
const NEVER: Duration = Duration::from_millis(300);

/// A client of one of the listeners, whose session is stored if it has an expiry.
fn client(port: u16, id: &str, expiry_s: u32) -> Client {
    let options = Options {
        clean: false,
        expiry_s,
        ..Options::new(id)
    };
    Client::connect(([127, 0, 0, 1], port).into(), &options)
}

/// A session that gets what is published, and is away.
fn away(broker: &Live) {
    let mut away = client(broker.port(), "away", 3_600);
    away.subscribe(TOPIC, 2);
    away.raw(&[0xe0, 0]);
    assert_eq!(away.answer(), Got::Closed);
}

fn send(client: &mut Client, payload: &str, qos: u8) {
    let (bytes, _) = client.publish_bytes(TOPIC, payload.as_bytes(), qos);
    client.raw(&bytes);
}

/// Reads the acknowledgement, and at QoS 2 all that follows.
fn finish(client: &mut Client) {
    match client.answer() {
        Got::PubAck(_, code) => assert!(!code.is_error(), "{code:?}"),
        Got::PubRec(id, code) => {
            assert!(!code.is_error(), "{code:?}");
            client.send(&Packet::PubRel(Ack::new(id, ReasonCode::Success)));
            assert_eq!(client.answer(), Got::PubComp(id));
        }
        got => panic!("{got:?}"),
    }
}

/// What waits for the session, in order.
fn collect(broker: &Live, count: usize) -> Vec<String> {
    let mut away = client(broker.port(), "away", 3_600);
    let mut all = Vec::new();
    while all.len() < count {
        let got = away.answer();
        away.acknowledge(&got);
        match got {
            Got::Publish { payload, .. } => all.push(String::from_utf8(payload).expect("it was text")),
            Got::PubRel(_) => {}
            got => panic!("{got:?} after {all:?}"),
        }
    }
    all
}

/// Two more listeners, with `os` and with `none`: their ports, and the configuration.
fn listeners() -> (u16, u16, impl Fn(u16) -> String) {
    let (os, none) = (free_port(), free_port());
    let listener = |port, level| {
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nlistener_durability {level}\n")
    };
    let config = move |port| {
        [
            listener(port, "fsync"),
            listener(os, "os"),
            listener(none, "none"),
        ]
        .concat()
    };
    (os, none, config)
}

#[test]
fn an_acknowledgement_waits_for_what_its_listener_says() {
    let disk = TroubledDisk::new("levels");
    let (os, none, config) = listeners();
    let mut broker = disk.start_configured("levels", &config);
    away(&broker);
    let mut expected = Vec::new();
    // QoS 2 of a session that is stored itself, and of one that is not.
    for (expiry_s, kind) in [(0, "memory"), (3_600, "stored")] {
        let mut by_level = [(broker.port(), "fsync"), (os, "os"), (none, "none")]
            .map(|(port, level)| (client(port, &format!("{kind}-{level}"), expiry_s), level));
        for qos in [1, 2] {
            disk.hold_syncs();
            for (publisher, level) in &mut by_level {
                let payload = format!("{kind} {level} {qos}");
                send(publisher, &payload, qos);
                if *level != "fsync" {
                    finish(publisher);
                }
                expected.push(payload);
            }
            let (waits, _) = &mut by_level[0];
            assert_eq!(waits.next_within(NEVER), Got::Nothing, "{kind}, QoS {qos}");
            disk.let_syncs_go();
            finish(waits);
        }
    }
    broker.assert_well();
    // By SIGKILL.
    drop(broker);
    let broker = disk.start("levels-again", &[]);
    let mut all = collect(&broker, expected.len());
    all.sort();
    expected.sort();
    assert_eq!(
        all, expected,
        "what was acknowledged by `none` was written long ago, too"
    );
}

#[test]
fn what_was_acknowledged_by_the_system_survives_sigkill() {
    let disk = TroubledDisk::new("os");
    let (os, _, config) = listeners();
    let broker = disk.start_configured("os", &config);
    away(&broker);
    let mut publisher = client(os, "publisher", 0);
    disk.hold_syncs();
    let mut payloads: Vec<_> = (0..100).map(|n| format!("message {n:02}")).collect();
    for (n, payload) in payloads.iter().enumerate() {
        send(&mut publisher, payload, 1 + (n % 2) as u8);
        finish(&mut publisher);
    }
    drop(broker);
    disk.let_syncs_go();
    let broker = disk.start("os-again", &[]);
    let mut all = collect(&broker, payloads.len());
    // Those of QoS 1 and of QoS 2 are in order each.
    all.sort();
    payloads.sort();
    assert_eq!(all, payloads);
}
