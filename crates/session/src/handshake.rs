//! CONNECT and its answer: the one place above the codec where the version decides anything.
//!
//! [`accept`] turns a CONNECT and the server's [`Policy`] into [`Agreed`]: from then on, what the
//! version changed is data. [`client`] is the other side of it.

pub mod client;

use std::num::{NonZeroU16, NonZeroU32};

use martlet_codec::violation::V3Answer;
use martlet_codec::{
    ConnAck, Connect, Fault, Packet, Properties, PropertiesBuf, PropertyId, Qos, ReasonCode, Version,
    Violation, limits::PACKET_BYTES_CEILING,
};

use crate::{NEVER, Output};

/// What the server allows and announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The versions that are served, lowest first.
    pub versions: Vec<Version>,
    /// Unacknowledged messages of QoS 1 and 2 that a client may have under way to us, at least 1.
    pub receive_maximum: u16,
    /// Whether a version 5 client that exceeds it is disconnected.
    pub receive_maximum_enforced: bool,
    /// Unacknowledged messages of QoS 1 and 2 that we have under way to a client, at least 1.
    pub inflight_max: u16,
    /// The largest packet that we take, in bytes.
    pub packet_bytes_max: u32,
    /// Topic aliases that we take.
    pub alias_in_max: u16,
    /// Topic aliases that we assign.
    pub alias_out_max: u16,
    /// The longest keep alive in seconds; a client that asks for a longer one, or for none, gets this.
    pub keep_alive_s_max: Option<NonZeroU16>,
    /// The keep alive that every version 5 client gets, in seconds; 0 is off.
    pub keep_alive_s: Option<u16>,
    /// The longest session expiry in seconds; `NEVER` is no limit.
    pub session_expiry_s_max: u32,
    /// The highest QoS.
    pub qos_max: Qos,
    /// Whether messages may be retained.
    pub retain_available: bool,
    /// Whether a client without an identifier is given one.
    pub empty_client_id: bool,
    /// The longest client identifier in bytes; a longer one is refused with 0x85, 2 in version 3.
    pub client_id_bytes_max: usize,
    /// The Response Information for those who ask for it.
    pub response_information: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            versions: vec![Version::V3_1, Version::V3_1_1, Version::V5],
            receive_maximum: 1_024,
            receive_maximum_enforced: true,
            inflight_max: 64,
            packet_bytes_max: 2_000_000,
            alias_in_max: 10,
            alias_out_max: 10,
            keep_alive_s_max: None,
            keep_alive_s: None,
            session_expiry_s_max: NEVER,
            qos_max: Qos::ExactlyOnce,
            retain_available: true,
            empty_client_id: true,
            client_id_bytes_max: 1_024,
            response_information: None,
        }
    }
}

/// What holds on one connection after its CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// An argument for decoding and encoding, nothing else.
    pub version: Version,
    /// The keep alive that we enforce, in seconds; 0 is off.
    pub keep_alive_s: u16,
    /// How long the session outlives the connection, in seconds; `NEVER` has no end.
    pub expiry_s: u32,
    /// Unacknowledged messages towards the client, at most.
    pub inflight_max: u16,
    /// Unacknowledged messages from the client, at most.
    pub receive_maximum: u16,
    /// What becomes of a client that sends more than that.
    pub beyond_receive_maximum: Beyond,
    /// The largest packet that the client takes, in bytes.
    pub packet_bytes_max: u32,
    /// Topic aliases that the client may use.
    pub alias_in_max: u16,
    /// Topic aliases that we may use.
    pub alias_out_max: u16,
    /// Whether PUBACK and PUBREC can say no.
    pub can_refuse_publish: bool,
    /// Whether SUBACK can say no. (3.1 has no word for it.)
    pub can_refuse_subscribe: bool,
    /// Whether we can say DISCONNECT before we close.
    pub can_send_disconnect: bool,
    /// Whether Reason Strings and User Properties are wanted on all packets [MQTT5-3.1.2-29].
    pub problem_information: bool,
    /// Whether the client is a bridge.
    pub bridge: bool,
    /// The highest QoS that a client may publish.
    pub qos_max: Qos,
    /// Whether a client may retain.
    pub retain_available: bool,
}

