//! The pure layers over a socket: TLS, WebSocket, or one inside of the other. Bytes in, bytes out.

use std::io::{self, IoSlice, Write};

use rustls::Connection as Tls;
use rustls::pki_types::CertificateDer;

use crate::fault::Fault;
use crate::limits::{SEND_BYTES_MAX, UNSENT_BYTES_MAX};
use crate::websocket::WebSocket;

/// What is between the bytes of a socket and the bytes of MQTT. At least one layer.
#[derive(Debug)]
pub struct Layers {
    tls: Option<Box<Tls>>,
    web: Option<WebSocket>,
    /// What is to be sent and not in the hands of TLS.
    out: Vec<u8>,
    /// How much of it is sent.
    out_sent: usize,
    /// Bytes that were said of our own, not asked for by MQTT, since all was sent.
    said: usize,
    /// Bytes of MQTT that came and found no place.
    rest: Vec<u8>,
    /// The peer has said that nothing more comes.
    has_ended: bool,
}

/// Where bytes of MQTT go: into a buffer, and what has no place there into another.
pub(crate) struct Target<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    rest: &'a mut Vec<u8>,
}

impl<'a> Target<'a> {
    fn new(buffer: &'a mut [u8], rest: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            filled: 0,
            rest,
        }
    }

    /// Takes bytes, and lets `change` work on where they are then, in up to two parts.
    pub(crate) fn put_with(&mut self, bytes: &[u8], mut change: impl FnMut(&mut [u8])) {
        let free = &mut self.buffer[self.filled..];
        let (here, there) = bytes.split_at(bytes.len().min(free.len()));
        let place = &mut free[..here.len()];
        place.copy_from_slice(here);
        change(place);
        self.filled += here.len();
        if !there.is_empty() {
            let start = self.rest.len();
            self.rest.extend_from_slice(there);
            change(&mut self.rest[start..]);
        }
    }
}

impl Layers {
    /// TLS, WebSocket, or a WebSocket inside of TLS.
    pub fn new(tls: Option<Tls>, web: Option<WebSocket>) -> Self {
        let tls = tls.map(|mut tls| {
            // What is written at a time is bounded here, and never split.
            tls.set_buffer_limit(None);
            Box::new(tls)
        });
        Self {
            tls,
            web,
            out: Vec::new(),
            out_sent: 0,
            said: 0,
            rest: Vec::new(),
            has_ended: false,
        }
    }

    /// A client's: the request for the WebSocket goes out once TLS is there.
    pub fn with_request(tls: Option<Tls>, request: crate::websocket::Request) -> Self {
        let mut layers = Self::new(tls, None);
        let mut out = Vec::new();
        layers.web = Some(WebSocket::client(request, &mut out));
        layers.say(&out);
        layers
    }

    /// Whether all layers have agreed with the other side: from now on MQTT flows.
    pub fn is_open(&self) -> bool {
        !self.is_handshaking() && self.web.as_ref().is_none_or(WebSocket::is_open)
    }

