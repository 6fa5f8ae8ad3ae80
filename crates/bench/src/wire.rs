//! A socket, and the layers over it if there are any.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use martlet_net::{Fault, Got, Layers};

/// Bytes that are read from a socket under layers at once.
pub(crate) const SEALED_BYTES: usize = 64 * 1024;

/// A connection as MQTT sees it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    socket: S,
    layers: Option<Box<Layers>>,
    /// Whether nothing has come yet.
    is_fresh: bool,
}

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Came {
    /// Bytes of MQTT; 0: the end.
    pub(crate) bytes: usize,
    /// Nothing more was there.
    pub(crate) is_all: bool,
}

impl<S> Wire<S> {
    pub(crate) fn new(socket: S, layers: Option<Layers>) -> Self {
        Self {
            socket,
            layers: layers.map(Box::new),
            is_fresh: true,
        }
    }

    /// The same over another kind of socket.
    pub(crate) fn map<T>(self, change: impl FnOnce(S) -> T) -> Wire<T> {
        Wire {
            socket: change(self.socket),
            layers: self.layers,
            is_fresh: self.is_fresh,
        }
    }

    pub(crate) const fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Whether the layers have yet to agree with the server.
    pub(crate) fn is_opening(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| !layers.is_open())
    }
}

impl<S: Read + Write> Wire<S> {
    /// Reads once, or more often if only layers had use for it. `sealed` is room for what comes from the socket of one
    /// with layers.
    #[inline]
    pub(crate) fn read(&mut self, into: &mut [u8], sealed: &mut [u8]) -> io::Result<Came> {
        if self.layers.is_none() {
            let bytes = self.socket.read(into)?;
            return Ok(Came {
                bytes,
                is_all: bytes < into.len(),
            });
        }
        loop {
            let came = self.read_layered(into, sealed)?;
            if came.bytes > 0 || came.is_all {
                return Ok(came);
            }
        }
    }

    /// Waits until the layers have agreed with the server.
    pub(crate) fn open(&mut self, sealed: &mut [u8]) -> io::Result<()> {
        while self.is_opening() {
            if self.read_layered(&mut [], sealed)?.is_all {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// 0 bytes that are all are the end, 0 bytes that are not were for the layers.
    fn read_layered(&mut self, into: &mut [u8], sealed: &mut [u8]) -> io::Result<Came> {
        let Self {
            socket,
            layers: Some(layers),
            is_fresh,
        } = self
        else {
            return Ok(Came {
                bytes: 0,
                is_all: true,
            });
        };
        let bytes = layers.take(into);
        if bytes > 0 || layers.has_ended() {
            return Ok(Came {
                bytes,
                is_all: bytes == 0,
            });
        }
        let n = socket.read(sealed)?;
        if n == 0 {
            return Ok(Came {
                bytes: 0,
                is_all: true,
            });
        }
        let is_first = std::mem::take(is_fresh);
        let expects_tls = is_first && layers.is_handshaking();
        let result = layers.receive(&sealed[..n], into);
        flush(socket, layers)?;
        let bytes = result.map_err(|fault| match Got::of(&sealed[..n]) {
            got if expects_tls && got != Got::Tls => Fault::Mismatch { expected: "TLS", got },
            _ => fault,
        })?;
        Ok(Came {
            bytes,
            is_all: bytes > 0 && n < sealed.len() && !layers.has_received(),
        })
    }

    /// Takes bytes to be written; how many. `WouldBlock`: what was taken before is not yet written.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(layers) = &mut self.layers else {
            return self.socket.write(bytes);
        };
        if !flush(&mut self.socket, layers)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = layers.send(&[IoSlice::new(bytes)])?;
        flush(&mut self.socket, layers)?;
        Ok(n)
    }

    /// Writes what layers hold of what was taken; whether that is all.
    #[inline]
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match &mut self.layers {
            None => Ok(true),
            Some(layers) => flush(&mut self.socket, layers),
        }
    }

    /// Says that nothing more comes from this side, as far as layers have a word for it.
    pub(crate) fn say_goodbye(&mut self) -> io::Result<()> {
        if let Some(layers) = &mut self.layers {
            layers.say_goodbye();
            flush(&mut self.socket, layers)?;
        }
        Ok(())
    }
}

fn flush(socket: &mut impl Write, layers: &mut Layers) -> io::Result<bool> {
    while layers.has_unsent() {
        match layers.send_with(|slices| socket.write_vectored(slices)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