/// What becomes of a client with more unacknowledged messages than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// It was told no maximum: its socket is not read meanwhile.
    Unread,
    /// It goes on, and the log tells of it. Not read only while acknowledgements of more than the maximum wait for
    /// the store.
    Warned,
    /// It broke the rule [MQTT5-3.3.4-7].
    Ended,
}

/// A CONNECT that is well-formed and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The reason code of CONNACK.
    pub reason: ReasonCode,
    /// The words for the log and the reason string.
    pub text: &'static str,
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Self {
        Self {
            reason: violation.code(),
            text: violation.text(),
        }
    }
}

/// Decides on a CONNECT by itself: who the client is and whether it may come in is not asked here.
pub fn accept(connect: &Connect<'_>, policy: &Policy) -> Result<Agreed, Refusal> {
    if !policy.versions.contains(&connect.version) {
        return Err(Violation::ProtocolLevel.into());
    }
    check_client_id(connect, policy)?;
    let properties = connect.properties;
    if properties.text(PropertyId::AuthenticationMethod).is_some() {
        return Err(Violation::AuthMethodUnknown.into());
    }
    if let Some(will) = &connect.will {
        if will.qos > policy.qos_max {
            return Err(Violation::QosNotSupported.into());
        }
        if will.retain && !policy.retain_available {
            return Err(Violation::RetainNotSupported.into());
        }
        if is_server_topic(will.topic.as_str()) {
            return Err(Violation::WillTopic.into());
        }
    }
    let v5 = connect.version == Version::V5;
    let asked_expiry_s = match (v5, connect.clean_start) {
        (true, _) => properties.session_expiry_s().unwrap_or(0),
        (false, true) => 0,
        (false, false) => NEVER,
    };
    Ok(Agreed {
        version: connect.version,
        keep_alive_s: keep_alive_s(connect, policy, v5),
        expiry_s: asked_expiry_s.min(policy.session_expiry_s_max),
        inflight_max: properties
            .receive_maximum()
            .map_or(u16::MAX, NonZeroU16::get)
            .min(policy.inflight_max),
        receive_maximum: policy.receive_maximum,
        beyond_receive_maximum: match (v5, policy.receive_maximum_enforced) {
            (false, _) => Beyond::Unread,
            (true, false) => Beyond::Warned,
            (true, true) => Beyond::Ended,
        },
        packet_bytes_max: properties
            .maximum_packet_size()
            .map_or(PACKET_BYTES_CEILING, NonZeroU32::get),
        alias_in_max: if v5 { policy.alias_in_max } else { 0 },
        alias_out_max: properties
            .topic_alias_maximum()
            .unwrap_or(0)
            .min(policy.alias_out_max),
        can_refuse_publish: v5,
        can_refuse_subscribe: connect.version != Version::V3_1,
        can_send_disconnect: v5,
        problem_information: properties
            .flag(PropertyId::RequestProblemInformation)
            .unwrap_or(true),
        bridge: connect.bridge,
        qos_max: policy.qos_max,
        retain_available: policy.retain_available,
    })
}

fn check_client_id(connect: &Connect<'_>, policy: &Policy) -> Result<(), Refusal> {
    if connect.client_id.len() > policy.client_id_bytes_max {
        return Err(Violation::ClientIdTooLong.into());
    }
    let may_be_empty = match connect.version {
        Version::V5 => policy.empty_client_id,
        Version::V3_1_1 => policy.empty_client_id && connect.clean_start,
        Version::V3_1 => false,
    };
    if connect.client_id.is_empty() && !may_be_empty {
        return Err(Violation::ClientIdEmpty.into());
    }
    Ok(())
}

