//! From the bytes of a connection to packets, and from packets to what they ask for.

use std::sync::Arc;

use bytes::Bytes;
use martlet_codec::{Decoded, Fault, Packet, PacketType, Version, Violation};
use martlet_session::{Now, handshake};

use super::publish::Publisher;
use super::{Shard, Sink};
use crate::connection::{ConnId, Connection, Phase, Publishing};
use crate::event::{Ending, Event};
use crate::limits::OWN_BUFFER_BYTES_MIN;

/// What to do after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Go on with the next.
    Next,
    /// This packet was not handled: hand it in again later.
    Wait,
    /// The packet was handled; the next must wait.
    Pause,
    /// The connection is over, or elsewhere.
    Stop,
}

impl Shard {
    /// Bytes came, in a buffer with room in front of them.
    pub(super) fn read(
        &mut self,
        now: Now,
        conn: ConnId,
        buffer: &mut [u8],
        start: usize,
        sink: &mut impl Sink,
    ) {
        let Some(connection) = self.heard(now, conn, &buffer[start..]) else {
            return;
        };
        // The start of a packet came before: it goes where the rest of it follows.
        let Some(at) = start.checked_sub(connection.unread.len()) else {
            return self.put_together(now, conn, &buffer[start..], sink);
        };
        if connection.lacks_of_large().is_some() {
            return self.put_together(now, conn, &buffer[start..], sink);
        }
        buffer[at..start].copy_from_slice(&connection.unread);
        connection.unread = Vec::new();
        let used = self.packets(now, conn, &buffer[at..], sink);
        self.keep_unread(conn, &buffer[at + used..]);
    }

    /// Bytes came.
    pub(super) fn bytes(&mut self, now: Now, conn: ConnId, bytes: &[u8], sink: &mut impl Sink) {
        let Some(connection) = self.heard(now, conn, bytes) else {
            return;
        };
        if connection.unread.is_empty() {
            let used = self.packets(now, conn, bytes, sink);
            return self.keep_unread(conn, &bytes[used..]);
        }
        self.put_together(now, conn, bytes, sink);
    }

    /// Counts what came, and keeps it where it must wait; the connection, if it is to be handled now.
    fn heard(&mut self, now: Now, conn: ConnId, bytes: &[u8]) -> Option<&mut Connection> {
        self.counters().bytes_received.add(bytes.len() as u64);
        let connection = self
            .connections
            .get_mut(conn.index as usize)
            .filter(|connection| connection.id == conn)?;
        if let Some(index) = connection.session()
            && let Some(link) = &mut self.sessions.get_mut(index).session.link
        {
            link.keep_alive.heard(now.mono_ms);
        }
        if connection.phase == Phase::Closing {
            return None;
        }
        let waits = matches!(connection.phase, Phase::Checking { .. } | Phase::Accepted { .. });
        if connection.waits || waits {
            connection.unread.extend_from_slice(bytes);
            return None;
        }
        Some(connection)
    }

