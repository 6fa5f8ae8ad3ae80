use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn topic(text: &str) -> Topic<'_> {
    Topic::new(text).unwrap()
}

fn retained(messages_max: usize) -> Retained<String> {
    Retained::new(7, messages_max, u64::MAX, String::len)
}

impl Retained<String> {
    fn put(&self, name: &str) -> SetOutcome {
        self.set(topic(name), name.to_owned(), 1, None)
    }

    fn find(&self, filter: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.matching(Filter::new(filter).unwrap(), 0, &mut found);
        found
    }

    fn nodes(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().nodes()).sum()
    }
}

#[test]
fn matching() {
    let retained = retained(100);
    for name in [
        "a/b", "a", "a/b/c", "a/", "/", "a//b", "$SYS/x", "a/d/c", "a/$b", "a/c/d",
    ] {
        assert_eq!(retained.put(name), SetOutcome::Stored);
    }
    let cases: &[(&str, &[&str])] = &[
        ("a", &["a"]),
        ("b", &[]),
        ("a/b/c/d", &[]),
        (
            "a/#",
            &["a", "a/b", "a/b/c", "a/", "a//b", "a/d/c", "a/$b", "a/c/d"],
        ),
        ("a/+", &["a/b", "a/", "a/$b"]),
        ("a/+/c", &["a/b/c", "a/d/c"]),
        ("a/+/+", &["a/b/c", "a//b", "a/d/c", "a/c/d"]),
        ("+/+/c", &["a/b/c", "a/d/c"]),
        ("a/b/#", &["a/b", "a/b/c"]),
        ("a/+/#", &["a/b", "a/b/c", "a/", "a//b", "a/d/c", "a/$b", "a/c/d"]),
        ("+", &["a"]),
        ("/+", &["/"]),
        ("$SYS/#", &["$SYS/x"]),
        ("$SYS/+", &["$SYS/x"]),
        ("+/x", &[]),
        ("$share/g/a/+/c", &["a/b/c", "a/d/c"]),
    ];
    for (filter, expected) in cases {
        assert_eq!(retained.find(filter), *expected, "{filter}");
    }
    let mut all = retained.find("#");
    all.sort_unstable();
    assert_eq!(
        all,
        ["/", "a", "a/", "a/$b", "a//b", "a/b", "a/b/c", "a/c/d", "a/d/c"]
    );
}

#[test]
fn the_order_does_not_depend_on_the_seed() {
    let found = |seed| {
        let retained = Retained::new(seed, 1000, u64::MAX, String::len);
        for i in 0..500 {
            retained.put(&format!("{}/{}", i % 37, i));
        }
        retained.find("#")
    };
    assert_eq!(found(1), found(2));
}

#[test]
fn the_highest_version_wins() {
    let retained = retained(10);
    let set = |value: &str, version| retained.set(topic("a"), value.to_owned(), version, None);
    assert_eq!(set("five", 5), SetOutcome::Stored);
    assert_eq!(set("four!", 4), SetOutcome::Older);
    assert_eq!(retained.find("a"), ["five"]);
    assert_eq!(set("sixsix", 6), SetOutcome::Replaced);
    assert!(!retained.clear(topic("a"), 5));
    assert_eq!((retained.len(), retained.bytes()), (1, 6));
    assert!(retained.clear(topic("a"), 7));
    assert!(!retained.clear(topic("a"), 8));
    assert_eq!((retained.len(), retained.bytes(), retained.nodes()), (0, 0, 0));
    assert_eq!(set("three", 3), SetOutcome::Stored);
}

