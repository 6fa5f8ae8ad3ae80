//! From a draft to a [`Config`]: defaults, what directives mean together, and what cannot stand together.

mod logins;
pub(super) mod store;

use std::sync::Arc;

use martlet_broker::Durability;

use super::directive::Mode;
use super::directives::find;
use super::draft::{Block, Draft, Findings, Setting, Settings};
use super::error::{Code, Errors, Finding, Place};
use super::listener::{Bind, Family, Listener, ListenerPlace, Versions, WebSockets};
use super::log::{Log, LogDestination, LogTypes, Timestamp};
use super::origin::Origin;
use super::overrides::Overrides;
use super::tls::tls;
use super::value::{self, Value};
use super::written::Written;
use super::{BrokerSettings, Config, Overlapping, ReceiveMaximumExceeded};

/// What is set, in layers of which the first that has a directive counts, then the defaults of a mode.
pub(super) struct Values<'a> {
    layers: Vec<&'a Settings>,
    mode: Mode,
}

impl Values<'_> {
    pub(super) fn set(&self, name: &str) -> Option<&Setting> {
        assert!(
            find(name).is_some_and(|d| d.name == name),
            "{name} is in the table"
        );
        self.layers
            .iter()
            .find_map(|layer| layer.get(name))
            .and_then(|list| list.last())
    }

    fn all(&self, name: &str) -> &[Setting] {
        self.layers
            .iter()
            .find_map(|layer| layer.get(name))
            .map_or(&[], Vec::as_slice)
    }

    /// What is set, else the default; `None` if there is neither.
    fn value(&self, name: &'static str) -> Option<Value> {
        if let Some(setting) = self.set(name) {
            return Some(setting.value.clone());
        }
        let directive = find(name)?;
        let text = directive.default_in(self.mode);
        (!text.is_empty()).then(|| match value::parse(directive, name, text) {
            Ok(value) => value,
            Err(fault) => panic!("default of {name}: {}", fault.message),
        })
    }

    pub(super) fn bool(&self, name: &'static str) -> Option<bool> {
        self.value(name).map(|value| match value {
            Value::Bool(value) => value,
            other => panic!("{name} is not a bool: {other:?}"),
        })
    }

    /// `None` without a value, or with the special number that stands for none.
    fn number<N: TryFrom<u64>>(&self, name: &'static str) -> Option<N> {
        match self.value(name)? {
            Value::Number(number) => number.map(|n| match N::try_from(n) {
                Ok(n) => n,
                _ => panic!("the range of {name} does not fit"),
            }),
            other => panic!("{name} is not a number: {other:?}"),
        }
    }

    fn sure<T>(name: &str, value: Option<T>) -> T {
        value.unwrap_or_else(|| panic!("{name} has a default"))
    }

    fn on(&self, name: &'static str) -> bool {
        Self::sure(name, self.bool(name))
    }

    fn count<N: TryFrom<u64>>(&self, name: &'static str) -> N {
        Self::sure(name, self.number(name))
    }

    fn word(&self, name: &'static str) -> Option<&'static str> {
        self.value(name).map(|value| match value {
            Value::Word(word) => word,
            other => panic!("{name} is not a word: {other:?}"),
        })
    }

    /// What is set in these layers, without the default.
    fn text_if_set(&self, name: &'static str) -> Option<String> {
        self.set(name).and_then(|_| self.text(name))
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.all(name).iter().filter_map(|setting| match &setting.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.value(name).map(|value| match value {
            Value::Text(text) => text,
            other => panic!("{name} is not a text: {other:?}"),
        })
    }
}

/// Everything together, or everything that is wrong.
pub(super) fn build(mut draft: Draft, overrides: &Overrides, mode: Mode) -> Result<Config, Errors> {
    let listeners = listeners(&mut draft, overrides, mode);
    let findings = &mut draft.findings;
    let global = Values {
        layers: vec![&draft.global],
        mode,
    };
    contradictions(&global, findings);
    store::contradictions(&global, findings);
    let broker = broker(&global);
    let log = log(&global, overrides);
    let config = Config {
        listeners,
        broker,
        log,
        shards: global.number("shards"),
        connect_timeout_ms: global.count::<u64>("connect_timeout") * 1000,
        half_open_max: global.count("max_half_open"),
        connections_max: global.number("global_max_connections"),
        login_threads: global.number("login_threads"),
        logins_waiting_max: global.count("max_waiting_logins"),
        tcp_nodelay: global.on("set_tcp_nodelay"),
        sys_interval_s: global.number("sys_interval"),
        pid_file: pid_file(&global),
        store: store::store(&global),
        warnings: std::mem::take(&mut findings.warnings),
    };
    findings.take_errors().map_or(Ok(config), Err)
}

fn contradictions(global: &Values<'_>, findings: &mut Findings) {
    let mut report = |setting: &Setting, message: String| {
        findings.error(Finding::new(Code::Contradiction, setting.origin.place(), message));
    };
    if let (Some(old), Some(new)) = (global.set("allow_duplicate_messages"), global.set("overlapping")) {
        let each = old.value == Value::Bool(true);
        if each != (new.value == Value::Word("each")) {
            let means = if each { "each" } else { "once" };
            let at = new.origin.short();
            report(
                old,
                format!("this means 'overlapping {means}', and {at} says otherwise."),
            );
        }
    }
    if let (Some(own), Some(max)) = (global.set("server_keep_alive"), global.set("max_keepalive"))
        && let (Value::Number(Some(own_s)), Value::Number(Some(max_s))) = (&own.value, &max.value)
        && own_s > max_s
    {
        let at = max.origin.short();
        report(
            own,
            format!("'server_keep_alive' {own_s} is above 'max_keepalive' {max_s} ({at})."),
        );
    }
}

fn broker(global: &Values<'_>) -> BrokerSettings {
    let overlapping = match (global.set("overlapping"), global.bool("allow_duplicate_messages")) {
        (None, Some(true)) => Overlapping::Each,
        (None, Some(false)) => Overlapping::Once,
        _ if global.word("overlapping") == Some("each") => Overlapping::Each,
        _ => Overlapping::Once,
    };
    let exceeded = match global.word("receive_maximum_exceeded") {
        Some("warn") => ReceiveMaximumExceeded::Warn,
        _ => ReceiveMaximumExceeded::Disconnect,
    };
    // mosquitto has one window for both directions; whoever sets it means both, unless ours is set too.
    let inflight = global.number("max_inflight_messages").unwrap_or(u16::MAX);
    let both = global.set("max_inflight_messages").is_some() && global.set("receive_maximum").is_none();
    let receive_maximum = if both {
        inflight
    } else {
        global.count("receive_maximum")
    };
    let queued_bytes_max = global.number("max_queued_bytes");
    let is_stored = store::durability(global) != Durability::None;
    let of_kept = global.set("max_queued_bytes_session").is_some();
    let queued_bytes_total_max = global.number("max_queued_bytes_total").unwrap_or(if is_stored {
        STORED_QUEUES_BYTES
    } else {
        QUEUES_BYTES
    });
    BrokerSettings {
        sessions_max: global.number("global_max_clients"),
        keep_alive_s_max: global.number("max_keepalive"),
        server_keep_alive_s: global.number("server_keep_alive"),
        packet_bytes_max: global.count("max_packet_size"),
        payload_bytes_max: global.number("message_size_limit"),
        topic_levels_max: global.count("max_topic_levels"),
        payload_format_check: global.on("payload_format_check"),
        inflight_out_max: inflight,
        inflight_out_bytes_max: global.number("max_inflight_bytes"),
        receive_maximum,
        receive_maximum_exceeded: exceeded,
        queued_messages_max: global.number("max_queued_messages"),
        queued_bytes_max,
        kept_queued_bytes_max: if of_kept {
            global.number("max_queued_bytes_session")
        } else if global.set("max_queued_bytes").is_none() && is_stored {
            queued_bytes_max.map(|_| STORED_QUEUE_BYTES)
        } else {
            queued_bytes_max
        },
        queued_bytes_total_max,
        queued_memory_bytes_max: if is_stored {
            queued_bytes_total_max.min(QUEUES_BYTES)
        } else {
            queued_bytes_total_max
        },
        queue_qos0: global.on("queue_qos0_messages"),
        upgrade_outgoing_qos: global.on("upgrade_outgoing_qos"),
        overlapping,
        session_expiry_s_max: match global.value("persistent_client_expiration") {
            Some(Value::Seconds(seconds)) => u32::try_from(seconds).ok(),
            _ => None,
        },
        retain_available: global.on("retain_available"),
        retained_messages_max: global.number("max_retained_messages"),
        retained_bytes_max: global.number("max_retained_bytes"),
        retain_expiry_s_max: global
            .number("retain_expiry_interval")
            .map(|minutes: u64| minutes * 60),
    }
}

fn log(global: &Values<'_>, overrides: &Overrides) -> Log {
    let mut destinations = Vec::new();
    for setting in global.all("log_dest") {
        match &setting.value {
            Value::LogDest(Some(destination))
                if !destinations
                    .iter()
                    .any(|known: &LogDestination| known.is_same(destination)) =>
            {
                destinations.push(destination.clone().asked_by(&setting.origin));
            }
            Value::LogDest(None) => destinations.clear(),
            _ => {}
        }
    }
    if global.all("log_dest").is_empty() {
        destinations.push(LogDestination::Stderr);
    }
    let given = global
        .all("log_type")
        .iter()
        .filter_map(|setting| match &setting.value {
            Value::LogType(word) => Some(word.as_str()),
            _ => None,
        });
    let types = match (
        overrides.quiet,
        overrides.verbose > 0,
        global.set("log_type").is_some(),
    ) {
        (true, ..) => LogTypes::NONE,
        (_, true, _) => LogTypes::ALL,
        (_, _, true) => given.fold(LogTypes::NONE, |set, word| set.after(word).unwrap_or(set)),
        _ => LogTypes::DEFAULT,
    };
    let timestamp = match global.value("log_timestamp_format") {
        Some(Value::TimeFormat(format)) => Timestamp::Format(format),
        _ => Timestamp::EpochSeconds,
    };
    Log {
        destinations,
        types,
        timestamp: global.on("log_timestamp").then_some(timestamp),
        connection_messages: global.on("connection_messages"),
    }
}

/// Bytes that wait for one session, where they are on the disk.
const STORED_QUEUE_BYTES: u64 = 1 << 30;

/// The same for all sessions together.
const STORED_QUEUES_BYTES: u64 = 16 << 30;

/// The same in memory.
const QUEUES_BYTES: u64 = 1 << 30;

fn pid_file(global: &Values<'_>) -> Option<Written> {
    let setting = global.set("pid_file")?;
    let Value::Path(path) = &setting.value else {
        panic!("pid_file is not a path: {:?}", setting.value)
    };
    Some(Written {
        path: path.clone(),
        origin: setting.origin.clone(),
    })
}

/// A listener before its settings are read.
struct Wanted<'a> {
    bind: Bind,
    port: u16,
    settings: &'a Settings,
    origin: Origin,
    place: Place,
}

