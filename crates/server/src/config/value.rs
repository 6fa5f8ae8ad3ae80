//! From the words behind a directive's name to a value, by the kind of the directive.

use std::ops::Range;
use std::path::PathBuf;

use super::directive::{Directive, Kind, Range as NumberRange};
use super::error::Code;
use super::listener::{Bind, Versions};
use super::log::{LogDestination, TimeFormat};
use super::origin::Origin;
use super::shown::quoted;
use super::written::Written;

/// A value of a directive, good as far as the table can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    /// `None` is the special number of the range.
    Number(Option<u64>),
    Word(&'static str),
    Text(String),
    Path(PathBuf),
    Seconds(u64),
    Versions(Versions),
    /// `None` is `none`; what asked for a file is not known yet.
    LogDest(Option<LogDestination>),
    LogType(String),
    TimeFormat(TimeFormat),
    Listener(u16, Bind),
    Bind(Bind),
}

/// What is wrong with a value; the span counts from the start of the value's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) span: Range<usize>,
}

/// What the system has room for in the address of a Unix socket.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// Years of 365 days up to which a session's expiry can be told on the wire.
const EXPIRY_S_MAX: u64 = u32::MAX as u64 - 1;
/// mosquitto's units, its months and years included.
const DURATION_UNITS: [(char, u64); 6] = [
    ('s', 1),
    ('h', 3600),
    ('d', 86_400),
    ('w', 604_800),
    ('m', 2_592_000),
    ('y', 31_536_000),
];

/// Reads the text behind a name. `name` is how the user wrote it.
pub(super) fn parse(directive: &Directive, name: &str, text: &str) -> Result<Value, Fault> {
    let reader = Reader {
        directive,
        name,
        text,
    };
    if text.trim().is_empty() || (!reader.takes_the_line() && text.trim_start().starts_with('#')) {
        let message = format!("'{name}' needs a value: {}.", directive.kind.takes());
        return Err(Fault {
            code: Code::NoValue,
            message,
            span: text.len()..text.len(),
        });
    }
    reader.value()
}

