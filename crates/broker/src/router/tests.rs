use std::num::NonZeroU32;

use martlet_codec::{Qos, SubscribeOptions};
use proptest::prelude::*;

use super::naive::{Copy, Naive};
use super::*;

fn session(shard: u16, index: u32) -> SessionRef {
    SessionRef {
        shard,
        generation: 0,
        index,
    }
}

fn options(qos: Qos, no_local: bool, retain_as_published: bool, identifier: u32) -> SubOptions {
    let asked = SubscribeOptions {
        no_local,
        retain_as_published,
        ..SubscribeOptions::qos(qos)
    };
    SubOptions::new(asked, NonZeroU32::new(identifier))
}

fn filter(text: &str) -> Filter<'_> {
    Filter::new(text).unwrap()
}

fn topic(text: &str) -> Topic<'_> {
    Topic::new(text).unwrap()
}

fn route(router: &Router, text: &str) -> Route {
    router.route(topic(text), &mut RouteBuilder::new())
}

fn subscribe(router: &mut Router, text: &str, index: u32) -> bool {
    router.subscribe(
        filter(text),
        session(0, index),
        Qos::AtMostOnce.into(),
        Presence::new,
    )
}

fn copies<'a>(route: &Route, hits: impl Iterator<Item = &'a Hit>) -> Vec<Copy> {
    hits.map(|hit| Copy {
        session: hit.session,
        qos: hit.qos(),
        retain_as_published: hit.retain_as_published(),
        identifiers: route.identifiers(hit).to_vec(),
    })
    .collect()
}

#[test]
fn shards_share_them() {
    fn shared<T: Send + Sync>() {}
    shared::<Router>();
    shared::<Route>();
    shared::<Generations>();
    shared::<crate::retained::Retained<Arc<str>>>();
}

