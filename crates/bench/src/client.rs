//! A connection while it is set up: one packet out, one packet in, and it may wait.

use std::io::Read;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use martlet_codec::{
    Connect, Decoded, Disconnect, Filter, Limits, Packet, PacketId, PropertiesBuf, PropertyId, ReasonCode,
    Subscribe, SubscribeOptions, SubscribeRequests, Value,
};

use martlet_net::client::{self, Route, Witness};
use martlet_net::{Fault, StdSocket};

use crate::args::Server;
use crate::error::Error;
use crate::socket::{Socket, Waiting};
use crate::way::Dress;
use crate::wire::Wire;

/// Whatever is waited for while connections are set up, not longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest that there is: nothing is sent for it, and no run is as long. 0, for none, is refused by
/// rumqttd.
const KEEP_ALIVE_S: u16 = u16::MAX;

/// What is kept of a client when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    /// Nothing, and nothing of before is wanted.
    New,
    /// Its subscriptions and what comes for it, an hour long.
    Kept,
}

/// A connection that waits for each answer.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) wire: Wire<Waiting>,
    server: Server,
    /// What saw the server's certificate, if there is TLS.
    witness: Option<Witness>,
    /// What came behind the last answer.
    pub(crate) input: Vec<u8>,
    /// Messages of QoS 1 and 2 that the server takes at once.
    pub(crate) receive_max: u16,
    /// The server went on with a session that it had.
    pub(crate) is_resumed: bool,
}

/// Where the server is, its name looked up.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Internet(SocketAddr),
    Unix(PathBuf),
    /// The proxy looks the name up.
    ByProxy(Box<Route>),
}

impl Place {
    pub(crate) fn of(server: &Server) -> Result<Self, Error> {
        if let Some(path) = &server.way.unix {
            return Ok(Self::Unix(path.clone()));
        }
        if let Some(proxy) = server.way.proxy()? {
            return Ok(Self::ByProxy(Box::new(Route {
                place: client::Place::Internet {
                    host: server.host.clone(),
                    port: server.port,
                },
                bind: None,
                no_delay: true,
                proxy: Some(proxy),
                tls: None,
                websocket: None,
            })));
        }
        let failed = |source| Error::HostNotFound {
            host: server.host.clone(),
            source,
        };
        let mut all = (server.host.as_str(), server.port)
            .to_socket_addrs()
            .map_err(failed)?;
        let first = all.next();
        first
            .map(Self::Internet)
            .ok_or_else(|| failed(std::io::ErrorKind::AddrNotAvailable.into()))
    }

    fn connect(&self) -> Result<Waiting, Error> {
        let failed = |source| Error::Connect {
            address: self.to_string(),
            source,
        };
        let socket = match self {
            Self::Internet(address) => {
                let socket = TcpStream::connect(address).map_err(failed)?;
                socket.set_nodelay(true).map_err(failed)?;
                Socket::Tcp(socket)
            }
            Self::Unix(path) => Socket::Unix(UnixStream::connect(path).map_err(failed)?),
            Self::ByProxy(route) => match client::dial_waiting(route, PATIENCE).map_err(Error::Proxy)? {
                StdSocket::Tcp(socket) => Socket::Tcp(socket),
                StdSocket::Unix(socket) => Socket::Unix(socket),
            },
        };
        socket.set_patience(PATIENCE).map_err(failed)?;
        Ok(socket)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Internet(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::ByProxy(route) => route.place.fmt(f),
        }
    }
}

impl Client {
    /// A socket, and the first bytes of its layers if it has any.
    pub(crate) fn open(server: &Server, place: &Place, dress: Dress, name: String) -> Result<Self, Error> {
        let failed = |source| Error::Connect {
            address: place.to_string(),
            source,
        };
        let socket = place.connect()?;
        let Dress {
            layers,
            witness,
            opens_first,
        } = dress;
        let mut wire = Wire::new(socket, layers);
        wire.flush().map_err(failed)?;
        let mut client = Self {
            name,
            wire,
            server: server.clone(),
            witness,
            input: Vec::new(),
            receive_max: u16::MAX,
            is_resumed: false,
        };
        if opens_first {
            let opened = client.wire.open(&mut [0; 8 * 1024]);
            opened.map_err(|source| client.lost("a WebSocket", source))?;
        }
        Ok(client)
    }

    pub(crate) fn send_connect(&mut self, session: Session) -> Result<(), Error> {
        let mut properties = PropertiesBuf::new();
        if session == Session::Kept {
            properties.push(PropertyId::SessionExpiryInterval, Value::Number(3_600));
        }
        let connect = Connect {
            version: self.server.protocol_version,
            bridge: false,
            clean_start: session == Session::New,
            keep_alive_s: KEEP_ALIVE_S,
            client_id: &self.name,
            will: None,
            user_name: self.server.username.as_deref(),
            password: self.server.password.as_deref().map(str::as_bytes),
            properties: properties.as_properties(),
        };
        let mut bytes = Vec::new();
        Packet::Connect(connect).encode(self.server.protocol_version, &mut bytes);
        self.write("CONNECT", &bytes)
    }