/// In version 3 there is no way to tell the client another value: it keeps the one that it asked for.
fn keep_alive_s(connect: &Connect<'_>, policy: &Policy, v5: bool) -> u16 {
    let asked = connect.keep_alive_s;
    match (policy.keep_alive_s, policy.keep_alive_s_max) {
        _ if !v5 => asked,
        (Some(given), _) => given,
        (None, Some(max)) if asked == 0 || asked > max.get() => max.get(),
        (None, _) => asked,
    }
}

/// Topics that only the server writes: refused from clients, as a will too.
pub fn is_server_topic(topic: &str) -> bool {
    let first = topic.split('/').next().unwrap_or_default();
    first == "$SYS" || first == "$share"
}

/// Appends the CONNACK that accepts. `false`: it does not fit the client's maximum packet size, and
/// the connection must be closed.
#[must_use]
pub fn connack(
    connect: &Connect<'_>,
    agreed: &Agreed,
    policy: &Policy,
    session_present: bool,
    assigned_client_id: Option<&str>,
    out: &mut Output,
) -> bool {
    let properties = connack_properties(connect, agreed, policy, assigned_client_id);
    let connack = ConnAck {
        session_present,
        reason: ReasonCode::Success,
        properties: properties.as_properties(),
    };
    out.packet_within(&Packet::ConnAck(connack), agreed.packet_bytes_max, agreed.version)
}

/// What is true of this server and differs from the standard's defaults.
fn connack_properties(
    connect: &Connect<'_>,
    agreed: &Agreed,
    policy: &Policy,
    assigned_client_id: Option<&str>,
) -> PropertiesBuf {
    let mut p = PropertiesBuf::new();
    if connect.version != Version::V5 {
        return p;
    }
    if agreed.expiry_s != connect.properties.session_expiry_s().unwrap_or(0) {
        p.number(PropertyId::SessionExpiryInterval, agreed.expiry_s);
    }
    if agreed.keep_alive_s != connect.keep_alive_s {
        p.number(PropertyId::ServerKeepAlive, agreed.keep_alive_s);
    }
    if policy.alias_in_max > 0 {
        p.number(PropertyId::TopicAliasMaximum, policy.alias_in_max);
    }
    if let Some(id) = assigned_client_id {
        p.text(PropertyId::AssignedClientIdentifier, id);
    }
    if !policy.retain_available {
        p.number(PropertyId::RetainAvailable, 0_u32);
    }
    if policy.packet_bytes_max < PACKET_BYTES_CEILING {
        p.number(PropertyId::MaximumPacketSize, policy.packet_bytes_max);
    }
    if policy.receive_maximum < u16::MAX {
        p.number(PropertyId::ReceiveMaximum, policy.receive_maximum);
    }
    if policy.qos_max < Qos::ExactlyOnce {
        p.number(PropertyId::MaximumQos, policy.qos_max.as_u8());
    }
    let wants_response = connect.properties.flag(PropertyId::RequestResponseInformation) == Some(true);
    if let (true, Some(information)) = (wants_response, &policy.response_information) {
        p.text(PropertyId::ResponseInformation, information);
    }
    p
}

/// Appends what a client hears whose CONNECT broke a rule: nothing where its version is not known.
pub fn refuse_fault(fault: Fault, out: &mut Output) {
    let Some(version) = fault.version else { return };
    let row = fault.violation.row();
    match (version, row.v3) {
        (Version::V5, _) => refuse(version, Refusal::from(fault.violation), out),
        (_, V3Answer::ConnAck(code)) => {
            let reason = ReasonCode::from_connack_v3(code);
            let connack = ConnAck {
                session_present: false,
                reason,
                properties: Properties::EMPTY,
            };
            out.packet(&Packet::ConnAck(connack), version);
        }
        (_, V3Answer::Close) => {}
    }
}

