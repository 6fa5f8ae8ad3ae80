//! The options of `pub`, `sub` and `rr`: one row each. Parsing, `--help`, man pages, completions and
//! the words for wrong arguments all come from this table.

mod later;
pub(crate) mod parse;
pub(crate) mod property;
mod rules;
mod url;
pub(crate) mod way;

pub(crate) use later::Later;

use crate::program::Program;

/// What an option is. One variant per row of [`FLAGS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Bind,
    Count,
    Clean,
    Debug,
    Property,
    ResponseTopic,
    ExitAfterSuback,
    File,
    Format,
    Help,
    Host,
    ClientId,
    IdPrefix,
    KeepAlive,
    Url,
    StdinLines,
    Latency,
    Message,
    Inflight,
    MessageRate,
    NoDelay,
    NoTls,
    Null,
    NoEol,
    Options,
    Port,
    Pretty,
    Password,
    Qos,
    Quiet,
    Retain,
    NoRetained,
    RandomFilter,
    RemoveRetained,
    Repeat,
    RepeatDelay,
    RetainAsPublished,
    RetainHandling,
    RetainedOnly,
    Stdin,
    Topic,
    FilterOut,
    Unsubscribe,
    Username,
    ProtocolVersion,
    Verbose,
    Version,
    Timeout,
    Watch,
    WillPayload,
    WillQos,
    WillRetain,
    WillTopic,
    SessionExpiry,
    Authorities,
    AuthoritiesFolder,
    Certificate,
    Key,
    KeyPassFile,
    KeyForm,
    Ciphers,
    TlsVersion,
    Alpn,
    SystemRoots,
    Insecure,
    WebSocket,
    WebSocketPath,
    Unix,
    Proxy,
    Srv,
    NameServer,
    /// Known, and not served by this version.
    Later(Later),
}

/// The heading under which `--help` lists an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// What is sent.
    Message,
    /// What is subscribed to, and what is done with it.
    Subscription,
    /// How messages are printed.
    Output,
    /// Which server, and as whom.
    Connection,
    /// TLS, WebSocket, Unix sockets, proxies.
    Way,
    /// The will.
    Will,
    /// All else.
    General,
    /// Known, but not here.
    Later,
}

impl Group {
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Message => "Message",
            Self::Subscription => "Subscription",
            Self::Output => "Output",
            Self::Connection => "Connection",
            Self::Way => "TLS, WebSocket, proxies",
            Self::Will => "Will",
            Self::General => "General",
            Self::Later => "Known, and not here",
        }
    }
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) id: Id,
    pub(crate) short: Option<char>,
    pub(crate) long: Option<&'static str>,
    /// The name of its value in help; empty for a switch.
    pub(crate) value: &'static str,
    /// What mosquitto says is missing when the value is: "no topic specified".
    pub(crate) missing: &'static str,
    pub(crate) programs: u8,
    pub(crate) group: Group,
    pub(crate) repeats: bool,
    pub(crate) help: &'static str,
}

const PUB: u8 = 1;
const SUB: u8 = 2;
const RR: u8 = 4;
const ALL: u8 = PUB | SUB | RR;

impl Flag {
    /// As the user would type it, the short form first.
    pub(crate) fn name(&self) -> String {
        match (self.short, self.long) {
            (Some(short), _) => format!("-{short}"),
            (None, long) => format!("--{}", long.unwrap_or_default()),
        }
    }

    pub(crate) const fn takes_value(&self) -> bool {
        !self.value.is_empty()
    }

    pub(crate) const fn is_for(&self, program: Program) -> bool {
        let bit = match program {
            Program::Pub => PUB,
            Program::Sub => SUB,
            Program::Rr => RR,
        };
        self.programs & bit != 0
    }