#[test]
fn matching() {
    // (filter, topics that match, topics that do not)
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("a", &["a"], &["/a", "a/", "b", "a/b"]),
        ("a/b", &["a/b"], &["a", "a/b/", "a/b/c", "a//b"]),
        ("/", &["/"], &["a", "//", "/a", "a/"]),
        ("a//b", &["a//b"], &["a/b", "a/x/b"]),
        ("+", &["a", "b"], &["/", "a/b", "$SYS"]),
        ("+/+", &["/", "a/", "/a", "a/b"], &["a", "a/b/c", "$SYS/b"]),
        ("a/+/c", &["a/b/c", "a//c"], &["a/c", "a/b/d", "a/b/c/d"]),
        ("#", &["a", "/", "a/b/c"], &["$SYS", "$SYS/a", "$x/"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c"], &["b", "/a", "ab"]),
        ("+/#", &["a", "a/b", "/"], &["$SYS", "$SYS/a"]),
        ("+/b/#", &["a/b", "/b/c"], &["a", "a/c", "$SYS/b"]),
        ("$SYS/#", &["$SYS", "$SYS/a"], &["a", "SYS/a"]),
        ("$SYS/+", &["$SYS/a", "$SYS/$b"], &["$SYS"]),
        ("a/+/#", &["a/b", "a/$b", "a/b/c"], &["a"]),
    ];
    for (text, yes, no) in cases {
        let mut router = Router::new(1, Overlapping::Once);
        assert!(subscribe(&mut router, text, 1));
        for name in *yes {
            assert_eq!(route(&router, name).hits().len(), 1, "{text} {name}");
        }
        for name in *no {
            assert!(route(&router, name).is_empty(), "{text} {name}");
        }
    }
}

#[test]
fn deep_topics_and_filters() {
    let mut router = Router::new(1, Overlapping::Once);
    let slashes = "/".repeat(65_535);
    let pluses = format!("{}+", "+/".repeat(32_767));
    let deep = format!("{}#", "a/".repeat(32_767));
    let texts = [&slashes, &pluses, &deep];
    for (i, text) in texts.into_iter().enumerate() {
        assert!(subscribe(&mut router, text, i as u32));
    }
    let hit = |name: &str| {
        route(&router, name)
            .hits()
            .iter()
            .map(|h| h.session.index)
            .collect::<Vec<_>>()
    };
    assert_eq!(hit(&slashes), [0]);
    assert_eq!(hit(&"a/".repeat(32_767)), [1, 2]);
    assert_eq!(hit(&format!("{}a", "a/".repeat(32_766))), [2]);
    assert_eq!(hit(&"b/".repeat(32_767)), [1]);
    for (i, text) in texts.into_iter().enumerate() {
        assert!(router.unsubscribe(filter(text), session(0, i as u32)));
    }
    assert_eq!(router.tree.len(), 0);
}

#[test]
fn hits_are_grouped_by_shard() {
    let mut router = Router::new(1, Overlapping::Each);
    for (shard, index) in [(3, 1), (0, 9), (3, 0), (1, 5), (0, 2)] {
        for text in ["a", "+"] {
            router.subscribe(
                filter(text),
                session(shard, index),
                Qos::AtMostOnce.into(),
                Presence::new,
            );
        }
    }
    let route = route(&router, "a");
    let shards: Vec<_> = route.shards().map(|(shard, hits)| (shard, hits.len())).collect();
    assert_eq!(shards, [(0, 4), (1, 2), (3, 4)]);
    for (shard, hits) in route.shards() {
        assert_eq!(route.shard(shard), hits);
        assert!(hits.iter().all(|hit| hit.session.shard == shard));
    }
    assert!(route.shard(2).is_empty() && route.shard(4).is_empty());
    assert!(route.hits().is_sorted_by_key(|hit| hit.session));
}

#[test]
fn no_local_is_left_out_first() {
    let mut router = Router::new(1, Overlapping::Once);
    let mut add = |text, session, options| {
        router.subscribe(filter(text), session, options, Presence::new);
    };
    let [one, two, three] = [session(0, 1), session(0, 2), session(1, 3)];
    add("a", one, options(Qos::ExactlyOnce, true, false, 1));
    add("+", one, options(Qos::AtLeastOnce, false, false, 2));
    add("a", two, options(Qos::AtMostOnce, true, false, 0));
    add("#", three, Qos::AtLeastOnce.into());
    let route = route(&router, "a");
    let seen = |publisher| {
        let hits = route.hits_from(publisher);
        hits.map(|hit| {
            (
                hit.session.index,
                hit.qos().as_u8(),
                route.identifiers(hit).to_vec(),
            )
        })
        .collect::<Vec<_>>()
    };
    let all = [(1, 2, vec![1, 2]), (2, 0, vec![]), (3, 1, vec![])];
    assert_eq!(seen(three), all);
    assert_eq!(seen(one), [(1, 1, vec![2]), all[1].clone(), all[2].clone()]);
    assert_eq!(seen(two), [all[0].clone(), all[2].clone()]);
    // A shard that is not the publisher's gets nothing of the publisher's.
    assert_eq!(route.shard_from(1, one).count(), 1);
    assert_eq!(route.shard_from(0, two).count(), 1);
    // The same place in another generation is another session.
    assert_eq!(route.hits_from(SessionRef { generation: 1, ..one }).count(), 3);
}

#[test]
fn a_route_is_current_until_something_changes_that_could_concern_it() {
    let mut router = Router::new(5, Overlapping::Once);
    let generations = router.generations().clone();
    let changes = |router: &mut Router, name: &str, text: &str| {
        let before = route(router, name);
        assert!(before.is_current(&generations));
        assert!(subscribe(router, text, 1));
        let subscribed = !before.is_current(&generations);
        let between = route(router, name);
        assert!(router.unsubscribe(filter(text), session(0, 1)));
        assert_eq!(!between.is_current(&generations), subscribed);
        subscribed
    };
    for text in [
        "a/b/c",
        "a/b/+",
        "a/b/#",
        "a/+/c",
        "a/#",
        "+/b/c",
        "#",
        "$share/g/a/b/c",
        "$share/g/#",
    ] {
        assert!(changes(&mut router, "a/b/c", text), "{text}");
    }
    for text in ["a", "a/#", "a/+/#", "#", "+"] {
        assert!(changes(&mut router, "a", text), "{text}");
    }
    for text in ["a/c", "b/#", "b", "a/x/+", "a", "$share/g/b"] {
        assert!(!changes(&mut router, "a/b/c", text), "{text}");
    }
    // Options are part of a route, the members of a group are not.
    assert!(subscribe(&mut router, "x", 1) && subscribe(&mut router, "$share/g/x", 1));
    let before = route(&router, "x");
    assert!(subscribe(&mut router, "$share/g/x", 2) && before.is_current(&generations));
    assert_eq!(before.groups()[0].len(), 2);
    assert!(!subscribe(&mut router, "x", 1) && !before.is_current(&generations));
}

#[test]
fn memory_returns_after_a_storm() {
    let mut router = Router::new(1, Overlapping::Once);
    let presence = Presence::new();
    let texts = |i: u32| {
        [
            "everyone/here".to_owned(),
            "$share/all/everyone/here".to_owned(),
            format!("device/{i}/command"),
            format!("device/+/{i}/#"),
            format!("$share/g{i}/device/{i}"),
        ]
    };
    for i in 0..20_000 {
        for text in texts(i) {
            assert!(
                router.subscribe(filter(&text), session(0, i), Qos::AtLeastOnce.into(), || presence
                    .clone())
            );
        }
    }
    assert_eq!(
        (router.subscriptions(), router.shared_subscriptions()),
        (100_000, 40_000)
    );
    assert_eq!(route(&router, "everyone/here").hits().len(), 20_000);
    for i in (0..20_000).rev() {
        for text in texts(i) {
            assert!(router.unsubscribe(filter(&text), session(0, i)));
        }
    }
    assert_eq!(
        (
            router.subscriptions(),
            router.shared_subscriptions(),
            router.tree.len()
        ),
        (0, 0, 0)
    );
    assert!(matches!(router.tree[ROOT].value.subscribers, Subscribers::None));
    assert_eq!(Arc::strong_count(&presence), 1);
}

#[test]
fn a_client_with_a_shared_and_a_plain_match_gets_both() {
    let mut router = Router::new(1, Overlapping::Once);
    assert!(subscribe(&mut router, "a/+", 1) && subscribe(&mut router, "$share/g/a/+", 1));
    let route = route(&router, "a/b");
    assert_eq!(route.hits().len(), 1);
    assert_eq!(route.groups()[0].pick(&[]).unwrap().session, session(0, 1));
    assert!(!router.unsubscribe(filter("$share/h/a/+"), session(0, 1)));
    assert!(router.unsubscribe(filter("$share/g/a/+"), session(0, 1)));
    assert_eq!(router.subscriptions(), 1);
}

#[derive(Debug, Clone)]
enum Op {
    Subscribe(String, SessionRef, SubOptions),
    Unsubscribe(String, SessionRef),
    /// Removes the nth subscription there is.
    Remove(usize),
    Publish(String, SessionRef),
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
    let level = prop_oneof![3 => any_level(), 2 => Just("+")];
    let end = prop_oneof![Just(None), Just(Some("#"))];
    let share = prop_oneof![4 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/h/")];
    (share, prop::collection::vec(level, 0..5), end)
        .prop_map(|(share, levels, end)| {
            let levels: Vec<_> = levels.into_iter().chain(end).collect();
            format!("{share}{}", levels.join("/"))
        })
        .prop_filter("a filter is valid", |text| Filter::new(text).is_ok())
}

fn any_session() -> impl Strategy<Value = SessionRef> {
    (0..2u16, 0..3u32, 0..2u16).prop_map(|(shard, index, generation)| SessionRef {
        shard,
        generation,
        index,
    })
}

fn any_qos() -> impl Strategy<Value = Qos> {
    prop::sample::select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn any_options() -> impl Strategy<Value = SubOptions> {
    (any_qos(), any::<bool>(), any::<bool>(), 0..4u32)
        .prop_map(|(qos, no_local, retain, id)| options(qos, no_local, retain, id))
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any_filter(), any_session(), any_options()).prop_map(|(f, s, o)| Op::Subscribe(f, s, o)),
        1 => (any_filter(), any_session()).prop_map(|(f, s)| Op::Unsubscribe(f, s)),
        2 => any::<usize>().prop_map(Op::Remove),
        3 => (any_topic(), any_session()).prop_map(|(t, s)| Op::Publish(t, s)),
    ]
}

/// The real router and the naive one side by side.
struct Both {
    router: Router,
    naive: Naive,
    builder: RouteBuilder,
    cache: BTreeMap<String, Route>,
}

impl Both {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Subscribe(text, session, options) => {
                let filter = filter(&text);
                let added = self.router.subscribe(filter, session, options, Presence::new);
                assert_eq!(added, self.naive.subscribe(filter, session, options));
            }
            Op::Unsubscribe(text, session) => self.unsubscribe(&text, session),
            Op::Remove(n) => {
                let all: Vec<_> = self
                    .naive
                    .subscriptions()
                    .map(|(f, s)| (f.as_str().to_owned(), s))
                    .collect();
                if let Some((text, session)) = all.get(n % all.len().max(1)) {
                    self.unsubscribe(text, *session);
                }
            }
            Op::Publish(name, publisher) => self.publish(&name, publisher),
        }
        let shared = self
            .naive
            .subscriptions()
            .filter(|(f, _)| f.as_filter().share_group().is_some());
        assert_eq!(self.router.shared_subscriptions(), shared.count());
        assert_eq!(self.router.subscriptions(), self.naive.subscriptions().count());
    }

    fn unsubscribe(&mut self, text: &str, session: SessionRef) {
        let filter = filter(text);
        assert_eq!(
            self.router.unsubscribe(filter, session),
            self.naive.unsubscribe(filter, session)
        );
    }

    fn publish(&mut self, name: &str, publisher: SessionRef) {
        // A route from before, if it says that it still holds, is as good as a new one.
        let cached = self
            .cache
            .remove(name)
            .filter(|route| route.is_current(self.router.generations()));
        let route = cached.unwrap_or_else(|| self.router.route(topic(name), &mut self.builder));
        let naive = |publisher| self.naive.copies(topic(name), publisher, self.router.overlapping);
        // Within a session the order of copies is free.
        let sorted = |mut copies: Vec<Copy>| {
            assert!(copies.is_sorted_by_key(|copy| copy.session));
            copies.sort_unstable();
            copies
        };
        assert_eq!(sorted(copies(&route, route.hits().iter())), naive(None));
        assert_eq!(
            sorted(copies(&route, route.hits_from(publisher))),
            naive(Some(publisher))
        );
        for shard in 0..3 {
            let expected: Vec<_> = naive(Some(publisher))
                .into_iter()
                .filter(|copy| copy.session.shard == shard)
                .collect();
            assert_eq!(
                sorted(copies(&route, route.shard_from(shard, publisher))),
                expected
            );
        }
        let mut shared: Vec<_> = route.groups().iter().map(|group| group.members()).collect();
        for members in &mut shared {
            members.sort_unstable();
        }
        shared.sort_unstable();
        let mut expected: Vec<_> = self
            .naive
            .shared(topic(name))
            .into_iter()
            .map(|(_, members)| members)
            .collect();
        expected.sort_unstable();
        assert_eq!(shared, expected);
        self.cache.insert(name.to_owned(), route);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// I9: the router equals the naive matcher.
    #[test]
    fn equals_the_naive_matcher(
        seed: u64,
        each: bool,
        ops in prop::collection::vec(any_op(), 1..80),
    ) {
        let overlapping = if each { Overlapping::Each } else { Overlapping::Once };
        let router = Router::new(seed, overlapping);
        let (naive, builder) = (Naive::default(), RouteBuilder::new());
        let mut both = Both { router, naive, builder, cache: BTreeMap::new() };
        for op in ops {
            both.apply(op);
        }
        let all: Vec<_> =
            both.naive.subscriptions().map(|(f, s)| (f.as_str().to_owned(), s)).collect();
        for (text, session) in all {
            both.unsubscribe(&text, session);
        }
        assert_eq!(both.router.tree.len(), 0);
    }
}
