//! Topic names: what a PUBLISH carries.

use std::fmt;
use std::sync::Arc;

use crate::text::{self, BadText};

/// A valid topic name, borrowed. A value of this type was checked and is not checked again.
///
/// 1 to 65,535 bytes of UTF-8 without wildcards [MQTT5-4.7.3-1] [MQTT5-4.7.3-3] [MQTT5-4.7.0-1].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic<'a>(&'a str);

/// Why a string is not a topic name or not a topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// The string has no character [MQTT5-4.7.3-1].
    #[error("it is empty")]
    Empty,
    /// More than 65,535 bytes [MQTT5-4.7.3-3].
    #[error("it has {0} bytes, the limit is 65535")]
    TooLong(usize),
    /// `+` or `#` in a topic name [MQTT5-4.7.0-1].
    #[error("it has a wildcard ('+' or '#'), and those belong in topic filters only")]
    Wildcard,
    /// `#` that is not alone at the end [MQTT5-4.7.1-1].
    #[error("'#' must be the last character, alone or behind a '/'")]
    MisplacedHash,
    /// `+` that shares its level with something else [MQTT5-4.7.1-2].
    #[error("'+' must stand alone between two '/'")]
    MisplacedPlus,
    /// `$share/` without a group name or without a filter behind it, or with a wildcard in the name
    /// [MQTT5-4.8.2-1] [MQTT5-4.8.2-2].
    #[error("a shared subscription is '$share/GROUP/FILTER', GROUP without wildcards")]
    BadShare,
    /// Not well-formed UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// U+0000 [MQTT5-4.7.3-2], a control character or a non-character.
    #[error("it has a control character")]
    Control,
}

impl From<BadText> for BadTopic {
    fn from(bad: BadText) -> Self {
        match bad {
            BadText::NotUtf8 => Self::NotUtf8,
            BadText::Null | BadText::Control => Self::Control,
        }
    }
}

/// The length of topic names and filters in bytes, at most [MQTT5-4.7.3-3].
pub(crate) const TOPIC_BYTES_MAX: usize = 65_535;

impl<'a> Topic<'a> {
    /// Checks `name`.
    pub fn new(name: &'a str) -> Result<Self, BadTopic> {
        Self::from_bytes(name.as_bytes())
    }

    /// Checks bytes that came from a peer.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, BadTopic> {
        match bytes.len() {
            0 => return Err(BadTopic::Empty),
            1..=TOPIC_BYTES_MAX => {}
            n => return Err(BadTopic::TooLong(n)),
        }
        let name = text::check(bytes)?;
        // Without an early end, so that the compiler takes many bytes at once.
        if bytes
            .iter()
            .fold(false, |found, b| found | matches!(b, b'+' | b'#'))
        {
            return Err(BadTopic::Wildcard);
        }
        Ok(Self(name))
    }

    /// Checks bytes that came from a peer, who often sends the same name again: if they are those of
    /// `known`, they are that.
    pub(crate) fn from_bytes_like(bytes: &'a [u8], known: Option<Self>) -> Result<Self, BadTopic> {
        match known {
            Some(known) if known.0.as_bytes() == bytes => Ok(known),
            _ => Self::from_bytes(bytes),
        }
    }

    /// A topic name that is known when the program is compiled.
    ///
    /// # Panics
    /// In a `const`, a bad literal does not compile; elsewhere it panics.
    pub const fn literal(name: &'static str) -> Topic<'static> {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= TOPIC_BYTES_MAX,
            "a topic name has 1 to 65535 bytes"
        );
        let mut i = 0;
        while i < bytes.len() {
            assert!(
                bytes[i] != b'+' && bytes[i] != b'#',
                "a topic name has no wildcard"
            );
            assert!(
                bytes[i] >= 0x20 && bytes[i] != 0x7f,
                "a topic name has no control character"
            );
            i += 1;
        }
        Topic(name)
    }

    /// The name.
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the `/`; a leading `/` makes an empty first one.
    pub fn levels(self) -> std::str::Split<'a, char> {
        self.0.split('/')
    }

    /// Whether the name starts with `$`, so that a leading wildcard does not match it
    /// [MQTT5-4.7.2-1].
    pub fn is_reserved(self) -> bool {
        self.0.starts_with('$')
    }

    /// An owned copy.
    pub fn to_buf(self) -> TopicBuf {
        TopicBuf(self.0.into())
    }
}

/// A valid topic name, owned and cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicBuf(Arc<str>);

impl TopicBuf {
    /// Checks `name`.
    pub fn new(name: impl Into<Arc<str>>) -> Result<Self, BadTopic> {
        let name = name.into();
        Topic::new(&name)?;
        Ok(Self(name))
    }

    /// The same name, borrowed.
    pub fn as_topic(&self) -> Topic<'_> {
        Topic(&self.0)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Look-up by text in a map that is keyed by `TopicBuf`, whose hash is that of the text.
impl std::borrow::Borrow<str> for TopicBuf {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Topic<'_>> for TopicBuf {
    fn from(topic: Topic<'_>) -> Self {
        topic.to_buf()
    }
}

impl fmt::Debug for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for TopicBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases: &[(&str, Result<(), BadTopic>)] = &[
            ("a", Ok(())),
            ("/", Ok(())),
            ("/finance", Ok(())),
            ("S013/MOT01/RECM", Ok(())),
            ("a//b", Ok(())),
            ("with space/and 茶", Ok(())),
            ("$SYS/x", Ok(())),
            ("", Err(BadTopic::Empty)),
            ("a/+", Err(BadTopic::Wildcard)),
            ("a#", Err(BadTopic::Wildcard)),
            ("a\0", Err(BadTopic::Control)),
            ("a\n", Err(BadTopic::Control)),
        ];
        for (name, expected) in cases {
            assert_eq!(Topic::new(name).map(|_| ()), *expected, "{name:?}");
        }
        assert_eq!(Topic::from_bytes(b"\xff"), Err(BadTopic::NotUtf8));
        let longest = "x".repeat(65_535);
        assert!(Topic::new(&longest).is_ok());
        let longer = "x".repeat(65_536);
        assert_eq!(Topic::new(&longer), Err(BadTopic::TooLong(65_536)));
    }

    #[test]
    fn names_are_compared_byte_for_byte() {
        // [MQTT5-4.7.3-4]: no case folding, no normalising.
        assert_ne!(Topic::new("Home"), Topic::new("home"));
        assert_ne!(Topic::new("e\u{301}"), Topic::new("\u{e9}"));
        assert_ne!(Topic::new("/a"), Topic::new("a"));
    }

    #[test]
    fn literals_are_checked_by_the_compiler() {
        const RECM: Topic<'static> = Topic::literal("S013/MOT01/RECM");
        assert_eq!(RECM.levels().collect::<Vec<_>>(), ["S013", "MOT01", "RECM"]);
    }
}