#[test]
fn full_is_full() {
    let retained = retained(2);
    let publish = |name: &str| retained.publish(topic(name), name.to_owned(), None, false).0;
    assert_eq!(publish("a"), SetOutcome::Stored);
    assert_eq!(publish("b/c"), SetOutcome::Stored);
    assert_eq!(publish("b/c/d/e"), SetOutcome::Full);
    assert_eq!((retained.len(), retained.nodes(), retained.bytes()), (2, 3, 4));
    assert_eq!(publish("a"), SetOutcome::Replaced);
    // What was stored before is kept all the same.
    assert_eq!(retained.put("stored"), SetOutcome::Stored);
    assert!(retained.clear(topic("stored"), 9));
    // A topic above another is not a message.
    assert!(!retained.clear(topic("b"), 9));
    assert!(retained.clear(topic("a"), 9));
    assert_eq!(retained.put("b"), SetOutcome::Stored);
}

#[test]
fn what_the_broker_says_of_itself_counts_to_no_limit() {
    let retained = Retained::new(7, 1, 10, String::len);
    let publish = |name: &str, bytes: usize| retained.publish(topic(name), "x".repeat(bytes), None, false).0;
    assert_eq!(publish("$SYS/a", 6), SetOutcome::Stored);
    assert_eq!(publish("$SYS/b", 60), SetOutcome::Stored);
    assert_eq!(publish("$SYS/a", 3), SetOutcome::Replaced);
    assert_eq!((retained.len(), retained.bytes()), (2, 63));
    assert_eq!(publish("a", 11), SetOutcome::Full);
    assert_eq!(publish("a", 10), SetOutcome::Stored);
    assert_eq!(publish("b", 0), SetOutcome::Full);
    assert_eq!(publish("$SYS/a", 6), SetOutcome::Replaced);
}

#[test]
fn bytes_have_a_limit() {
    let retained = Retained::new(7, 100, 10, String::len);
    let publish = |name: &str, bytes: usize| retained.publish(topic(name), "x".repeat(bytes), None, false).0;
    assert_eq!(publish("a", 6), SetOutcome::Stored);
    assert_eq!(publish("b", 5), SetOutcome::Full);
    assert_eq!(publish("b", 4), SetOutcome::Stored);
    assert_eq!(publish("a", 7), SetOutcome::Full);
    assert_eq!(retained.get(topic("a"), 0).as_deref(), Some("xxxxxx"));
    assert_eq!(publish("a", 5), SetOutcome::Replaced);
    assert_eq!((retained.len(), retained.bytes(), retained.nodes()), (2, 9, 2));
}

#[test]
fn expiry() {
    let retained = retained(100);
    let set = |name: &str, expires_at_ms| retained.set(topic(name), name.to_owned(), 1, expires_at_ms);
    assert_eq!(retained.next_expiry_ms(), None);
    for (name, at) in [("a/b", 50), ("a", 20), ("b", 30), ("c", 20)] {
        set(name, Some(at));
    }
    set("d", None);
    assert_eq!(retained.next_expiry_ms(), Some(20));
    // Who asks before they are removed does not see them.
    assert_eq!(retained.get(topic("a"), 19), Some("a".to_owned()));
    assert_eq!(retained.get(topic("a"), 20), None);
    let mut found = Vec::new();
    retained.matching(Filter::new("+").unwrap(), 20, &mut found);
    found.sort_unstable();
    assert_eq!(found, ["b", "d"]);
    assert_eq!(retained.expire(19, 9).len(), 0);
    assert_eq!(retained.expire(20, 1).len(), 1);
    assert_eq!((retained.len(), retained.next_expiry_ms()), (4, Some(20)));
    assert_eq!(retained.expire(20, 9).len(), 1);
    // One that is replaced takes the new time, or none.
    set("b", Some(60));
    set("a/b", None);
    assert_eq!(retained.next_expiry_ms(), Some(60));
    assert_eq!(retained.expire(59, 9).len(), 0);
    assert!(retained.clear(topic("b"), 1));
    assert_eq!(retained.next_expiry_ms(), None);
    assert_eq!(retained.expire(u64::MAX - 1, 9).len(), 0);
    assert_eq!(retained.len(), 2);
}

