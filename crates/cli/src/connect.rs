//! From settings to a connection.

use std::net::{IpAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::time::Duration;

use martlet_client::{
    Client, ConnectError, Connected, Incoming, Message, Options, Protocol, Reconnect, Subscription,
};
use martlet_codec::{PropertiesBuf, ReasonCode, Version};

use crate::console;
use crate::failure::{Failure, status};
use crate::flags::way;
use crate::program::{Manner, Program};
use crate::settings::Settings;

/// How long to wait before a lost connection is tried again: mosquitto's second, which it keeps to.
const RECONNECT: Duration = Duration::from_secs(1);
/// The longest wait of ours, which doubles from try to try.
const RECONNECT_MAX: Duration = Duration::from_mins(1);
/// How long a connection must last for the wait to begin at a second again.
const RECONNECT_RESET: Duration = Duration::from_secs(20);

/// A connection.
pub(crate) struct Link {
    pub(crate) client: Client,
    /// All that comes.
    pub(crate) messages: Subscription,
    pub(crate) connected: Connected,
}

impl Link {
    /// Connects, or says why not.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, Failure> {
        let options = options(settings)?;
        loop {
            match Client::connect(options.clone()).await {
                Ok((client, connected)) => {
                    return Ok(Self {
                        messages: client.rest(),
                        client,
                        connected,
                    });
                }
                // mosquitto_sub counts a connection that was accepted as made, and makes it again.
                Err(ConnectError::Lost { cause, .. })
                    if settings.role.is_mosquitto()
                        && settings.role.program == Program::Sub
                        && cause.may_pass() =>
                {
                    tokio::time::sleep(RECONNECT).await;
                }
                Err(error) => return Err(Failure::connect(&error, settings)),
            }
        }
    }

    /// Sends what was accepted, waits for its acknowledgements, and says goodbye.
    pub(crate) async fn close(&self, settings: &Settings) {
        let _ = self
            .client
            .disconnect(ReasonCode::Success, self.last_words(settings))
            .await;
    }

    /// Says goodbye without waiting for anything, and has the will published as mosquitto does when
    /// it is told to stop.
    pub(crate) async fn leave(&self, settings: &Settings) {
        let reason = match self.connected.version {
            Version::V5 => ReasonCode::DisconnectWithWill,
            _ => ReasonCode::Success,
        };
        let goodbye = self.client.disconnect_now(reason, self.last_words(settings));
        let _ = goodbye.await;
    }

    fn last_words(&self, settings: &Settings) -> PropertiesBuf {
        match self.connected.version {
            Version::V5 => settings.properties.disconnect.clone(),
            _ => PropertiesBuf::new(),
        }
    }

    /// The properties of a message or a request, which only 5.0 can say.
    pub(crate) fn properties(&self, properties: &PropertiesBuf) -> PropertiesBuf {
        match self.connected.version {
            Version::V5 => properties.clone(),
            _ => PropertiesBuf::new(),
        }
    }

    /// The next message.
    pub(crate) async fn recv(&mut self) -> Option<Incoming> {
        self.messages.recv().await
    }
}

/// A line of `-d`. The client identifier is empty as long as the server has not assigned it.
fn print_packet(manner: Manner, id: &str, packet: &str) {
    match manner {
        // Standard output is for messages; in mosquitto's programs it is for these lines too.
        Manner::Martlet => {
            let id = if id.is_empty() { "(to be assigned)" } else { id };
            console::put(&format!("Client {id} {packet}\n"));
        }
        Manner::Mosquitto => {
            use std::io::Write;
            let id = if id.is_empty() { "(null)" } else { id };
            let _ = std::io::stdout().write_all(format!("Client {id} {packet}\n").as_bytes());
        }
    }
}

