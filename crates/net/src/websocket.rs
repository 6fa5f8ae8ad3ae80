//! WebSocket (RFC 6455) as MQTT uses it: binary frames whose borders mean nothing [MQTT5-6.0.0-2].
//!
//! What is in a frame is passed on as it comes: no frame is ever put together, so a peer that announces a
//! large one and sends it slowly takes no memory.

mod opening;

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

pub use self::opening::{Refused, Request, Requirements};
use crate::layers::Target;
use crate::limits::{WEBSOCKET_CONTROL_BYTES_MAX, WEBSOCKET_FRAME_BYTES_MAX};

/// The longest header of a frame.
const HEADER_BYTES_MAX: usize = 14;

/// One end of a WebSocket: bytes of the network in and out, bytes of MQTT out and in.
#[derive(Debug)]
pub struct WebSocket {
    side: Side,
    state: State,
    /// A binary message has begun and not ended: the next data frame continues it.
    in_message: bool,
    /// Our close frame is sent.
    has_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Server,
    Client,
}

#[derive(Debug)]
enum State {
    /// The server waits for a request, whose start has come.
    Awaiting(Box<Requirements>, Vec<u8>),
    /// The client waits for the answer to its request, whose start has come.
    Asked(Box<Request>, Vec<u8>),
    /// Between frames; the start of a header.
    Header(Header),
    /// In a frame: this many bytes of it are still to come.
    Payload { left: u64, mask: Mask, kind: Kind },
    /// The peer has closed, or broke a rule: what comes is thrown away.
    Closed,
}

#[derive(Debug, Default)]
struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

#[derive(Debug)]
enum Kind {
    Data,
    /// The payload of a ping, to be sent back.
    Ping(Vec<u8>),
    /// Its payload means nothing to us.
    Ignored,
    Close,
}

/// What the other end did that a WebSocket of MQTT must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A text frame [MQTT5-6.0.0-1].
    #[error("a text frame came; MQTT travels in binary frames")]
    Text,
    /// A frame of a client must be masked, one of a server must not.
    #[error("a frame came that is {}", masked(!.expected))]
    Masking {
        /// Whether it should have been masked.
        expected: bool,
    },
    /// Bits that no agreed extension uses.
    #[error("a frame came with reserved bits or a reserved opcode")]
    Reserved,
    /// A frame that continues nothing, or a new one inside of another message.
    #[error("a frame came out of order")]
    Order,
    /// A ping, pong or close of more than 125 bytes, or in pieces.
    #[error("a control frame came that is too long or in pieces")]
    Control,
    /// More than [`WEBSOCKET_FRAME_BYTES_MAX`].
    #[error("a frame of {bytes} bytes came; at most {WEBSOCKET_FRAME_BYTES_MAX} are taken")]
    TooLarge {
        /// As announced.
        bytes: u64,
    },
    /// The opening was not one that MQTT can follow.
    #[error(transparent)]
    Opening(#[from] Refused),
}

fn masked(is_masked: bool) -> &'static str {
    if is_masked { "masked" } else { "not masked" }
}

impl Fault {
    fn close_code(&self) -> CloseCode {
        match self {
            Self::Text => CloseCode::Unsupported,
            Self::TooLarge { .. } => CloseCode::Size,
            _ => CloseCode::Protocol,
        }
    }
}

/// A mask, and how far into it the payload is.
#[derive(Debug, Clone, Copy, Default)]
struct Mask {
    key: Option<[u8; 4]>,
    at: usize,
}

impl Mask {
    /// Unmasks what comes next.
    fn apply(&mut self, bytes: &mut [u8]) {
        let Some(mut key) = self.key else { return };
        key.rotate_left(self.at);
        self.at = (self.at + bytes.len()) % 4;
        let [a, b, c, d] = key;
        let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for chunk in words {
            *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(key.iter().cycle()) {
            *byte ^= mask;
        }
    }
}

/// A mask for a frame of a client. It hides nothing: it keeps whoever chooses the payload from choosing the bytes on
/// the wire (RFC 6455, 10.3). Where the system has no random numbers it is left at 0, as nothing of ours hangs on it.
fn random_mask() -> [u8; 4] {
    getrandom::u32().unwrap_or_default().to_ne_bytes()
}

impl WebSocket {
    /// The end of a server, that waits for a request.
    pub fn server(requirements: Requirements) -> Self {
        Self::new(Side::Server, State::Awaiting(Box::new(requirements), Vec::new()))
    }

    /// The end of a client, whose request goes to `out`.
    pub fn client(request: Request, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(request.bytes());
        Self::new(Side::Client, State::Asked(Box::new(request), Vec::new()))
    }

    fn new(side: Side, state: State) -> Self {
        Self {
            side,
            state,
            in_message: false,
            has_closed: false,
        }
    }

    /// Whether the opening is over.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Awaiting(..) | State::Asked(..))
    }