struct Reader<'a> {
    directive: &'a Directive,
    name: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    /// The value is the rest of the line, spaces and # included.
    fn takes_the_line(&self) -> bool {
        matches!(self.directive.kind, Kind::Text(_) | Kind::Path | Kind::TimeFormat)
    }

    fn value(&self) -> Result<Value, Fault> {
        match self.directive.kind {
            Kind::Bool => match self.only_word()? {
                (_, "true" | "1") => Ok(Value::Bool(true)),
                (_, "false" | "0") => Ok(Value::Bool(false)),
                (span, word) => Err(self.bad(span, word)),
            },
            Kind::Number(range) => {
                let (span, word) = self.only_word()?;
                self.number(&range, span, word).map(Value::Number)
            }
            Kind::Choice(words) => {
                let (span, word) = self.only_word()?;
                words
                    .iter()
                    .find(|w| **w == word)
                    .map(|w| Value::Word(w))
                    .ok_or_else(|| self.bad(span, word))
            }
            Kind::Text(bytes_max) => self.line(bytes_max).map(|text| Value::Text(text.to_owned())),
            Kind::Origin => match self.only_word()? {
                (_, word) if is_origin(word) => Ok(Value::Text(word.to_owned())),
                (span, word) => Err(self.bad(span, word)),
            },
            Kind::Path => self.line(4096).map(|text| Value::Path(text.into())),
            Kind::TimeFormat => {
                let text = self.line(256)?;
                TimeFormat::parse(text).map(Value::TimeFormat).map_err(|unknown| {
                    let at = self.text.find(&unknown).unwrap_or(0);
                    let message = format!("'{}' does not know '{}'.", self.name, quoted(&unknown));
                    Fault {
                        code: Code::BadValue,
                        message,
                        span: at..at + unknown.len(),
                    }
                })
            }
            Kind::Duration => self.duration().map(Value::Seconds),
            Kind::Versions => self.versions().map(Value::Versions),
            Kind::LogDest => self.log_dest().map(Value::LogDest),
            Kind::LogType => self.log_type().map(Value::LogType),
            Kind::Listener => self.listener(),
            Kind::Address => {
                let (span, word) = self.only_word()?;
                Bind::parse(word)
                    .map(Value::Bind)
                    .ok_or_else(|| self.bad(span, word))
            }
        }
    }

    /// `0 PATH`: the path is the rest of the line.
    fn unix_socket(&self, at: usize) -> Result<Value, Fault> {
        let path = self.text[at..].trim_end();
        if path.len() > UNIX_PATH_BYTES_MAX {
            let message = format!(
                "the path of a Unix socket has at most {UNIX_PATH_BYTES_MAX} bytes, not {}.",
                path.len()
            );
            return Err(Fault {
                code: Code::OutOfRange,
                message,
                span: at..at + path.len(),
            });
        }
        Ok(Value::Listener(0, Bind::Unix(path.into())))
    }

    fn words(&self) -> impl Iterator<Item = (Range<usize>, &str)> {
        words(self.text).take_while(|(_, word)| !word.starts_with('#'))
    }

    fn only_word(&self) -> Result<(Range<usize>, &str), Fault> {
        let mut words = self.words();
        let (span, word) = words.next().unwrap_or((0..0, ""));
        if word == "=" || word == ":" {
            let message = format!(
                "a space alone stands between '{}' and its value; leave '{word}' out.",
                self.name
            );
            return Err(Fault {
                code: Code::BadValue,
                message,
                span,
            });
        }
        self.nothing_behind(words.next(), "one value")?;
        Ok((span, word))
    }

    fn nothing_behind(&self, word: Option<(Range<usize>, &str)>, takes: &str) -> Result<(), Fault> {
        let Some((span, word)) = word else { return Ok(()) };
        let message = format!("'{}' takes {takes}; '{}' is too much.", self.name, quoted(word));
        Err(Fault {
            code: Code::Surplus,
            message,
            span,
        })
    }

    fn line(&self, bytes_max: usize) -> Result<&str, Fault> {
        let text = self.text.trim();
        let at = self.text.len() - self.text.trim_start().len();
        if text.len() > bytes_max {
            let message = format!(
                "'{}' takes at most {bytes_max} bytes, not {}.",
                self.name,
                text.len()
            );
            return Err(Fault {
                code: Code::OutOfRange,
                message,
                span: at..at + text.len(),
            });
        }
        Ok(text)
    }

    fn number(&self, range: &NumberRange, span: Range<usize>, word: &str) -> Result<Option<u64>, Fault> {
        let number = match whole_number(word) {
            Some(number) => number,
            None if is_octal(word) => {
                let message = format!(
                    "'{}' takes {}, not '{}': mosquitto reads a leading 0 as octal; leave it out.",
                    self.name,
                    self.directive.kind.takes(),
                    quoted(word)
                );
                return Err(Fault {
                    code: Code::BadValue,
                    message,
                    span,
                });
            }
            None => return Err(self.bad(span, word)),
        };
        match (range.special, u64::try_from(number)) {
            (Some((special, _)), _) if i128::from(special) == number => Ok(None),
            (_, Ok(number)) if (range.min..=range.max).contains(&number) => Ok(Some(number)),
            _ => Err(self.out_of_range(span, word)),
        }
    }

    fn duration(&self) -> Result<u64, Fault> {
        let (span, word) = self.only_word()?;
        let unit = DURATION_UNITS.iter().find(|(letter, _)| word.ends_with(*letter));
        let count = word.get(..word.len().saturating_sub(1)).and_then(whole_number);
        let (Some((_, seconds)), Some(count)) = (unit, count) else {
            return Err(self.bad(span, word));
        };
        let total = count.saturating_mul(i128::from(*seconds));
        match u64::try_from(total) {
            Ok(total) if (1..=EXPIRY_S_MAX).contains(&total) => Ok(total),
            _ => {
                let message = format!(
                    "'{}' takes a duration from 1s to 136y, not '{}'.",
                    self.name,
                    quoted(word)
                );
                Err(Fault {
                    code: Code::OutOfRange,
                    message,
                    span,
                })
            }
        }
    }

    fn versions(&self) -> Result<Versions, Fault> {
        let end = self.words().last().map_or(0, |(span, _)| span.end);
        let versions = Versions::parse(&self.text[..end]).map_err(|word| {
            let at = word.as_ptr() as usize - self.text.as_ptr() as usize;
            self.bad(at..at + word.len(), word)
        })?;
        if versions.v3_1 || versions.v3_1_1 || versions.v5 {
            return Ok(versions);
        }
        Err(self.bad(0..end, self.text[..end].trim()))
    }

    fn log_dest(&self) -> Result<Option<LogDestination>, Fault> {
        let mut words = self.words();
        let (span, word) = words.next().unwrap_or((0..0, ""));
        match word {
            "file" => {
                let path = self.text[span.end..].trim();
                if path.is_empty() {
                    let message = format!("'{} file' needs a path.", self.name);
                    return Err(Fault {
                        code: Code::NoValue,
                        message,
                        span,
                    });
                }
                return Ok(Some(LogDestination::File(Written {
                    path: path.into(),
                    origin: Origin::Default,
                })));
            }
            "syslog" => return Err(not_yet_at(span, "'log_dest syslog'", "the system log")),
            "topic" => return Err(not_yet_at(span, "'log_dest topic'", "the log as topics")),
            "dlt" => return Err(not_yet_at(span, "'log_dest dlt'", "the DLT log")),
            "stdout" => {
                // Lines are written whole in any case, so `unbuffered` is what happens anyway.
                let rest = words.find(|(_, word)| *word != "unbuffered");
                self.nothing_behind(rest, "one value")?;
                return Ok(Some(LogDestination::Stdout));
            }
            _ => {}
        }
        self.nothing_behind(words.next(), "one value")?;
        match word {
            "stderr" => Ok(Some(LogDestination::Stderr)),
            "none" => Ok(None),
            _ => Err(self.bad(span, word)),
        }
    }

    fn log_type(&self) -> Result<String, Fault> {
        let (span, word) = self.only_word()?;
        match word {
            "websockets" => Err(not_yet_at(
                span,
                "'log_type websockets'",
                "a log of WebSockets alone",
            )),
            "internal" => Err(not_yet_at(span, "'log_type internal'", "internal messages")),
            _ if super::log::TYPE_NAMES.contains(&word) => Ok(word.to_owned()),
            _ => Err(self.bad(span, word)),
        }
    }

    fn listener(&self) -> Result<Value, Fault> {
        let mut words = self.words();
        let (port_span, port_word) = words.next().unwrap_or((0..0, ""));
        let address = words.next();
        if let ("0", Some((span, _))) = (port_word, &address) {
            return self.unix_socket(span.start);
        }
        let number = whole_number(port_word);
        let port = number.and_then(|n| u16::try_from(n).ok()).filter(|p| *p > 0);
        let Some(port) = port else {
            let message = format!("a port is a number from 1 to 65535, not '{}'.", quoted(port_word));
            let code = if number.is_some() {
                Code::OutOfRange
            } else {
                Code::BadValue
            };
            return Err(Fault {
                code,
                message,
                span: port_span,
            });
        };
        let bind = match address {
            None => Bind::Any,
            Some((span, word)) => Bind::parse(word).ok_or_else(|| {
                let message = format!(
                    "'{}' is neither an address nor a host name{}",
                    quoted(word),
                    end(word)
                );
                Fault {
                    code: Code::BadValue,
                    message,
                    span,
                }
            })?,
        };
        self.nothing_behind(words.next(), "a port and an address")?;
        Ok(Value::Listener(port, bind))
    }

    fn bad(&self, span: Range<usize>, word: &str) -> Fault {
        let shown = quoted(word);
        let takes = self.directive.kind.takes();
        let message = format!("'{}' takes {takes}, not '{shown}'{}", self.name, end(word));
        Fault {
            code: Code::BadValue,
            message,
            span,
        }
    }

    fn out_of_range(&self, span: Range<usize>, word: &str) -> Fault {
        let takes = self.directive.kind.takes();
        let message = format!("'{}' takes {takes}, not {}.", self.name, quoted(word));
        Fault {
            code: Code::OutOfRange,
            message,
            span,
        }
    }
}

