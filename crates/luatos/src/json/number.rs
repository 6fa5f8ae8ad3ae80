//! How `json.encode` writes numbers that are no integers.

/// As the formats `%.Ng` and `%.Nf` of C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// So many digits that say something.
    General(usize),
    /// So many digits behind the point.
    Fixed(usize),
}

/// Without another: what a number of 32 bits holds.
impl Default for Format {
    fn default() -> Self {
        Self::General(7)
    }
}

impl Format {
    /// `3g`, `3f`, or the same with `%.` before it. None: it is something else, which a module does not mind.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let text = text.strip_prefix("%.").unwrap_or(text);
        let digits = |digits: &str| digits.parse::<u8>().ok().filter(|n| *n < 100).map(usize::from);
        match (text.strip_suffix('g'), text.strip_suffix('f')) {
            (Some(number), _) => digits(number).map(Self::General),
            (_, Some(number)) => digits(number).map(Self::Fixed),
            _ => None,
        }
    }

    /// A number that is finite.
    pub(super) fn text(self, number: f64) -> String {
        match self {
            // As a module does: what is nearly nothing is nothing.
            _ if number.abs() <= f64::EPSILON => "0".to_owned(),
            Self::Fixed(digits) => format!("{number:.digits$}"),
            Self::General(digits) => general(number, digits.max(1)),
        }
    }
}

/// The shorter of both forms, without zeros at its end.
fn general(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    // There are fewer than 100 digits.
    let behind = digits as i64 - 1 - exponent;
    if exponent < -4 || behind < 0 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    trimmed(&format!("{number:.*}", usize::try_from(behind).unwrap_or(0))).to_owned()
}

fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_c_writes_them() {
        let table = [
            ("", 3.0, "3"),
            ("", 0.1, "0.1"),
            ("", 1.0 / 3.0, "0.3333333"),
            ("", 21.499_999_99, "21.5"),
            ("", 1_234_567.0, "1234567"),
            ("", 12_345_678.0, "1.234568e+07"),
            ("", 9_999_999.6, "1e+07"),
            ("", -0.000_012_5, "-1.25e-05"),
            ("", 0.000_125, "0.000125"),
            ("", 1e300, "1e+300"),
            ("", 1e-17, "0"),
            ("3g", 2.345_67, "2.35"),
            ("3f", 2.345_67, "2.346"),
            ("%.1f", 2.0, "2.0"),
            ("0f", 2.5, "2"),
            ("0g", 15.0, "2e+01"),
            ("much", 0.5, "0.5"),
            ("999f", 0.5, "0.5"),
        ];
        for (format, number, wanted) in table {
            let read = Format::read(format.as_bytes()).unwrap_or_default();
            assert_eq!(read.text(number), wanted, "{number} as '{format}'");
        }
    }
}
