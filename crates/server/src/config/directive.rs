//! What a directive is: the columns of the table.

/// One item of the language: everything that parsing, flags, messages and documentation need to know.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// The word at the start of the line.
    pub name: &'static str,
    /// A second word for the same thing, or empty.
    pub alias: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// Where it may stand.
    pub scope: Scope,
    /// The value when it is not given, in the words of the file. Empty: none, `help` says what then holds.
    pub native: &'static str,
    /// The same in mosquitto mode.
    pub mosquitto: &'static str,
    /// Whose word it is.
    pub owner: Owner,
    /// Whether this version carries it out.
    pub status: Status,
    /// One sentence.
    pub help: &'static str,
}

/// Which of the two sets of defaults holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// `martlet broker`.
    #[default]
    Native,
    /// The binary called `mosquitto`, or `--compat mosquitto`.
    Mosquitto,
}

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Anywhere; it holds for the whole broker, also below a `listener`.
    Global,
    /// Below a `listener`, or above all of them for the default listener.
    Listener,
    /// Below a `connection`.
    Bridge,
}

/// Whose word a directive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// `mosquitto.conf` has it, with this meaning.
    Mosquitto,
    /// Ours alone.
    Martlet,
}

/// Whether this version carries a directive out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    Works,
    /// Not yet: any value but those in `same` is an error. Those in `same` are what the broker does
    /// anyway (`*`: every value is, as long as the feature is missing).
    Later {
        /// What it needs.
        feature: &'static str,
        /// Values that change nothing.
        same: &'static [&'static str],
    },
    /// mosquitto itself ignores it; so do we, with a warning that says why.
    Gone(&'static str),
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, also `1` or `0`.
    Bool,
    /// A whole number in a range.
    Number(Range),
    /// One word of a list.
    Choice(&'static [&'static str]),
    /// The rest of the line, at most this many bytes.
    Text(usize),
    /// The rest of the line: a file or a folder.
    Path,
    /// A page that a browser comes from: `https://host`; each line adds one.
    Origin,
    /// A number with a unit: `12h`, `14d`, `2m`.
    Duration,
    /// Some of `3 4 5`, apart by spaces or commas.
    Versions,
    /// `stderr`, `stdout`, `none`, `file PATH`; each line adds one.
    LogDest,
    /// A sort of log line; each line adds one.
    LogType,
    /// A format as of `strftime`.
    TimeFormat,
    /// `PORT [ADDRESS]`, or `0 PATH` for a Unix socket.
    Listener,
    /// An address or a host name.
    Address,
}

/// The range of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// One number outside of the range with a meaning of its own, and that meaning.
    pub special: Option<(i64, &'static str)>,
    /// What is counted.
    pub unit: Unit,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nothing that needs a name.
    Plain,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
}

impl Directive {
    /// The default of a mode, in the words of the file; empty if there is none.
    pub fn default_in(&self, mode: Mode) -> &'static str {
        match mode {
            Mode::Native => self.native,
            Mode::Mosquitto => self.mosquitto,
        }
    }
}

/// A name whose value is better not shown, whether or not we know the directive.
pub(super) fn looks_secret(name: &str) -> bool {
    let name = before_equals(name).to_ascii_lowercase();
    let told = ["pass", "pasw", "pwd", "psk", "secret", "token", "_opt_"];
    told.iter().any(|part| name.contains(part)) && !name.ends_with("_file") && name != "psk_hint"
}

/// The name of `name=value`, as other languages write it.
pub(super) fn before_equals(word: &str) -> &str {
    word.split(['=', ':', ' ', '\t']).next().unwrap_or(word)
}

impl Kind {
    /// What such a value is, to follow "takes".
    pub fn takes(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Number(range) => range.takes(),
            Self::Choice(words) => one_of(words),
            Self::Text(_) => "a text".into(),
            Self::Path => "a path".into(),
            Self::Origin => "an origin such as https://example.org, without a path".into(),
            Self::Duration => "a duration such as 12h, 14d or 6m (s, h, d, w, m, y)".into(),
            Self::Versions => "one or more of 3, 4 and 5 (MQTT 3.1, 3.1.1 and 5.0)".into(),
            Self::LogDest => "stderr, stdout, none or file PATH".into(),
            Self::LogType => one_of(super::log::TYPE_NAMES),
            Self::TimeFormat => "a format such as %Y-%m-%dT%H:%M:%S".into(),
            Self::Listener => {
                "a port and, if wanted, an address: 1883 127.0.0.1; or 0 and the path of a Unix socket".into()
            }
            Self::Address => "an address or a host name".into(),
        }
    }

    /// A short name for the documentation.
    pub fn short(&self) -> String {
        match self {
            Self::Bool => "true, false".into(),
            Self::Number(range) => {
                let unit = match range.unit {
                    Unit::Plain => "",
                    Unit::Bytes => " bytes",
                    Unit::Seconds => " s",
                    Unit::Minutes => " min",
                };
                let special = range
                    .special
                    .map_or(String::new(), |(n, means)| format!("; {n} = {means}"));
                format!("{} to {}{unit}{special}", range.min, range.max)
            }
            Self::Choice(words) => words.join(", "),
            Self::Text(_) => "text".into(),
            Self::Path => "path".into(),
            Self::Origin => "origin (`https://example.org`)".into(),
            Self::Duration => "duration (`14d`)".into(),
            Self::Versions => "some of 3, 4, 5".into(),
            Self::LogDest => "stderr, stdout, none, file PATH".into(),
            Self::LogType => super::log::TYPE_NAMES.join(", "),
            Self::TimeFormat => "format (`%Y-%m-%dT%H:%M:%S`)".into(),
            Self::Listener => "PORT [ADDRESS], or 0 PATH".into(),
            Self::Address => "address or host name".into(),
        }
    }

    /// Each line adds to the ones before; for all others the last line counts, or a second is an error.
    pub(super) fn adds_up(&self) -> bool {
        matches!(self, Self::LogDest | Self::LogType | Self::Origin)
    }

    /// mosquitto takes the last of several numbers and words, but refuses a second text.
    pub(super) fn only_once(&self) -> bool {
        matches!(
            self,
            Self::Text(_) | Self::Path | Self::TimeFormat | Self::Address
        )
    }
}

impl Range {
    fn takes(&self) -> String {
        let unit = match self.unit {
            Unit::Plain => "",
            Unit::Bytes => " of bytes",
            Unit::Seconds => " of seconds",
            Unit::Minutes => " of minutes",
        };
        let special = self
            .special
            .map_or(String::new(), |(n, means)| format!(", or {n} for {means}"));
        format!("a number{unit} from {} to {}{special}", self.min, self.max)
    }
}

/// `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).into(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
