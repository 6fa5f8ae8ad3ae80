//! The table of directives: the whole of mosquitto's language, and ours.
//!
//! Parsing, `--set`, error messages and `docs/configuration.md` read this table and nothing else.

use super::directive::{Directive, Kind, Owner, Range, Scope, Status, Unit};

use Kind::{
    Address, Bool, Choice, Duration, LogDest, LogType, Number, Origin, Path, Text, TimeFormat, Versions,
};
use Scope::{Bridge, Global, Listener};

const MB: u64 = 1024 * 1024;
/// The largest count that mosquitto reads.
const COUNT_MAX: u64 = i32::MAX as u64;
/// More bytes than any machine queues: a ceiling against slips of the finger.
const BYTES_MAX: u64 = 1 << 40;

const COUNT: Kind = special(1, COUNT_MAX, Unit::Plain, 0, "no limit");
const OR_MINUS_1: Kind = special(1, COUNT_MAX, Unit::Plain, -1, "no limit");
const BYTES: Kind = special(1, BYTES_MAX, Unit::Bytes, 0, "no limit");
/// What is survived.
const LEVELS: Kind = Choice(&["fsync", "os", "none"]);
const PORT: Kind = number(1, 65_535, Unit::Plain);
const U16: Kind = number(0, 65_535, Unit::Plain);
const SECONDS: Kind = number(0, 65_535, Unit::Seconds);
const PREFIX: Kind = Text(50);
const WORD: Kind = Text(4096);

const ENGINES: &str = "keys in OpenSSL engines";
const PSK: &str = "TLS with pre-shared keys";
const USERS: &str = "users and passwords";
const RIGHTS: &str = "access lists";
const PLUGINS: &str = "plugins";
const DISK: &str = "saving now and then";
const BRIDGES: &str = "bridges";
const WEBSOCKET_LOG: &str = "a log of the WebSocket library";
const PROXY: &str = "the PROXY protocol";

/// Every directive that is known, those that work first.
pub const DIRECTIVES: &[Directive] = TABLE;

