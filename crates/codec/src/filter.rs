//! Topic filters: what SUBSCRIBE and UNSUBSCRIBE carry, and how they match.

use std::fmt;
use std::sync::Arc;

use crate::text;
use crate::topic::{BadTopic, TOPIC_BYTES_MAX, Topic};

/// A valid topic filter as SUBSCRIBE carries it, `$share/{group}/` included, borrowed.
///
/// Compared as text: `$share/a/t` and `t` are two filters [MQTT5-3.10.4-1].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter<'a> {
    text: &'a str,
    /// Where the part that matches topics starts: 0, or behind `$share/{group}/`.
    pattern_start: u16,
}

const SHARE: &str = "$share/";

impl<'a> Filter<'a> {
    /// Checks `filter`.
    pub fn new(filter: &'a str) -> Result<Self, BadTopic> {
        Self::from_bytes(filter.as_bytes())
    }

    /// Checks bytes that came from a peer. The one place where `$share/` is split.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, BadTopic> {
        match bytes.len() {
            0 => return Err(BadTopic::Empty),
            1..=TOPIC_BYTES_MAX => {}
            n => return Err(BadTopic::TooLong(n)),
        }
        let text = text::check(bytes)?;
        let mut pattern_start = 0;
        if let Some(rest) = text.strip_prefix(SHARE) {
            let (group, pattern) = rest.split_once('/').ok_or(BadTopic::BadShare)?;
            if group.is_empty() || pattern.is_empty() || group.contains(['+', '#']) {
                return Err(BadTopic::BadShare);
            }
            pattern_start = SHARE.len() + group.len() + 1;
        } else if text == "$share" {
            return Err(BadTopic::BadShare);
        }
        check_wildcards(&bytes[pattern_start..])?;
        Ok(Self {
            text,
            pattern_start: pattern_start as u16,
        })
    }

    /// A filter that is checked when a constant is evaluated; a bad one does not compile.
    pub const fn literal(filter: &'static str) -> Filter<'static> {
        let bytes = filter.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= TOPIC_BYTES_MAX,
            "a topic filter has 1 to 65535 bytes"
        );
        let start = pattern_start(bytes);
        let mut i = start;
        while i < bytes.len() {
            assert!(
                bytes[i] >= 0x20 && bytes[i] != 0x7f,
                "a topic filter has no control character"
            );
            let starts_level = i == start || bytes[i - 1] == b'/';
            let is_last = i + 1 == bytes.len();
            assert!(
                bytes[i] != b'#' || (starts_level && is_last),
                "'#' must be the last character, alone or behind a '/'"
            );
            assert!(
                bytes[i] != b'+' || (starts_level && (is_last || bytes[i + 1] == b'/')),
                "'+' must stand alone between two '/'"
            );
            i += 1;
        }
        Filter {
            text: filter,
            pattern_start: start as u16,
        }
    }

    /// The whole text, as subscribed.
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// The group of a shared subscription.
    pub fn share_group(self) -> Option<&'a str> {
        let end = usize::from(self.pattern_start).checked_sub(1)?;
        Some(&self.text[SHARE.len()..end])
    }

    /// The part that is matched against topic names.
    pub fn pattern(self) -> &'a str {
        &self.text[usize::from(self.pattern_start)..]
    }

    /// The levels of the pattern.
    pub fn levels(self) -> std::str::Split<'a, char> {
        self.pattern().split('/')
    }

    /// Whether the pattern has a `+` or a `#`.
    pub fn has_wildcard(self) -> bool {
        self.pattern().contains(['+', '#'])
    }

    /// Whether `topic` matches. The router answers for many filters at once; this is the rule itself.
    pub fn matches(self, topic: Topic<'_>) -> bool {
        let pattern = self.pattern();
        // [MQTT5-4.7.2-1]
        if topic.is_reserved() && pattern.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in pattern.split('/') {
            match (level, names.next()) {
                ("#", _) => return true, // also the parent level: `a/#` matches `a`
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// An owned copy.
    pub fn to_buf(self) -> FilterBuf {
        FilterBuf {
            text: self.text.into(),
            pattern_start: self.pattern_start,
        }
    }
}

/// Where the filter begins behind `$share/GROUP/`; 0 where it is not shared.
const fn pattern_start(bytes: &[u8]) -> usize {
    let share = SHARE.as_bytes();
    let mut i = 0;
    while i < share.len() {
        // `$share` alone is no filter either.
        let alone = i + 1 == share.len() && i == bytes.len();
        assert!(!alone, "a shared subscription is '$share/GROUP/FILTER'");
        if i >= bytes.len() || bytes[i] != share[i] {
            return 0;
        }
        i += 1;
    }
    while i < bytes.len() && bytes[i] != b'/' {
        assert!(
            bytes[i] >= 0x20 && bytes[i] != 0x7f && bytes[i] != b'+' && bytes[i] != b'#',
            "a group of a shared subscription has no wildcard and no control character"
        );
        i += 1;
    }
    assert!(
        i > share.len() && i + 1 < bytes.len(),
        "a shared subscription is '$share/GROUP/FILTER', neither empty"
    );
    i + 1
}

fn check_wildcards(pattern: &[u8]) -> Result<(), BadTopic> {
    for (i, byte) in pattern.iter().enumerate() {
        let starts_level = i == 0 || pattern[i - 1] == b'/';
        let next = pattern.get(i + 1);
        match byte {
            // [MQTT5-4.7.1-1]
            b'#' if !starts_level || next.is_some() => return Err(BadTopic::MisplacedHash),
            // [MQTT5-4.7.1-2]
            b'+' if !starts_level || next.is_some_and(|n| *n != b'/') => {
                return Err(BadTopic::MisplacedPlus);
            }
            _ => {}
        }
    }
    Ok(())
}

/// A valid topic filter, owned and cheap to clone.
#[derive(Clone)]
pub struct FilterBuf {
    text: Arc<str>,
    pattern_start: u16,
}

impl FilterBuf {
    /// Checks `filter`.
    pub fn new(filter: &str) -> Result<Self, BadTopic> {
        Filter::new(filter).map(Filter::to_buf)
    }

    /// The same filter, borrowed.
    pub fn as_filter(&self) -> Filter<'_> {
        Filter {
            text: &self.text,
            pattern_start: self.pattern_start,
        }
    }

    /// The whole text, as subscribed.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Filter<'_>> for FilterBuf {
    fn from(filter: Filter<'_>) -> Self {
        filter.to_buf()
    }
}

// Equality, order and hash are those of the text, as `Borrow<str>` demands.
impl PartialEq for FilterBuf {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for FilterBuf {}

impl PartialOrd for FilterBuf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FilterBuf {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::hash::Hash for FilterBuf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// Look-up by text in a map that is keyed by `FilterBuf`.
impl std::borrow::Borrow<str> for FilterBuf {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for FilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for FilterBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let cases: &[(&str, Result<(), BadTopic>)] = &[
            ("#", Ok(())),
            ("+", Ok(())),
            ("/", Ok(())),
            ("+/+/#", Ok(())),
            ("/+", Ok(())),
            ("home/sensor/+/temperature", Ok(())),
            ("$shared/x", Ok(())),
            ("$share/g/a/+/#", Ok(())),
            ("$share/g//", Ok(())),
            ("", Err(BadTopic::Empty)),
            ("a+", Err(BadTopic::MisplacedPlus)),
            ("+a", Err(BadTopic::MisplacedPlus)),
            ("#/a", Err(BadTopic::MisplacedHash)),
            ("a#", Err(BadTopic::MisplacedHash)),
            ("a/##", Err(BadTopic::MisplacedHash)),
            ("$share", Err(BadTopic::BadShare)),
            ("$share/", Err(BadTopic::BadShare)),
            ("$share/g", Err(BadTopic::BadShare)),
            ("$share/g/", Err(BadTopic::BadShare)),
            ("$share//f", Err(BadTopic::BadShare)),
            ("$share/g+/f", Err(BadTopic::BadShare)),
            ("$share/#/f", Err(BadTopic::BadShare)),
            ("$share/g/f#", Err(BadTopic::MisplacedHash)),
        ];
        for (filter, expected) in cases {
            assert_eq!(Filter::new(filter).map(|_| ()), *expected, "{filter:?}");
        }
    }

    #[test]
    fn literals_are_checked_by_the_compiler() {
        const RECM: Filter<'static> = Filter::literal("S013/+/RECM");
        const SHARED: Filter<'static> = Filter::literal("$share/g/a/#");
        assert_eq!(RECM, Filter::new("S013/+/RECM").unwrap());
        assert_eq!(SHARED, Filter::new("$share/g/a/#").unwrap());
        assert_eq!(SHARED.share_group(), Some("g"));
    }

    #[test]
    fn a_literal_is_a_filter_as_the_run_time_says() {
        for text in [
            "#",
            "a/b",
            "+/+/#",
            "/",
            "$shared/x",
            "$share/g//",
            "",
            "a+",
            "+a",
            "#/a",
            "a#",
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//f",
            "$share/g+/f",
            "$share/g/f#",
            "a\0",
            "$shar",
        ] {
            let literal = std::panic::catch_unwind(|| Filter::literal(text)).ok();
            assert_eq!(literal, Filter::new(text).ok(), "{text:?}");
        }
    }

    #[test]
    fn shares_are_split() {
        let plain = Filter::new("a/b").unwrap();
        assert_eq!((plain.share_group(), plain.pattern()), (None, "a/b"));
        let shared = Filter::new("$share/workers/a/+").unwrap();
        assert_eq!((shared.share_group(), shared.pattern()), (Some("workers"), "a/+"));
        assert_eq!(shared.as_str(), "$share/workers/a/+");
    }

    #[test]
    fn matching() {
        let cases = [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("a/+", "a/x", true),
            ("a/+", "a", false),
            ("a/+", "a/x/y", false),
            ("+/+", "/x", true),
            ("/+", "/x", true),
            ("+", "/x", false),
            ("#", "a/b", true),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("a/b", "a/b/", false),
            ("a/+/", "a/b/", true),
        ];
        for (filter, topic, expected) in cases {
            let matched = Filter::new(filter).unwrap().matches(Topic::new(topic).unwrap());
            assert_eq!(matched, expected, "{filter} against {topic}");
        }
    }
}
