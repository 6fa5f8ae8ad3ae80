//! The time at which a message came, in the local time zone and the C locale.

use jiff::Zoned;
use jiff::fmt::strtime;

/// A moment, as a message prints it.
#[derive(Debug, Clone)]
pub(crate) struct Moment(Zoned);

/// What C's strftime knows; other letters stand for themselves, behind a `%`.
const LETTERS: &str = "aAbBCdDeFgGhHIjklmMnpPRsStTuUVwWyYzZ";

impl Moment {
    /// Now, in the time zone of the system.
    pub(crate) fn now() -> Self {
        Self(Zoned::now())
    }

    #[cfg(test)]
    pub(super) fn parse(text: &str) -> Self {
        Self(text.parse().expect("a time with its zone"))
    }

    /// `@` and a letter.
    pub(super) fn write(&self, letter: char, out: &mut Vec<u8>) {
        let format = match letter {
            'N' => {
                out.extend_from_slice(format!("{:09}", self.0.subsec_nanosecond()).as_bytes());
                return;
            }
            'c' => "%a %b %e %H:%M:%S %Y",
            'x' => "%m/%d/%y",
            'X' => "%H:%M:%S",
            'r' => "%I:%M:%S %p",
            '%' => "%%",
            letter if LETTERS.contains(letter) => &format!("%{letter}"),
            letter => &format!("%%{letter}"),
        };
        out.extend_from_slice(self.format(format).as_bytes());
    }

    /// `2026-11-21T10:09:58+0000`
    pub(super) fn iso_8601(&self) -> String {
        self.format("%FT%T%z")
    }

    /// `2026-11-21T10:09:58.135525Z+0000`, which is how mosquitto writes it.
    pub(super) fn json(&self) -> String {
        let micros = self.0.subsec_nanosecond() / 1000;
        format!("{}.{micros:06}Z{}", self.format("%FT%T"), self.format("%z"))
    }

    /// Seconds since 1970 and nanoseconds.
    pub(super) fn unix_ns(&self) -> String {
        format!("{}.{:09}", self.format("%s"), self.0.subsec_nanosecond())
    }

    fn format(&self, format: &str) -> String {
        strtime::format(format, &self.0).unwrap_or_default()
    }
}
