//! Owned packets and strategies that make them.

use std::num::NonZeroU16;

use martlet_codec::property::ValueType;
use martlet_codec::reason_code;
use martlet_codec::{
    Ack, Address, Auth, ConnAck, Connect, Delivery, Disconnect, Filter, Filters, Packet, PacketId,
    PacketType, Place, Properties, PropertiesBuf, PropertyId, Publish, Qos, ReasonCode, ReasonCodes,
    RetainHandling, SubAck, Subscribe, SubscribeOptions, SubscribeRequests, Topic, UnsubAck, Unsubscribe,
    Value, Version, Will,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// A packet that owns what it is made of.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Connect {
        bridge: bool,
        clean_start: bool,
        keep_alive_s: u16,
        client_id: String,
        will: Option<OwnedWill>,
        user_name: Option<String>,
        password: Option<Vec<u8>>,
        properties: PropertiesBuf,
    },
    ConnAck {
        session_present: bool,
        reason: ReasonCode,
        properties: PropertiesBuf,
    },
    Publish {
        dup: bool,
        retain: bool,
        qos: Qos,
        packet_id: PacketId,
        topic: Option<String>,
        alias: Option<NonZeroU16>,
        properties: PropertiesBuf,
        payload: Vec<u8>,
    },
    Ack {
        packet_type: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
        properties: PropertiesBuf,
    },
    Subscribe {
        packet_id: PacketId,
        properties: PropertiesBuf,
        requests: Vec<(String, SubscribeOptions)>,
    },
    SubAck {
        packet_id: PacketId,
        properties: PropertiesBuf,
        reasons: Vec<ReasonCode>,
    },
    Unsubscribe {
        packet_id: PacketId,
        properties: PropertiesBuf,
        filters: Vec<String>,
    },
    UnsubAck {
        packet_id: PacketId,
        properties: PropertiesBuf,
        reasons: Vec<ReasonCode>,
    },
    PingReq,
    PingResp,
    Disconnect {
        reason: ReasonCode,
        properties: PropertiesBuf,
    },
    Auth {
        reason: ReasonCode,
        properties: PropertiesBuf,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct OwnedWill {
    topic: String,
    payload: Vec<u8>,
    qos: Qos,
    retain: bool,
    properties: PropertiesBuf,
}

impl Owned {
    /// Lends the packet; a CONNECT asks for `version`.
    pub(crate) fn with<R>(&self, version: Version, f: impl FnOnce(&Packet<'_>) -> R) -> R {
        let packet = match self {
            Self::Connect {
                bridge,
                clean_start,
                keep_alive_s,
                client_id,
                will,
                user_name,
                password,
                properties,
            } => Packet::Connect(Connect {
                version,
                bridge: *bridge && version != Version::V5,
                clean_start: *clean_start,
                keep_alive_s: *keep_alive_s,
                client_id,
                will: will.as_ref().map(|will| Will {
                    topic: Topic::new(&will.topic).unwrap(),
                    payload: &will.payload,
                    qos: will.qos,
                    retain: will.retain,
                    properties: will.properties.as_properties(),
                }),
                user_name: user_name.as_deref(),
                // Version 3 has no password without a user name.
                password: password
                    .as_deref()
                    .filter(|_| user_name.is_some() || version == Version::V5),
                properties: properties.as_properties(),
            }),
            Self::ConnAck {
                session_present,
                reason,
                properties,
            } => Packet::ConnAck(ConnAck {
                session_present: *session_present,
                reason: *reason,
                properties: properties.as_properties(),
            }),
            Self::Publish {
                dup,
                retain,
                qos,
                packet_id,
                topic,
                alias,
                properties,
                payload,
            } => {
                let topic = topic.as_deref().unwrap_or("only/an/alias");
                Packet::Publish(Publish {
                    dup: *dup && *qos != Qos::AtMostOnce,
                    retain: *retain,
                    delivery: match qos {
                        Qos::AtMostOnce => Delivery::AtMostOnce,
                        Qos::AtLeastOnce => Delivery::AtLeastOnce(*packet_id),
                        Qos::ExactlyOnce => Delivery::ExactlyOnce(*packet_id),
                    },
                    address: match (Topic::new(topic).unwrap(), alias) {
                        (_, Some(alias)) if topic == "only/an/alias" && version == Version::V5 => {
                            Address::Alias(*alias)
                        }
                        (topic, Some(alias)) => Address::Define(topic, *alias),
                        (topic, None) => Address::Name(topic),
                    },
                    properties: properties.as_properties(),
                    payload,
                })
            }
            Self::Ack {
                packet_type,
                packet_id,
                reason,
                properties,
            } => {
                let ack = Ack {
                    packet_id: *packet_id,
                    reason: *reason,
                    properties: properties.as_properties(),
                };
                match packet_type {
                    PacketType::PubAck => Packet::PubAck(ack),
                    PacketType::PubRec => Packet::PubRec(ack),
                    PacketType::PubRel => Packet::PubRel(ack),
                    _ => Packet::PubComp(ack),
                }
            }
            Self::Subscribe {
                packet_id,
                properties,
                requests,
            } => {
                let list: Vec<_> = requests
                    .iter()
                    .map(|(filter, options)| (Filter::new(filter).unwrap(), *options))
                    .collect();
                return f(&Packet::Subscribe(Subscribe {
                    packet_id: *packet_id,
                    properties: properties.as_properties(),
                    requests: SubscribeRequests::List(&list),
                }));
            }
            Self::SubAck {
                packet_id,
                properties,
                reasons,
            } => Packet::SubAck(SubAck {
                packet_id: *packet_id,
                properties: properties.as_properties(),
                reasons: ReasonCodes::List(reasons),
            }),
            Self::Unsubscribe {
                packet_id,
                properties,
                filters,
            } => {
                let list: Vec<_> = filters
                    .iter()
                    .map(|filter| Filter::new(filter).unwrap())
                    .collect();
                return f(&Packet::Unsubscribe(Unsubscribe {
                    packet_id: *packet_id,
                    properties: properties.as_properties(),
                    filters: Filters::List(&list),
                }));
            }
            Self::UnsubAck {
                packet_id,
                properties,
                reasons,
            } => Packet::UnsubAck(UnsubAck {
                packet_id: *packet_id,
                properties: properties.as_properties(),
                reasons: ReasonCodes::List(reasons),
            }),
            Self::PingReq => Packet::PingReq,
            Self::PingResp => Packet::PingResp,
            Self::Disconnect { reason, properties } => Packet::Disconnect(Disconnect {
                reason: *reason,
                properties: properties.as_properties(),
            }),
            Self::Auth { reason, properties } => Packet::Auth(Auth {
                reason: *reason,
                properties: properties.as_properties(),
            }),
        };
        f(&packet)
    }

    /// Whether the version has such a packet.
    pub(crate) fn exists_in(&self, version: Version) -> bool {
        version == Version::V5 || !matches!(self, Self::Auth { .. })
    }

    /// The encoded packet.
    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        let mut out = Vec::new();
        self.with(version, |packet| packet.encode(version, &mut out));
        out
    }
}

/// What is left of a packet in that version: the specification of "what a version cannot say is left out".
pub(crate) fn in_version<'a>(packet: &Packet<'a>, version: Version) -> Packet<'a> {
    const NO_REASONS: ReasonCodes<'static> = ReasonCodes::List(&[]);
    if version == Version::V5 {
        return *packet;
    }
    let properties = Properties::EMPTY;
    let success = ReasonCode::Success;
    let ack = |ack: Ack<'a>| Ack {
        reason: success,
        properties,
        ..ack
    };
    match *packet {
        Packet::Connect(p) => {
            let will = p.will.map(|will| Will { properties, ..will });
            Packet::Connect(Connect {
                properties,
                will,
                ..p
            })
        }
        Packet::ConnAck(p) => Packet::ConnAck(ConnAck {
            session_present: p.session_present && version == Version::V3_1_1,
            reason: ReasonCode::from_connack_v3(p.reason.connack_v3().unwrap_or(3)),
            properties,
        }),
        Packet::Publish(p) => Packet::Publish(Publish {
            properties,
            address: match p.address {
                Address::Define(topic, _) => Address::Name(topic),
                other => other,
            },
            ..p
        }),
        Packet::PubAck(p) => Packet::PubAck(ack(p)),
        Packet::PubRec(p) => Packet::PubRec(ack(p)),
        Packet::PubRel(p) => Packet::PubRel(ack(p)),
        Packet::PubComp(p) => Packet::PubComp(ack(p)),
        Packet::Subscribe(p) => Packet::Subscribe(Subscribe { properties, ..p }),
        Packet::Unsubscribe(p) => Packet::Unsubscribe(Unsubscribe { properties, ..p }),
        Packet::SubAck(p) => Packet::SubAck(SubAck { properties, ..p }),
        Packet::UnsubAck(p) => Packet::UnsubAck(UnsubAck {
            properties,
            reasons: NO_REASONS,
            ..p
        }),
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect::new(success)),
        other => other,
    }
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V3_1, Version::V3_1_1, Version::V5])
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é茶\u{10348}\u{feff}]{0,12}"
}