/// Appends the CONNACK of a refusal. Version 3 has no code for some; then nothing is sent
/// [MQTT3-3.2.2-6]. No details for those who are not authenticated: the words go to the log only.
pub fn refuse(version: Version, refusal: Refusal, out: &mut Output) {
    if version != Version::V5 && refusal.reason.connack_v3().is_none() {
        return;
    }
    let connack = ConnAck {
        session_present: false,
        reason: refusal.reason,
        properties: Properties::EMPTY,
    };
    out.packet(&Packet::ConnAck(connack), version);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(version: Version, clean_start: bool, properties: Properties<'_>) -> Connect<'_> {
        Connect {
            version,
            bridge: false,
            clean_start,
            keep_alive_s: 60,
            client_id: "c",
            will: None,
            user_name: None,
            password: None,
            properties,
        }
    }

    #[test]
    fn what_the_version_changed_is_data() {
        let policy = Policy::default();
        let agreed = |version, clean| accept(&connect(version, clean, Properties::EMPTY), &policy).unwrap();
        assert_eq!(agreed(Version::V3_1_1, true).expiry_s, 0);
        assert_eq!(agreed(Version::V3_1_1, false).expiry_s, NEVER);
        assert_eq!(agreed(Version::V5, false).expiry_s, 0);
        assert!(!agreed(Version::V3_1, true).can_refuse_subscribe);
        assert!(agreed(Version::V3_1_1, true).can_refuse_subscribe);
        assert!(!agreed(Version::V3_1_1, true).can_send_disconnect);
        assert!(agreed(Version::V5, true).can_refuse_publish);
        assert_eq!(agreed(Version::V3_1_1, true).inflight_max, 64);
    }

    #[test]
    fn the_lower_of_both_sides_holds() {
        let mut asked = PropertiesBuf::new();
        asked
            .number(PropertyId::ReceiveMaximum, 5_u32)
            .number(PropertyId::TopicAliasMaximum, 100_u32)
            .number(PropertyId::SessionExpiryInterval, NEVER)
            .number(PropertyId::MaximumPacketSize, 1_000_u32);
        let policy = Policy {
            session_expiry_s_max: 3_600,
            keep_alive_s_max: NonZeroU16::new(30),
            ..Policy::default()
        };
        let connect = connect(Version::V5, true, asked.as_properties());
        let agreed = accept(&connect, &policy).unwrap();
        assert_eq!((agreed.inflight_max, agreed.alias_out_max), (5, 10));
        assert_eq!((agreed.expiry_s, agreed.keep_alive_s), (3_600, 30));
        let told = connack_properties(&connect, &agreed, &policy, Some("auto-1"));
        let told = told.as_properties();
        assert_eq!(told.session_expiry_s(), Some(3_600));
        assert_eq!(told.number(PropertyId::ServerKeepAlive), Some(30));
        assert_eq!(told.text(PropertyId::AssignedClientIdentifier), Some("auto-1"));
        assert_eq!(told.number(PropertyId::MaximumQos), None);
        // The CONNACK fits even the smallest packet that a client may name only if its limit allows.
        let mut out = Output::default();
        assert!(!connack(
            &connect,
            &Agreed {
                packet_bytes_max: 4,
                ..agreed
            },
            &policy,
            false,
            None,
            &mut out
        ));
        assert!(out.is_empty());
    }

    #[test]
    fn empty_client_identifiers() {
        let policy = Policy::default();
        let empty = |version, clean| {
            let connect = Connect {
                client_id: "",
                ..connect(version, clean, Properties::EMPTY)
            };
            accept(&connect, &policy)
                .map(|_| ())
                .map_err(|refusal| refusal.reason)
        };
        let refused = Err(ReasonCode::ClientIdentifierNotValid);
        assert_eq!(empty(Version::V5, false), Ok(()));
        assert_eq!(empty(Version::V3_1_1, true), Ok(()));
        assert_eq!(empty(Version::V3_1_1, false), refused);
        assert_eq!(empty(Version::V3_1, true), refused);
    }
}