    /// The option that a command line calls so: `-t` or `--topic`.
    pub(crate) fn find(program: Program, name: &str) -> Option<&'static Self> {
        let mine = FLAGS.iter().filter(|flag| flag.is_for(program));
        if let Some(long) = name.strip_prefix("--") {
            return mine.into_iter().find(|flag| flag.long == Some(long));
        }
        let mut chars = name.strip_prefix('-')?.chars();
        let short = chars.next()?;
        chars.next().is_none().then_some(())?;
        mine.into_iter().find(|flag| flag.short == Some(short))
    }

    /// The options of a program, in the order of the table.
    pub(crate) fn all(program: Program) -> impl Iterator<Item = &'static Self> {
        FLAGS.iter().filter(move |flag| flag.is_for(program))
    }
}

const fn switch(
    id: Id,
    short: Option<char>,
    long: Option<&'static str>,
    programs: u8,
    group: Group,
    help: &'static str,
) -> Flag {
    Flag {
        id,
        short,
        long,
        value: "",
        missing: "",
        programs,
        group,
        repeats: false,
        help,
    }
}

const fn option(
    id: Id,
    short: Option<char>,
    long: Option<&'static str>,
    value: (&'static str, &'static str),
    programs: u8,
    group: Group,
    help: &'static str,
) -> Flag {
    Flag {
        value: value.0,
        missing: value.1,
        ..switch(id, short, long, programs, group, help)
    }
}

const fn repeats(flag: Flag) -> Flag {
    Flag {
        repeats: true,
        ..flag
    }
}

const fn later(
    kind: Later,
    long: &'static str,
    value: (&'static str, &'static str),
    help: &'static str,
) -> Flag {
    option(Id::Later(kind), None, Some(long), value, ALL, Group::Later, help)
}

use Group::{Connection, General, Message, Output, Subscription, Way, Will};

