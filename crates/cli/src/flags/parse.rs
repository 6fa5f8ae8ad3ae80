//! Arguments and options files to [`Settings`].

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use martlet_client::Proxy;
use martlet_codec::{FilterBuf, Qos, RetainHandling, TopicBuf, Version};

use super::{Flag, Id, property, rules, url, way};
use crate::format::Format;
use crate::program::{Program, Role};
use crate::settings::{Input, RANDOM_FILTER_ALL, Settings};
use crate::wrong::{TopicUse, Wrong};

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    Run(Box<Settings>),
    Help,
    Version,
}

/// Reads the arguments behind the name of the program, and the options file that they or the
/// environment name.
pub(crate) fn parse(role: Role, args: &[OsString]) -> Result<Asked, Wrong> {
    let mut settings = Settings::new(role);
    let file = match named_file(args)? {
        Some(path) => {
            let text = std::fs::read(&path).map_err(|error| Wrong::OptionsFile {
                path: path.clone(),
                error,
            })?;
            Some((path, text))
        }
        None => default_file(role.program).and_then(|path| Some((path.clone(), std::fs::read(path).ok()?))),
    };
    if let Some((path, text)) = file
        && let Some(asked) = file_lines(&mut settings, &path, &text)?
    {
        return Ok(asked);
    }
    if let Some(asked) = Arguments::new(role, args).read_into(&mut settings)? {
        return Ok(asked);
    }
    rules::check(&mut settings)?;
    Ok(Asked::Run(Box::new(settings)))
}

/// The file of `-o`, which counts wherever it stands.
fn named_file(args: &[OsString]) -> Result<Option<PathBuf>, Wrong> {
    let mut found = None;
    for (at, _) in args.iter().enumerate().filter(|(_, arg)| *arg == "-o") {
        if found.is_some() {
            return Err(Wrong::OptionsTwice);
        }
        let path = args.get(at + 1).ok_or_else(|| missing(Program::Pub, "-o"))?;
        found = Some(PathBuf::from(path));
    }
    Ok(found)
}

fn default_file(program: Program) -> Option<PathBuf> {
    let folder = match std::env::var_os("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&std::env::var_os("HOME")?).join(".config"),
    };
    Some(folder.join(program.mosquitto()))
}

/// One option with its value per line; lines that start with `#` are comments.
fn file_lines(settings: &mut Settings, path: &Path, text: &[u8]) -> Result<Option<Asked>, Wrong> {
    for (line, number) in text.split(|byte| *byte == b'\n').zip(1..) {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let at = |wrong| Wrong::InFile {
            path: path.to_owned(),
            line: number,
            wrong: Box::new(wrong),
        };
        let text = std::str::from_utf8(line).map_err(|_| at(Wrong::Utf8("options file".to_owned())))?;
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut args = vec![OsString::from(name)];
        if name == "-D" || name == "--property" {
            args.extend(rest.split_whitespace().map(OsString::from));
        } else if !rest.is_empty() {
            args.push(rest.into());
        }
        let asked = Arguments::new(settings.role, &args)
            .read_into(settings)
            .map_err(at)?;
        if asked.is_some() {
            return Ok(asked);
        }
    }
    Ok(None)
}

fn missing(program: Program, name: &str) -> Wrong {
    Flag::find(program, name).map_or_else(|| Wrong::Unknown(name.to_owned()), Wrong::Missing)
}

/// The arguments that are left to read.
struct Arguments<'a> {
    role: Role,
    rest: std::slice::Iter<'a, OsString>,
}

impl<'a> Arguments<'a> {
    fn new(role: Role, args: &'a [OsString]) -> Self {
        Self {
            role,
            rest: args.iter(),
        }
    }

    fn read_into(mut self, settings: &mut Settings) -> Result<Option<Asked>, Wrong> {
        while let Some(arg) = self.rest.next() {
            let Some(text) = arg.to_str() else {
                return Err(Wrong::Unknown(arg.to_string_lossy().into_owned()));
            };
            if let Some(flag) = Flag::find(self.role.program, text) {
                if let Some(asked) = self.apply(settings, flag, None)? {
                    return Ok(Some(asked));
                }
            } else if self.role.is_mosquitto() {
                return Err(Wrong::Unknown(text.to_owned()));
            } else if let Some(asked) = self.joined(settings, text)? {
                return Ok(Some(asked));
            }
        }
        Ok(None)
    }