fn topic() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "[ -\"$-*,-~é茶]{1,20}",
        1 => "[a-z/]{100,200}",
    ]
}

pub(crate) fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![1 => Just("+".to_owned()), 3 => "[a-z茶 $]{0,4}"];
    let levels = vec(level, 1..6).prop_map(|levels| levels.join("/"));
    (
        select(vec!["", "", "$share/group/"]),
        levels,
        select(vec!["", "", "/#"]),
    )
        .prop_filter_map("a filter", |(share, levels, end)| {
            let text = format!("{share}{levels}{end}");
            Filter::new(&text).is_ok().then_some(text)
        })
}

fn binary() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 100..300),
        1 => (any::<u8>(), 16_000..17_000_usize).prop_map(|(byte, n)| vec![byte; n]),
    ]
}

fn qos() -> impl Strategy<Value = Qos> {
    select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn reason(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    select(
        reason_code::ALL
            .iter()
            .copied()
            .filter(|c| c.allowed_in(packet_type))
            .collect::<Vec<_>>(),
    )
}

/// One property, pushed by a closure over its value.
fn property(id: PropertyId) -> BoxedStrategy<PropertiesBuf> {
    let one = move |value: Value<'_>| {
        let mut buf = PropertiesBuf::new();
        buf.push(id, value);
        buf
    };
    let number =
        move |range: std::ops::RangeInclusive<u32>| range.prop_map(move |n| one(Value::Number(n))).boxed();
    match id.value_type() {
        ValueType::Flag => number(0..=1),
        ValueType::U16 => number(0..=65_535),
        ValueType::NonZeroU16 => number(1..=65_535),
        ValueType::U32 => number(0..=u32::MAX),
        ValueType::NonZeroU32 => number(1..=u32::MAX),
        ValueType::Varint => number(1..=268_435_455),
        ValueType::Text => text().prop_map(move |s| one(Value::Text(&s))).boxed(),
        ValueType::TopicName => topic().prop_map(move |s| one(Value::Text(&s))).boxed(),
        ValueType::Binary => binary().prop_map(move |b| one(Value::Binary(&b))).boxed(),
        ValueType::Pair => (text(), text())
            .prop_map(move |(k, v)| one(Value::Pair(&k, &v)))
            .boxed(),
    }
}

