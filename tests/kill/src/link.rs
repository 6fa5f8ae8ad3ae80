//! A connection that never waits.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use martlet_codec::{Address, Decoded, Delivery, Limits, Packet, PacketId, ReasonCode, Version};

use crate::fault::{Checked, Fault};

/// What came from the broker, as far as it matters here.
#[derive(Debug)]
pub(crate) enum Came {
    ConnAck {
        reason: ReasonCode,
        present: bool,
        receive_max: u16,
    },
    Publish(Arrived),
    PubAck(PacketId, ReasonCode),
    PubRec(PacketId, ReasonCode),
    PubRel(PacketId),
    PubComp(PacketId, ReasonCode),
    SubAck(PacketId, Vec<ReasonCode>),
    UnsubAck(PacketId),
    Disconnect(ReasonCode),
    Pong,
    Closed,
}

/// A PUBLISH.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) delivery: Delivery,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
}

/// A socket, what came and was not looked at, and what could not be written yet.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    version: Version,
    unread: Vec<u8>,
    used: usize,
    unsent: Vec<u8>,
}

impl Link {
    /// None: nobody listens, as the broker was killed.
    pub(crate) fn open(port: u16, version: Version) -> Option<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Self {
            stream,
            version,
            unread: Vec::new(),
            used: 0,
            unsent: Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, packet: &Packet<'_>) {
        packet.encode(self.version, &mut self.unsent);
    }

    /// Writes what the socket takes. A broker that is gone is told by the next read.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.unsent.clear(),
            }
        }
    }

    pub(crate) fn cut(&self) {
        // It fails if the other end was faster.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The next packet or the end, if it is there.
    pub(crate) fn next(&mut self) -> Checked<Option<Came>> {
        let mut buf = [0; 16 << 10];
        loop {
            match Packet::decode(&self.unread[self.used..], Some(self.version), &Limits::default()) {
                Ok(Decoded::Packet(packet, n)) => {
                    let came = came(&packet);
                    self.used += n;
                    return came.map(Some);
                }
                Ok(Decoded::Incomplete { .. }) => {}
                Err(fault) => return Err(Fault::new(format!("the broker breaks a rule: {fault}"))),
            }
            self.unread.drain(..std::mem::take(&mut self.used));
            match self.stream.read(&mut buf) {
                Ok(0) => return Ok(Some(Came::Closed)),
                Ok(n) => self.unread.extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Ok(Some(Came::Closed)),
            }
        }
    }
}

fn came(packet: &Packet<'_>) -> Checked<Came> {
    Ok(match packet {
        Packet::ConnAck(ack) => Came::ConnAck {
            reason: ack.reason,
            present: ack.session_present,
            receive_max: ack.properties.receive_maximum().map_or(u16::MAX, u16::from),
        },
        Packet::Publish(publish) => {
            let Address::Name(topic) = publish.address else {
                return Err(Fault::new(
                    "the broker uses a topic alias, though none is allowed",
                ));
            };
            Came::Publish(Arrived {
                topic: topic.as_str().to_owned(),
                payload: publish.payload.to_vec(),
                delivery: publish.delivery,
                dup: publish.dup,
                retain: publish.retain,
            })
        }
        Packet::PubAck(ack) => Came::PubAck(ack.packet_id, ack.reason),
        Packet::PubRec(ack) => Came::PubRec(ack.packet_id, ack.reason),
        Packet::PubRel(ack) => Came::PubRel(ack.packet_id),
        Packet::PubComp(ack) => Came::PubComp(ack.packet_id, ack.reason),
        Packet::SubAck(ack) => Came::SubAck(ack.packet_id, ack.reasons.iter().collect()),
        Packet::UnsubAck(ack) => Came::UnsubAck(ack.packet_id),
        Packet::Disconnect(disconnect) => Came::Disconnect(disconnect.reason),
        Packet::PingResp => Came::Pong,
        other => return Err(Fault::new(format!("the broker sent {:?}", other.packet_type()))),
    })
}