#[test]
fn deep_topics() {
    let retained = retained(10);
    let deep = "/".repeat(65_535);
    let below = "a/".repeat(32_767);
    assert_eq!(retained.put(&deep), SetOutcome::Stored);
    assert_eq!(retained.put(&below), SetOutcome::Stored);
    assert_eq!(
        retained.find(&format!("{}+", "+/".repeat(32_767))),
        [below.as_str()]
    );
    assert_eq!(retained.find("+/#").len(), 2);
    assert_eq!(retained.find("/#"), [deep.as_str()]);
    assert!(retained.clear(topic(&deep), 1) && retained.clear(topic(&below), 1));
    assert_eq!(retained.nodes(), 0);
}

#[test]
fn memory_returns_after_a_storm() {
    let retained = retained(200_000);
    let name = |i: usize| format!("site/{}/sensor/{i}/temperature", i % 100);
    for i in 0..100_000 {
        retained.set(topic(&name(i)), name(i), 1, (i % 2 == 0).then_some(5));
    }
    assert_eq!(retained.find("site/17/#").len(), 1000);
    assert_eq!(retained.find("+/17/+/17/+"), [name(17)]);
    assert_eq!(retained.expire(5, usize::MAX).len(), 50_000);
    for i in (1..100_000).step_by(2) {
        assert!(retained.clear(topic(&name(i)), 1));
    }
    assert_eq!((retained.len(), retained.bytes(), retained.nodes()), (0, 0, 0));
}

#[derive(Debug, Clone)]
enum Op {
    Set(String, u64, Option<u64>),
    Clear(String, u64),
    /// Removes the nth topic there is.
    Remove(usize),
    Expire(u64, usize),
    Match(String),
}

fn any_level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "$", "$SYS", "more than 14 bytes"])
}