    pub(crate) fn wait_for_connack(&mut self) -> Result<(), Error> {
        let client = self.name.clone();
        let (reason, receive_max, is_resumed) = self.wait("CONNACK", |packet| match packet {
            Packet::ConnAck(connack) => Some((
                connack.reason,
                connack.properties.receive_maximum(),
                connack.session_present,
            )),
            _ => None,
        })?;
        if reason.is_error() {
            let reason = format!("{reason:?}");
            return Err(Error::Refused { client, reason });
        }
        self.receive_max = receive_max.map_or(u16::MAX, std::num::NonZero::get);
        self.is_resumed = is_resumed;
        Ok(())
    }

    /// Subscribes to `filters` by one packet.
    pub(crate) fn subscribe(&mut self, filters: &[String], options: SubscribeOptions) -> Result<(), Error> {
        self.send_subscribe(filters, options)?;
        self.wait_for_suback(options)
    }

    pub(crate) fn send_subscribe(
        &mut self,
        filters: &[String],
        options: SubscribeOptions,
    ) -> Result<(), Error> {
        let filters: Vec<_> = filters
            .iter()
            .map(|filter| (Filter::new(filter).expect("made here"), options))
            .collect();
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            properties: martlet_codec::Properties::EMPTY,
            requests: SubscribeRequests::List(&filters),
        };
        let mut bytes = Vec::new();
        Packet::Subscribe(subscribe).encode(self.server.protocol_version, &mut bytes);
        self.write("SUBSCRIBE", &bytes)
    }

    pub(crate) fn wait_for_suback(&mut self, options: SubscribeOptions) -> Result<(), Error> {
        let granted = options.qos.as_u8();
        let refused = self.wait("SUBACK", |packet| match packet {
            Packet::SubAck(suback) => Some(suback.reasons.iter().find(|code| code.as_u8() != granted)),
            _ => None,
        })?;
        match refused {
            None => Ok(()),
            Some(code) => Err(Error::SubscriptionRefused {
                reason: format!("{code:?}"),
            }),
        }
    }

    /// Says good-bye; whether the server still listens is nobody's concern.
    pub(crate) fn disconnect(mut self) {
        let mut bytes = Vec::new();
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        packet.encode(self.server.protocol_version, &mut bytes);
        if self.write("DISCONNECT", &bytes).is_ok() {
            let _ = self.wire.say_goodbye();
        }
    }

    /// Says good-bye and waits until the server has closed the connection: from then on the client is away for
    /// it, too. Not for ever: a server may leave the closing to the client.
    pub(crate) fn leave(mut self) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        packet.encode(self.server.protocol_version, &mut bytes);
        self.write("DISCONNECT", &bytes)?;
        let _ = self.wire.say_goodbye();
        let _ = self.wire.socket().read_to_end(&mut bytes);
        Ok(())
    }

    /// Writes all of it. Layers that have yet to agree with the server keep it until they have.
    fn write(&mut self, what: &'static str, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let n = self.wire.write(bytes).map_err(|source| self.lost(what, source))?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// The answer that `wanted` picks from the next packet.
    fn wait<T>(&mut self, what: &'static str, wanted: impl Fn(&Packet<'_>) -> Option<T>) -> Result<T, Error> {
        let version = Some(self.server.protocol_version);
        loop {
            match Packet::decode(&self.input, version, &Limits::NONE) {
                Ok(Decoded::Packet(packet, length)) => {
                    let Some(answer) = wanted(&packet) else {
                        return Err(self.protocol(format!("{:?} before {what}", packet.packet_type())));
                    };
                    self.input.drain(..length);
                    return Ok(answer);
                }
                Ok(Decoded::Incomplete { .. }) => {}
                Err(fault) => return Err(self.protocol(format!("what is no MQTT: {fault}"))),
            }
            let mut buffer = [0; 4096];
            let came = self.wire.read(&mut buffer, &mut [0; 8 * 1024]);
            let came = came.and_then(|came| match came.bytes {
                0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            });
            let n = came.map_err(|source| self.lost(what, source))?;
            self.input.extend_from_slice(&buffer[..n]);
        }
    }

    /// A connection that ended while `what` was waited for; in the words of TLS if that is why.
    fn lost(&mut self, what: &'static str, source: std::io::Error) -> Error {
        let is_over = source.kind() == std::io::ErrorKind::UnexpectedEof;
        // A server that looks at certificates says what it thinks of ours when the client is done.
        let fault = source.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
        let is_fault = fault.is_some();
        match self.witness.take() {
            Some(witness) if is_fault || self.wire.is_opening() => Error::Tls {
                address: self.server.address(),
                source: witness.explain(if is_over { Fault::Closed } else { source.into() }),
            },
            _ => Error::Lost {
                client: self.name.clone(),
                what,
                source,
            },
        }
    }

    /// What the server must not do.
    pub(crate) fn protocol(&self, what: String) -> Error {
        Error::Protocol {
            client: self.name.clone(),
            what,
        }
    }
}
