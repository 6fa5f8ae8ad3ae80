//! How to reach a server and what to tell it: plain data, checked when a client is made of it.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use martlet_codec::{PropertiesBuf, PropertyId, TopicBuf, Version};

use crate::auth::{Authenticator, CredentialsProvider, Login};
pub use crate::check::OptionsError;
use crate::limits;
use crate::message::{Message, without};
use crate::policy::{OutboxLimits, Overflow, Policy, Reconnect};
use crate::store::{Store, StoreSlot};

/// Which versions of MQTT a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// 5.0, and 3.1.1 where the server knows no better: where it refuses the version, or closes without a word before it has
    /// agreed to anything. What only 5.0 can say among the [`Options`], such as properties of CONNECT, is then left out; a
    /// protocol without 5.0 refuses it. Such a close says little, so with a [store](Options::store) that has messages with properties, which
    /// 3.1.1 cannot send, the client stays with 5.0 until the server refuses it.
    #[default]
    Auto,
    /// 5.0, then 3.1.1, then 3.1 where the server knows no better.
    Any,
    /// 3.1.1, and 3.1 where the server knows no better.
    AutoV3,
    /// 5.0 only.
    V5,
    /// 3.1.1 only.
    V3_1_1,
    /// 3.1 only.
    V3_1,
}

impl Protocol {
    /// The versions in the order in which they are tried.
    const fn versions(self) -> &'static [Version] {
        match self {
            Self::Auto => &[Version::V5, Version::V3_1_1],
            Self::Any => &[Version::V5, Version::V3_1_1, Version::V3_1],
            Self::AutoV3 => &[Version::V3_1_1, Version::V3_1],
            Self::V5 => &[Version::V5],
            Self::V3_1_1 => &[Version::V3_1_1],
            Self::V3_1 => &[Version::V3_1],
        }
    }

    /// The version to try first.
    pub const fn first(self) -> Version {
        self.versions()[0]
    }

    /// The version to try when a server does not speak `refused`.
    pub fn fallback(self, refused: Version) -> Option<Version> {
        let mut versions = self.versions().iter().copied();
        versions.find(|version| *version == refused)?;
        versions.next()
    }
}

/// How to reach a server and what to tell it.
///
/// ```
/// use martlet_client::{Options, Protocol};
/// use std::time::Duration;
///
/// let options = Options::from_url("mqtt://alice:secret@broker.example:1884")?
///     .protocol(Protocol::V5)
///     .client_id("pump-7")
///     .clean_start(false)
///     .session_expiry(Duration::from_secs(86_400))
///     .keep_alive(Duration::from_secs(30));
/// assert_eq!(options.address(), "broker.example:1884");
/// # Ok::<(), martlet_client::UrlError>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Bytes>,
    pub(crate) will: Option<Message>,
    pub(crate) properties: PropertiesBuf,
    pub(crate) inflight_max: u16,
    pub(crate) outbox: OutboxLimits,
    pub(crate) inbox_messages_max: usize,
    pub(crate) inbox_bytes_max: usize,
    pub(crate) packet_bytes_max: u32,
    pub(crate) bind_address: Option<IpAddr>,
    pub(crate) no_delay: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    pub(crate) packet_log: Option<PacketLog>,
    pub(crate) transport: crate::transport::Transport,
    pub(crate) more_servers: Vec<(String, u16)>,
    pub(crate) policy: Policy,
    pub(crate) aliases_out_max: u16,
    pub(crate) unclaimed_for: Duration,
    pub(crate) response_topic: Option<TopicBuf>,
    pub(crate) credentials: Option<CredentialsProvider>,
    pub(crate) authenticator: Option<Authenticator>,
    pub(crate) store: Option<StoreSlot>,
}

/// Called with the client identifier and each packet in mosquitto's words, see [`Options::packet_log`].
pub(crate) type PacketLog = Arc<dyn Fn(&str, &str) + Send + Sync>;

