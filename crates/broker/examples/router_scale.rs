//! What a million mixed filters and half a million retained messages cost, with the allocator of the server:
//! `cargo run --release -p martlet-broker --example router_scale [router|adversary|crowd|retained]`.
//!
//! Bytes are right for what runs alone: the allocator keeps for a while what was freed before, unless
//! `MIMALLOC_PURGE_DELAY=0` tells it not to.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use martlet_broker::retained::Retained;
use martlet_broker::router::{Overlapping, Presence, RouteBuilder, Router, SessionRef};
use martlet_codec::{Filter, Qos, Topic};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FILTERS: u32 = 1_000_000;
const MESSAGES: u32 = 500_000;

fn main() {
    let only = std::env::args().nth(1);
    let parts: [(&str, fn()); 4] = [
        ("router", router),
        ("adversary", adversary),
        ("crowd", crowd),
        ("retained", retained),
    ];
    for (name, run) in parts {
        if only.as_ref().is_none_or(|only| only == name) {
            run();
        }
    }
}

fn filter_of(i: u32) -> String {
    match i % 20 {
        0..14 => format!("bench/{}/device-{i}/state", i % 1000),
        14..17 => format!("bench/{}/+/meter-{i}", i % 1000),
        17..19 => format!("bench/device-{i}/#"),
        _ => format!("$share/group-{i}/jobs/{i}"),
    }
}

fn router() {
    let mut router = Router::new(1, Overlapping::Once);
    let presence = Presence::new();
    let mut each_ns = vec![1; FILTERS as usize];
    let start_bytes = resident_bytes();
    let ((), spent_ns) = timed(|| {
        for i in 0..FILTERS {
            let text = filter_of(i);
            let (added, ns) = timed(|| {
                router.subscribe(filter(&text), session(i), Qos::AtLeastOnce.into(), || {
                    presence.clone()
                })
            });
            assert!(added);
            each_ns[i as usize] = ns as u32;
        }
    });
    let bytes = resident_bytes() - start_bytes;
    say("subscribe", spent_ns, FILTERS);
    println!(
        "  {} bytes each; {}",
        bytes / u64::from(FILTERS),
        slowest(each_ns)
    );

    let topics: Vec<_> = (0..FILTERS)
        .step_by(20)
        .map(|i| i.wrapping_mul(7_919) / 20 * 20 % FILTERS)
        .map(|i| format!("bench/{}/device-{i}/state", i % 1000))
        .collect();
    let mut builder = RouteBuilder::new();
    let mut routes = Vec::with_capacity(topics.len());
    let ((), spent_ns) = timed(|| {
        for text in &topics {
            routes.push(router.route(topic(text), &mut builder));
        }
    });
    assert!(routes.iter().all(|route| route.hits().len() == 1));
    say("route to one of them", spent_ns, topics.len() as u32);
    let generations = router.generations().clone();
    let (current, spent_ns) = timed(|| {
        routes
            .iter()
            .filter(|route| route.is_current(&generations))
            .count()
    });
    assert_eq!(current, routes.len());
    say("ask whether a route is current", spent_ns, topics.len() as u32);
    drop(routes);

    let mut each_ns = vec![1; FILTERS as usize];
    let ((), spent_ns) = timed(|| {
        for i in 0..FILTERS {
            let text = filter_of(i);
            let (removed, ns) = timed(|| router.unsubscribe(filter(&text), session(i)));
            assert!(removed);
            each_ns[i as usize] = ns as u32;
        }
    });
    say("unsubscribe", spent_ns, FILTERS);
    let left = resident_bytes().saturating_sub(start_bytes);
    println!("  {} KiB are left; {}", left / 1024, slowest(each_ns));
}

/// All filters of 16 levels of `+` and `a`, the topic that they all match, and one that none does.
fn adversary() {
    let mut router = Router::new(1, Overlapping::Once);
    let presence = Presence::new();
    for bits in 0..1_u32 << 16 {
        let levels: Vec<_> = (0..16)
            .map(|i| if bits >> i & 1 == 0 { "a" } else { "+" })
            .collect();
        router.subscribe(
            filter(&levels.join("/")),
            session(0),
            Qos::AtLeastOnce.into(),
            || presence.clone(),
        );
    }
    let mut builder = RouteBuilder::new();
    let name = vec!["a"; 16].join("/");
    let (route, ns) = timed(|| router.route(topic(&name), &mut builder));
    assert_eq!(route.hits().len(), 1);
    say("2^16 filters of + that all match, each", ns, 1 << 16);
    let (route, ns) = timed(|| router.route(topic("b/b/b/b/b/b/b/b/b/b/b/b/b/b/b/b"), &mut builder));
    assert_eq!(route.hits().len(), 1);
    say("the same filters, one of which matches", ns, 1);
}

