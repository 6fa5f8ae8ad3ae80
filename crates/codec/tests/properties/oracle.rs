//! What must hold of any bytes: shared by the property tests and the fuzz targets.

use martlet_codec::{
    Address, Decoded, Extras, Fault, Filter, Limits, Packet, PacketType, Place, Properties, PropertiesBuf,
    PropertyId, Publish, Topic, Version,
};

/// The versions, and `None` for a connection whose CONNECT has not come.
pub(crate) const VERSIONS: [Option<Version>; 4] = [
    None,
    Some(Version::V3_1),
    Some(Version::V3_1_1),
    Some(Version::V5),
];

/// Decodes hostile bytes and holds the answer to what every answer must be.
pub(crate) fn check(bytes: &[u8], version: Option<Version>, limits: &Limits) {
    match Packet::decode(bytes, version, limits) {
        Ok(Decoded::Incomplete { bytes: None }) => {
            // A first byte, a length of four, and of an oversized CONNECT its protocol and level.
            assert!(
                bytes.len() < 5 + 9,
                "{} bytes and the length is not known",
                bytes.len()
            );
        }
        Ok(Decoded::Incomplete { bytes: Some(n) }) => {
            assert!(n > bytes.len() && n <= limits.packet_bytes_max as usize);
            same_prefixes(bytes, version, limits);
        }
        Ok(Decoded::Packet(packet, n)) => {
            assert!(n <= bytes.len() && n <= limits.packet_bytes_max as usize);
            let spoken = version.unwrap_or_else(|| connect_version(&packet));
            again(&packet, spoken);
            within(&packet, spoken);
        }
        Err(fault) => answerable(fault, version),
    }
}

/// A prefix never says anything that the longer buffer takes back.
pub(crate) fn same_prefixes(bytes: &[u8], version: Option<Version>, limits: &Limits) {
    let whole = Packet::decode(bytes, version, limits);
    for n in 0..bytes.len().min(64) {
        match Packet::decode(&bytes[..n], version, limits) {
            Ok(Decoded::Incomplete { bytes: None }) => {}
            Ok(Decoded::Incomplete {
                bytes: Some(promised),
            }) => match whole {
                Ok(Decoded::Packet(_, total)) => assert_eq!(promised, total),
                Ok(Decoded::Incomplete { bytes }) => assert_eq!(Some(promised), bytes),
                Err(_) => assert!(promised > n),
            },
            early => assert_eq!(early, whole, "at {n} bytes of {bytes:x?}"),
        }
    }
}

/// A violation can be told: in CONNACK when it is in the first packet, else in DISCONNECT.
fn answerable(fault: Fault, version: Option<Version>) {
    use martlet_codec::PacketType::{ConnAck, Disconnect};
    let carrier = if version.is_some() { Disconnect } else { ConnAck };
    if fault.version == Some(Version::V5) {
        let code = fault.violation.code();
        assert!(
            code.allowed_in(carrier),
            "{fault:?}: no {carrier:?} carries {code}"
        );
    }
}

fn connect_version(packet: &Packet<'_>) -> Version {
    match packet {
        Packet::Connect(connect) => connect.version,
        other => panic!("a first packet that is not CONNECT: {other:?}"),
    }
}

/// What was decoded reads the same after encoding.
fn again(packet: &Packet<'_>, version: Version) {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    let first = (packet.packet_type() == PacketType::Connect).then_some(version);
    let known = if first.is_some() { None } else { Some(version) };
    let (twice, n) = match Packet::decode(&out, known, &Limits::NONE) {
        Ok(Decoded::Packet(twice, n)) => (twice, n),
        other => panic!("{packet:?} became {out:x?}, which reads {other:?}"),
    };
    assert_eq!(n, out.len());
    if let (Packet::Publish(a), Packet::Publish(b)) = (packet, &twice) {
        assert_eq!(a.encoded_len(version, Extras::NONE), out.len());
        assert_eq!(without_alias(a), without_alias(b));
        assert_eq!(
            (a.dup, a.retain, a.delivery, a.address),
            (b.dup, b.retain, b.delivery, b.address)
        );
        assert_eq!(a.payload, b.payload);
        return;
    }
    // Version 3 has few codes: a client tolerates others, and saying them again takes the nearest.
    let has_codes = matches!(packet, Packet::ConnAck(_) | Packet::SubAck(_));
    if version == Version::V5 || !has_codes {
        assert_eq!(packet, &twice);
    }
}