    /// Forms that mosquitto does not have: `--topic=a`, `-ta`, `-vt a`.
    fn joined(&mut self, settings: &mut Settings, text: &str) -> Result<Option<Asked>, Wrong> {
        let unknown = || Wrong::Unknown(text.to_owned());
        if let Some((name, value)) = text.split_once('=').filter(|_| text.starts_with("--")) {
            let flag = Flag::find(self.role.program, name).ok_or_else(unknown)?;
            if !flag.takes_value() || flag.id == Id::Property {
                return Err(unknown());
            }
            return self.apply(settings, flag, Some(OsStr::new(value)));
        }
        let letters = text.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
        let mut letters = letters.ok_or_else(unknown)?.chars();
        let mut first = true;
        while let Some(letter) = letters.next() {
            let name = format!("-{letter}");
            let flag = Flag::find(self.role.program, &name).ok_or_else(unknown)?;
            let rest = letters.as_str();
            // Only switches may stand before others, so that a mistyped long option is not taken apart.
            if flag.takes_value() && !rest.is_empty() && !first {
                return Err(unknown());
            }
            let value = (flag.takes_value() && !rest.is_empty()).then(|| OsStr::new(rest));
            if value.is_some() && flag.id == Id::Property {
                return Err(unknown());
            }
            if let Some(asked) = self.apply(settings, flag, value)? {
                return Ok(Some(asked));
            }
            if value.is_some() {
                break;
            }
            first = false;
        }
        Ok(None)
    }

    /// Takes the option's value, unless it came joined, and sets what it stands for.
    fn apply(
        &mut self,
        settings: &mut Settings,
        flag: &'static Flag,
        joined: Option<&OsStr>,
    ) -> Result<Option<Asked>, Wrong> {
        match flag.id {
            Id::Help => return Ok(Some(Asked::Help)),
            Id::Version => return Ok(Some(Asked::Version)),
            Id::Property => {
                settings.version = Some(Version::V5);
                settings.need_v5("-D");
                property::read(settings, || {
                    Ok(self.rest.next().ok_or(Wrong::Missing(flag))?.as_os_str())
                })?;
            }
            _ if flag.takes_value() => {
                let value = match joined {
                    Some(value) => value,
                    None => self.rest.next().ok_or(Wrong::Missing(flag))?,
                };
                set(settings, flag, value)?;
            }
            _ => set_switch(settings, flag)?,
        }
        Ok(None)
    }
}

fn set_switch(settings: &mut Settings, flag: &'static Flag) -> Result<(), Wrong> {
    match flag.id {
        Id::Clean => settings.clean_start = false,
        Id::Debug => settings.debug = true,
        Id::ExitAfterSuback => settings.exit_after_suback = true,
        Id::StdinLines => set_input(settings, Input::Lines)?,
        Id::Stdin => set_input(settings, Input::Stdin)?,
        Id::Null => set_input(settings, Input::Null)?,
        Id::Latency => settings.latency = true,
        Id::MessageRate => settings.message_rate = true,
        Id::NoTls => settings.no_tls = true,
        Id::SystemRoots => settings.way.trusts_system = true,
        Id::Insecure => settings.way.is_insecure = true,
        Id::WebSocket => settings.way.is_websocket = true,
        Id::NoEol => settings.eol = false,
        Id::Pretty => settings.pretty = true,
        Id::Quiet => settings.quiet = true,
        Id::Retain => settings.retain = true,
        Id::NoRetained => {
            settings.no_retained = true;
            settings.retain_handling = RetainHandling::Never;
        }
        Id::RemoveRetained => settings.remove_retained = true,
        Id::RetainAsPublished => {
            settings.retain_as_published = true;
            settings.need_v5("--retain-as-published");
        }
        Id::RetainedOnly => settings.retained_only = true,
        Id::Verbose => settings.verbose = true,
        Id::Srv => settings.way.is_srv = true,
        Id::Watch => settings.watch = true,
        Id::WillRetain => settings.will.retain = true,
        Id::Later(later) => return Err(Wrong::Later(flag.name(), later)),
        // Always so: packets are small and wait for nobody.
        Id::NoDelay => {}
        id => unreachable!("{id:?} takes a value"),
    }
    Ok(())
}

