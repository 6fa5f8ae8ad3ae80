//! The packet log: each packet in the words that mosquitto's tools print with `-d`.

use std::collections::VecDeque;

use martlet_codec::{Address, Packet, Publish};
use martlet_session::Speech;

fn topic<'a>(publish: &Publish<'a>) -> &'a str {
    match publish.address {
        Address::Name(topic) | Address::Define(topic, _) => topic.as_str(),
        Address::Alias(_) => "",
    }
}

/// A PUBLISH; `number` is its packet identifier, or what stands for it at QoS 0.
pub(super) fn publish(verb: &str, publish: &Publish<'_>, number: u16) -> String {
    format!(
        "{verb} PUBLISH (d{}, q{}, r{}, m{number}, '{}', ... ({} bytes))",
        u8::from(publish.dup),
        publish.delivery.qos().as_u8(),
        u8::from(publish.retain),
        topic(publish),
        publish.payload.len(),
    )
}

/// The lines of a packet that is sent; those of PUBLISH come from [`publish`].
pub(super) fn sent(packet: &Packet<'_>, log: &mut VecDeque<String>) {
    let line = match packet {
        Packet::Connect(_) => "sending CONNECT".to_owned(),
        Packet::PubAck(ack) => format!("sending PUBACK (m{}, rc{})", ack.packet_id, ack.reason.as_u8()),
        Packet::PubRec(ack) => format!("sending PUBREC (m{}, rc{})", ack.packet_id, ack.reason.as_u8()),
        Packet::PubRel(ack) => format!("sending PUBREL (m{})", ack.packet_id),
        Packet::PubComp(ack) => format!("sending PUBCOMP (m{})", ack.packet_id),
        Packet::Subscribe(subscribe) => {
            for (filter, options) in subscribe.requests.iter() {
                let bits = options.qos.as_u8()
                    | u8::from(options.no_local) << 2
                    | u8::from(options.retain_as_published) << 3
                    | (options.retain_handling as u8) << 4;
                log.push_back(format!(
                    "sending SUBSCRIBE (Mid: {}, Topic: {filter}, QoS: {}, Options: 0x{:02x})",
                    subscribe.packet_id,
                    options.qos.as_u8(),
                    bits & !0b11,
                ));
            }
            return;
        }
        Packet::Unsubscribe(unsubscribe) => {
            for filter in unsubscribe.filters.iter() {
                let id = unsubscribe.packet_id;
                log.push_back(format!("sending UNSUBSCRIBE (Mid: {id}, Topic: {filter})"));
            }
            return;
        }
        Packet::PingReq => "sending PINGREQ".to_owned(),
        Packet::Disconnect(_) => "sending DISCONNECT".to_owned(),
        other => format!("sending {}", name(other)),
    };
    log.push_back(line);
}

/// The line of a packet that came.
pub(super) fn received(packet: &Packet<'_>, speech: Speech) -> String {
    match packet {
        Packet::ConnAck(connack) => {
            format!("received CONNACK ({})", speech.connack_code(connack.reason))
        }
        Packet::Publish(p) => {
            let id = p.delivery.packet_id().map_or(0, martlet_codec::PacketId::get);
            publish("received", p, id)
        }
        Packet::PubAck(ack) => {
            format!(
                "received PUBACK (Mid: {}, RC:{})",
                ack.packet_id,
                ack.reason.as_u8()
            )
        }
        Packet::PubComp(ack) => {
            format!(
                "received PUBCOMP (Mid: {}, RC:{})",
                ack.packet_id,
                ack.reason.as_u8()
            )
        }
        Packet::PubRec(ack) => format!("received PUBREC (Mid: {})", ack.packet_id),
        Packet::PubRel(ack) => format!("received PUBREL (Mid: {})", ack.packet_id),
        Packet::Disconnect(disconnect) => {
            format!("received DISCONNECT ({})", disconnect.reason.as_u8())
        }
        other => format!("received {}", name(other)),
    }
}

fn name(packet: &Packet<'_>) -> String {
    format!("{:?}", packet.packet_type()).to_uppercase()
}