/// All options. Names, values and defaults are mosquitto's, 2.1's additions included.
#[rustfmt::skip]
pub(crate) const FLAGS: &[Flag] = &[
    // What is sent.
    option(Id::Topic, Some('t'), Some("topic"), ("TOPIC", "no topic specified"), PUB | RR, Message,
        "Topic to publish to"),
    repeats(option(Id::Topic, Some('t'), Some("topic"), ("FILTER", "no topic specified"), SUB, Subscription,
        "Topic filter to subscribe to, with + and # as wildcards (may be repeated)")),
    option(Id::ResponseTopic, Some('e'), None, ("TOPIC", "no response topic specified"), RR, Message,
        "Topic on which the response is awaited"),
    option(Id::Message, Some('m'), Some("message"), ("TEXT", "no message specified"), PUB | RR, Message,
        "The payload"),
    option(Id::File, Some('f'), Some("file"), ("FILE", "no file specified"), PUB | RR, Message,
        "Send the contents of a file as one message"),
    switch(Id::StdinLines, Some('l'), Some("stdin-line"), PUB, Message,
        "Send each line of standard input as a message"),
    switch(Id::Stdin, Some('s'), Some("stdin-file"), PUB | RR, Message,
        "Send all of standard input as one message"),
    switch(Id::Null, Some('n'), Some("null-message"), PUB | RR, Message,
        "Send an empty payload"),
    option(Id::Qos, Some('q'), Some("qos"), ("QOS", "no QoS specified"), PUB | RR, Message,
        "Quality of service: 0, 1 or 2 (default: 0)"),
    option(Id::Qos, Some('q'), Some("qos"), ("QOS", "no QoS specified"), SUB, Subscription,
        "Highest quality of service of messages: 0, 1 or 2 (default: 0)"),
    switch(Id::Retain, Some('r'), Some("retain"), PUB, Message,
        "Have the server retain the message"),
    option(Id::Repeat, None, Some("repeat"), ("N", "no count specified"), PUB, Message,
        "Publish the message N times (not with -l)"),
    option(Id::RepeatDelay, None, Some("repeat-delay"), ("SECONDS", "no time specified"), PUB, Message,
        "Time between repeated messages, fractions allowed (default: 0)"),
    // What is received.
    repeats(option(Id::FilterOut, Some('T'), Some("filter-out"), ("FILTER", "no topic filter specified"), SUB,
        Subscription, "Do not print messages whose topic matches (may be repeated)")),
    repeats(option(Id::Unsubscribe, Some('U'), Some("unsubscribe"), ("FILTER", "no unsubscribe topic specified"),
        SUB, Subscription, "Unsubscribe from a topic filter of a stored session (may be repeated)")),
    option(Id::Count, Some('C'), None, ("COUNT", "no count specified"), SUB, Subscription,
        "Exit after this many messages"),
    option(Id::Timeout, Some('W'), None, ("SECONDS", "no timeout specified"), SUB | RR, Subscription,
        "Exit after this many seconds, with status 27"),
    switch(Id::ExitAfterSuback, Some('E'), None, SUB, Subscription,
        "Exit once the server has answered all subscriptions"),
    switch(Id::NoRetained, Some('R'), None, SUB | RR, Subscription,
        "Do not print retained messages"),
    switch(Id::RetainedOnly, None, Some("retained-only"), SUB, Subscription,
        "Print retained messages only, and exit at the first that is not"),
    switch(Id::RemoveRetained, None, Some("remove-retained"), SUB, Subscription,
        "Have the server forget each retained message that is received (-T keeps some)"),
    switch(Id::RetainAsPublished, None, Some("retain-as-published"), SUB | RR, Subscription,
        "Keep the retain flag of the publisher on messages (5.0)"),
    option(Id::RetainHandling, None, Some("retain-handling"), ("WHEN", "no option specified"), SUB | RR,
        Subscription, "When the server sends retained messages: always, new or never (5.0)"),
    option(Id::RandomFilter, None, Some("random-filter"), ("PERCENT", "no chance specified"), SUB, Subscription,
        "Print this share of the messages only, 0.1 to 100"),
    // How it is printed.
    switch(Id::Verbose, Some('v'), Some("verbose"), SUB | RR, Output,
        "Print the topic before the payload"),
    option(Id::Format, Some('F'), None, ("FORMAT", "no format specified"), SUB | RR, Output,
        "Print messages in this format, for example '%t: %p', %j for JSON (all letters: martlet help format)"),
    switch(Id::NoEol, Some('N'), None, SUB | RR, Output,
        "No end of line after a message"),
    switch(Id::Pretty, None, Some("pretty"), SUB | RR, Output,
        "With -F %j or %J: JSON over several lines"),
    switch(Id::Watch, Some('w'), Some("watch"), SUB, Output,
        "Give each topic a line of the terminal and keep it up to date"),
    switch(Id::MessageRate, None, Some("message-rate"), SUB, Output,
        "Print how many messages came, each second, instead of the messages"),
    switch(Id::Latency, None, Some("latency"), RR, Output,
        "Print the time from request to response"),
    // Which server, and as whom.
    option(Id::Host, Some('h'), Some("host"), ("HOST", "no host specified"), ALL, Connection,
        "Host to connect to (default: localhost)"),
    option(Id::Port, Some('p'), Some("port"), ("PORT", "no port specified"), ALL, Connection,
        "Port to connect to (default: 1883; with TLS 8883, with WebSocket 80 or 443)"),
    option(Id::Url, Some('L'), Some("url"), ("URL", "no URL specified"), ALL, Connection,
        "User, password, host, port and topic in one: mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC; also mqtts, ws, wss, quic, and unix:///PATH or unix://%2FPATH/TOPIC"),
    option(Id::Username, Some('u'), Some("username"), ("NAME", "no username specified"), ALL, Connection,
        "User name"),
    option(Id::Password, Some('P'), Some("pw"), ("PASSWORD", "no password specified"), ALL, Connection,
        "Password (others on this machine can read it in the process list; an options file hides it)"),
    option(Id::ClientId, Some('i'), Some("id"), ("ID", "no id specified"), ALL, Connection,
        "Client identifier (default: the server's choice, or a random one below 5.0)"),
    option(Id::IdPrefix, Some('I'), Some("id-prefix"), ("PREFIX", "no id prefix specified"), ALL, Connection,
        "Client identifier: this prefix and the process id"),
    option(Id::KeepAlive, Some('k'), Some("keepalive"), ("SECONDS", "no keepalive specified"), ALL, Connection,
        "Keep alive, 5 to 65535 (default: 60)"),
    switch(Id::Clean, Some('c'), Some("disable-clean-session"), ALL, Connection,
        "Keep the session at the server for the next connection (needs -i)"),
    option(Id::SessionExpiry, Some('x'), None, ("SECONDS", "no session expiry interval specified"), ALL, Connection,
        "Session expiry interval; -1 is for ever (5.0)"),
    option(Id::ProtocolVersion, Some('V'), Some("protocol-version"), ("VERSION", "no version specified"), ALL,
        Connection, "MQTT version: 5, 311 or 31, also mqttv5, mqttv311, mqttv31"),
    repeats(option(Id::Property, Some('D'), Some("property"),
        ("COMMAND NAME [KEY] VALUE", "not enough arguments specified"), ALL, Connection,
        "Property of a packet, for example publish content-type text/plain (all: martlet help properties; 5.0)")),
    option(Id::Bind, Some('A'), None, ("ADDRESS", "no address specified"), ALL, Connection,
        "Local address to connect from"),
    option(Id::Inflight, Some('M'), None, ("COUNT", "max_inflight not specified"), ALL, Connection,
        "Messages of QoS 1 and 2 that may wait for an acknowledgement at once (default: 20)"),
    switch(Id::NoDelay, None, Some("nodelay"), ALL, Connection,
        "Send small packets at once (always on here)"),
    switch(Id::NoTls, None, Some("no-tls"), ALL, Connection,
        "No TLS, whatever the port"),
    // By which way.
    option(Id::Authorities, None, Some("cafile"), ("FILE", "no file specified"), ALL, Way,
        "Speak TLS, and trust the certificates in this file"),
    option(Id::AuthoritiesFolder, None, Some("capath"), ("DIR", "no directory specified"), ALL, Way,
        "The same with the files of a folder"),
    switch(Id::SystemRoots, None, Some("tls-use-os-certs"), ALL, Way,
        "Speak TLS, and trust whom this system trusts (so does port 8883)"),
    option(Id::Certificate, None, Some("cert"), ("FILE", "no file specified"), ALL, Way,
        "Certificate of this client"),
    option(Id::Key, None, Some("key"), ("FILE", "no file specified"), ALL, Way,
        "Its private key"),
    option(Id::KeyPassFile, None, Some("key-pass-file"), ("FILE", "no file specified"), ALL, Way,
        "File with the pass phrase of the key, if it is encrypted (PKCS#8)"),
    option(Id::KeyForm, None, Some("keyform"), ("FORM", "no keyform specified"), ALL, Way,
        "Kind of the key: pem"),
    switch(Id::Insecure, None, Some("insecure"), ALL, Way,
        "Insecure: accept a certificate of any host that a trusted authority has signed"),
    option(Id::Ciphers, None, Some("ciphers"), ("LIST", "no ciphers specified"), ALL, Way,
        "Cipher suites by their names in OpenSSL, apart by colons"),
    option(Id::TlsVersion, None, Some("tls-version"), ("VERSION", "no version specified"), ALL, Way,
        "Lowest version of TLS: tlsv1.2 (default) or tlsv1.3"),
    option(Id::Alpn, None, Some("tls-alpn"), ("PROTOCOL", "no protocol specified"), ALL, Way,
        "Application protocol to ask for"),
    switch(Id::WebSocket, None, Some("ws"), ALL, Way,
        "Connect by WebSocket"),
    option(Id::WebSocketPath, None, Some("ws-path"), ("PATH", "no path specified"), ALL, Way,
        "Path of the WebSocket (default: /mqtt)"),
    option(Id::Unix, None, Some("unix"), ("PATH", "no socket path specified"), ALL, Way,
        "Connect to a Unix socket"),
    option(Id::Proxy, None, Some("proxy"), ("URL", "no proxy url specified"), ALL, Way,
        "Connect through a proxy: socks5h://[USER:PASSWORD@]HOST[:PORT], or the same with http"),
    switch(Id::Srv, Some('S'), None, ALL, Way,
        "Find the server by the SRV records of -h, its port too: at _mqtt._tcp, with TLS at _secure-mqtt._tcp"),
    repeats(option(Id::NameServer, None, Some("name-server"), ("ADDRESS[:PORT]", "no name server specified"), ALL, Way,
        "Ask this name server for -S, not those of the system")),
    // The will.
    option(Id::WillTopic, None, Some("will-topic"), ("TOPIC", "no will topic specified"), ALL, Will,
        "Topic of the message that the server publishes if this client is lost"),
    option(Id::WillPayload, None, Some("will-payload"), ("TEXT", "no will payload specified"), ALL, Will,
        "Its payload (default: empty)"),
    option(Id::WillQos, None, Some("will-qos"), ("QOS", "no will QoS specified"), ALL, Will,
        "Its quality of service (default: 0)"),
    switch(Id::WillRetain, None, Some("will-retain"), ALL, Will,
        "Retain it"),
    // All else.
    switch(Id::Debug, Some('d'), Some("debug"), ALL, General,
        "Print which packets are sent and received"),
    switch(Id::Quiet, None, Some("quiet"), ALL, General,
        "Print no errors"),
    option(Id::Options, Some('o'), None, ("FILE", "no options file specified"), ALL, General,
        "Read options from FILE, one per line, instead of the default file"),
    switch(Id::Help, None, Some("help"), ALL, General,
        "Print this help"),
    switch(Id::Version, None, Some("version"), ALL, General,
        "Print the version"),
    // Known, and not here.
    later(Later::Engine, "tls-engine", ("ENGINE", "no engine_id specified"), "OpenSSL engine"),
    later(Later::Engine, "tls-engine-kpass-sha1", ("HASH", "no kpass sha1 specified"), "Password hash of the engine"),
    later(Later::KeyLog, "tls-keylog", ("FILE", "no file specified"), "File for TLS secrets"),
    later(Later::Psk, "psk", ("KEY", "no key specified"), "Pre-shared key"),
    later(Later::Psk, "psk-identity", ("NAME", "no identity specified"), "Identity of the pre-shared key"),
    later(Later::Multipath, "mptcp", ("", ""), "Connect by multipath TCP"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_per_program() {
        for program in Program::ALL {
            let mut names: Vec<String> = Flag::all(program)
                .flat_map(|flag| {
                    let short = flag.short.map(|c| format!("-{c}"));
                    short.into_iter().chain(flag.long.map(|l| format!("--{l}")))
                })
                .collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count);
            for name in &names {
                assert!(Flag::find(program, name).is_some(), "{name}");
            }
        }
    }

    #[test]
    fn values_name_what_is_missing() {
        for flag in FLAGS {
            assert_eq!(flag.takes_value(), !flag.missing.is_empty(), "{}", flag.name());
            assert!(flag.short.is_some() || flag.long.is_some());
            assert!(!flag.help.ends_with('.'), "{}", flag.name());
        }
    }

    #[test]
    fn options_stand_where_mosquitto_has_them() {
        assert!(Flag::find(Program::Pub, "-C").is_none());
        assert!(Flag::find(Program::Rr, "-C").is_none());
        assert!(Flag::find(Program::Sub, "-m").is_none());
        assert!(Flag::find(Program::Pub, "-F").is_none());
        assert!(Flag::find(Program::Rr, "-l").is_none());
        assert!(Flag::find(Program::Sub, "-tt").is_none());
        assert!(Flag::find(Program::Sub, "--").is_none());
        assert!(Flag::find(Program::Sub, "-").is_none());
    }
}