fn set(settings: &mut Settings, flag: &'static Flag, value: &OsStr) -> Result<(), Wrong> {
    let text = || {
        let text = value.to_str().ok_or_else(|| Wrong::Utf8(flag.name()));
        text.map(str::to_owned)
    };
    match flag.id {
        Id::Authorities => settings.way.authorities = Some(value.into()),
        Id::AuthoritiesFolder => settings.way.authorities_folder = Some(value.into()),
        Id::Certificate => settings.way.certificate = Some(value.into()),
        Id::Key => settings.way.key = Some(value.into()),
        Id::KeyPassFile => settings.way.pass_phrase = Some(value.into()),
        Id::KeyForm => settings.way.key_form = Some(text()?),
        Id::Ciphers => settings.way.ciphers = Some(text()?),
        Id::TlsVersion => settings.way.version = Some(text()?),
        Id::Alpn => settings.way.protocol = Some(text()?),
        Id::WebSocketPath => settings.way.path = Some(text()?),
        Id::Unix => settings.way.unix = Some(value.into()),
        Id::Proxy => {
            let proxy = Proxy::from_url(&text()?);
            settings.way.proxy = Some(proxy.map_err(|error| Wrong::Tls(format!("--proxy: {error}")))?);
        }
        Id::NameServer => {
            let server = way::name_server(&text()?)?;
            settings.way.name_servers.push(server);
        }
        Id::Bind => settings.bind = Some(text()?),
        Id::Count => settings.count = Some(at_least_one(&text()?).ok_or_else(|| Wrong::Count(lossy(value)))?),
        Id::ResponseTopic => settings.response_topic = Some(topic(&text()?, TopicUse::Response)?),
        Id::File => set_input(settings, Input::File(value.into()))?,
        Id::Format => settings.format = Some(Format::new(&text()?).map_err(Wrong::Format)?),
        Id::Host => settings.host = text()?,
        Id::ClientId => {
            settings.client_id = Some(text()?);
            one_identifier(settings)?;
        }
        Id::IdPrefix => {
            settings.id_prefix = Some(text()?);
            one_identifier(settings)?;
        }
        Id::KeepAlive => {
            let seconds = text()?
                .parse()
                .ok()
                .filter(|seconds| *seconds >= KEEP_ALIVE_S_MIN);
            settings.keep_alive_s = seconds.ok_or(Wrong::KeepAlive)?;
        }
        Id::Url => url::read(settings, &text()?)?,
        Id::Message => set_input(settings, Input::Text(value.as_encoded_bytes().to_vec()))?,
        Id::Inflight => {
            let count = at_least_one(&text()?).ok_or(Wrong::Inflight)?;
            settings.inflight_max = u16::try_from(count).unwrap_or(u16::MAX);
        }
        // Read before all others.
        Id::Options => {}
        Id::Port => settings.port = Some(port(&text()?)?),
        Id::Password => settings.password = Some(value.as_encoded_bytes().to_vec()),
        Id::Qos => settings.qos = qos(&text()?).ok_or_else(|| Wrong::Qos(lossy(value)))?,
        Id::RandomFilter => {
            let tenths = text()?.parse::<f64>().ok().map(|percent| percent * 10.0);
            let tenths = tenths.filter(|tenths| (1.0..=f64::from(RANDOM_FILTER_ALL)).contains(tenths));
            #[allow(clippy::cast_sign_loss)] // 1 to 1,000
            let tenths = tenths.ok_or(Wrong::RandomFilter)? as u32;
            settings.random_filter = tenths;
        }
        Id::Repeat => settings.repeat.count = at_least_one(&text()?).ok_or(Wrong::Repeat)?,
        Id::RepeatDelay => {
            let seconds = text()?.parse().ok();
            let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            settings.repeat.delay = delay.ok_or(Wrong::RepeatDelay)?;
        }
        Id::RetainHandling => {
            let handling = retain_handling(&text()?);
            settings.retain_handling = handling.ok_or_else(|| Wrong::RetainHandling(lossy(value)))?;
            settings.need_v5("--retain-handling");
        }
        Id::Topic => add_topic(settings, &text()?)?,
        Id::FilterOut => settings.filters_out.push(filter(&text()?, TopicUse::FilterOut)?),
        Id::Unsubscribe => settings
            .unsubscribe
            .push(filter(&text()?, TopicUse::Unsubscribe)?),
        Id::Username => settings.username = Some(text()?),
        Id::ProtocolVersion => settings.version = Some(version(&text()?).ok_or(Wrong::ProtocolVersion)?),
        Id::Timeout => {
            let seconds = at_least_one(&text()?);
            settings.timeout_s = Some(seconds.ok_or_else(|| Wrong::Timeout(lossy(value)))?);
        }
        Id::WillPayload => settings.will.payload = Some(value.as_encoded_bytes().to_vec()),
        Id::WillQos => settings.will.qos = qos(&text()?).ok_or_else(|| Wrong::WillQos(lossy(value)))?,
        Id::WillTopic => settings.will.topic = Some(topic(&text()?, TopicUse::Will)?),
        Id::SessionExpiry => {
            settings.session_expiry_s = Some(session_expiry(&text()?)?);
            settings.version = Some(Version::V5);
            settings.need_v5("-x");
        }
        Id::Later(later) => return Err(Wrong::Later(flag.name(), later)),
        id => unreachable!("{id:?} is a switch"),
    }
    Ok(())
}

