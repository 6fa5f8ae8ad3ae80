//! Packets in text, both ways.
//!
//! ```text
//! connect id=a clean keep_alive=60 user="u" password="p" will w/t qos=1 retain "gone"
//! connack session
//! publish a/b qos=1 id=7 dup retain topic-alias=3 "payload"
//! puback 7 no-matching-subscribers            (pubrec, pubrel, pubcomp alike)
//! subscribe 1 a/+ qos=1 no_local retain_as_published retain_handling=2 b/#
//! suback 1 1 not-authorized                   (granted 0, 1, 2, or a failure)
//! unsubscribe 2 a/+ b/#
//! unsuback 2 success no-subscription-existed
//! pingreq, pingresp
//! disconnect disconnect-with-will-message session-expiry-interval=10
//! auth re-authenticate authentication-method=m
//! ```
//!
//! A reason code is its name in the standard with `-` for spaces, and success where it is left out; a
//! property is `name=value` with the name that mosquitto's `-D` has, a user property `user-property=name:value`.
//! A version leaves out what it cannot say. `raw` bytes are for what is no valid packet: see [`crate::bytes`].

use std::num::NonZeroU16;

use martlet_codec::property::ValueType;
use martlet_codec::reason_code;
use martlet_codec::{
    Ack, Address, Auth, ConnAck, Connect, Delivery, Disconnect, Filter, Filters, Packet, PacketId,
    PropertiesBuf, PropertyId, Publish, Qos, ReasonCode, ReasonCodes, RetainHandling, SubAck, Subscribe,
    SubscribeOptions, SubscribeRequests, Topic, UnsubAck, Unsubscribe, Value, Version, Will,
};

use crate::lex::{self, Word};
pub use crate::write::line_of_shown;

/// The packet as a line, with all its properties.
pub fn line_of(packet: &Packet<'_>) -> String {
    line_of_shown(packet, &|_| true)
}

/// The bytes of the packet that the line says.
pub fn parse(line: &str, version: Version) -> Result<Vec<u8>, String> {
    encode(&lex::words(line)?, version)
}

/// The version of that name.
pub fn version(name: &str) -> Result<Version, String> {
    match name {
        "3.1" => Ok(Version::V3_1),
        "3.1.1" => Ok(Version::V3_1_1),
        "5" | "5.0" => Ok(Version::V5),
        other => Err(format!("there is no version {other:?}: 3.1, 3.1.1 or 5")),
    }
}

/// The bytes of the packet that the words say.
pub fn encode(words: &[Word], version: Version) -> Result<Vec<u8>, String> {
    let (name, words) = words.split_first().ok_or("no packet")?;
    let mut out = Vec::new();
    let mut args = Args::of(words);
    match name.text()? {
        "connect" => connect(words, version, &mut out)?,
        "connack" => {
            let (properties, session_present) = (args.properties()?, args.flag("session"));
            let (properties, reason) = (properties.as_properties(), args.reason()?);
            let connack = ConnAck {
                session_present,
                reason,
                properties,
            };
            Packet::ConnAck(connack).encode(version, &mut out);
            args.end()?;
        }
        "publish" => publish(args, version, &mut out)?,
        name @ ("puback" | "pubrec" | "pubrel" | "pubcomp") => ack(name, args, version, &mut out)?,
        "subscribe" => subscribe(args, version, &mut out)?,
        "suback" => {
            let (packet_id, properties) = (args.packet_id()?, args.properties()?);
            let reasons = args.reasons()?;
            let (properties, reasons) = (properties.as_properties(), ReasonCodes::List(&reasons));
            Packet::SubAck(SubAck {
                packet_id,
                properties,
                reasons,
            })
            .encode(version, &mut out);
        }
        "unsubscribe" => {
            let (packet_id, properties) = (args.packet_id()?, args.properties()?);
            let texts = args
                .rest
                .iter()
                .map(|w| w.text())
                .collect::<Result<Vec<_>, _>>()?;
            let filters = texts.into_iter().map(filter).collect::<Result<Vec<_>, _>>()?;
            let (properties, filters) = (properties.as_properties(), Filters::List(&filters));
            Packet::Unsubscribe(Unsubscribe {
                packet_id,
                properties,
                filters,
            })
            .encode(version, &mut out);
        }
        "unsuback" => {
            let (packet_id, properties) = (args.packet_id()?, args.properties()?);
            let reasons = args.reasons()?;
            let (properties, reasons) = (properties.as_properties(), ReasonCodes::List(&reasons));
            Packet::UnsubAck(UnsubAck {
                packet_id,
                properties,
                reasons,
            })
            .encode(version, &mut out);
        }
        "pingreq" => Packet::PingReq.encode(version, &mut out),
        "pingresp" => Packet::PingResp.encode(version, &mut out),
        "disconnect" => {
            let (properties, reason) = (args.properties()?, args.reason()?);
            let properties = properties.as_properties();
            Packet::Disconnect(Disconnect { reason, properties }).encode(version, &mut out);
            args.end()?;
        }
        "auth" => {
            let (properties, reason) = (args.properties()?, args.reason()?);
            Packet::Auth(Auth {
                reason,
                properties: properties.as_properties(),
            })
            .encode(version, &mut out);
            args.end()?;
        }
        other => return Err(format!("there is no packet {other:?}")),
    }
    Ok(out)
}

