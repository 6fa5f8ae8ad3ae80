//! A connection while it is set up: one packet out, one packet in, and it may wait.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use martlet_codec::{
    Connect, Decoded, Disconnect, Filter, Limits, Packet, PacketId, PropertiesBuf, PropertyId, ReasonCode,
    Subscribe, SubscribeOptions, SubscribeRequests, Value,
};

use crate::args::Server;
use crate::error::Error;

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
    pub(crate) socket: TcpStream,
    server: Server,
    /// What came behind the last answer.
    pub(crate) input: Vec<u8>,
    /// Messages of QoS 1 and 2 that the server takes at once.
    pub(crate) receive_max: u16,
    /// The server went on with a session that it had.
    pub(crate) is_resumed: bool,
}

/// The address behind the name.
pub(crate) fn resolve(server: &Server) -> Result<SocketAddr, Error> {
    let failed = |source| Error::HostNotFound {
        host: server.host.clone(),
        source,
    };
    let mut all = (server.host.as_str(), server.port)
        .to_socket_addrs()
        .map_err(failed)?;
    all.next()
        .ok_or_else(|| failed(std::io::ErrorKind::AddrNotAvailable.into()))
}

impl Client {
    /// A socket and no more.
    pub(crate) fn open(server: &Server, address: SocketAddr, name: String) -> Result<Self, Error> {
        let failed = |source| Error::Connect {
            address: address.to_string(),
            source,
        };
        let socket = TcpStream::connect(address).map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        socket.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self {
            name,
            socket,
            server: server.clone(),
            input: Vec::new(),
            receive_max: u16::MAX,
            is_resumed: false,
        })
    }

    /// A session at the server.
    pub(crate) fn connect(
        server: &Server,
        address: SocketAddr,
        name: String,
        session: Session,
    ) -> Result<Self, Error> {
        let mut client = Self::open(server, address, name)?;
        client.send_connect(session)?;
        client.wait_for_connack()?;
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
        let _ = self.socket.write_all(&bytes);
    }

    /// Says good-bye and waits until the server has closed the connection: from then on the client is away for
    /// it, too. Not for ever: a server may leave the closing to the client.
    pub(crate) fn leave(mut self) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        packet.encode(self.server.protocol_version, &mut bytes);
        self.write("DISCONNECT", &bytes)?;
        let _ = self.socket.read_to_end(&mut bytes);
        Ok(())
    }

    fn write(&mut self, what: &'static str, bytes: &[u8]) -> Result<(), Error> {
        let lost = |source| Error::Lost {
            client: self.name.clone(),
            what,
            source,
        };
        (&self.socket).write_all(bytes).map_err(lost)
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
            let result = self.socket.read(&mut buffer);
            let result = result.and_then(|n| match n {
                0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            });
            let n = result.map_err(|source| Error::Lost {
                client: self.name.clone(),
                what,
                source,
            })?;
            self.input.extend_from_slice(&buffer[..n]);
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