impl Options {
    /// Defaults for a server at `host` and `port`: a new session that ends with the connection, keep
    /// alive of 60 s, connect timeout of 30 s, version 5.0 with a fall-back to 3.1.1, no reconnect.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            protocol: Protocol::Auto,
            client_id: String::new(),
            clean_start: true,
            keep_alive_s: limits::KEEP_ALIVE_S_DEFAULT,
            user_name: None,
            password: None,
            will: None,
            properties: PropertiesBuf::new(),
            inflight_max: limits::INFLIGHT_MAX_DEFAULT,
            outbox: OutboxLimits {
                messages_max: limits::OUTBOX_MESSAGES_MAX_DEFAULT,
                bytes_max: limits::OUTBOX_BYTES_MAX_DEFAULT,
                overflow: Overflow::Wait,
                time_to_live: None,
            },
            inbox_messages_max: limits::INBOX_MESSAGES_MAX_DEFAULT,
            inbox_bytes_max: limits::INBOX_BYTES_MAX_DEFAULT,
            packet_bytes_max: martlet_codec::limits::PACKET_BYTES_CEILING,
            bind_address: None,
            no_delay: true,
            connect_timeout: limits::CONNECT_TIMEOUT_DEFAULT,
            reconnect: Reconnect::Never,
            packet_log: None,
            transport: crate::transport::Transport::default(),
            more_servers: Vec::new(),
            policy: Policy::KEEP_ALL,
            aliases_out_max: 0,
            unclaimed_for: limits::UNCLAIMED_FOR_DEFAULT,
            response_topic: None,
            credentials: None,
            authenticator: None,
            store: None,
        }
    }

    /// `host:port` of the first server, with `[]` around an IPv6 address; or the path of a Unix socket;
    /// or the host alone where the DNS says the rest.
    pub fn address(&self) -> String {
        self.address_of(0)
    }

    /// Host name and port of a server, the first of the list for a number that it does not have.
    pub(crate) fn server(&self, number: usize) -> (&str, u16) {
        let other = number.checked_sub(1).and_then(|n| self.more_servers.get(n));
        other.map_or((&self.host, self.port), |(host, port)| (host, *port))
    }

    pub(crate) fn address_of(&self, server: usize) -> String {
        if let Some(path) = self.unix_path() {
            return path.display().to_string();
        }
        let (host, port) = self.server(server);
        if self.asks_dns() {
            return host.to_owned();
        }
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    pub(crate) fn servers(&self) -> usize {
        1 + self.more_servers.len()
    }

    /// Another server to try when those before it cannot be reached or refuse. More than 100 are
    /// [an error](OptionsError::TooManyServers).
    #[must_use]
    pub fn or_server(mut self, host: impl Into<String>, port: u16) -> Self {
        // One above the limit is kept for the check to find.
        if self.servers() <= limits::SERVERS_MAX {
            self.more_servers.push((host.into(), port));
        }
        self
    }

    /// The version or versions to speak.
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The client identifier. Empty (the default): the server assigns one in version 5, one is made up
    /// in version 3; either is kept for the life of the client.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Whether the first connection starts a new session (Clean Start; Clean Session in version 3).
    /// A reconnect never throws the session away in version 5.
    #[must_use]
    pub const fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// How long the server keeps the session after the connection, in seconds, rounded up; 2^32-1 s and
    /// longer is "never ends". Version 5; in version 3 a session that is not clean never ends.
    #[must_use]
    pub fn session_expiry(self, expiry: Duration) -> Self {
        let expiry_s = u32::try_from(seconds(expiry)).unwrap_or(u32::MAX);
        self.number(PropertyId::SessionExpiryInterval, expiry_s)
    }

    /// The keep alive, in seconds, rounded up; 0 is off, and more than 65,535 s, the most that the format can say, are 65,535.
    /// The client pings when it has sent nothing, or nothing has come, for so long; a server from which nothing comes
    /// for half that time after a ping is given up.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive_s = u16::try_from(seconds(keep_alive)).unwrap_or(u16::MAX);
        self
    }

    /// The user name.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(user_name.into());
        self
    }

    /// The password. Without a user name only in version 5.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The message that the server publishes when the connection ends without a DISCONNECT.
    #[must_use]
    pub fn will(mut self, will: Message) -> Self {
        self.will = Some(will);
        self
    }

    /// How many messages of QoS 1 and 2 the server may send before they are acknowledged. Version 5.
    /// Default: as many as the [`inbox`](Self::inbox) holds.
    #[must_use]
    pub fn receive_maximum(self, receive_maximum: NonZeroU16) -> Self {
        self.number(PropertyId::ReceiveMaximum, receive_maximum.get().into())
    }

    /// The largest packet that is accepted, in bytes. Version 5 tells the server; in each version a
    /// larger one ends the connection. Default: no limit but the format's.
    #[must_use]
    pub fn max_packet_size(mut self, bytes: NonZeroU32) -> Self {
        self.packet_bytes_max = bytes.get();
        self.number(PropertyId::MaximumPacketSize, bytes.get())
    }

    /// How many topic aliases the server may use, 0 (the default) is none. Version 5.
    #[must_use]
    pub fn topic_alias_maximum(self, maximum: u16) -> Self {
        self.number(PropertyId::TopicAliasMaximum, maximum.into())
    }

    /// Adds properties to CONNECT. Version 5. One that is set already is replaced, user properties add up.
    #[must_use]
    pub fn connect_properties(mut self, properties: &PropertiesBuf) -> Self {
        for (id, value) in properties.as_properties().iter() {
            if id == PropertyId::MaximumPacketSize
                && let martlet_codec::Value::Number(bytes) = value
            {
                self.packet_bytes_max = bytes;
            }
            if id != PropertyId::UserProperty {
                self.remove(id);
            }
            self.properties.push(id, value);
        }
        self
    }

    /// How many messages of QoS 1 and 2 are under way to the server at once, at most; the server's
    /// receive maximum may lower it. Default 20, as mosquitto.
    #[must_use]
    pub const fn max_inflight(mut self, messages: NonZeroU16) -> Self {
        self.inflight_max = messages.get();
        self
    }

    /// How many accepted messages, and bytes of them, wait for their acknowledgement (QoS 0: for the
    /// socket) before [`publish`](crate::Client::publish) waits for room.
    #[must_use]
    pub const fn outbox(mut self, messages_max: usize, bytes_max: usize) -> Self {
        self.outbox.messages_max = messages_max;
        self.outbox.bytes_max = bytes_max;
        self
    }

    /// What happens to a message for which the outbox has no room. Default: `publish` waits.
    #[must_use]
    pub const fn overflow(mut self, overflow: Overflow) -> Self {
        self.outbox.overflow = overflow;
        self
    }

    /// How long a message may wait to be sent for the first time; after it the message is dropped, see
    /// [`DeliveryError::Expired`](crate::DeliveryError::Expired). Default: as long as it takes.
    #[must_use]
    pub const fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.outbox.time_to_live = Some(time_to_live);
        self
    }

    /// What the client does where interfaces differ. Default [`Policy::KEEP_ALL`].
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How many topic aliases the client chooses by itself for the topics that it publishes to most, 0
    /// (the default) is none. Version 5; the server's limit may lower it. With them, aliases among the
    /// properties of messages are not used.
    #[must_use]
    pub const fn topic_aliases(mut self, maximum: u16) -> Self {
        self.aliases_out_max = maximum;
        self
    }

    /// How long received messages that no stream wants are kept, unacknowledged, for a stream that may
    /// still be made: messages of a resumed session come before an application has subscribed again.
    /// After it they are acknowledged and dropped, told by [`Event::Unclaimed`](crate::Event::Unclaimed).
    /// Default 30 s.
    #[must_use]
    pub const fn unclaimed_for(mut self, time: Duration) -> Self {
        self.unclaimed_for = time;
        self
    }

    /// Under which topic name the responses to [`Client::request`](crate::Client::request) come, without
    /// the last level, which the client adds. Default: the Response Information of the server, else
    /// `martlet/response`.
    #[must_use]
    pub fn response_topic(mut self, topic: impl Into<TopicBuf>) -> Self {
        self.response_topic = Some(topic.into());
        self
    }

    /// Asks for user name and password before each attempt to connect, such as a token that must be
    /// renewed; the number of the attempt, from 1, is handed over. An error ends the attempt.
    #[must_use]
    pub fn credentials<F, L>(mut self, provider: F) -> Self
    where
        F: Fn(u32) -> L + Send + Sync + 'static,
        L: Future<Output = Result<Login, String>> + Send + 'static,
    {
        self.credentials = Some(Arc::new(move |attempt| Box::pin(provider(attempt))));
        self
    }

    /// Enhanced authentication by that method. Version 5. `step` is called with `None` for the data of
    /// CONNECT (or of a re-authentication) and with the data of each AUTH of the server, and returns the
    /// data of the answer; an error ends the attempt. It runs on the connection's task and must not block. A client that
    /// authenticates so does not fall back to version 3, which cannot.
    #[must_use]
    pub fn authenticator(
        self,
        method: &str,
        step: impl Fn(Option<&[u8]>) -> Result<Bytes, String> + Send + Sync + 'static,
    ) -> Self {
        let mut options = self;
        options.remove(PropertyId::AuthenticationMethod);
        options.properties.text(PropertyId::AuthenticationMethod, method);
        options.authenticator = Some(Arc::new(step));
        options
    }

    /// How many received messages, and bytes of them, wait for the application before the client
    /// reads no more from the server.
    #[must_use]
    pub const fn inbox(mut self, messages_max: usize, bytes_max: usize) -> Self {
        self.inbox_messages_max = messages_max;
        self.inbox_bytes_max = bytes_max;
        self
    }

    /// The local address to connect from.
    #[must_use]
    pub const fn bind_address(mut self, address: IpAddr) -> Self {
        self.bind_address = Some(address);
        self
    }

    /// `TCP_NODELAY`; on by default.
    #[must_use]
    pub const fn no_delay(mut self, on: bool) -> Self {
        self.no_delay = on;
        self
    }

    /// How long an attempt to connect may take, name look-up and CONNACK included.
    #[must_use]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// What happens when the connection is lost, and with [`Client::start`](crate::Client::start) when the
    /// first attempt fails. Default: the client is closed.
    #[must_use]
    pub const fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.reconnect = reconnect;
        self
    }

    /// A function that is told of each packet: the client identifier, empty as long as the server has not
    /// assigned one, and the packet in mosquitto's words, for example
    /// `sending PUBLISH (d0, q1, r0, m1, 'a/b', ... (5 bytes))`; what mosquitto's tools print behind
    /// `Client NAME ` with `-d`. It runs on the connection's task: it must not block.
    #[must_use]
    pub fn packet_log(mut self, log: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        self.packet_log = Some(Arc::new(log));
        self
    }

    /// A store for what must survive the end of the process, see [`store`](crate::store). It needs a client identifier, and
    /// serves the client that takes it first: a second one of the same options is refused.
    ///
    /// It also asks for a session that outlives the connection, without which QoS 2 cannot be kept across it: no clean
    /// start, and in version 5 a session that never expires where nothing else was asked for. What is called behind it
    /// wins.
    #[must_use]
    pub fn store(mut self, store: impl Store + 'static) -> Self {
        self.store = Some(StoreSlot::new(store));
        self.clean_start = false;
        if self.properties.as_properties().session_expiry_s().is_none() {
            return self.session_expiry(Duration::MAX);
        }
        self
    }

    /// Without a wish of the application, the server may have as many unacknowledged messages under way
    /// as the inbox holds: the inbox is bounded though they must not be dropped.
    pub(crate) fn bound_inbox(&mut self) {
        if self.properties.as_properties().receive_maximum().is_none() {
            let messages = self.inbox_messages_max.clamp(1, 65_535) as u16;
            self.properties.number(PropertyId::ReceiveMaximum, messages);
        }
    }

    fn number(mut self, id: PropertyId, n: u32) -> Self {
        self.remove(id);
        self.properties.number(id, n);
        self
    }

    pub(crate) fn remove(&mut self, id: PropertyId) {
        self.properties = without(&self.properties, &[id]);
    }
}

impl fmt::Debug for Options {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address())
            .field("protocol", &self.protocol)
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_s", &self.keep_alive_s)
            .field("user_name", &self.user_name)
            .field("properties", &self.properties)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

/// In whole seconds, a part of one counted as one: what is not 0 does not become "off".
const fn seconds(duration: Duration) -> u64 {
    let part = if duration.subsec_nanos() > 0 { 1 } else { 0 };
    duration.as_secs().saturating_add(part)
}
