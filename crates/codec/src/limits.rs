//! What a decoder takes before it says no. Sizes are those of whole packets, in bytes.

/// Limits of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Any packet: at most this. Above it: `Violation::PacketTooLarge` as soon as the length is known.
    pub packet_bytes_max: u32,
    /// CONNECT, AUTH, and SUBSCRIBE and UNSUBSCRIBE of version 5.
    pub request_bytes_max: u32,
    /// Acknowledgements and DISCONNECT of version 5.
    pub ack_bytes_max: u32,
    /// `/` in a topic name or filter. Above it: `Violation::TopicTooDeep`.
    pub topic_separators_max: u16,
}

/// The largest packet that the wire format can say: a length of 268,435,455 behind five bytes.
pub const PACKET_BYTES_CEILING: u32 = crate::wire::VARINT_MAX + 5;

impl Limits {
    /// No limit but those of the format.
    pub const NONE: Self = Self {
        packet_bytes_max: PACKET_BYTES_CEILING,
        request_bytes_max: PACKET_BYTES_CEILING,
        ack_bytes_max: PACKET_BYTES_CEILING,
        topic_separators_max: u16::MAX,
    };
}

impl Default for Limits {
    /// The numbers of mosquitto 2.1.
    fn default() -> Self {
        Self {
            packet_bytes_max: 2_000_000,
            request_bytes_max: 100_000,
            ack_bytes_max: 10_000,
            topic_separators_max: 200,
        }
    }
}
