//! What is logged, where to, and how the time is written.

use std::fmt::{self, Write as _};

use super::origin::Origin;
use super::written::Written;

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Where it goes; empty: nowhere.
    pub destinations: Vec<LogDestination>,
    /// What is written.
    pub types: LogTypes,
    /// How a line begins; `None`: without the time.
    pub timestamp: Option<Timestamp>,
    /// A line when a client connects or disconnects.
    pub connection_messages: bool,
}

/// One place that the log goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard error.
    Stderr,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(Written),
}

impl Log {
    /// Whether it goes anywhere but to standard error, where messages are printed in any case.
    pub fn leaves_stderr(&self) -> bool {
        self.destinations
            .iter()
            .any(|destination| *destination != LogDestination::Stderr)
    }
}

impl LogDestination {
    /// The same place, whatever asked for it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(file), Self::File(other)) => file.path == other.path,
            _ => self == other,
        }
    }

    pub(super) fn asked_by(mut self, by: &Origin) -> Self {
        if let Self::File(file) = &mut self {
            file.origin = by.clone();
        }
        self
    }
}

/// One sort of log line, with mosquitto's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LogType {
    /// Something failed.
    Error = 1,
    /// Something should be looked at.
    Warning = 2,
    /// Something rare that is well.
    Notice = 4,
    /// Something ordinary, such as a connect.
    Information = 8,
    /// Each packet.
    Debug = 16,
    /// Each subscription.
    Subscribe = 32,
    /// Each end of a subscription.
    Unsubscribe = 64,
}

const TYPES: [(&str, LogType); 7] = [
    ("error", LogType::Error),
    ("warning", LogType::Warning),
    ("notice", LogType::Notice),
    ("information", LogType::Information),
    ("debug", LogType::Debug),
    ("subscribe", LogType::Subscribe),
    ("unsubscribe", LogType::Unsubscribe),
];

/// What `log_type` takes.
pub(super) const TYPE_NAMES: &[&str] = &[
    "error",
    "warning",
    "notice",
    "information",
    "debug",
    "subscribe",
    "unsubscribe",
    "all",
    "none",
];

/// A set of sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogTypes(u8);

impl LogTypes {
    /// No line at all.
    pub const NONE: Self = Self(0);
    /// Every sort.
    pub const ALL: Self = Self(127);
    /// Error, warning, notice and information.
    pub const DEFAULT: Self = Self(15);

    /// Whether lines of that sort are written.
    pub fn contains(self, sort: LogType) -> bool {
        self.0 & sort as u8 != 0
    }

    /// The set that `log_type WORD` leaves of this one.
    pub(super) fn after(self, word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::NONE),
            "all" => Some(Self::ALL),
            _ => TYPES
                .iter()
                .find(|(name, _)| *name == word)
                .map(|(_, sort)| Self(self.0 | *sort as u8)),
        }
    }
}

/// How the time at the start of a line is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timestamp {
    /// Seconds since 1970, as mosquitto does.
    EpochSeconds,
    /// As a format says.
    Format(TimeFormat),
}

/// A format as of `strftime`, known to be good. Time is UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat(String);

/// The letters that may follow `%`.
const CONVERSIONS: &str = "YmdHMSyjeFTDRbBaAIpsCuwzZhnt%";
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl TimeFormat {
    /// `Err` is the conversion that is not known, such as `%Q`.
    pub fn parse(format: &str) -> Result<Self, String> {
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c == '%' {
                let letter = chars.next();
                if !letter.is_some_and(|l| CONVERSIONS.contains(l)) {
                    return Err(format!("%{}", letter.map(String::from).unwrap_or_default()));
                }
            }
        }
        Ok(Self(format.to_owned()))
    }

    /// The format as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes a time, given in seconds since 1970.
    pub fn write(&self, out: &mut impl fmt::Write, unix_s: u64) -> fmt::Result {
        let date = Date::of(unix_s);
        let mut chars = self.0.chars();
        while let Some(c) = chars.next() {
            match c {
                '%' => date.write(out, chars.next().unwrap_or('%'), unix_s)?,
                c => out.write_char(c)?,
            }
        }
        Ok(())
    }
}

struct Date {
    year: u64,
    /// From 1.
    month: u64,
    /// From 1.
    day: u64,
    /// Of the year, from 1.
    year_day: u64,
    /// From 0, a Sunday.
    week_day: u64,
    second: u64,
}