fn listeners(draft: &mut Draft, overrides: &Overrides, mode: Mode) -> Vec<Listener> {
    let flags = overrides.binds(draft);
    let explicit =
        draft.default_listener.contains_key("port") || draft.default_listener.contains_key("bind_address");
    if !draft.blocks.is_empty() && !explicit {
        for (name, place) in std::mem::take(&mut draft.above) {
            let message = format!("'{name}' belongs to a listener, but no 'listener' stands above it.");
            draft
                .findings
                .error(Finding::new(Code::WrongPlace, place, message));
        }
    }
    let mut wanted: Vec<Wanted<'_>> = draft.blocks.iter().map(of_block).collect();
    if explicit || wanted.is_empty() {
        wanted.insert(0, of_default(&draft.default_listener, explicit, mode));
    }
    if !flags.is_empty() || overrides.port.is_some() {
        if wanted.len() > 1 {
            let flag = flags
                .first()
                .map_or_else(|| port_flag(overrides.port), |flag| flag.origin.clone());
            let listeners = wanted
                .iter()
                .map(|w| w.origin.short())
                .collect::<Vec<_>>()
                .join(", ");
            let message =
                format!("several listeners are configured ({listeners}); the flag cannot mean all.");
            draft
                .findings
                .error(Finding::new(Code::WhichListener, flag.place(), message));
        } else if let Some(template) = wanted.pop() {
            wanted = of_flags(&template, &flags, overrides.port);
        }
    }
    let global = Values {
        layers: vec![&draft.global],
        mode,
    };
    let every = &draft.every_listener;
    let mut listeners: Vec<Listener> = Vec::with_capacity(wanted.len());
    for wanted in &wanted {
        let values = Values {
            layers: vec![every, wanted.settings],
            mode,
        };
        let mut listener = listener(wanted, &values, &global);
        listener.tls = tls(&values, &mut draft.findings);
        if listener.is_quic {
            quic(&listener, &values, &mut draft.findings);
        }
        // A port of UDP is another one than that of TCP.
        let is_same = |l: &&Listener| l.is_quic == listener.is_quic && l.place.overlaps(&listener.place);
        if let Some(same) = listeners.iter().find(is_same) {
            let message = format!(
                "this listener covers the same address and port as {}.",
                same.origin.short()
            );
            draft
                .findings
                .error(Finding::new(Code::SameListener, wanted.place.clone(), message));
        }
        listeners.push(listener);
    }
    for (listener, wanted) in listeners.iter_mut().zip(&wanted) {
        let values = Values {
            layers: vec![every, wanted.settings],
            mode,
        };
        listener.durability = store::of_listener(&values, &global, &mut draft.findings);
    }
    if let Some(warning) = logins::decide(&mut listeners, &wanted, draft, mode) {
        draft.findings.warning(warning);
    }
    listeners
}