/// Keep alive in seconds, at least: mosquitto's own bound.
const KEEP_ALIVE_S_MIN: u16 = 5;

fn lossy(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

fn set_input(settings: &mut Settings, input: Input) -> Result<(), Wrong> {
    if settings.input.replace(input).is_some() {
        return Err(Wrong::InputTwice);
    }
    Ok(())
}

fn one_identifier(settings: &Settings) -> Result<(), Wrong> {
    if settings.client_id.is_some() && settings.id_prefix.is_some() {
        return Err(Wrong::IdAndPrefix);
    }
    Ok(())
}

/// `-t`, and the path of `-L`.
pub(super) fn add_topic(settings: &mut Settings, text: &str) -> Result<(), Wrong> {
    match settings.role.program {
        Program::Sub => settings.filters.push(filter(text, TopicUse::Subscribe)?),
        Program::Pub | Program::Rr => settings.topic = Some(topic(text, TopicUse::Publish)?),
    }
    Ok(())
}

fn topic(text: &str, topic_use: TopicUse) -> Result<TopicBuf, Wrong> {
    TopicBuf::new(text).map_err(|why| Wrong::Topic(topic_use, text.to_owned(), why))
}

fn filter(text: &str, topic_use: TopicUse) -> Result<FilterBuf, Wrong> {
    FilterBuf::new(text).map_err(|why| Wrong::Topic(topic_use, text.to_owned(), why))
}

fn at_least_one(text: &str) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=i32::MAX as u32).contains(n))
}

/// 1 to 65,535.
pub(super) fn port(text: &str) -> Result<u16, Wrong> {
    let number = text.parse().ok().filter(|port| *port > 0);
    number.ok_or_else(|| Wrong::Port(text.to_owned()))
}

fn qos(text: &str) -> Option<Qos> {
    Qos::from_u8(text.parse().ok()?)
}

fn version(text: &str) -> Option<Version> {
    Some(match text.strip_prefix("mqttv").unwrap_or(text) {
        "5" => Version::V5,
        "311" => Version::V3_1_1,
        "31" => Version::V3_1,
        _ => return None,
    })
}

fn retain_handling(text: &str) -> Option<RetainHandling> {
    Some(match text {
        "always" => RetainHandling::Always,
        "new" => RetainHandling::New,
        "never" => RetainHandling::Never,
        _ => return None,
    })
}

fn session_expiry(text: &str) -> Result<u32, Wrong> {
    if text == "∞" || text == "-1" {
        return Ok(u32::MAX);
    }
    let number = whole_number(text).ok_or(Wrong::ExpiryNotNumber)?;
    u32::try_from(number).map_err(|_| Wrong::ExpiryRange)
}

/// Decimal, or hexadecimal behind `0x`.
pub(super) fn whole_number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
