//! What leaves: packets into bytes, counted, and told to the packet log.

use std::collections::VecDeque;

use bytes::Bytes;
use martlet_codec::limits::PACKET_BYTES_CEILING;
use martlet_codec::{Extras, Packet, PacketId, Publish, Version};
use martlet_session::Output;

use super::packet_log;
use crate::error::Rejected;

/// Payloads from this size on are shared with the output instead of copied into it.
const SHARE_PAYLOAD_BYTES_MIN: usize = 8 << 10;

/// The bytes of one connection on their way out.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) output: Output,
    /// Bytes that the driver has written.
    written: u64,
    pub(super) version: Version,
    /// The largest packet that the server takes.
    pub(super) packet_bytes_max: u32,
    /// Lines for the packet log, if there is one.
    pub(super) log: Option<VecDeque<String>>,
}

impl Wire {
    pub(super) fn new(version: Version, with_log: bool) -> Self {
        Self {
            output: Output::default(),
            written: 0,
            version,
            packet_bytes_max: PACKET_BYTES_CEILING,
            log: with_log.then(VecDeque::new),
        }
    }

    /// A new connection: nothing is on its way.
    pub(super) fn reset(&mut self) {
        self.output.clear();
        self.written = 0;
        self.packet_bytes_max = PACKET_BYTES_CEILING;
    }

    /// Where the next byte stands, counted from the start of the connection.
    pub(super) fn end(&self) -> u64 {
        self.written + self.output.len() as u64
    }

    pub(super) fn written(&mut self, bytes: usize) -> u64 {
        self.output.advance(bytes);
        self.written += bytes as u64;
        self.written
    }

    /// Appends a packet; its reason string and user properties give way where it would be too large.
    pub(super) fn packet(&mut self, packet: &Packet<'_>) {
        if self
            .output
            .packet_within(packet, self.packet_bytes_max, self.version)
            && let Some(log) = &mut self.log
        {
            packet_log::sent(packet, log);
        }
    }

    /// Appends a request, if the server takes one of that size.
    pub(super) fn request(&mut self, packet: &Packet<'_>) -> Result<(), Rejected> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes);
        self.fits(bytes.len())?;
        self.output.raw(&bytes);
        if let Some(log) = &mut self.log {
            packet_log::sent(packet, log);
        }
        Ok(())
    }

    /// Appends a PUBLISH, if the server takes one of that size. `number` stands for the packet
    /// identifier in the log.
    pub(super) fn publish(
        &mut self,
        publish: &Publish<'_>,
        payload: &Bytes,
        number: PacketId,
    ) -> Result<(), Rejected> {
        self.fits(publish.encoded_len(self.version, Extras::NONE))?;
        let shared = (payload.len() >= SHARE_PAYLOAD_BYTES_MIN).then_some(payload);
        self.output.publish(publish, Extras::NONE, self.version, shared);
        if let Some(log) = &mut self.log {
            log.push_back(packet_log::publish("sending", publish, number.get()));
        }
        Ok(())
    }

    /// Whether the server takes a packet of that size [MQTT5-3.2.2-15].
    pub(super) fn fits(&self, bytes: usize) -> Result<(), Rejected> {
        if bytes > self.packet_bytes_max as usize {
            return Err(Rejected::PacketTooLarge {
                bytes,
                maximum: self.packet_bytes_max,
            });
        }
        Ok(())
    }
}