fn of_block(block: &Block) -> Wanted<'_> {
    let first = block.settings.get("listener").and_then(|list| list.first());
    let Some(Setting {
        value: Value::Listener(port, bind),
        ..
    }) = first
    else {
        panic!("a block begins with a listener");
    };
    let (bind, port) = (bind.clone(), *port);
    Wanted {
        bind,
        port,
        settings: &block.settings,
        origin: block.origin.clone(),
        place: block.place.clone(),
    }
}

/// The default listener: as mosquitto, on every interface once `port` stands in the file.
fn of_default(settings: &Settings, explicit: bool, mode: Mode) -> Wanted<'_> {
    let values = Values {
        layers: vec![settings],
        mode,
    };
    let bind = match values.value("bind_address") {
        Some(Value::Bind(bind)) => bind,
        _ if explicit => Bind::Any,
        _ => Bind::Loopback,
    };
    let setting = values.set("bind_address").or_else(|| values.set("port"));
    let origin = setting.map_or(Origin::Default, |setting| setting.origin.clone());
    let place = origin.place();
    Wanted {
        bind,
        port: values.count("port"),
        settings,
        origin,
        place,
    }
}

/// `--bind` and `--port` over the only listener there is.
fn of_flags<'a>(
    template: &Wanted<'a>,
    flags: &[super::overrides::BindFlag],
    port: Option<u16>,
) -> Vec<Wanted<'a>> {
    let settings = template.settings;
    let port_or = |own: Option<u16>| own.or(port).unwrap_or(template.port);
    if flags.is_empty() {
        let origin = port_flag(port);
        let place = origin.place();
        return vec![Wanted {
            bind: template.bind.clone(),
            port: port_or(None),
            settings,
            origin,
            place,
        }];
    }
    let of = |flag: &super::overrides::BindFlag| Wanted {
        bind: flag.bind.clone(),
        port: port_or(flag.port),
        settings,
        origin: flag.origin.clone(),
        place: flag.origin.place(),
    };
    flags.iter().map(of).collect()
}