    /// Whether TLS is not there yet.
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// The certificate that the peer has shown, first its own.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        let tls = self.tls.as_ref();
        tls.and_then(|tls| tls.peer_certificates()).unwrap_or_default()
    }

    /// The version of TLS that was agreed on, and the cipher suite.
    pub fn tls_agreed(&self) -> Option<(rustls::ProtocolVersion, rustls::CipherSuite)> {
        let tls = self.tls.as_ref()?;
        Some((tls.protocol_version()?, tls.negotiated_cipher_suite()?.suite()))
    }

    /// Whether TLS was agreed on anew, or a session taken up again.
    pub fn handshake_kind(&self) -> Option<rustls::HandshakeKind> {
        self.tls.as_ref()?.handshake_kind()
    }

    /// Whether the peer has said that nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.has_ended || self.web.as_ref().is_some_and(WebSocket::is_closed)
    }

    /// Takes in bytes of the network. As many bytes of MQTT as it returns go to `into`; the others wait for
    /// [`Self::take`].
    ///
    /// # Errors
    /// The connection is over. What is to be said about that is among what is to be sent.
    pub fn receive(&mut self, mut bytes: &[u8], into: &mut [u8]) -> Result<usize, Fault> {
        let mut target = Target::new(into, &mut self.rest);
        let mut answer = Vec::new();
        let result = match (&mut self.tls, &mut self.web) {
            (None, web) => inner(web.as_mut(), bytes, &mut target, &mut answer),
            (Some(tls), web) => loop {
                if bytes.is_empty() || self.has_ended {
                    break Ok(());
                }
                match decrypt(tls, &mut bytes, web.as_mut(), &mut target, &mut answer) {
                    Ok(has_ended) => self.has_ended = has_ended,
                    Err(fault) => break Err(fault),
                }
            },
        };
        let filled = target.filled;
        self.say(&answer);
        result.map(|()| filled)
    }

    /// Bytes of MQTT that came before and found no place.
    pub fn take(&mut self, into: &mut [u8]) -> usize {
        let n = self.rest.len().min(into.len());
        into[..n].copy_from_slice(&self.rest[..n]);
        self.rest.drain(..n);
        if self.rest.is_empty() {
            // Few connections ever have any: none keeps the room for them.
            self.rest = Vec::new();
        }
        n
    }

    /// Whether there are such.
    pub fn has_received(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Takes bytes of MQTT to be sent; how many, up to [`SEND_BYTES_MAX`].
    ///
    /// # Errors
    /// TLS has failed before.
    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut left = SEND_BYTES_MAX;
        let parts = slices.iter().map(move |slice| {
            let n = slice.len().min(left);
            left -= n;
            &slice[..n]
        });
        let n = parts.clone().map(<[u8]>::len).sum();
        match (&mut self.tls, &mut self.web) {
            (None, Some(web)) => web.send(parts, &mut self.out),
            (Some(tls), Some(web)) => {
                let mut frame = Vec::new();
                web.send(parts, &mut frame);
                tls.writer().write_all(&frame)?;
            }
            (Some(tls), None) => {
                let mut cut = [IoSlice::new(&[]); 16];
                let mut taken = 0;
                for (into, part) in cut.iter_mut().zip(parts) {
                    *into = IoSlice::new(part);
                    taken += part.len();
                }
                let used = slices.len().min(cut.len());
                let written = tls.writer().write_vectored(&cut[..used])?;
                debug_assert_eq!(written, taken);
                return Ok(written);
            }
            (None, None) => self.out.extend(parts.flatten()),
        }
        Ok(n)
    }

    /// Whether something is to be sent.
    pub fn has_unsent(&self) -> bool {
        self.out_sent < self.out.len() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether so much waits to be sent that nothing more is to be read.
    pub fn is_clogged(&self) -> bool {
        self.said > UNSENT_BYTES_MAX && self.has_unsent()
    }

    /// Sends with `write`, once.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn send_with(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if let Some(tls) = &mut self.tls {
            return tls.write_tls(&mut Sender(write));
        }
        let n = write(&[IoSlice::new(&self.out[self.out_sent..])])?;
        self.out_sent += n;
        if self.out_sent == self.out.len() {
            // The room is given back: an idle connection has none.
            (self.out, self.out_sent) = (Vec::new(), 0);
        }
        Ok(n)
    }

    /// Says that nothing more comes from this side.
    pub fn say_goodbye(&mut self) {
        let mut out = Vec::new();
        if let Some(web) = self.web.as_mut().filter(|web| web.is_open()) {
            web.close(tungstenite::protocol::frame::coding::CloseCode::Normal, &mut out);
        }
        self.say(&out);
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Bytes of our own, below MQTT, to be sent.
    fn say(&mut self, bytes: &[u8]) {
        self.said = if self.has_unsent() {
            self.said + bytes.len()
        } else {
            bytes.len()
        };
        match &mut self.tls {
            _ if bytes.is_empty() => {}
            Some(tls) => {
                // A connection that has failed has nothing more to say.
                let _ = tls.writer().write_all(bytes);
            }
            None => self.out.extend_from_slice(bytes),
        }
    }
}

/// What is inside of TLS, or of the socket.
fn inner(
    web: Option<&mut WebSocket>,
    bytes: &[u8],
    target: &mut Target<'_>,
    answer: &mut Vec<u8>,
) -> Result<(), Fault> {
    if let Some(web) = web {
        return Ok(web.receive(bytes, target, answer)?);
    }
    target.put_with(bytes, |_| {});
    Ok(())
}

/// Gives some bytes to TLS, and passes on what comes out; whether the peer has ended it.
fn decrypt(
    tls: &mut Tls,
    bytes: &mut &[u8],
    mut web: Option<&mut WebSocket>,
    target: &mut Target<'_>,
    answer: &mut Vec<u8>,
) -> Result<bool, Fault> {
    // It takes nothing after the end of the peer.
    let taken = tls
        .read_tls(bytes)
        .map_err(|error| Fault::from_tls_read(&error))?;
    let state = tls.process_new_packets()?;
    let mut left = state.plaintext_bytes_to_read();
    let mut reader = tls.reader();
    while left > 0 {
        let Ok(chunk) = io::BufRead::fill_buf(&mut reader) else {
            break;
        };
        let n = chunk.len();
        if n == 0 {
            break;
        }
        inner(web.as_deref_mut(), chunk, target, answer)?;
        io::BufRead::consume(&mut reader, n);
        left = left.saturating_sub(n);
    }
    Ok(state.peer_has_closed() || taken == 0)
}

/// A function that writes, as rustls wants it.
struct Sender<F>(F);

impl<F: FnMut(&[IoSlice<'_>]) -> io::Result<usize>> Write for Sender<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