fn any_topic() -> impl Strategy<Value = String> {
    prop::collection::vec(any_level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

fn any_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![2 => any_level(), 2 => Just("+")];
    let end = prop_oneof![Just(None), Just(Some("#"))];
    (prop::collection::vec(level, 0..5), end)
        .prop_map(|(levels, end)| levels.into_iter().chain(end).collect::<Vec<_>>().join("/"))
        .prop_filter("a filter is valid", |text| Filter::new(text).is_ok())
}

fn any_op() -> impl Strategy<Value = Op> {
    let expiry = prop::option::of(0..20u64);
    prop_oneof![
        5 => (any_topic(), 0..9u64, expiry).prop_map(|(topic, version, at)| Op::Set(topic, version, at)),
        1 => (any_topic(), 0..9u64).prop_map(|(topic, version)| Op::Clear(topic, version)),
        2 => any::<usize>().prop_map(Op::Remove),
        1 => (0..20u64, 0..4usize).prop_map(|(now_ms, most)| Op::Expire(now_ms, most)),
        4 => any_filter().prop_map(Op::Match),
    ]
}

/// Topic to version, expiry and value.
type Naive = BTreeMap<String, (u64, u64, String)>;

fn apply(retained: &Retained<String>, naive: &mut Naive, now_ms: &mut u64, number: usize, op: Op) {
    match op {
        Op::Set(name, version, expires_at_ms) => {
            let value = format!("{name} {number}");
            let expected = match naive.get(&name) {
                Some((v, ..)) if *v > version => SetOutcome::Older,
                Some(_) => SetOutcome::Replaced,
                None => SetOutcome::Stored,
            };
            assert_eq!(
                retained.set(topic(&name), value.clone(), version, expires_at_ms),
                expected
            );
            if matches!(expected, SetOutcome::Stored | SetOutcome::Replaced) {
                naive.insert(name, (version, expires_at_ms.unwrap_or(NEVER), value));
            }
        }
        Op::Clear(name, version) => {
            let expected = naive.get(&name).is_some_and(|(v, ..)| *v <= version);
            assert_eq!(retained.clear(topic(&name), version), expected);
            if expected {
                naive.remove(&name);
            }
        }
        Op::Remove(n) => {
            if let Some(name) = naive.keys().nth(n % naive.len().max(1)).cloned() {
                assert!(retained.clear(topic(&name), u64::MAX));
                naive.remove(&name);
            }
        }
        Op::Expire(later_ms, most) => {
            *now_ms = later_ms.max(*now_ms);
            let expired = naive.values().filter(|(_, at, _)| *at <= *now_ms).count();
            assert_eq!(retained.expire(*now_ms, most).len(), most.min(expired));
            assert_eq!(
                retained.expire(*now_ms, usize::MAX).len(),
                expired - most.min(expired)
            );
            naive.retain(|_, (_, at, _)| *at > *now_ms);
        }
        Op::Match(filter) => {
            let filter = Filter::new(&filter).unwrap();
            let matches = naive.iter().filter(|(name, _)| filter.matches(topic(name)));
            let expected: Vec<_> = matches
                .filter(|(_, (_, at, _))| *at > *now_ms)
                .map(|(_, (.., v))| v.clone())
                .collect();
            let mut found = Vec::new();
            retained.matching(filter, *now_ms, &mut found);
            found.sort_unstable();
            let mut sorted = expected;
            sorted.sort_unstable();
            assert_eq!(found, sorted);
        }
    }
    assert_eq!(retained.len(), naive.len());
    assert_eq!(
        retained.bytes(),
        naive.values().map(|(.., value)| value.len()).sum::<usize>()
    );
    let next = naive
        .values()
        .map(|(_, at, _)| *at)
        .min()
        .filter(|at| *at != NEVER);
    assert_eq!(retained.next_expiry_ms(), next);
    for (name, (_, at, value)) in naive.iter() {
        assert_eq!(
            retained.get(topic(name), *now_ms),
            (*at > *now_ms).then(|| value.clone())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_map(seed: u64, ops in prop::collection::vec(any_op(), 1..80)) {
        let retained = Retained::new(seed, 1_000, u64::MAX, String::len);
        let mut naive = Naive::new();
        let mut now_ms = 0;
        for (number, op) in ops.into_iter().enumerate() {
            apply(&retained, &mut naive, &mut now_ms, number, op);
        }
        for name in naive.keys() {
            assert!(retained.clear(topic(name), u64::MAX));
        }
        assert_eq!((retained.len(), retained.nodes()), (0, 0));
    }
}

#[test]
fn a_change_that_the_store_refuses_leaves_no_trace() {
    let retained = retained(100);
    let a = topic("a");
    let set = |value: &str| retained.publish(a, value.to_owned(), None, true).1;
    let first = set("1");
    retained.settle(a, first.version, true);
    // A set and a clear under way; only the last shows, and each knows all that it may have to end.
    let second = set("2");
    assert_eq!(second.replaced, [first.version]);
    let cleared = retained.publish_empty(a, true).unwrap();
    assert_eq!(cleared.replaced, [first.version, second.version]);
    assert!(retained.find("#").is_empty());
    assert!(
        retained.publish_empty(a, true).is_some(),
        "the first may be refused yet"
    );
    retained.settle(a, cleared.version, false);
    assert!(retained.find("#").is_empty());
    retained.settle(a, cleared.version + 1, false);
    assert_eq!(retained.find("#"), ["2"]);
    retained.settle(a, second.version, false);
    assert_eq!(retained.find("#"), ["1"]);
    assert_eq!((retained.len(), retained.bytes()), (1, 1));

    // One that is durable ends those before it, whatever the store says of them later.
    let (third, fourth) = (set("3"), set("4"));
    retained.settle(a, fourth.version, true);
    retained.settle(a, third.version, false);
    assert_eq!(retained.find("#"), ["4"]);

    // What nobody waits for is not undone.
    let fifth = set("5");
    retained.publish(a, "6".to_owned(), None, false);
    retained.settle(a, fifth.version, false);
    assert_eq!(retained.find("#"), ["6"]);
    assert!(retained.publish_empty(a, false).is_some());
    assert_eq!((retained.len(), retained.bytes(), retained.nodes()), (0, 0, 0));
}