impl Date {
    /// Howard Hinnant's `civil_from_days`: eras of 400 years that begin on 1 March.
    fn of(unix_s: u64) -> Self {
        let days = unix_s / 86_400;
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
        let year_day = before + u64::from(leap && month > 2) + day;
        Self {
            year,
            month,
            day,
            year_day,
            week_day: (days + 4) % 7,
            second: unix_s % 86_400,
        }
    }

    fn write(&self, out: &mut impl fmt::Write, letter: char, unix_s: u64) -> fmt::Result {
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        let (year, month, day) = (self.year, self.month, self.day);
        let month_name = MONTHS[month as usize - 1];
        let day_name = DAYS[self.week_day as usize];
        match letter {
            'Y' => write!(out, "{year}"),
            'C' => write!(out, "{:02}", year / 100),
            'y' => write!(out, "{:02}", year % 100),
            'm' => write!(out, "{month:02}"),
            'd' => write!(out, "{day:02}"),
            'e' => write!(out, "{day:2}"),
            'j' => write!(out, "{:03}", self.year_day),
            'H' => write!(out, "{hour:02}"),
            'I' => write!(out, "{:02}", (hour + 11) % 12 + 1),
            'p' => out.write_str(if hour < 12 { "AM" } else { "PM" }),
            'M' => write!(out, "{minute:02}"),
            'S' => write!(out, "{second:02}"),
            'F' => write!(out, "{year}-{month:02}-{day:02}"),
            'T' => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            'R' => write!(out, "{hour:02}:{minute:02}"),
            'D' => write!(out, "{month:02}/{day:02}/{:02}", year % 100),
            'b' | 'h' => out.write_str(&month_name[..3]),
            'B' => out.write_str(month_name),
            'a' => out.write_str(&day_name[..3]),
            'A' => out.write_str(day_name),
            'u' => write!(out, "{}", (self.week_day + 6) % 7 + 1),
            'w' => write!(out, "{}", self.week_day),
            's' => write!(out, "{unix_s}"),
            'z' => out.write_str("+0000"),
            'Z' => out.write_str("UTC"),
            'n' => out.write_char('\n'),
            't' => out.write_char('\t'),
            _ => out.write_char('%'),
        }
    }
}

impl Timestamp {
    /// The time as it stands at the start of a line, without what follows it.
    pub fn render(&self, unix_s: u64) -> String {
        let mut out = String::new();
        let written = match self {
            Self::EpochSeconds => write!(out, "{unix_s}"),
            Self::Format(format) => format.write(&mut out, unix_s),
        };
        assert!(written.is_ok(), "writing into a string");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let table = [
            (0, "1970-01-01T00:00:00 001 Thu"),
            (951_782_400, "2000-02-29T00:00:00 060 Tue"),
            (951_868_799, "2000-02-29T23:59:59 060 Tue"),
            (1_735_689_599, "2024-12-31T23:59:59 366 Tue"),
            (1_795_219_200, "2026-11-21T00:00:00 325 Sat"),
            (4_107_542_400, "2100-03-01T00:00:00 060 Mon"),
        ];
        let format = TimeFormat::parse("%Y-%m-%dT%H:%M:%S %j %a").unwrap();
        for (unix_s, expected) in table {
            assert_eq!(Timestamp::Format(format.clone()).render(unix_s), expected);
        }
    }

    #[test]
    fn every_conversion_writes_something() {
        for letter in CONVERSIONS.chars() {
            let format = TimeFormat::parse(&format!("%{letter}")).unwrap();
            assert!(!Timestamp::Format(format).render(u64::from(u32::MAX)).is_empty());
        }
        assert_eq!(TimeFormat::parse("%H:%Q"), Err("%Q".into()));
        assert_eq!(TimeFormat::parse("50%"), Err("%".into()));
    }

    #[test]
    fn types_add_up_and_none_forgets() {
        let set = ["debug", "none", "error", "notice"]
            .iter()
            .fold(LogTypes::NONE, |set, word| set.after(word).unwrap());
        assert!(set.contains(LogType::Error) && set.contains(LogType::Notice));
        assert!(!set.contains(LogType::Debug));
        assert_eq!(set.after("all"), Some(LogTypes::ALL));
        assert_eq!(set.after("verbose"), None);
        assert!(TYPE_NAMES.iter().all(|name| set.after(name).is_some()));
    }
}
