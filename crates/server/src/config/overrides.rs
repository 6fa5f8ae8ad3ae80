//! Flags of `martlet broker`: they win over the file, and go through the same table.

use super::directive::{Directive, Kind, Scope, Status, before_equals, looks_secret};
use super::directives::find;
use super::draft::{Draft, Setting};
use super::error::{Code, Finding, Place};
use super::listener::Bind;
use super::origin::Origin;
use super::reader::{is_same, later, unknown};
use super::shown::quoted;
use super::users::PER_LISTENER;
use super::value;

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--bind ADDRESS[:PORT]`, several times for several listeners.
    pub bind: Vec<String>,
    /// `--port PORT`; 0: the system picks a free one.
    pub port: Option<u16>,
    /// `-v`: everything is logged.
    pub verbose: u8,
    /// `-q`: nothing is logged; wins over `-v`.
    pub quiet: bool,
    /// `--set NAME=VALUE`, each as it was typed.
    pub set: Vec<String>,
    /// `--data-dir DIR`
    pub data_dir: Option<String>,
    /// `--durability LEVEL`
    pub durability: Option<String>,
}

/// A `--bind`, read.
#[derive(Debug, Clone)]
pub(super) struct BindFlag {
    pub(super) bind: Bind,
    pub(super) port: Option<u16>,
    pub(super) origin: Origin,
}

impl Overrides {
    /// Writes all `--set` into the draft.
    pub(super) fn apply(&self, draft: &mut Draft, root: bool) {
        let mut given: Vec<&'static str> = Vec::new();
        let sets = self.set.iter().map(|set| {
            let (name, text) = set
                .split_once('=')
                .map_or((set.trim(), None), |(n, t)| (n.trim(), Some(t)));
            let shown = if looks_secret(name) {
                format!("{}=***", before_equals(name))
            } else {
                set.clone()
            };
            (name, text, format!("--set {shown}"))
        });
        let named = [
            ("data_dir", "--data-dir", &self.data_dir),
            ("durability", "--durability", &self.durability),
        ];
        let named = named.into_iter().filter_map(|(name, flag, value)| {
            let value = value.as_deref()?;
            Some((name, Some(value), format!("{flag} {value}")))
        });
        for (name, text, flag) in sets.chain(named) {
            match read(name, text, root) {
                Ok(None) => {}
                Ok(Some((directive, value))) => {
                    let of_listener = draft.per_listener && PER_LISTENER.contains(&directive.name);
                    let settings = match directive.scope {
                        Scope::Listener => &mut draft.every_listener,
                        _ if of_listener => &mut draft.every_listener,
                        _ => &mut draft.global,
                    };
                    let setting = Setting {
                        value,
                        origin: Origin::Flag(flag.into()),
                    };
                    let list = settings.entry(directive.name).or_default();
                    if !(directive.kind.adds_up() && given.contains(&directive.name)) {
                        list.clear();
                    }
                    list.push(setting);
                    given.push(directive.name);
                }
                Err((code, message)) => draft
                    .findings
                    .error(Finding::new(code, Place::Flag(flag), message)),
            }
        }
    }

    /// All `--bind`.
    pub(super) fn binds(&self, draft: &mut Draft) -> Vec<BindFlag> {
        let mut binds = Vec::new();
        for text in &self.bind {
            let flag = format!("--bind {text}");
            let Some((bind, port)) = read_bind(text.trim()) else {
                let message = format!("'{}' is not an address with or without a port.", quoted(text));
                let note = "--bind takes 127.0.0.1, 127.0.0.1:1884, [::1]:1884, a host name, or * for all";
                draft
                    .findings
                    .error(Finding::new(Code::BadFlag, Place::Flag(flag), message).note(note));
                continue;
            };
            binds.push(BindFlag {
                bind,
                port,
                origin: Origin::Flag(flag.into()),
            });
        }
        binds
    }
}

type Read = Option<(&'static Directive, value::Value)>;

/// `None`: a directive that changes nothing.
fn read(name: &str, text: Option<&str>, root: bool) -> Result<Read, (Code, String)> {
    let Some(text) = text else {
        return Err((Code::BadFlag, "--set takes NAME=VALUE.".into()));
    };
    let Some(directive) = find(name) else {
        return Err((Code::UnknownName, unknown(name)));
    };
    if directive.kind == Kind::Listener || matches!(directive.name, "port" | "bind_address") {
        return Err((
            Code::BadFlag,
            format!("--set cannot set '{name}'; use --bind and --port."),
        ));
    }
    if directive.name == "include_dir" {
        return Err((
            Code::BadFlag,
            "--set cannot set 'include_dir'; it works in the file only.".into(),
        ));
    }
    match directive.status {
        Status::Works => {}
        Status::Gone(why) => {
            return Err((
                Code::NoEffect,
                format!("'{name}' has no effect, nor has it in mosquitto 2.1: {why}."),
            ));
        }
        Status::Later { feature, same } => {
            if is_same(directive, text, same, root) {
                return Ok(None);
            }
            return Err((Code::NotYet, later(name, feature, same)));
        }
    }
    if let Some(c) = text.chars().find(|c| c.is_control()) {
        return Err((
            Code::NotText,
            format!("the value holds a control character ({}).", c.escape_unicode()),
        ));
    }
    value::parse(directive, name, text)
        .map(|value| Some((directive, value)))
        .map_err(|fault| (fault.code, fault.message))
}

/// `ADDRESS`, `ADDRESS:PORT`, `[V6]:PORT`, `*:PORT`, `HOST:PORT`.
fn read_bind(text: &str) -> Option<(Bind, Option<u16>)> {
    if let Ok(socket) = text.parse::<std::net::SocketAddr>() {
        return Some((Bind::Address(socket.ip()), Some(socket.port())));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => {
            let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
            let port = digits.then(|| port.parse().ok()).flatten()?;
            Bind::parse(host).map(|bind| (bind, Some(port)))
        }
        Some(_) => match Bind::parse(text)? {
            Bind::Host(name) if !name.contains('%') => None,
            bind => Some((bind, None)),
        },
        None => Bind::parse(text).map(|bind| (bind, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_family_is_shown_without_what_a_terminal_obeys() {
        let (code, message) = read("plugin_opt_*\ta", Some("b"), false).unwrap_err();
        assert_eq!(code, Code::NotYet);
        assert!(
            message.starts_with("'plugin_opt_* a' is a directive"),
            "{message}"
        );
    }

    #[test]
    fn bind_flags() {
        let table = [
            ("127.0.0.1", "127.0.0.1", None),
            ("127.0.0.1:1884", "127.0.0.1", Some(1884)),
            ("::1", "[::1]", None),
            ("[::1]", "[::1]", None),
            ("[::1]:1884", "[::1]", Some(1884)),
            ("*", "*", None),
            ("*:0", "*", Some(0)),
            ("broker.example:1884", "broker.example", Some(1884)),
        ];
        for (text, bind, port) in table {
            let read = read_bind(text).unwrap();
            assert_eq!((read.0.to_string().as_str(), read.1), (bind, port), "{text}");
        }
        for text in [
            "", ":", ":1883", "a:", "a:65536", "a:+1", "a b", "/tmp/x", "[::1", "1:2:3", "[::1]:x",
        ] {
            assert!(read_bind(text).is_none(), "{text}");
        }
    }
}
