//! Ways to carry the bytes of MQTT, for brokers and clients: TCP, TLS, WebSocket, Unix sockets.
//!
//! A [`Stream`] is a [`Socket`](socket::Socket) and, if it is not a plain one, [`Layers`]: TLS by rustls and
//! WebSocket by tungstenite's frames, both pure. Bytes go in and bytes come out, so one and the same code serves a
//! broker, whose sockets are read and written by two tasks and move between threads ([`Stream::split`],
//! [`Stream::detach`]), and a client. A plain socket has no layers, and pays for none.
//!
//! This crate knows no packet of MQTT. What goes wrong is a [`Fault`] of the peer or, before anything is connected,
//! a [`FileFault`](tls::files::FileFault); both are in words for people.

pub mod client;
pub mod fault;
pub mod got;
pub mod layers;
pub mod limits;
#[cfg(all(feature = "quic", unix))]
pub mod quic;
pub mod socket;
pub mod stream;
pub mod tls;
pub mod websocket;

pub use fault::Fault;
pub use got::Got;
pub use layers::Layers;
pub use socket::StdSocket;
pub use stream::{Detached, ReadHalf, Stream, WriteHalf};