/// Valid properties of that place in any order. The topic alias is left out: it is the address's.
pub(crate) fn properties(place: Place) -> impl Strategy<Value = PropertiesBuf> {
    let allowed: Vec<_> = PropertyId::ALL
        .iter()
        .copied()
        .filter(|id| id.allowed_in(place) && *id != PropertyId::TopicAlias)
        .flat_map(|id| vec![id; if id.repeats_in(place) { 3 } else { 1 }])
        .collect();
    let count = allowed.len();
    let some = subsequence(allowed, 0..=count)
        .prop_shuffle()
        .prop_flat_map(|ids| {
            ids.into_iter().map(property).collect::<Vec<_>>().prop_map(|all| {
                let mut buf = PropertiesBuf::new();
                for part in all {
                    for (id, value) in part.as_properties().iter() {
                        buf.push(id, value);
                    }
                }
                buf
            })
        });
    prop_oneof![1 => Just(PropertiesBuf::new()), 2 => some]
        .prop_filter("data needs a method", move |buf| buf.check(place).is_ok())
}

fn of(packet_type: PacketType) -> impl Strategy<Value = PropertiesBuf> {
    properties(Place::Packet(packet_type))
}

fn will() -> impl Strategy<Value = OwnedWill> {
    (topic(), payload(), qos(), any::<bool>(), properties(Place::Will)).prop_map(
        |(topic, payload, qos, retain, properties)| OwnedWill {
            topic,
            payload,
            qos,
            retain,
            properties,
        },
    )
}

