//! UTF-8 strings of MQTT: which characters are allowed.

/// Why a byte string is not an MQTT string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadText {
    /// Not well-formed UTF-8 (overlong forms and surrogates included) [MQTT5-1.5.4-1].
    NotUtf8,
    /// U+0000 [MQTT5-1.5.4-2].
    Null,
    /// A control character or a non-character. The standard leaves these open; they are refused,
    /// as mosquitto does, so that a log line or a topic list cannot be forged.
    Control,
}

/// Checks a string that came from a peer.
pub fn check(bytes: &[u8]) -> Result<&str, BadText> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadText::NotUtf8)?;
    // Printable ASCII needs no look at characters: nearly every string takes this way.
    if is_printable_ascii(bytes) {
        return Ok(text);
    }
    for c in text.chars() {
        match c {
            '\0' => return Err(BadText::Null),
            '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}' => {
                return Err(BadText::Control);
            }
            _ if (c as u32) & 0xfffe == 0xfffe => return Err(BadText::Control),
            _ => {}
        }
    }
    Ok(text)
}

/// Without an early end, so that the compiler takes many bytes at once.
fn is_printable_ascii(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, b| good & (0x20..0x7f).contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_the_standard() {
        let cases: &[(&[u8], Result<(), BadText>)] = &[
            (b"", Ok(())),
            (b"S013/MOT01/RECM", Ok(())),
            ("\u{fe0f}茶/日 本".as_bytes(), Ok(())),
            // The byte-order mark is a character like any other [MQTT5-1.5.4-3].
            (b"\xef\xbb\xbfa", Ok(())),
            (b"a\0", Err(BadText::Null)),
            (b"\x1b[2J", Err(BadText::Control)),
            (b"a\x7f", Err(BadText::Control)),
            ("\u{85}".as_bytes(), Err(BadText::Control)),
            ("\u{fdd0}".as_bytes(), Err(BadText::Control)),
            ("\u{1ffff}".as_bytes(), Err(BadText::Control)),
            // Overlong '/', a surrogate, a truncated sequence.
            (b"\xc0\xaf", Err(BadText::NotUtf8)),
            (b"\xed\xa0\x80", Err(BadText::NotUtf8)),
            (b"\xe8\x8c", Err(BadText::NotUtf8)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(check(bytes).map(|_| ()), *expected, "{bytes:x?}");
        }
    }
}