/// The properties of a PUBLISH but for the alias, whose place among them encoding chooses.
pub(crate) fn without_alias(publish: &Publish<'_>) -> Vec<u8> {
    let mut kept = Vec::new();
    publish
        .properties
        .retain_into(&mut kept, |id| id != PropertyId::TopicAlias);
    assert_eq!(
        publish.properties.topic_alias().is_some(),
        !matches!(publish.address, Address::Name(_))
    );
    kept
}

/// `encode_within` holds its maximum, and leaves the buffer alone when it cannot.
pub(crate) fn within(packet: &Packet<'_>, version: Version) {
    let mut whole = Vec::new();
    packet.encode(version, &mut whole);
    for bytes_max in [
        0,
        1,
        4,
        whole.len() / 2,
        whole.len().saturating_sub(1),
        whole.len(),
    ] {
        let mut out = vec![0xaa];
        let fits = packet.encode_within(bytes_max as u32, version, &mut out);
        assert_eq!(out[0], 0xaa);
        if !fits {
            assert_eq!(out.len(), 1);
            continue;
        }
        assert!(out.len() - 1 <= bytes_max);
        if bytes_max >= whole.len() {
            assert_eq!(out[1..], whole[..]);
        }
    }
}

/// All places of properties.
pub(crate) fn places() -> impl Iterator<Item = Place> {
    let types = (0x10..=0xff_u8)
        .step_by(16)
        .filter_map(|first| PacketType::of(first, Version::V5));
    types.map(Place::Packet).chain([Place::Will])
}

/// Every getter reads what was checked.
pub(crate) fn read_all(properties: Properties<'_>) {
    let mut buf = PropertiesBuf::new();
    for (id, value) in properties.iter() {
        buf.push(id, value);
    }
    assert_eq!(buf.as_properties().as_bytes(), properties.as_bytes());
    for id in PropertyId::ALL {
        assert_eq!(
            properties.get(*id),
            properties.iter().find(|(i, _)| i == id).map(|(_, value)| value)
        );
        let _ = (
            properties.number(*id),
            properties.flag(*id),
            properties.text(*id),
            properties.binary(*id),
        );
    }
    let mut all = Vec::new();
    properties.retain_into(&mut all, |_| true);
    assert_eq!(all, properties.as_bytes());
}

/// Topic names and filters out of any bytes: a name is a filter that matches itself, a split filter is whole.
pub(crate) fn check_text(bytes: &[u8]) {
    let topic = Topic::from_bytes(bytes);
    let filter = Filter::from_bytes(bytes);
    if let Ok(filter) = filter {
        assert_eq!(filter.as_str().as_bytes(), bytes);
        let rejoined = match filter.share_group() {
            Some(group) => format!("$share/{group}/{}", filter.pattern()),
            None => filter.pattern().to_owned(),
        };
        assert_eq!(rejoined, filter.as_str());
        assert_eq!(filter.to_buf().as_filter(), filter);
        assert_eq!(filter.has_wildcard(), Topic::new(filter.pattern()).is_err());
        assert!(
            filter
                .levels()
                .all(|l| l == "+" || l == "#" || !l.contains(['+', '#']))
        );
        if let Ok(topic) = Topic::new(filter.pattern()) {
            assert!(filter.matches(topic));
        }
    }
    if let Ok(topic) = topic {
        assert_eq!(topic.to_buf().as_topic(), topic);
        assert_eq!(Filter::new("#").unwrap().matches(topic), !topic.is_reserved());
        if !topic.as_str().starts_with("$share") {
            assert!(filter.unwrap().matches(topic));
        }
    }
}

/// Matching against the rule written another way: recursion over levels.
pub(crate) fn check_match(filter: &[u8], topic: &[u8]) {
    fn matches(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => matches(filter, topic),
            ([f, filter @ ..], [t, topic @ ..]) => f == t && matches(filter, topic),
            _ => false,
        }
    }
    // Recursion is for short topics; the rule has no limit.
    let (Ok(filter), Ok(topic)) = (Filter::from_bytes(filter), Topic::from_bytes(topic)) else {
        return;
    };
    let (levels, names): (Vec<_>, Vec<_>) = (filter.levels().collect(), topic.levels().collect());
    if levels.len() > 500 {
        return;
    }
    let hidden = topic.is_reserved() && matches!(levels[0], "+" | "#");
    assert_eq!(
        filter.matches(topic),
        !hidden && matches(&levels, &names),
        "{filter} against {topic}"
    );
}