// One directive, one entry, columns in one order: name, kind, scope, native default, mosquitto's default, help.
#[rustfmt::skip]
const TABLE: &[Directive] = &[
    // Listeners
    works("listener", Kind::Listener, Global, "", "",
        "Opens a listener; the lines below it, up to the next one, belong to it. Without an address it takes connections on every interface. Port 0 with a path opens a Unix socket."),
    works("port", PORT, Global, "1883", "1883",
        "The port of the default listener (the older way to write `listener`)."),
    works("bind_address", Address, Global, "", "",
        "The address of the default listener (the older way to write `listener`)."),
    works("socket_domain", Choice(&["ipv4", "ipv6"]), Listener, "", "",
        "Opens the listener for one family of addresses only; if not given, for both."),
    works("max_connections", OR_MINUS_1, Listener, "-1", "-1",
        "Connections of this listener at a time; one more is refused."),
    works("accept_protocol_versions", Versions, Listener, "3,4,5", "3,4,5",
        "Versions of MQTT that this listener accepts: 3 is 3.1, 4 is 3.1.1, 5 is 5.0."),
    aliased("max_qos", "maximum_qos", number(0, 2, Unit::Plain), Listener, "2", "2",
        "The highest QoS that clients may publish with; 5.0 clients are told."),
    works("max_topic_alias", U16, Listener, "10", "10",
        "Topic aliases that a client may use towards the broker."),
    works("max_topic_alias_broker", U16, Listener, "10", "10",
        "Topic aliases that the broker uses towards a client, if the client allows that many; the least used one is replaced."),
    works("listener_allow_anonymous", Bool, Listener, "", "",
        "As `allow_anonymous`, for this listener alone."),
    works("listener_auto_id_prefix", PREFIX, Listener, "", "",
        "As `auto_id_prefix`, for this listener alone."),
    works("protocol", Choice(&["mqtt", "websockets", "quic"]), Listener, "mqtt", "mqtt",
        "What the listener speaks: MQTT directly, inside of WebSockets, or over QUIC, which needs `certfile` and `keyfile`, a port of UDP, and a build with the feature `quic`."),
    aliased("websockets_headers_size", "packet_buffer_size", number(128, 65_535, Unit::Bytes), Global, "4096", "4096",
        "Bytes that the request for a WebSocket may have; a longer one is refused with 431."),
    works("websockets_origin", Origin, Listener, "", "",
        "Pages that browsers may open WebSockets from; may be given several times. If not given: all. Programs that are no browsers name no page, and are let in."),
    // TLS
    works("certfile", Path, Listener, "", "",
        "The server's certificate, and those that lead to its authority, as PEM; with `keyfile` it makes the listener speak TLS. Read again at SIGHUP."),
    works("keyfile", Path, Listener, "", "",
        "The key of the certificate, as PEM, not encrypted."),
    works("cafile", Path, Listener, "", "",
        "Certificates of the authorities that sign clients' certificates, as PEM."),
    works("capath", Path, Listener, "", "",
        "Folder of such files."),
    works("require_certificate", Bool, Listener, "false", "false",
        "Clients must show a certificate that an authority of `cafile` or `capath` has signed; else they are asked for none."),
    works("crlfile", Path, Listener, "", "",
        "Lists of revoked clients' certificates, as PEM, one of each authority."),
    works("use_identity_as_username", Bool, Listener, "false", "false",
        "Takes the user name from the common name of the client's certificate, and ignores user and password of CONNECT."),
    works("use_subject_as_username", Bool, Listener, "false", "false",
        "The same with the whole subject of the certificate, as in `CN=sensor,O=Example`."),
    works("tls_version", WORD, Listener, "", "",
        "The lowest version of TLS: `tlsv1.2` (if not given) or `tlsv1.3`; there is none below."),
    works("ciphers", WORD, Listener, "", "",
        "Ciphers of TLS 1.2 by their names in OpenSSL, apart by colons. If not given: all that there are, which are good ones."),
    works("ciphers_tls1.3", WORD, Listener, "", "",
        "The same of TLS 1.3."),
    // Who may connect
    works("allow_anonymous", Bool, Global, "", "",
        "Lets clients in that name no user. If not given: yes as long as every listener is on the loopback and none has a `password_file`, else no."),
    works("password_file", Path, Global, "", "",
        "File of users and their passwords, as `martlet passwd` and mosquitto_passwd write it; read again on SIGHUP. Whoever names a user must be one of them, and whoever names none stays out unless `allow_anonymous true` is set."),
    works("per_listener_settings", Bool, Global, "false", "false",
        "Makes `allow_anonymous`, `allow_zero_length_clientid`, `auto_id_prefix` and `password_file` belong to the `listener` above them; stands before all of them."),
    ours("login_threads", number(1, 64, Unit::Plain), Global, "", "",
        "Threads that check passwords; each takes what a hash takes, 46 MiB with argon2id. They give way to the threads that serve clients. If not given: one a core, at most 4."),
    ours("max_waiting_logins", number(1, 65_535, Unit::Plain), Global, "1024", "1024",
        "Logins that wait to be checked; one more is refused with 0x89, 3 in 3.x."),
    works("allow_zero_length_clientid", Bool, Global, "true", "true",
        "Lets 3.1.1 and 5.0 clients in that name no client identifier; they get one."),
    works("auto_id_prefix", PREFIX, Global, "auto-", "auto-",
        "How the client identifiers begin that the broker gives out."),
    works("global_max_connections", OR_MINUS_1, Global, "", "-1",
        "Connections of all listeners at a time; one more waits to be accepted until another ends, and the log says so. Never more than the limit of open files allows."),
    works("global_max_clients", OR_MINUS_1, Global, "1000000", "-1",
        "Sessions, connected or not; a client that needs one more is refused with 0x97."),
    ours("max_half_open", number(1, COUNT_MAX, Unit::Plain), Global, "20000", "20000",
        "Connections that have not sent a complete CONNECT yet; one more waits to be accepted."),
    ours("connect_timeout", number(1, 3600, Unit::Seconds), Global, "10", "30",
        "Time that a connection has to send a complete CONNECT before it is closed."),
    works("max_keepalive", special(1, 65_535, Unit::Seconds, 0, "any"), Global, "0", "0",
        "The longest keep alive that 5.0 clients may ask for; above it they get this one as Server Keep Alive. 3.x clients keep what they ask for."),
    ours("server_keep_alive", special(1, 65_535, Unit::Seconds, 0, "the client's own"), Global, "0", "0",
        "Keep alive that every 5.0 client gets as Server Keep Alive, whatever it asks for."),
    // Sizes
    works("max_packet_size", number(20, 268_435_460, Unit::Bytes), Global, "2000000", "2000000",
        "The largest packet that a client may send, whole; a larger one is answered with 0x95 and the connection is closed."),
    works("message_size_limit", special(1, 268_435_455, Unit::Bytes, 0, "no limit"), Global, "0", "0",
        "The largest payload that is accepted; a larger one is acknowledged (0x83 in 5.0) and dropped."),
    ours("max_topic_levels", number(1, 65_535, Unit::Plain), Global, "200", "200",
        "Separators that a topic name or filter may have; one more closes the connection with 0x81."),
    ours("payload_format_check", Bool, Global, "false", "false",
        "Refuses a payload (0x99) that its publisher calls text and that is not UTF-8."),
    // Windows and queues
    works("max_inflight_messages", special(1, 65_535, Unit::Plain, 0, "65535"), Global, "64", "20",
        "QoS 1 and 2 messages that are sent to a client and not yet acknowledged; if given, it is the receive maximum too."),
    ours("receive_maximum", number(1, 65_535, Unit::Plain), Global, "1024", "20",
        "QoS 1 and 2 messages that a client may send before it must wait for an acknowledgement; 5.0 clients are told, 3.x sockets are not read beyond it."),
    ours("receive_maximum_exceeded", Choice(&["disconnect", "warn"]), Global, "disconnect", "warn",
        "What happens to a 5.0 client with more unacknowledged messages than the receive maximum: DISCONNECT 0x93, or a warning in the log, once a connection."),
    works("max_inflight_bytes", BYTES, Global, "0", "0",
        "Bytes of QoS 1 and 2 payload sent to a client and not yet acknowledged; one message always passes."),
    works("max_queued_messages", COUNT, Global, "0", "1000",
        "Messages that wait for a client; the newest is dropped at the limit, and counted."),
    works("max_queued_bytes", BYTES, Global, "67108864", "0",
        "Bytes that wait for a client; the newest message is dropped at the limit, and counted."),
    ours("max_queued_bytes_session", BYTES, Global, "", "",
        "As `max_queued_bytes`, for sessions with an expiry alone. If not given: `max_queued_bytes` if that is, else 1 GiB where there is a store, as what waits is on the disk."),
    ours("max_queued_bytes_total", number(MB, BYTES_MAX, Unit::Bytes), Global, "", "",
        "Bytes that wait for all clients together; at the limit publishers are refused with 0x97. If not given: 16 GiB where there is a store, else 1 GiB. What waits for sessions that end with their connection is in memory, and never more than 1 GiB of it where there is a store."),
    works("queue_qos0_messages", Bool, Global, "false", "false",
        "Queues QoS 0 messages too for sessions whose client is away."),
    works("upgrade_outgoing_qos", Bool, Global, "false", "false",
        "Delivers with the QoS of the subscription, also what was published with a lower one."),
    ours("overlapping", Choice(&["once", "each"]), Global, "once", "each",
        "A message that several filters of a client match comes once with the highest QoS, or once for each filter."),
    works("allow_duplicate_messages", Bool, Global, "", "",
        "The older way to write `overlapping`: true is `each`, false is `once`."),
    // What is kept
    works("persistent_client_expiration", Duration, Global, "", "",
        "The longest that a session lives without its client; if not given, as long as the client asks for."),
    works("retain_available", Bool, Global, "true", "true",
        "Accepts retained messages; 5.0 clients are told if not."),
    ours("max_retained_messages", COUNT, Global, "10000000", "",
        "Retained messages; at the limit a message for one more topic is refused with 0x97."),
    ours("max_retained_bytes", BYTES, Global, "4294967296", "",
        "Bytes of retained messages; at the limit what would add to them is refused with 0x97."),
    works("retain_expiry_interval", number(1, 10_000_000, Unit::Minutes), Global, "", "",
        "The longest that a retained message is kept; if not given, for ever or as its publisher says."),
    // The store
    ours("durability", LEVELS, Global, "", "",
        "What survives what: `fsync` a power cut, `os` the end of the broker however it comes, `none` nothing. If not given: `fsync`, or `none` with `persistence false`. Beside a `persistence` that says otherwise it is an error; on the command line it holds, with a warning."),
    ours("listener_durability", LEVELS, Listener, "", "",
        "As `durability`, for the acknowledgements of this listener alone. With `durability none` nothing is stored, so `fsync` and `os` are errors here."),
    ours("data_dir", Path, Global, "", "",
        "Folder of the store; with `durability none` it is not used, which is told. If not given: `martlet-data` in `persistence_location`, else $STATE_DIRECTORY, else `martlet-data` where the broker is started."),
    aliased("persistence", "retained_persistence", Bool, Global, "", "",
        "Whether anything is stored at all: `false` is `durability none`."),
    works("persistence_location", Path, Global, "", "",
        "Folder in which the folder of the store is, as `martlet-data`."),
    // The process
    ours("shards", special(1, 256, Unit::Plain, 0, "one per core"), Global, "0", "0",
        "Threads that serve clients."),
    works("set_tcp_nodelay", Bool, Global, "true", "false",
        "Sends small packets at once instead of waiting for more (`TCP_NODELAY`)."),
    works("sys_interval", special(1, 65_535, Unit::Seconds, 0, "no `$SYS` tree"), Global, "10", "10",
        "How often the topics under `$SYS/broker` are brought up to date."),
    works("pid_file", Path, Global, "", "",
        "File that holds the process identifier while the broker runs."),
    works("include_dir", Path, Global, "", "",
        "Reads every file of a folder whose name ends in `.conf`, in the order of their names; in the main file only."),
    // Log
    works("connection_messages", Bool, Global, "true", "true",
        "Writes a line when a client connects or disconnects."),
    works("log_dest", LogDest, Global, "stderr", "stderr",
        "Where the log goes; may be given several times, `none` forgets those before it."),
    works("log_type", LogType, Global, "", "",
        "What is logged; may be given several times, `none` forgets those before it. If not given: error, warning, notice and information."),
    works("log_timestamp", Bool, Global, "true", "true",
        "Begins each line of the log with the time."),
    works("log_timestamp_format", TimeFormat, Global, "%Y-%m-%dT%H:%M:%SZ", "",
        "How that time is written, in UTC; if there is none, seconds since 1970."),

    // Known, and equal to what the broker does, or not carried out yet
    later("check_retain_source", Bool, Global, "leaving that check out: the publisher's right is always checked", &["true"],
        "Checks the right of a retained message's publisher again when it is delivered."),
    later("user", Text(64), Global, "changing to another user after the start", &["root"],
        "The user to become when started as root; started as anyone else it means nothing, and is accepted."),
    later("bind_interface", Text(15), Listener, "listeners on one interface", &[], "Takes connections of one network interface only."),
    later("mount_point", WORD, Listener, "mount points", &[], "Put before every topic of the listener's clients."),
    later("use_username_as_clientid", Bool, Listener, USERS, &["false"], "Replaces the client identifier by the user name."),
    later("clientid_prefixes", WORD, Global, "client identifiers by prefix", &[], "Lets in only clients whose identifier begins like this."),
    later("memory_limit", BYTES, Global, "a limit of all memory", &["0"], "Heap that the broker may use."),
    later("log_facility", number(0, 7, Unit::Plain), Global, "the system log", &[], "Facility of the system log, local0 to local7."),
    later("enable_control_api", Bool, Global, "the `$CONTROL` topics", &["false"], "Answers requests on `$CONTROL` topics."),
    later("websockets_log_level", U16, Global, WEBSOCKET_LOG, &["0"], "What the WebSocket library logs."),
    later("http_dir", Path, Listener, "serving files over HTTP", &[], "Folder whose files are served over HTTP."),
    later("enable_proxy_protocol", number(1, 2, Unit::Plain), Listener, PROXY, &[], "Version of the PROXY protocol that comes before MQTT."),
    later("proxy_protocol_v2_require_tls", Bool, Listener, PROXY, &["false"], "Accepts only clients that came to the proxy over TLS."),
    // Disk
    later("persistence_file", Path, Global, DISK, &["*"], "File in which mosquitto saves; the store here is a folder of its own."),
    later("autosave_interval", number(0, COUNT_MAX, Unit::Seconds), Global, DISK, &["*"], "How often mosquitto saves; here everything is stored before it is acknowledged."),
    later("autosave_on_changes", Bool, Global, DISK, &["*"], "Counts changes instead of seconds; here everything is stored before it is acknowledged."),
    // Users, rights, plugins
    later("acl_file", Path, Global, RIGHTS, &[], "File that says who may publish and subscribe to what."),
    later("psk_file", Path, Global, PSK, &[], "File of identities and their pre-shared keys."),
    later_aliased("plugin", "auth_plugin", WORD, Global, PLUGINS, &[], "Plugin to load."),
    later("global_plugin", WORD, Global, PLUGINS, &[], "Plugin for all listeners."),
    later("plugin_load", WORD, Global, PLUGINS, &[], "Plugin to load under a name."),
    later("plugin_use", WORD, Listener, PLUGINS, &[], "Uses a loaded plugin for this listener."),
    later_aliased("plugin_opt_*", "auth_opt_*", WORD, Global, PLUGINS, &[], "An option of the plugin above."),
    later("auth_plugin_deny_special_chars", Bool, Global, PLUGINS, &["*"], "Denies names with + or # before a plugin is asked; means nothing without one."),
    // TLS
    later("disable_client_cert_date_checks", Bool, Listener, "accepting expired certificates", &["false"], "Accepts expired client certificates."),
    later("psk_hint", WORD, Listener, PSK, &[], "Hint that is sent to clients with pre-shared keys."),
    later("tls_engine", WORD, Listener, ENGINES, &[], "OpenSSL engine to use."),
    later("tls_engine_kpass_sha1", WORD, Listener, ENGINES, &[], "Hash of the password of the engine's key."),
    later("tls_keyform", Choice(&["pem", "engine"]), Listener, ENGINES, &["pem"], "Where the key is."),
    // Bridges
    later("connection", WORD, Global, BRIDGES, &[], "Opens a bridge to another broker; the lines below it belong to it."),
    later_aliased("address", "addresses", WORD, Bridge, BRIDGES, &[], "Where the other broker is."),
    later("topic", WORD, Bridge, BRIDGES, &[], "Topics that the bridge carries, their direction, QoS and prefixes."),
    later("bridge_alpn", WORD, Bridge, BRIDGES, &[], "Protocol that is offered in the TLS handshake."),
    later("bridge_attempt_unsubscribe", Bool, Bridge, BRIDGES, &[], "Unsubscribes at the other broker what is no longer configured."),
    later("bridge_bind_address", Address, Bridge, BRIDGES, &[], "Address that the bridge connects from."),
    later("bridge_cafile", Path, Bridge, BRIDGES, &[], "Certificates that the other broker's must lead to."),
    later("bridge_capath", Path, Bridge, BRIDGES, &[], "Folder of such certificates."),
    later("bridge_certfile", Path, Bridge, BRIDGES, &[], "The bridge's own certificate."),
    later("bridge_ciphers", WORD, Bridge, BRIDGES, &[], "Ciphers of TLS 1.2."),
    later("bridge_ciphers_tls1.3", WORD, Bridge, BRIDGES, &[], "Ciphers of TLS 1.3."),
    later("bridge_identity", WORD, Bridge, BRIDGES, &[], "Identity of the pre-shared key."),
    later("bridge_insecure", Bool, Bridge, BRIDGES, &[], "Does not compare the host name with the certificate."),
    later("bridge_keyfile", Path, Bridge, BRIDGES, &[], "The key of the bridge's certificate."),
    later("bridge_max_packet_size", U16, Bridge, BRIDGES, &[], "The largest packet that the bridge accepts."),
    later("bridge_max_topic_alias", U16, Bridge, BRIDGES, &[], "Topic aliases that the other broker may use."),
    later("bridge_outgoing_retain", Bool, Bridge, BRIDGES, &[], "Keeps the retain flag of what goes out."),
    later("bridge_protocol_version", Choice(&["mqttv31", "mqttv311", "mqttv50"]), Bridge, BRIDGES, &[], "Version of MQTT that the bridge speaks."),
    later("bridge_psk", WORD, Bridge, BRIDGES, &[], "Pre-shared key of the bridge."),
    later("bridge_receive_maximum", U16, Bridge, BRIDGES, &[], "Receive maximum of the bridge."),
    later("bridge_reload_type", Choice(&["lazy", "immediate"]), Bridge, BRIDGES, &[], "When a changed bridge connects anew."),
    later("bridge_require_ocsp", Bool, Bridge, BRIDGES, &[], "Wants proof that the certificate is not revoked."),
    later("bridge_session_expiry_interval", SECONDS, Bridge, BRIDGES, &[], "How long the bridge's session lives."),
    later("bridge_tcp_keepalive", WORD, Bridge, BRIDGES, &[], "Keep alive of TCP itself: idle, interval and count."),
    later("bridge_tcp_user_timeout", SECONDS, Bridge, BRIDGES, &[], "How long sent data may stay unacknowledged by TCP."),
    later("bridge_tls_use_os_certs", Bool, Bridge, BRIDGES, &[], "Trusts the certificates of the system."),
    later("bridge_tls_version", WORD, Bridge, BRIDGES, &[], "Version of TLS that the bridge speaks."),
    later_aliased("remote_clientid", "clientid", WORD, Bridge, BRIDGES, &[], "Client identifier at the other broker."),
    later("cleansession", Bool, Bridge, BRIDGES, &[], "Starts the other broker's session anew."),
    later("local_cleansession", Bool, Bridge, BRIDGES, &[], "Starts the local session anew."),
    later("idle_timeout", SECONDS, Bridge, BRIDGES, &[], "When a lazy bridge disconnects."),
    later("keepalive_interval", SECONDS, Bridge, BRIDGES, &[], "Keep alive of the bridge."),
    later("local_clientid", WORD, Bridge, BRIDGES, &[], "Client identifier at this broker."),
    later("local_password", WORD, Bridge, BRIDGES, &[], "Password at this broker."),
    later("local_username", WORD, Bridge, BRIDGES, &[], "User at this broker."),
    later("notifications", Bool, Bridge, BRIDGES, &[], "Publishes whether the bridge is up."),
    later("notifications_local_only", Bool, Bridge, BRIDGES, &[], "Publishes that at this broker only."),
    later("notification_topic", WORD, Bridge, BRIDGES, &[], "Where it is published."),
    later_aliased("remote_password", "password", WORD, Bridge, BRIDGES, &[], "Password at the other broker."),
    later_aliased("remote_username", "username", WORD, Bridge, BRIDGES, &[], "User at the other broker."),
    later("restart_timeout", WORD, Bridge, BRIDGES, &[], "How long the bridge waits before it connects again."),
    later("round_robin", Bool, Bridge, BRIDGES, &[], "Treats several addresses alike."),
    later("start_type", Choice(&["automatic", "lazy", "once"]), Bridge, BRIDGES, &[], "When the bridge connects."),
    later("threshold", U16, Bridge, BRIDGES, &[], "Messages that wake a lazy bridge."),
    later("try_private", Bool, Bridge, BRIDGES, &[], "Tells the other broker that this is a bridge."),
    // Without effect in mosquitto itself
    gone("retry_interval", "nothing is sent again on a living connection"),
    gone("dhparamfile", "TLS chooses its own parameters"),
];

