//! Clients that take one session from each other, again and again.

use std::time::Duration;

use martlet_codec::{ReasonCode, Version};
use martlet_robustness::{Bystanders, Client, Got, Live, Options};

/// Reads until the end; what came before it, but for messages.
fn end_of(client: &mut Client) -> Vec<Got> {
    let mut all = Vec::new();
    loop {
        match client.answer() {
            Got::Closed => return all,
            Got::Publish { .. } => {}
            got => all.push(got),
        }
    }
}

#[test]
fn two_clients_with_one_identifier_200_times() {
    let mut broker = Live::start("dup", &[]);
    let bystanders = Bystanders::start(broker.address(), "by/stander", 0);
    bystanders.wait_rounds(10);
    let before_kib = broker.rss_kib();
    for (id, expiry_s) in [("dup", 0), ("dup-kept", 3_600)] {
        let options = Options {
            expiry_s,
            clean: false,
            // Deadlines of old connections are not to be kept for so long.
            keep_alive_s: 60_000,
            ..Options::new(id)
        };
        let mut holder = Client::connect(broker.address(), &options);
        for _ in 0..200 {
            let next = Client::connect(broker.address(), &options);
            let told = end_of(&mut holder);
            assert!(
                matches!(told[..], [Got::Disconnect(ReasonCode::SessionTakenOver, _)]),
                "{told:?}"
            );
            holder = next;
        }
        holder.ping();
        // 0x00 with an expiry of 0: the session ends with it.
        holder.raw(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]);
        assert_eq!(holder.answer(), Got::Closed);
    }
    bystanders.finish();
    broker.wait_sys("clients/total", 1);
    broker.wait_sys("connections/socket/count", 1);
    let after_kib = broker.rss_kib();
    println!("400 take-overs: {before_kib} KiB before, {after_kib} KiB after");
    assert!(
        after_kib < before_kib + 2_048,
        "{before_kib} KiB, then {after_kib}"
    );
    let log = broker.log();
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("session.flapping"))
        .collect();
    assert_eq!(told.len(), 2, "each told once a minute: {told:?}");
    assert!(told[0].contains("warn session.flapping client=dup takeovers=12 in=60s a=127.0.0.1:"));
    assert!(told[1].contains("warn session.flapping client=dup-kept takeovers=12 in=60s"));
    broker.assert_well();
}

/// Connections arrive at both shards, and each must get to where the session is.
#[test]
fn many_at_once_from_all_sides() {
    let mut broker = Live::start("storm", &["shards=2"]);
    let address = broker.address();
    let bystanders = Bystanders::start(address, "by/stander", 0);
    let versions = [Version::V3_1, Version::V3_1_1, Version::V5, Version::V5];
    let storm = versions.into_iter().enumerate().map(|(n, version)| {
        std::thread::spawn(move || {
            for round in 0..100 {
                let mut client = Client::open(address, version);
                let options = Options {
                    version,
                    clean: (round + n) % 3 == 0,
                    expiry_s: (round % 2 * 60) as u32,
                    will: Some(("will", "gone")),
                    ..Options::new("storm")
                };
                client.raw(&options.encode());
                // It may be taken over before it knows that it was let in: then nothing comes but the end.
                match client.answer() {
                    Got::ConnAck(ReasonCode::Success, _) => {}
                    Got::Disconnect(ReasonCode::SessionTakenOver, _) | Got::Closed => continue,
                    got => panic!("{got:?}"),
                }
                if round % 4 == 0 {
                    let told = end_or_nothing(&mut client);
                    assert!(
                        matches!(told, Got::Disconnect(..) | Got::Closed | Got::Nothing),
                        "{told:?}"
                    );
                }
            }
        })
    });
    let storm: Vec<_> = storm.collect();
    for thread in storm {
        thread.join().expect("the storm is over");
    }
    bystanders.finish();
    // The last one ends whatever is left.
    let mut last = broker.client("storm");
    last.ping();
    last.raw(&[0xe0, 0]);
    assert_eq!(last.answer(), Got::Closed);
    broker.wait_sys("clients/total", 1);
    broker.wait_sys("connections/socket/count", 1);
    broker.assert_well();
}

fn end_or_nothing(client: &mut Client) -> Got {
    client.next_within(Duration::from_millis(20))
}
