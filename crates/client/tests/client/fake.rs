//! A server that does what the test says, on the loopback.

use std::future::Future;
use std::time::Duration;

use martlet_client::{Options, Properties, ReasonCode, Version};
use martlet_codec::{ConnAck, Decoded, Limits, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bench::in_words;

/// Bounds every wait of a test.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it does not come")
}

pub(crate) struct Fake {
    listener: TcpListener,
}

/// A connection from the server's side.
pub(crate) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
    version: Option<Version>,
}

impl Fake {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(crate) fn options(&self) -> Options {
        Options::new("127.0.0.1", self.port()).client_id("c")
    }

    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        Peer {
            stream,
            buffer: Vec::new(),
            version: None,
        }
    }

    /// Accepts a connection, reads its CONNECT and agrees.
    pub(crate) async fn agree(&self, session_present: bool) -> Peer {
        let mut peer = self.accept().await;
        let connect = peer.read().await.expect("CONNECT");
        assert!(connect.starts_with("CONNECT"), "{connect}");
        peer.send(&Packet::ConnAck(ConnAck {
            session_present,
            reason: ReasonCode::Success,
            properties: Properties::EMPTY,
        }))
        .await;
        peer
    }
}

impl Peer {
    /// The next packet in words; `None`: the client closed.
    pub(crate) async fn read(&mut self) -> Option<String> {
        loop {
            let decoded = Packet::decode(&self.buffer, self.version, &Limits::NONE);
            if let Decoded::Packet(packet, n) = decoded.expect("the client is correct") {
                if let Packet::Connect(connect) = &packet {
                    self.version = Some(connect.version);
                }
                let words = in_words(&packet);
                self.buffer.drain(..n);
                return Some(words);
            }
            if within(self.stream.read_buf(&mut self.buffer)).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn expect(&mut self, words: &str) {
        assert_eq!(self.read().await.as_deref(), Some(words));
    }

    pub(crate) async fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version.expect("CONNECT came"), &mut bytes);
        self.send_bytes(&bytes).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within(self.stream.write_all(bytes)).await.unwrap();
    }
}