fn not_yet_at(span: Range<usize>, what: &str, feature: &str) -> Fault {
    Fault {
        code: Code::NotYet,
        message: not_yet(what, feature),
        span,
    }
}

/// `https://host` or `https://host:port`.
fn is_origin(word: &str) -> bool {
    let host = word
        .split_once("://")
        .map(|(scheme, host)| (scheme.is_empty(), host));
    word.len() <= 300
        && host.is_some_and(|(no_scheme, host)| !no_scheme && !host.is_empty() && !host.contains('/'))
}

/// The end of a sentence about a word that may be wrong for its quotes alone.
fn end(word: &str) -> &'static str {
    let quoted = word.trim_matches(['"', '\'']).len() < word.len();
    if quoted { " (leave the quotes out)." } else { "." }
}

/// The sentence of F006.
pub(super) fn not_yet(what: &str, feature: &str) -> String {
    format!(
        "{what} is a directive of mosquitto that this version of martlet does not carry out yet ({feature})."
    )
}

/// Words apart by spaces and tabs, with their places.
pub(super) fn words(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    text.split([' ', '\t'])
        .filter(|word| !word.is_empty())
        .map(|word| {
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            (at..at + word.len(), word)
        })
}

/// Decimal or `0x`, with a sign; what does not fit is as large as can be, so that it is out of every range.
fn whole_number(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = hex.map_or((10, digits), |hex| (16, hex));
    let leading_zero = radix == 10 && digits.len() > 1 && digits.starts_with('0');
    if digits.is_empty() || leading_zero || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
    Some(if negative { -value } else { value })
}