/// The words behind a packet's name, taken one by one.
struct Args<'a> {
    rest: Vec<&'a Word>,
}

impl<'a> Args<'a> {
    fn of(words: &'a [Word]) -> Self {
        Self {
            rest: words.iter().collect(),
        }
    }

    fn flag(&mut self, word: &str) -> bool {
        let before = self.rest.len();
        self.rest.retain(|w| !w.is(word));
        self.rest.len() < before
    }

    fn key(&mut self, key: &str) -> Option<&'a Word> {
        let at = self.rest.iter().position(|w| w.key.as_deref() == Some(key))?;
        Some(self.rest.remove(at))
    }

    fn number<N: std::str::FromStr>(&mut self, key: &str) -> Result<Option<N>, String> {
        let Some(word) = self.key(key) else {
            return Ok(None);
        };
        let text = word.text()?;
        text.parse()
            .map(Some)
            .map_err(|_| format!("{key}={text}: not a number here"))
    }

    fn positional(&mut self, what: &str) -> Result<&'a Word, String> {
        let at = self
            .rest
            .iter()
            .position(|w| w.key.is_none())
            .ok_or(format!("no {what}"))?;
        Some(self.rest.remove(at)).ok_or_else(String::new)
    }

    fn packet_id(&mut self) -> Result<PacketId, String> {
        packet_id(self.positional("packet identifier")?.text()?)
    }

    fn reason(&mut self) -> Result<ReasonCode, String> {
        if self.rest.iter().all(|w| w.key.is_some()) {
            return Ok(ReasonCode::Success);
        }
        reason(self.positional("reason")?.text()?)
    }

    fn reasons(&mut self) -> Result<Vec<ReasonCode>, String> {
        self.rest.drain(..).map(|w| reason(w.text()?)).collect()
    }

    fn qos(&mut self) -> Result<Qos, String> {
        let n = self.number("qos")?.unwrap_or(0);
        Qos::from_u8(n).ok_or(format!("there is no QoS {n}"))
    }

    fn properties(&mut self) -> Result<PropertiesBuf, String> {
        let mut buf = PropertiesBuf::new();
        let mut rest = Vec::new();
        for word in self.rest.drain(..) {
            match word.key.as_deref().and_then(PropertyId::from_name) {
                Some(id) => property(id, word, &mut buf)?,
                None => rest.push(word),
            }
        }
        self.rest = rest;
        Ok(buf)
    }

    fn end(&self) -> Result<(), String> {
        match self.rest.first() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} means nothing here")),
        }
    }
}

fn property(id: PropertyId, word: &Word, buf: &mut PropertiesBuf) -> Result<(), String> {
    match id.value_type() {
        ValueType::Text | ValueType::TopicName => buf.push(id, Value::Text(word.text()?)),
        ValueType::Binary => buf.push(id, Value::Binary(&word.value)),
        ValueType::Pair => {
            let (name, value) = word
                .text()?
                .split_once(':')
                .ok_or("a user property is name:value")?;
            buf.push(id, Value::Pair(name, value))
        }
        _ => {
            let text = word.text()?;
            let n = text
                .parse()
                .map_err(|_| format!("{}={text}: not a number", id.name()))?;
            buf.push(id, Value::Number(n))
        }
    };
    Ok(())
}

fn packet_id(text: &str) -> Result<PacketId, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a packet identifier"))
}

fn reason(text: &str) -> Result<ReasonCode, String> {
    match text {
        "0" => return Ok(ReasonCode::Success),
        "1" => return Ok(ReasonCode::GrantedQos1),
        "2" => return Ok(ReasonCode::GrantedQos2),
        _ => {}
    }
    let number = text
        .strip_prefix("0x")
        .and_then(|hex| u8::from_str_radix(hex, 16).ok());
    if let Some(code) = number.and_then(ReasonCode::from_u8) {
        return Ok(code);
    }
    let named = reason_code::ALL
        .iter()
        .find(|c| crate::write::reason(**c) == text);
    named.copied().ok_or(format!("there is no reason code {text:?}"))
}

fn topic(text: &str) -> Result<Topic<'_>, String> {
    Topic::new(text).map_err(|bad| format!("{text:?} is no topic name: {bad}; 'raw' sends it all the same"))
}