fn crowd() {
    let mut router = Router::new(1, Overlapping::Once);
    let presence = Presence::new();
    let ((), ns) = timed(|| {
        for i in 0..100_000 {
            router.subscribe(filter("all"), session(i), Qos::AtLeastOnce.into(), || {
                presence.clone()
            });
        }
    });
    say("subscribe to what 100,000 do", ns, 100_000);
    let mut builder = RouteBuilder::new();
    let (route, ns) = timed(|| router.route(topic("all"), &mut builder));
    assert_eq!(route.hits().len(), 100_000);
    say("route to them, each", ns, 100_000);
    let ((), ns) = timed(|| {
        for i in 0..100_000 {
            router.unsubscribe(filter("all"), session(i));
        }
    });
    say("unsubscribe from it", ns, 100_000);
}

/// About the size of the broker's message with its topic and a payload of 64 bytes.
type Message = Arc<[u64; 18]>;

fn retained() {
    let name = |i: u32| format!("site/{}/device-{i}/state", i % 1000);
    let retained: Retained<Message> =
        Retained::new(1, usize::MAX, u64::MAX, |message| size_of_val(&**message));
    let names: Vec<_> = (0..MESSAGES).map(name).collect();
    let start_bytes = resident_bytes();
    let value = || Arc::new([1; 18]);
    let ((), ns) = timed(|| {
        for name in &names {
            retained.set(topic(name), value(), 1, None);
        }
    });
    say("set a retained message, with making it", ns, MESSAGES);
    println!(
        "  {} bytes each",
        (resident_bytes() - start_bytes) / u64::from(MESSAGES)
    );
    let ((), ns) = timed(|| {
        for name in &names {
            retained.set(topic(name), value(), 2, None);
        }
    });
    say("replace it", ns, MESSAGES);
    let mut found = Vec::with_capacity(names.len());
    let ((), ns) = timed(|| retained.matching(filter("site/#"), 0, &mut found));
    assert_eq!(found.len(), names.len());
    say("read all with #", ns, MESSAGES);
    found.clear();
    let ((), ns) = timed(|| {
        (0..1000).for_each(|i| retained.matching(filter(&format!("site/{i}/+/state")), 0, &mut found));
    });
    assert_eq!(found.len(), names.len());
    say("read all with +", ns, MESSAGES);
    let ((), ns) = timed(|| {
        for name in &names {
            black_box(retained.get(topic(name), 0));
        }
    });
    say("get one", ns, MESSAGES);
    found.clear();
    let ((), ns) = timed(|| retained.matching(filter("site/17/+/state"), 0, &mut found));
    say("read 500 of them with +", ns, 1);
    drop(found);
    let (all, ns) = timed(|| names.iter().all(|name| retained.clear(topic(name), 3)));
    assert!(all);
    say("clear", ns, MESSAGES);
    println!(
        "  {} KiB are left",
        resident_bytes().saturating_sub(start_bytes) / 1024
    );
}

fn filter(text: &str) -> Filter<'_> {
    Filter::new(text).expect("the filter is valid")
}

fn topic(name: &str) -> Topic<'_> {
    Topic::new(name).expect("the topic is valid")
}

fn session(index: u32) -> SessionRef {
    SessionRef {
        shard: 0,
        generation: 0,
        index,
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_nanos() as u64)
}

fn say(what: &str, spent_ns: u64, times: u32) {
    println!("{what}: {} ns", spent_ns / u64::from(times));
}

fn slowest(mut each_ns: Vec<u32>) -> String {
    each_ns.sort_unstable();
    let us = |index: usize| each_ns[index] / 1000;
    format!(
        "99.99 of 100 take at most {} us, the slowest {} us",
        us(each_ns.len() / 10_000 * 9_999),
        us(each_ns.len() - 1)
    )
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}