fn options(settings: &Settings) -> Result<Options, Failure> {
    let mut options = Options::new(settings.host.as_str(), settings.port())
        .protocol(protocol(settings))
        .clean_start(settings.clean_start)
        .keep_alive(Duration::from_secs(settings.keep_alive_s.into()))
        .max_inflight(NonZeroU16::new(settings.inflight_max).unwrap_or(NonZeroU16::MIN))
        .connect_properties(&settings.properties.connect);
    let id = match (&settings.client_id, &settings.id_prefix) {
        (Some(id), _) => Some(id.clone()),
        (None, Some(prefix)) => Some(format!("{prefix}{}", std::process::id())),
        (None, None) => None,
    };
    if let Some(id) = id {
        options = options.client_id(id);
    }
    if let Some(expiry_s) = settings
        .session_expiry_s
        .filter(|_| settings.first_version() == Version::V5)
    {
        options = options.session_expiry(Duration::from_secs(expiry_s.into()));
    }
    if let Some(user_name) = &settings.username {
        options = options.user_name(user_name.as_str());
    }
    if let Some(password) = &settings.password {
        options = options.password(password.clone());
    }
    if let Some(topic) = &settings.will.topic {
        let payload = settings.will.payload.clone().unwrap_or_default();
        let will = Message::new(topic.clone(), payload)
            .qos(settings.will.qos)
            .retain(settings.will.retain)
            .properties(settings.will.properties.clone());
        options = options.will(will);
    }
    // Messages that would come behind the last one that is wanted stay at the server.
    if let Some(count) = settings.count.and_then(|count| u16::try_from(count).ok())
        && let Some(maximum) = NonZeroU16::new(count)
        && count < settings.inflight_max
        && settings.first_version() == Version::V5
        && settings
            .properties
            .connect
            .as_properties()
            .receive_maximum()
            .is_none()
    {
        options = options.receive_maximum(maximum);
    }
    options = way::apply(settings, options).map_err(|wrong| Failure::wrong(&wrong, settings.role))?;
    if let Some(bind) = &settings.bind {
        options = options.bind_address(local_address(bind)?);
    }
    if reconnects(settings) {
        options = options.reconnect(match settings.role.manner {
            Manner::Martlet => Reconnect::doubled(RECONNECT, RECONNECT_MAX).reset_after(RECONNECT_RESET),
            Manner::Mosquitto => Reconnect::fixed(RECONNECT),
        });
    }
    if settings.debug && !settings.quiet {
        let manner = settings.role.manner;
        // mosquitto's programs do not tell the name that they make up in version 3.
        let given = settings.client_id.is_some() || settings.id_prefix.is_some();
        let is_named = given || !settings.role.is_mosquitto() || settings.first_version() == Version::V5;
        options = options.packet_log(move |id, packet| {
            let id = if is_named { id } else { "" };
            print_packet(manner, id, packet);
        });
    }
    Ok(options)
}

/// A subscriber waits for its server to come back, and so does one who publishes line by line.
fn reconnects(settings: &Settings) -> bool {
    match settings.role.program {
        Program::Sub => true,
        Program::Pub => settings.input == Some(crate::settings::Input::Lines),
        Program::Rr => false,
    }
}

fn protocol(settings: &Settings) -> Protocol {
    if settings.may_fall_back() {
        return Protocol::Auto;
    }
    match settings.first_version() {
        Version::V5 => Protocol::V5,
        Version::V3_1_1 => Protocol::V3_1_1,
        Version::V3_1 => Protocol::V3_1,
    }
}

fn local_address(bind: &str) -> Result<IpAddr, Failure> {
    if let Ok(address) = bind.parse() {
        return Ok(address);
    }
    let found = (bind, 0).to_socket_addrs().ok().and_then(|mut all| all.next());
    found.map(|address| address.ip()).ok_or_else(|| {
        Failure::new(
            "C002",
            format!("-A {bind}: cannot find a local address of that name."),
            "Unable to connect (Lookup error.).\n",
            status::FAILED,
        )
    })
}