fn filter(text: &str) -> Result<Filter<'_>, String> {
    Filter::new(text)
        .map_err(|bad| format!("{text:?} is no topic filter: {bad}; 'raw' sends it all the same"))
}

fn connect(words: &[Word], run: Version, out: &mut Vec<u8>) -> Result<(), String> {
    let will_at = words.iter().position(|w| w.is("will"));
    let (own, will) = words.split_at(will_at.unwrap_or(words.len()));
    let (mut args, mut will_args) = (Args::of(own), Args::of(will.get(1..).unwrap_or(&[])));
    let version = match args.key("v") {
        Some(name) => version(name.text()?)?,
        None => run,
    };
    let (properties, will_properties) = (args.properties()?, will_args.properties()?);
    let will = match will {
        [] => None,
        _ => Some(Will {
            topic: topic(will_args.positional("will topic")?.text()?)?,
            qos: will_args.qos()?,
            retain: will_args.flag("retain"),
            properties: will_properties.as_properties(),
            payload: &will_args.positional("will payload")?.value,
        }),
    };
    will_args.end()?;
    let connect = Connect {
        version,
        bridge: args.flag("bridge"),
        clean_start: args.flag("clean"),
        keep_alive_s: args.number("keep_alive")?.unwrap_or(0),
        client_id: args.key("id").map_or(Ok(""), Word::text)?,
        will,
        user_name: args.key("user").map(Word::text).transpose()?,
        password: args.key("password").map(|w| w.value.as_slice()),
        properties: properties.as_properties(),
    };
    args.end()?;
    Packet::Connect(connect).encode(version, out);
    Ok(())
}

fn publish(mut args: Args<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), String> {
    let alias: Option<NonZeroU16> = args.number("topic-alias")?;
    let name = args.positional("topic")?.text()?;
    let id: Option<PacketId> = args.number("id")?;
    let id = |needed: &str| id.ok_or(format!("{needed} needs id=N"));
    let properties = args.properties()?;
    let publish = Publish {
        dup: args.flag("dup"),
        retain: args.flag("retain"),
        delivery: match args.qos()? {
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce(id("qos=1")?),
            Qos::ExactlyOnce => Delivery::ExactlyOnce(id("qos=2")?),
        },
        address: match (name, alias) {
            ("", Some(alias)) => Address::Alias(alias),
            (name, Some(alias)) => Address::Define(topic(name)?, alias),
            (name, None) => Address::Name(topic(name)?),
        },
        properties: properties.as_properties(),
        payload: &args.positional("payload in quotes")?.value,
    };
    args.end()?;
    Packet::Publish(publish).encode(version, out);
    Ok(())
}

fn ack(name: &str, mut args: Args<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), String> {
    let properties = args.properties()?;
    let ack = Ack {
        packet_id: args.packet_id()?,
        reason: args.reason()?,
        properties: properties.as_properties(),
    };
    args.end()?;
    let packet = match name {
        "puback" => Packet::PubAck(ack),
        "pubrec" => Packet::PubRec(ack),
        "pubrel" => Packet::PubRel(ack),
        _ => Packet::PubComp(ack),
    };
    packet.encode(version, out);
    Ok(())
}

fn subscribe(mut args: Args<'_>, version: Version, out: &mut Vec<u8>) -> Result<(), String> {
    let (packet_id, properties) = (args.packet_id()?, args.properties()?);
    let mut requests: Vec<(Filter<'_>, SubscribeOptions)> = Vec::new();
    for word in args.rest {
        let text = word.text()?;
        let options = requests.last_mut().map(|(_, options)| options);
        match (word.key.as_deref(), options) {
            (None, Some(o)) if word.is("no_local") => o.no_local = true,
            (None, Some(o)) if word.is("retain_as_published") => o.retain_as_published = true,
            (Some("qos"), Some(o)) => {
                o.qos = text
                    .parse()
                    .ok()
                    .and_then(Qos::from_u8)
                    .ok_or(format!("there is no QoS {text}"))?;
            }
            (Some("retain_handling"), Some(o)) => {
                o.retain_handling = match text {
                    "0" => RetainHandling::Always,
                    "1" => RetainHandling::New,
                    "2" => RetainHandling::Never,
                    _ => return Err(format!("there is no retain handling {text}")),
                };
            }
            (None, _) => requests.push((filter(text)?, SubscribeOptions::default())),
            _ => return Err(format!("{word:?} means nothing here")),
        }
    }
    let (properties, requests) = (properties.as_properties(), SubscribeRequests::List(&requests));
    Packet::Subscribe(Subscribe {
        packet_id,
        properties,
        requests,
    })
    .encode(version, out);
    Ok(())
}
