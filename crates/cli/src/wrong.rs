//! Wrong arguments, each said twice: in mosquitto's words, on which scripts depend, and in ours.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;

use martlet_codec::BadTopic;

use crate::flags::property::BadProperty;
use crate::flags::{Flag, Later};
use crate::format::BadFormat;
use crate::nearest::nearest;
use crate::program::{Program, Role};

/// What a topic was given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicUse {
    Publish,
    Subscribe,
    Response,
    FilterOut,
    Unsubscribe,
    Will,
}

impl TopicUse {
    const fn option(self) -> &'static str {
        match self {
            Self::Publish | Self::Subscribe => "-t",
            Self::Response => "-e",
            Self::FilterOut => "-T",
            Self::Unsubscribe => "-U",
            Self::Will => "--will-topic",
        }
    }

    /// mosquitto's name for it.
    const fn kind(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscription",
            Self::Response => "response",
            Self::FilterOut => "filter",
            Self::Unsubscribe => "unsubscribe",
            Self::Will => "will",
        }
    }

    const fn is_filter(self) -> bool {
        matches!(self, Self::Subscribe | Self::FilterOut | Self::Unsubscribe)
    }
}

/// What is wrong with the arguments.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// An option's value is not there.
    Missing(&'static Flag),
    Unknown(String),
    Utf8(String),
    /// An option that this version does not serve, as it was typed.
    Later(String, Later),
    OptionsTwice,
    OptionsFile {
        path: PathBuf,
        error: io::Error,
    },
    InFile {
        path: PathBuf,
        line: usize,
        wrong: Box<Wrong>,
    },
    Count(String),
    Timeout(String),
    KeepAlive,
    Inflight,
    Port(String),
    Qos(String),
    WillQos(String),
    RandomFilter,
    Repeat,
    RepeatDelay,
    RetainHandling(String),
    ProtocolVersion,
    ExpiryNotNumber,
    ExpiryRange,
    Format(BadFormat),
    Property(BadProperty),
    Topic(TopicUse, String, BadTopic),
    UrlScheme,
    UrlTopic,
    /// An option of the way to the server: one sentence without its full stop.
    Tls(String),
    NeedsTls(&'static str),
    CertificateAndKey,
    InputTwice,
    IdAndPrefix,
    EmptyId,
    WillWithoutTopic(&'static str),
    NoIdForClean,
    NoIdForExpiry,
    NeedsV5(&'static str),
    NoFilter,
    NoMessage,
    NoRequest,
    ResponseTopicTwice,
    RetainedOnlyAndNone,
}

impl Wrong {
    /// The code under which `martlet help` explains it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Later(..) => "C011",
            Self::OptionsFile { .. } => "C012",
            Self::InFile { wrong, .. } => wrong.code(),
            _ => "C010",
        }
    }

    /// As the mosquitto program of that name says it, its line ends included.
    pub(crate) fn mosquitto(&self, role: Role) -> String {
        let program = role.program.mosquitto();
        let mut text = self.mosquitto_error();
        match self {
            Self::NoMessage | Self::RetainedOnlyAndNone | Self::ResponseTopicTwice | Self::EmptyId => {
                return text;
            }
            _ => {}
        }
        let _ = writeln!(text, "\nUse '{program} --help' to see usage.");
        text
    }

    fn mosquitto_error(&self) -> String {
        // Some of its sentences are followed by an empty line, some are not.
        let spaced = |text: &str| format!("Error: {text}\n\n");
        let plain = |text: &str| format!("Error: {text}\n");
        match self {
            Self::Missing(flag) => {
                let name = if flag.long == Some("protocol-version") || flag.short == Some('D') {
                    format!("--{}", flag.long.unwrap_or_default())
                } else {
                    flag.name()
                };
                match flag.missing {
                    "max_inflight not specified" => {
                        spaced(&format!("{name} argument given but max_inflight not specified."))
                    }
                    missing => spaced(&format!("{name} argument given but {missing}.")),
                }
            }
            Self::Unknown(name) => plain(&format!("Unknown option '{name}'.")),
            Self::Utf8(name) => spaced(&format!("Malformed UTF-8 in {name} argument.")),
            Self::Later(name, later) if later.is_never() => plain(&format!(
                "{name} needs {}, which its TLS (rustls) does not have.",
                later.what()
            )),
            Self::Later(name, later) => plain(&format!(
                "{name} needs {}, which this version does not have yet.",
                later.what()
            )),
            Self::OptionsTwice => spaced("Duplicate -o argument given."),
            Self::OptionsFile { path, error } => plain(&format!(
                "Unable to read options file {}: {}.",
                path.display(),
                without_number(&error.to_string())
            )),
            Self::InFile { wrong, .. } => wrong.mosquitto_error(),
            Self::Count(count) => spaced(&format!("Invalid message count \"{count}\".")),
            Self::Timeout(seconds) => spaced(&format!("Invalid timeout \"{seconds}\".")),
            Self::KeepAlive => spaced("Invalid keepalive given, it must be between 5 and 65535 inclusive."),
            Self::Inflight => spaced("Maximum inflight messages must be greater than 0."),
            Self::Port(port) => plain(&format!("Invalid port given: {port}")),
            Self::Qos(qos) => plain(&format!("Invalid QoS given: {qos}")),
            Self::WillQos(qos) => spaced(&format!("Invalid will QoS {qos}.")),
            Self::RandomFilter => spaced("--random-filter chance must be between 0.1-100.0"),
            Self::Repeat => spaced("--repeat argument must be >0."),
            Self::RepeatDelay => spaced("--repeat-delay argument must be >=0.0."),
            Self::RetainHandling(value) => spaced(&format!("Unknown value '{value}' for --retain-handling.")),
            Self::ProtocolVersion => spaced("Invalid protocol version argument given."),
            Self::ExpiryNotNumber => spaced("session-expiry-interval not a number."),
            Self::ExpiryRange => spaced("session-expiry-interval out of range."),
            Self::Format(bad) => plain(&match bad {
                BadFormat::Incomplete => "Incomplete format specifier.".to_owned(),
                BadFormat::IncompleteEscape => "Incomplete escape specifier.".to_owned(),
                BadFormat::Specifier(letter) => format!("Invalid format specifier '{letter}'."),
                BadFormat::Escape(letter) => format!("Invalid escape specifier '{letter}'."),
            }),
            Self::Property(bad) => spaced(&mosquitto_property(bad)),
            Self::Topic(topic_use, text, _) if topic_use.is_filter() => plain(&format!(
                "Invalid {} topic '{text}', are all '+' and '#' wildcards correct?",
                topic_use.kind()
            )),
            Self::Topic(topic_use, text, _) => plain(&format!(
                "Invalid {} topic '{text}', does it contain '+' or '#'?",
                topic_use.kind()
            )),
            Self::UrlScheme => spaced("Unsupported URL scheme."),
            Self::Tls(text) => plain(&format!("{text}.")),
            Self::NeedsTls(name) => plain(&format!(
                "{name} needs TLS: --cafile, --capath or --tls-use-os-certs."
            )),
            Self::CertificateAndKey => {
                plain("Both certfile and keyfile must be provided if one of them is set.")
            }
            Self::UrlTopic => plain("Invalid URL for -L argument specified - topic missing."),
            Self::InputTwice => spaced("Only one type of message can be sent at once."),
            Self::IdAndPrefix => spaced("-i and -I argument cannot be used together."),
            Self::EmptyId => plain("Invalid id."),
            Self::WillWithoutTopic(what) => plain(&format!("Will {what} given, but no will topic given.")),
            Self::NoIdForClean => plain("You must provide a client id if you are using the -c option."),
            Self::NoIdForExpiry => {
                plain("You must provide a client id if you are using an infinite session expiry interval.")
            }
            Self::NeedsV5(flag) => plain(&format!("{flag} needs MQTT v5.")),
            Self::NoFilter => {
                plain("You must specify a topic to subscribe to (-t) or unsubscribe from (-U).")
            }
            Self::NoMessage => plain("Both topic and message must be supplied."),
            Self::NoRequest => plain("All of topic, message, and response topic must be supplied."),
            Self::ResponseTopicTwice => plain("Error in PUBLISH properties: Duplicate response topic."),
            Self::RetainedOnlyAndNone => {
                "\nError: Combining '-R' and '--retained-only' makes no sense.\n".to_owned()
            }
        }
    }

    /// One sentence in our words.
    pub(crate) fn sentence(&self, program: Program) -> String {
        match self {
            Self::Missing(flag) => format!("{} needs a value: {} {}", flag.name(), flag.name(), flag.value),
            Self::Unknown(name) if name.starts_with('-') => match suggestion(program, name) {
                Some(known) => format!("there is no option '{name}'. Did you mean '{known}'?"),
                None => format!("there is no option '{name}'."),
            },
            Self::Unknown(text) => format!("'{text}' is not an option; a topic stands behind -t."),
            Self::Utf8(name) => format!("{name} takes UTF-8 text only."),
            Self::Later(name, later) if later.is_never() => format!(
                "{name} needs {}, which martlet's TLS (rustls) does not have.",
                later.what()
            ),
            Self::Later(name, later) => {
                format!(
                    "{name} needs {}, which this version of martlet does not have yet.",
                    later.what()
                )
            }
            Self::OptionsTwice => "-o was given twice.".to_owned(),
            Self::OptionsFile { path, error } => {
                format!(
                    "cannot read the options file {}: {}.",
                    path.display(),
                    cause(error)
                )
            }
            Self::InFile { wrong, .. } => wrong.sentence(program),
            Self::Count(count) => format!("-C takes a number of messages, 1 or more, not '{count}'."),
            Self::Timeout(seconds) => format!("-W takes whole seconds, 1 or more, not '{seconds}'."),
            Self::KeepAlive => "-k takes seconds from 5 to 65535.".to_owned(),
            Self::Inflight => "-M takes a number of messages, 1 or more.".to_owned(),
            Self::Port(port) => format!("a port is a number from 1 to 65535, not '{port}'."),
            Self::Qos(qos) => format!("-q takes 0, 1 or 2, not '{qos}'."),
            Self::WillQos(qos) => format!("--will-qos takes 0, 1 or 2, not '{qos}'."),
            Self::RandomFilter => "--random-filter takes percent from 0.1 to 100.".to_owned(),
            Self::Repeat => "--repeat takes a number, 1 or more.".to_owned(),
            Self::RepeatDelay => "--repeat-delay takes seconds, 0 or more.".to_owned(),
            Self::RetainHandling(value) => {
                format!("--retain-handling takes always, new or never, not '{value}'.")
            }
            Self::ProtocolVersion => "-V takes 5, 311 or 31 (or mqttv5, mqttv311, mqttv31).".to_owned(),
            Self::ExpiryNotNumber => "-x takes seconds; -1 is for ever.".to_owned(),
            Self::ExpiryRange => "-x takes seconds from 0 to 4294967295; -1 is for ever.".to_owned(),
            Self::Format(bad) => match bad {
                BadFormat::Incomplete => "-F ends in the middle of a % or @.".to_owned(),
                BadFormat::IncompleteEscape => "-F ends in a single \\.".to_owned(),
                BadFormat::Specifier(letter) => format!("-F knows no %{letter}."),
                BadFormat::Escape(letter) => format!("-F knows no \\{letter}."),
            },
            Self::Property(bad) => our_property(bad),
            Self::Topic(topic_use, text, why) => format!(
                "{} '{text}' is not a topic {}: {why}.",
                topic_use.option(),
                if topic_use.is_filter() {
                    "filter"
                } else {
                    "to publish to"
                }
            ),
            Self::Tls(text) => format!("{text}."),
            Self::NeedsTls(name) => {
                format!(
                    "{name} needs TLS, and nothing says whom to trust: --cafile FILE, or --tls-use-os-certs."
                )
            }
            Self::CertificateAndKey => {
                "--cert and --key are two halves, and only one of them is given.".to_owned()
            }
            Self::UrlScheme => {
                "-L takes a URL that begins with mqtt://, mqtts://, ws://, wss:// or unix://".to_owned()
            }
            Self::UrlTopic => "the URL of -L has no topic behind the host: mqtt://HOST/TOPIC".to_owned(),
            Self::InputTwice => "only one of -m, -f, -s, -l and -n can be given.".to_owned(),
            Self::IdAndPrefix => "only one of -i and -I can be given.".to_owned(),
            Self::EmptyId => "-i takes a client identifier, and got an empty one.".to_owned(),
            Self::WillWithoutTopic(what) => format!("--will-{what} needs --will-topic."),
            Self::NoIdForClean => "-c keeps a session for next time, which needs a name: -i ID".to_owned(),
            Self::NoIdForExpiry => "a session that never ends needs a name: -i ID".to_owned(),
            Self::NeedsV5(flag) => format!("{flag} needs MQTT 5.0, and -V chose an older version."),
            Self::NoFilter => "there is nothing to subscribe to: -t TOPIC".to_owned(),
            Self::NoMessage => "a topic and a message are needed: -t TOPIC -m MESSAGE".to_owned(),
            Self::NoRequest => {
                "a topic, a message and a response topic are needed: -t TOPIC -m MESSAGE -e TOPIC".to_owned()
            }
            Self::ResponseTopicTwice => "the response topic is given by -e and by -D.".to_owned(),
            Self::RetainedOnlyAndNone => "-R and --retained-only leave nothing to print.".to_owned(),
        }
    }

    /// The line of an options file at which it stands.
    pub(crate) fn origin(&self) -> Option<String> {
        match self {
            Self::InFile { path, line, .. } => Some(format!("{}:{line}", path.display())),
            _ => None,
        }
    }
}

fn suggestion(program: Program, name: &str) -> Option<String> {
    let names = Flag::all(program).filter_map(|flag| flag.long.map(|long| format!("--{long}")));
    nearest(name, names)
}

/// A text without the number that Rust puts behind what the system said.
pub(crate) fn without_number(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (os error ") else {
        return text.to_owned();
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

/// What the system said, without its number.
pub(crate) fn cause(error: &io::Error) -> String {
    let text = without_number(&error.to_string());
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

fn mosquitto_property(bad: &BadProperty) -> String {
    match bad {
        BadProperty::Command(command) => format!("Invalid command {command} given in --property argument."),
        BadProperty::Name(name) => format!("Invalid property name {name} given in --property argument."),
        BadProperty::NotAllowed(name, command) => {
            format!("{name} property not allowed for {command} in --property argument.")
        }
        BadProperty::NotSupported(name, command) => {
            format!("{name} property not supported for {command} in --property argument.")
        }
        BadProperty::NotNumber(value) => format!("Property value '{value}' not a number."),
        BadProperty::OutOfRange(value, name) => {
            format!("Property value ({value}) out of range for property {name}.")
        }
        BadProperty::TooLong(name) => format!("Property value too long for property {name}."),
        BadProperty::Twice(name) => format!("Property {name} given twice."),
        BadProperty::Refused(name, _) => format!("Invalid value for property {name}."),
    }
}

fn our_property(bad: &BadProperty) -> String {
    match bad {
        BadProperty::Command(command) => format!(
            "-D knows no packet '{command}'; it is connect, publish, subscribe, unsubscribe, disconnect or will."
        ),
        BadProperty::Name(name) => {
            let names = martlet_codec::PropertyId::ALL
                .iter()
                .map(|id| id.name().to_owned());
            match nearest(name, names) {
                Some(known) => format!("there is no property '{name}'. Did you mean '{known}'?"),
                None => format!("there is no property '{name}'."),
            }
        }
        BadProperty::NotAllowed(name, command) => format!("a {command} packet carries no {name}."),
        BadProperty::NotSupported(name, command) => format!("the {name} of {command} cannot be chosen."),
        BadProperty::NotNumber(value) => format!("-D needs a number, not '{value}'."),
        BadProperty::OutOfRange(value, name) => format!("{value} is out of range for {name}."),
        BadProperty::TooLong(name) => format!("the value of {name} has more than 65535 bytes."),
        BadProperty::Twice(name) => format!("{name} is given twice, and can stand once in a packet."),
        BadProperty::Refused(name, why) => format!("the value of {name} is not valid: {why}."),
    }
}