    /// Adds to the start of a packet that came before. Of a large one only the rest is added to it, so that it
    /// becomes a buffer of its own, whose payload recipients can share.
    fn put_together(&mut self, now: Now, conn: ConnId, bytes: &[u8], sink: &mut impl Sink) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        let lacks = connection.lacks_of_large().unwrap_or(bytes.len());
        let (more, rest) = bytes.split_at(lacks.min(bytes.len()));
        // Room is made as bytes arrive, never for what is only announced.
        let room = (connection.unread.len() * 3).min(lacks).max(more.len());
        connection.unread.reserve_exact(room);
        connection.unread.extend_from_slice(more);
        let is_own_buffer = more.len() == lacks && connection.unread.len() >= OWN_BUFFER_BYTES_MIN;
        self.resume_with(now, conn, is_own_buffer, sink);
        if !rest.is_empty() {
            self.bytes_after(now, conn, rest, sink);
        }
    }

    /// What follows a large packet in the same read.
    fn bytes_after(&mut self, now: Now, conn: ConnId, bytes: &[u8], sink: &mut impl Sink) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        let used = if connection.waits || !connection.unread.is_empty() {
            0
        } else {
            self.packets(now, conn, bytes, sink)
        };
        self.keep_unread(conn, &bytes[used..]);
    }

    fn keep_unread(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(connection) = self.connection(conn)
            && connection.phase != Phase::Closing
        {
            connection.unread.extend_from_slice(bytes);
        }
    }

    /// What waited may go on.
    pub(super) fn resume(&mut self, now: Now, conn: ConnId, sink: &mut impl Sink) {
        if self.has_addressed_again() {
            // Of another client in this turn: what that one waits for is not for this one.
            self.submit_loose(now);
        }
        self.resume_with(now, conn, false, sink);
    }

    fn resume_with(&mut self, now: Now, conn: ConnId, is_own_buffer: bool, sink: &mut impl Sink) {
        let Some(connection) = self.connection(conn) else {
            return;
        };
        connection.waits = false;
        let unread = std::mem::take(&mut connection.unread);
        if is_own_buffer {
            let unread = Bytes::from(unread);
            self.arriving = Some(unread.clone());
            let used = self.packets(now, conn, &unread, sink);
            self.arriving = None;
            self.keep_unread(conn, &unread[used..]);
        } else {
            let used = self.packets(now, conn, &unread, sink);
            if used == 0 {
                if let Some(connection) = self.connection(conn) {
                    connection.unread = unread;
                }
            } else {
                self.keep_unread(conn, &unread[used..]);
            }
        }
    }

    /// Handles the packets at the front of `buf`; returns the bytes that they took.
    fn packets(&mut self, now: Now, conn: ConnId, buf: &[u8], sink: &mut impl Sink) -> usize {
        let mut used = 0;
        let mut handled = 0;
        let mut publishing = None;
        while used < buf.len() {
            let rest = &buf[used..];
            // Nearly every packet is a PUBLISH behind another: what they need is looked up for the first.
            let is_publish = rest[0] >> 4 == PacketType::Publish as u8;
            if is_publish != publishing.is_some() {
                self.put_publishing(conn, publishing.take());
                publishing = if is_publish {
                    self.take_publishing(conn)
                } else {
                    None
                };
            }
            let next = match &mut publishing {
                Some(publishing) => self.next_publish(now, conn, publishing, rest, sink),
                None => self.next_packet(now, conn, rest, sink),
            };
            match next {
                Ok(None) => break,
                Ok(Some((flow, n))) => {
                    handled += u64::from(matches!(flow, Flow::Next | Flow::Pause));
                    match flow {
                        Flow::Next => used += n,
                        Flow::Pause => {
                            used += n;
                            break;
                        }
                        Flow::Wait => break,
                        Flow::Stop => {
                            used = buf.len();
                            break;
                        }
                    }
                }
                Err(fault) => {
                    self.fault(now, conn, fault, rest, sink);
                    used = buf.len();
                    break;
                }
            }
        }
        self.put_publishing(conn, publishing);
        self.counters().packets_received.add(handled);
        used
    }

    /// Handles the packet at the front of `buf`, any but PUBLISH of a client that is connected; none: not all of it is
    /// there.
    fn next_packet(
        &mut self,
        now: Now,
        conn: ConnId,
        buf: &[u8],
        sink: &mut impl Sink,
    ) -> Result<Option<(Flow, usize)>, Fault> {
        let decode = self.shared.settings.decode;
        let Some(connection) = self.connection(conn) else {
            return Ok(Some((Flow::Stop, 0)));
        };
        if matches!(connection.phase, Phase::Live { .. })
            && let Some((ack, n)) = Packet::decode_short_ack(buf)
        {
            return Ok(Some((self.packet(now, conn, &ack, buf, sink), n)));
        }
        Ok(match Packet::decode(buf, connection.version, &decode)? {
            Decoded::Incomplete { .. } => None,
            Decoded::Packet(packet, n) => Some((self.packet(now, conn, &packet, buf, sink), n)),
        })
    }

    /// What PUBLISH packets need, out of the connection while they are handled; none: it has no session.
    fn take_publishing(&mut self, conn: ConnId) -> Option<Publishes> {
        let decode = self.shared.settings.decode;
        let connection = self.connection(conn)?;
        let (Phase::Live { session }, Some(version)) = (connection.phase, connection.version) else {
            return None;
        };
        let publishing = connection.publishing.take();
        Some(Publishes {
            session,
            version,
            decode,
            publishing: publishing.unwrap_or_else(|| {
                let client_id = Arc::clone(&self.sessions.get(session).session.client_id);
                Box::new(Publishing {
                    client_id,
                    last_route: None,
                })
            }),
        })
    }

    fn put_publishing(&mut self, conn: ConnId, publishes: Option<Publishes>) {
        if let Some(publishes) = publishes
            && let Some(connection) = self.connection(conn)
        {
            connection.publishing = Some(publishes.publishing);
        }
    }

    /// The same for a PUBLISH.
    fn next_publish(
        &mut self,
        now: Now,
        conn: ConnId,
        publishes: &mut Publishes,
        buf: &[u8],
        sink: &mut impl Sink,
    ) -> Result<Option<(Flow, usize)>, Fault> {
        let Publishes {
            session,
            version,
            decode,
            publishing,
        } = publishes;
        let Publishing {
            client_id,
            last_route,
        } = &mut **publishing;
        let known = last_route.as_ref().map(|route| route.topic().as_topic());
        let Some((publish, n)) = Packet::decode_publish(buf, *version, decode, known)? else {
            return Ok(None);
        };
        let publisher = Publisher {
            conn,
            session: *session,
            client_id,
        };
        let (flow, found) = self.publish(now, &publisher, &publish, last_route.as_ref(), sink);
        if found.is_some() {
            *last_route = found;
        }
        Ok(Some((flow, n)))
    }

    /// `rest` starts with the packet.
    fn packet(
        &mut self,
        now: Now,
        conn: ConnId,
        packet: &Packet<'_>,
        rest: &[u8],
        sink: &mut impl Sink,
    ) -> Flow {
        let connection = &self.connections[conn.index as usize];
        let index = match connection.phase {
            Phase::Opening { .. } => {
                let Packet::Connect(connect) = packet else {
                    unreachable!("without a version only CONNECT is decoded")
                };
                return self.connect(now, conn, connect, rest, sink);
            }
            Phase::Checking { .. } | Phase::Accepted { .. } => return Flow::Wait,
            Phase::Live { session } => session,
            Phase::Closing => return Flow::Stop,
        };
        let result = match packet {
            Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubComp(_) => {
                let session = &mut self.sessions.get_mut(index).session;
                let result = session.acknowledged(packet, &mut self.effects);
                self.keep_effects(index);
                self.mark_dirty_if_output(index);
                self.sessions
                    .get(index)
                    .tell_presence(&self.shared.settings.session);
                if self.sessions.get(index).session.has_waiting() {
                    self.pump(now, index);
                }
                result
            }
            Packet::PubRel(ack) => return self.pubrel(now, conn, index, ack.packet_id, sink),
            Packet::Subscribe(subscribe) => {
                self.subscribe(now, conn, index, subscribe, sink);
                Ok(())
            }
            Packet::Unsubscribe(unsubscribe) => {
                self.unsubscribe(now, conn, index, unsubscribe, sink);
                Ok(())
            }
            Packet::PingReq => {
                self.answer(conn, index, &Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(disconnect) => return self.disconnect(now, conn, index, disconnect, sink),
            Packet::Connect(_) => Err(Violation::SecondConnect),
            Packet::Auth(_) => Err(Violation::AuthWithoutMethod),
            Packet::Publish(_) => unreachable!("the way of a PUBLISH is `next_publish`"),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err(Violation::Direction)
            }
        };
        match result {
            Ok(()) => Flow::Next,
            Err(violation) => {
                self.end(now, conn, Ending::Violation(violation), None, sink);
                Flow::Stop
            }
        }
    }

    /// The bytes of a connection break a rule.
    fn fault(&mut self, now: Now, conn: ConnId, fault: Fault, buf: &[u8], sink: &mut impl Sink) {
        let connection = &mut self.connections[conn.index as usize];
        let peer = connection.peer;
        if matches!(connection.phase, Phase::Opening { .. }) {
            if let Some(got) = looks_like(buf) {
                sink.event(Event::NotMqtt { peer, got });
                if got == "http" {
                    connection.last_output().raw(HTTP_ANSWER);
                }
                // That is all there is to say: which rule of MQTT other bytes break is chance.
                self.counters().count(fault.violation.into(), 1);
                return self.close(conn, sink);
            }
            handshake::refuse_fault(fault, connection.last_output());
        }
        let detail = match fault.violation {
            Violation::PacketTooLarge => self.too_large(buf, fault.version),
            _ => None,
        };
        self.end(
            now,
            conn,
            Ending::Violation(fault.violation),
            detail.as_deref(),
            sink,
        );
    }

    fn too_large(&self, buf: &[u8], version: Option<Version>) -> Option<String> {
        let len = Packet::announced_len(buf)?;
        let decode = &self.shared.settings.decode;
        let (limit, name) = if len > decode.packet_bytes_max as usize {
            (decode.packet_bytes_max, "max_packet_size")
        } else if version.is_none() || buf[0] >> 4 != 4 && len > decode.request_bytes_max as usize {
            (decode.request_bytes_max, "the limit of this type")
        } else {
            (decode.ack_bytes_max, "the limit of this type")
        };
        Some(format!(
            "packet is {} bytes, limit is {} ({name})",
            grouped(len),
            grouped(limit as usize)
        ))
    }
}

/// What a run of PUBLISH packets needs.
struct Publishes {
    /// The index of the session.
    session: u32,
    version: Version,
    decode: martlet_codec::Limits,
    publishing: Box<Publishing>,
}

const HTTP_ANSWER: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks MQTT, not HTTP.\n";

/// What a first packet looks like that is not CONNECT.
fn looks_like(buf: &[u8]) -> Option<&'static str> {
    const METHODS: [&[u8]; 7] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"CONN"];
    match buf {
        [0x16, 0x03, ..] => Some("tls"),
        _ if METHODS.iter().any(|method| buf.starts_with(method)) => Some("http"),
        _ => None,
    }
}

/// A number as people read it.
pub(super) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