fn options() -> impl Strategy<Value = SubscribeOptions> {
    let handling = select(vec![
        RetainHandling::Always,
        RetainHandling::New,
        RetainHandling::Never,
    ]);
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscribeOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

fn connect() -> impl Strategy<Value = Owned> {
    (
        (any::<bool>(), any::<bool>(), any::<u16>()),
        text(),
        option::of(will()),
        option::of(text()),
        option::of(binary()),
        of(PacketType::Connect),
    )
        .prop_map(
            |((bridge, clean_start, keep_alive_s), client_id, will, user_name, password, properties)| {
                Owned::Connect {
                    bridge,
                    clean_start,
                    keep_alive_s,
                    client_id,
                    will,
                    user_name,
                    password,
                    properties,
                }
            },
        )
}

pub(crate) fn publish() -> impl Strategy<Value = Owned> {
    (
        (any::<bool>(), any::<bool>(), qos(), packet_id()),
        option::of(topic()),
        option::of((1..=u16::MAX).prop_map(|a| NonZeroU16::new(a).unwrap())),
        of(PacketType::Publish),
        payload(),
    )
        .prop_map(
            |((dup, retain, qos, packet_id), topic, alias, properties, payload)| Owned::Publish {
                dup,
                retain,
                qos,
                packet_id,
                topic,
                alias,
                properties,
                payload,
            },
        )
}

fn ack() -> impl Strategy<Value = Owned> {
    let types = vec![
        PacketType::PubAck,
        PacketType::PubRec,
        PacketType::PubRel,
        PacketType::PubComp,
    ];
    select(types).prop_flat_map(|packet_type| {
        (packet_id(), reason(packet_type), of(packet_type)).prop_map(
            move |(packet_id, reason, properties)| Owned::Ack {
                packet_type,
                packet_id,
                reason,
                properties,
            },
        )
    })
}

fn subscribe() -> impl Strategy<Value = Owned> {
    (
        packet_id(),
        of(PacketType::Subscribe),
        vec((filter(), options()), 1..5),
    )
        .prop_map(|(packet_id, properties, mut requests)| {
            for (filter, options) in &mut requests {
                options.no_local &= !filter.starts_with("$share/");
            }
            Owned::Subscribe {
                packet_id,
                properties,
                requests,
            }
        })
}

/// Any packet that a version 5 peer may send.
pub(crate) fn packet() -> impl Strategy<Value = Owned> {
    use PacketType::{ConnAck as CA, Disconnect as D, SubAck as SA, UnsubAck as UA, Unsubscribe as U};
    prop_oneof![
        4 => connect(),
        2 => (any::<bool>(), reason(CA), of(CA)).prop_map(|(session_present, reason, properties)| {
            Owned::ConnAck { session_present, reason, properties }
        }),
        6 => publish(),
        4 => ack(),
        3 => subscribe(),
        2 => (packet_id(), of(SA), vec(reason(SA), 1..5)).prop_map(|(packet_id, properties, reasons)| {
            Owned::SubAck { packet_id, properties, reasons }
        }),
        2 => (packet_id(), of(U), vec(filter(), 1..5)).prop_map(|(packet_id, properties, filters)| {
            Owned::Unsubscribe { packet_id, properties, filters }
        }),
        2 => (packet_id(), of(UA), vec(reason(UA), 1..5)).prop_map(|(packet_id, properties, reasons)| {
            Owned::UnsubAck { packet_id, properties, reasons }
        }),
        1 => Just(Owned::PingReq),
        1 => Just(Owned::PingResp),
        2 => (reason(D), of(D)).prop_map(|(reason, properties)| Owned::Disconnect { reason, properties }),
        2 => (reason(PacketType::Auth), of(PacketType::Auth))
            .prop_map(|(reason, properties)| Owned::Auth { reason, properties }),
    ]
}