    /// Whether the peer has closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Takes in bytes of the network. Those of MQTT go to `into`, what is to be answered to `out`.
    pub(crate) fn receive(
        &mut self,
        mut bytes: &[u8],
        into: &mut Target<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if let Err(fault) = self.step(&mut bytes, into, out) {
                if self.is_open() {
                    self.close(fault.close_code(), out);
                }
                self.state = State::Closed;
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Takes a part of `bytes`, at least one.
    fn step(&mut self, bytes: &mut &[u8], into: &mut Target<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        match &mut self.state {
            State::Awaiting(requirements, head) => {
                if let Some(answer) = opening::head(bytes, head, requirements.head_bytes_max, |head| {
                    requirements.answer(head)
                }) {
                    let opened = answer.inspect_err(|refused| out.extend(refused.response()))?;
                    out.extend_from_slice(&opened);
                    self.state = State::Header(Header::default());
                }
            }
            State::Asked(request, head) => {
                let max = crate::limits::ANSWER_BYTES_MAX;
                if let Some(answer) = opening::head(bytes, head, max, |head| request.verify(head)) {
                    answer?;
                    self.state = State::Header(Header::default());
                }
            }
            State::Header(header) => {
                header.bytes[header.len] = bytes[0];
                header.len += 1;
                *bytes = &bytes[1..];
                let mut cursor = Cursor::new(&header.bytes[..header.len]);
                if let Some((head, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Fault::Reserved)? {
                    self.begin(&head, length)?;
                    self.end_if_whole(out);
                }
            }
            State::Payload { left, mask, kind } => {
                let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (part, rest) = bytes.split_at(n);
                match kind {
                    Kind::Data => into.put_with(part, |bytes| mask.apply(bytes)),
                    Kind::Ping(payload) => {
                        let start = payload.len();
                        payload.extend_from_slice(part);
                        mask.apply(&mut payload[start..]);
                    }
                    Kind::Ignored | Kind::Close => {}
                }
                *left -= n as u64;
                *bytes = rest;
                self.end_if_whole(out);
            }
            State::Closed => *bytes = &[],
        }
        Ok(())
    }

    /// A frame begins.
    fn begin(&mut self, head: &FrameHeader, length: u64) -> Result<(), Fault> {
        let expected = self.side == Side::Server;
        if head.mask.is_some() != expected {
            return Err(Fault::Masking { expected });
        }
        if head.rsv1 || head.rsv2 || head.rsv3 {
            return Err(Fault::Reserved);
        }
        let kind = match head.opcode {
            OpCode::Control(_) if !head.is_final || length > WEBSOCKET_CONTROL_BYTES_MAX => {
                return Err(Fault::Control);
            }
            OpCode::Control(Control::Ping) => Kind::Ping(Vec::new()),
            OpCode::Control(Control::Close) => Kind::Close,
            OpCode::Control(_) => Kind::Ignored,
            OpCode::Data(Data::Text) => return Err(Fault::Text),
            OpCode::Data(data) if (data == Data::Continue) != self.in_message => return Err(Fault::Order),
            OpCode::Data(_) => {
                if length > WEBSOCKET_FRAME_BYTES_MAX {
                    return Err(Fault::TooLarge { bytes: length });
                }
                self.in_message = !head.is_final;
                Kind::Data
            }
        };
        let mask = Mask {
            key: head.mask,
            at: 0,
        };
        self.state = State::Payload {
            left: length,
            mask,
            kind,
        };
        Ok(())
    }

    /// The last byte of a frame has come.
    fn end_if_whole(&mut self, out: &mut Vec<u8>) {
        let State::Payload { left: 0, kind, .. } = &mut self.state else {
            return;
        };
        match std::mem::replace(kind, Kind::Ignored) {
            Kind::Ping(payload) => {
                self.control(Control::Pong, &payload, out);
                self.state = State::Header(Header::default());
            }
            Kind::Close => {
                self.close(CloseCode::Normal, out);
                self.state = State::Closed;
            }
            Kind::Data | Kind::Ignored => self.state = State::Header(Header::default()),
        }
    }

    /// Says that we close, once.
    pub fn close(&mut self, code: CloseCode, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_closed, true) {
            self.control(Control::Close, &u16::from(code).to_be_bytes(), out);
        }
    }

    fn control(&self, control: Control, payload: &[u8], out: &mut Vec<u8>) {
        self.frame(OpCode::Control(control), std::iter::once(payload), out);
    }

    /// Puts bytes of MQTT into a frame at the end of `out`.
    pub(crate) fn send<'a>(&self, parts: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) {
        self.frame(OpCode::Data(Data::Binary), parts, out);
    }

    fn frame<'a>(&self, opcode: OpCode, parts: impl Iterator<Item = &'a [u8]> + Clone, out: &mut Vec<u8>) {
        let length: usize = parts.clone().map(<[u8]>::len).sum();
        out.reserve(length + HEADER_BYTES_MAX);
        let mask = (self.side == Side::Client).then(random_mask);
        let header = FrameHeader {
            opcode,
            mask,
            ..FrameHeader::default()
        };
        header
            .format(length as u64, out)
            .expect("a vector takes all bytes");
        let start = out.len();
        parts.for_each(|part| out.extend_from_slice(part));
        Mask { key: mask, at: 0 }.apply(&mut out[start..]);
    }
}