fn is_octal(word: &str) -> bool {
    word.len() > 1 && word.starts_with('0') && word.chars().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::directives::find;
    use super::*;

    fn read(line: &str) -> Result<Value, Fault> {
        let (name, text) = line.split_once(' ').unwrap_or((line, ""));
        parse(find(name).unwrap(), name, text)
    }

    #[test]
    fn numbers_at_every_edge() {
        let good = [
            ("max_qos 0", Some(0)),
            ("max_qos 2", Some(2)),
            ("max_qos 0x2", Some(2)),
            ("max_qos +1 # a comment", Some(1)),
            ("max_connections -1", None),
            ("max_connections 1", Some(1)),
            ("max_packet_size 20", Some(20)),
            ("max_packet_size 268435460", Some(268_435_460)),
            ("max_inflight_messages 0", None),
            ("max_inflight_messages 65535", Some(65_535)),
            ("sys_interval 0", None),
            ("max_queued_bytes 1099511627776", Some(1 << 40)),
        ];
        for (line, expected) in good {
            assert_eq!(read(line), Ok(Value::Number(expected)), "{line}");
        }
        let bad = [
            ("max_qos 3", Code::OutOfRange),
            ("max_qos -1", Code::OutOfRange),
            (
                "max_qos 99999999999999999999999999999999999999999999999999",
                Code::OutOfRange,
            ),
            (
                "max_qos -99999999999999999999999999999999999999999999999999",
                Code::OutOfRange,
            ),
            ("max_qos 18446744073709551616", Code::OutOfRange),
            ("max_qos 01", Code::BadValue),
            ("max_qos 0x", Code::BadValue),
            ("max_qos -", Code::BadValue),
            ("max_qos 1.0", Code::BadValue),
            ("max_qos \"1\"", Code::BadValue),
            ("max_qos", Code::NoValue),
            ("max_qos # 1", Code::NoValue),
            ("max_qos 1 2", Code::Surplus),
            ("max_packet_size 19", Code::OutOfRange),
            ("max_packet_size 268435461", Code::OutOfRange),
            ("max_connections 0", Code::OutOfRange),
            ("max_connections -2", Code::OutOfRange),
        ];
        for (line, code) in bad {
            assert_eq!(read(line).map_err(|f| f.code), Err(code), "{line}");
        }
    }

    #[test]
    fn durations() {
        let seconds = |line: &str| read(line).map_err(|f| f.code);
        assert_eq!(
            seconds("persistent_client_expiration 2h"),
            Ok(Value::Seconds(7200))
        );
        assert_eq!(
            seconds("persistent_client_expiration 1m"),
            Ok(Value::Seconds(2_592_000))
        );
        assert_eq!(
            seconds("persistent_client_expiration 136y"),
            Ok(Value::Seconds(136 * 31_536_000))
        );
        for line in ["0s", "137y", "-1d", "99999999999999999999999999999999999999y"] {
            let line = format!("persistent_client_expiration {line}");
            assert_eq!(seconds(&line), Err(Code::OutOfRange), "{line}");
        }
        for line in ["5", "h", "5x", "5 h", "1.5d", "5日"] {
            let line = format!("persistent_client_expiration {line}");
            assert!(seconds(&line).is_err(), "{line}");
        }
    }

    #[test]
    fn texts_take_the_whole_line() {
        let text = |line: &str| read(line).map_err(|f| f.code);
        assert_eq!(text("auto_id_prefix   a # b "), Ok(Value::Text("a # b".into())));
        assert_eq!(text("auto_id_prefix \"a\""), Ok(Value::Text("\"a\"".into())));
        assert_eq!(text("auto_id_prefix   "), Err(Code::NoValue));
        let fifty = "x".repeat(50);
        assert!(text(&format!("auto_id_prefix {fifty}")).is_ok());
        assert_eq!(text(&format!("auto_id_prefix {fifty}x")), Err(Code::OutOfRange));
        let file = Some(LogDestination::File(Written {
            path: "/var/log/a b.log".into(),
            origin: Origin::Default,
        }));
        assert_eq!(text("log_dest file /var/log/a b.log"), Ok(Value::LogDest(file)));
        assert_eq!(text("log_dest file"), Err(Code::NoValue));
        assert_eq!(text("log_dest syslog"), Err(Code::NotYet));
    }

    #[test]
    fn listeners() {
        let read = |line: &str| read(line).map_err(|f| f.code);
        assert_eq!(read("listener 1883"), Ok(Value::Listener(1883, Bind::Any)));
        assert_eq!(read("listener 1883 # all"), Ok(Value::Listener(1883, Bind::Any)));
        let host = Bind::Host("broker.example".into());
        assert_eq!(
            read("listener 65535 broker.example"),
            Ok(Value::Listener(65_535, host))
        );
        assert_eq!(read("listener 65536"), Err(Code::OutOfRange));
        assert_eq!(read("listener 0"), Err(Code::OutOfRange));
        assert_eq!(read("listener -1"), Err(Code::OutOfRange));
        let unix = Bind::Unix("/run/a b.sock".into());
        assert_eq!(read("listener 0 /run/a b.sock "), Ok(Value::Listener(0, unix)));
        let long = "x".repeat(108);
        assert_eq!(read(&format!("listener 0 {long}")), Err(Code::OutOfRange));
        assert_eq!(read("listener mqtt"), Err(Code::BadValue));
        assert_eq!(read("listener 1883 /tmp"), Err(Code::BadValue));
        assert_eq!(read("listener 1883 127.0.0.1 x"), Err(Code::Surplus));
    }

    #[test]
    fn versions() {
        let three = Versions {
            v3_1: false,
            v3_1_1: true,
            v5: true,
        };
        for line in ["4 5", "4,5", "5, 4", "4\t5 # no 3.1"] {
            assert_eq!(
                read(&format!("accept_protocol_versions {line}")),
                Ok(Value::Versions(three)),
                "{line}"
            );
        }
        for line in ["6", "3,,6", "311", ","] {
            let got = read(&format!("accept_protocol_versions {line}")).map_err(|f| f.code);
            assert_eq!(got, Err(Code::BadValue), "{line}");
        }
    }
}