/// The directive of that name, an alias and the families `plugin_opt_*` and `auth_opt_*` included.
pub fn find(name: &str) -> Option<&'static Directive> {
    let family = ["plugin_opt_", "auth_opt_"]
        .iter()
        .any(|p| name.len() > p.len() && name.starts_with(p));
    let name = if family { "plugin_opt_*" } else { name };
    DIRECTIVES
        .iter()
        .find(|d| d.name == name || (!d.alias.is_empty() && d.alias == name))
}

const fn number(min: u64, max: u64, unit: Unit) -> Kind {
    Number(Range {
        min,
        max,
        special: None,
        unit,
    })
}

const fn special(min: u64, max: u64, unit: Unit, value: i64, means: &'static str) -> Kind {
    Number(Range {
        min,
        max,
        special: Some((value, means)),
        unit,
    })
}

const fn works(
    name: &'static str,
    kind: Kind,
    scope: Scope,
    native: &'static str,
    mosquitto: &'static str,
    help: &'static str,
) -> Directive {
    let (owner, status) = (Owner::Mosquitto, Status::Works);
    Directive {
        name,
        alias: "",
        kind,
        scope,
        native,
        mosquitto,
        owner,
        status,
        help,
    }
}

const fn aliased(
    name: &'static str,
    alias: &'static str,
    kind: Kind,
    scope: Scope,
    native: &'static str,
    mosquitto: &'static str,
    help: &'static str,
) -> Directive {
    Directive {
        alias,
        ..works(name, kind, scope, native, mosquitto, help)
    }
}

const fn ours(
    name: &'static str,
    kind: Kind,
    scope: Scope,
    native: &'static str,
    mosquitto: &'static str,
    help: &'static str,
) -> Directive {
    Directive {
        owner: Owner::Martlet,
        ..works(name, kind, scope, native, mosquitto, help)
    }
}

const fn later(
    name: &'static str,
    kind: Kind,
    scope: Scope,
    feature: &'static str,
    same: &'static [&'static str],
    help: &'static str,
) -> Directive {
    Directive {
        status: Status::Later { feature, same },
        ..works(name, kind, scope, "", "", help)
    }
}

const fn later_aliased(
    name: &'static str,
    alias: &'static str,
    kind: Kind,
    scope: Scope,
    feature: &'static str,
    same: &'static [&'static str],
    help: &'static str,
) -> Directive {
    Directive {
        alias,
        ..later(name, kind, scope, feature, same, help)
    }
}

const fn gone(name: &'static str, why: &'static str) -> Directive {
    Directive {
        status: Status::Gone(why),
        ..works(name, WORD, Global, "", "", "Has no effect.")
    }
}