fn port_flag(port: Option<u16>) -> Origin {
    let flag: Arc<str> = port.map_or("--port".into(), |port| format!("--port {port}").into());
    Origin::Flag(flag)
}

/// What does not go together with QUIC.
fn quic(listener: &Listener, values: &Values<'_>, findings: &mut Findings) {
    let Some(setting) = values.set("protocol") else {
        return;
    };
    let mut report = |code, message: &str| {
        findings.error(Finding::new(code, setting.origin.place(), message));
    };
    if !cfg!(feature = "quic") {
        let message = "this build has no QUIC: it needs the cargo feature 'quic'.";
        return report(Code::NotBuilt, message);
    }
    if listener.tls.is_none() && values.set("certfile").is_none() && values.set("keyfile").is_none() {
        let message = "QUIC is always secured by TLS: 'certfile' and 'keyfile' are not set.";
        report(Code::TlsIncomplete, message);
    }
    if matches!(listener.place.bind, Bind::Unix(_)) {
        report(Code::Contradiction, "a Unix socket does not speak QUIC.");
    }
}

fn listener(wanted: &Wanted<'_>, values: &Values<'_>, global: &Values<'_>) -> Listener {
    let family = values.word("socket_domain").map(|word| match word {
        "ipv4" => Family::V4,
        _ => Family::V6,
    });
    let versions = match values.value("accept_protocol_versions") {
        Some(Value::Versions(versions)) => versions,
        _ => Versions {
            v3_1: true,
            v3_1_1: true,
            v5: true,
        },
    };
    let websockets = (values.word("protocol") == Some("websockets")).then(|| WebSockets {
        head_bytes_max: global.count("websockets_headers_size"),
        origins: values.texts("websockets_origin"),
    });
    let prefix = values
        .text("listener_auto_id_prefix")
        .or_else(|| values.text_if_set("auto_id_prefix"))
        .or_else(|| global.text("auto_id_prefix"));
    Listener {
        origin: wanted.origin.clone(),
        place: ListenerPlace {
            bind: wanted.bind.clone(),
            port: wanted.port,
            family,
        },
        connections_max: values.number("max_connections"),
        versions,
        qos_max: values.count("max_qos"),
        alias_in_max: values.count("max_topic_alias"),
        alias_out_max: values.count("max_topic_alias_broker"),
        allow_anonymous: false,
        allow_zero_length_clientid: true,
        password_file: None,
        auto_id_prefix: prefix.unwrap_or_default(),
        durability: Durability::Fsync,
        tls: None,
        websockets,
        is_quic: values.word("protocol") == Some("quic"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DIRECTIVES, Kind, Status};
    use super::*;

    #[test]
    fn each_default_of_the_table_can_be_read() {
        for directive in DIRECTIVES {
            for mode in [Mode::Native, Mode::Mosquitto] {
                let values = Values {
                    layers: Vec::new(),
                    mode,
                };
                let text = directive.default_in(mode);
                assert_eq!(
                    values.value(directive.name).is_none(),
                    text.is_empty(),
                    "{}",
                    directive.name
                );
                assert!(
                    text.is_empty() || directive.status == Status::Works,
                    "{}",
                    directive.name
                );
                assert!(
                    text.is_empty() || directive.kind != Kind::Listener,
                    "{}",
                    directive.name
                );
            }
        }
    }
}
