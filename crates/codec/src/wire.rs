//! The data types of the wire: integers, strings, binary data.

use crate::text::{self, BadText};
use crate::violation::Violation;

/// The largest variable byte integer.
pub(crate) const VARINT_MAX: u32 = 268_435_455;

/// Reads fields off the front of a packet's body; each field that runs over the end is a violation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8], Violation> {
        let (field, rest) = self.rest.split_at_checked(n).ok_or(Violation::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Violation> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Violation> {
        let b = self.bytes(2)?;
        Ok(u16::from_be_bytes([b[0], b[1]]))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Violation> {
        let b = self.bytes(4)?;
        Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    }

    /// A variable byte integer in its shortest form [MQTT5-1.5.5-1].
    pub(crate) fn varint(&mut self) -> Result<u32, Violation> {
        match varint(self.rest) {
            Varint::Value {
                value,
                bytes,
                minimal: true,
            } => {
                self.rest = &self.rest[bytes..];
                Ok(value)
            }
            Varint::Value { minimal: false, .. } | Varint::TooLong => Err(Violation::VariableByteInteger),
            Varint::Incomplete => Err(Violation::Truncated),
        }
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Violation> {
        let n = self.u16()?;
        self.bytes(usize::from(n))
    }

    /// A string, with the violation to name if its text is bad.
    pub(crate) fn text_or(&mut self, bad: Violation) -> Result<&'a str, Violation> {
        text::check(self.binary()?).map_err(|_: BadText| bad)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Violation> {
        self.text_or(Violation::BadString)
    }
}

/// What the front of a buffer says of a variable byte integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Varint {
    Incomplete,
    TooLong,
    Value { value: u32, bytes: usize, minimal: bool },
}

pub(crate) fn varint(buf: &[u8]) -> Varint {
    let mut value = 0;
    for i in 0..4 {
        let Some(byte) = buf.get(i) else {
            return Varint::Incomplete;
        };
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Varint::Value {
                value,
                bytes: i + 1,
                minimal: i == 0 || *byte != 0,
            };
        }
    }
    Varint::TooLong
}

/// The bytes that `value` takes as a variable byte integer.
pub(crate) const fn varint_len(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    debug_assert!(value <= VARINT_MAX);
    while value > 127 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A fixed header, to be appended at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    bytes: [u8; 7],
    len: usize,
}

impl Header {
    /// With the first two bytes of the body, so that all of it is appended at once.
    pub(crate) fn and_u16(mut self, value: u16) -> Self {
        self.bytes[self.len..self.len + 2].copy_from_slice(&value.to_be_bytes());
        self.len += 2;
        self
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

pub(crate) fn header(first: u8, mut length: u32) -> Header {
    let mut header = Header {
        bytes: [first, 0, 0, 0, 0, 0, 0],
        len: 1,
    };
    while length > 127 {
        header.bytes[header.len] = length as u8 | 0x80;
        header.len += 1;
        length >>= 7;
    }
    header.bytes[header.len] = length as u8;
    header.len += 1;
    header
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// A length-prefixed field. The caller holds it to 65,535 bytes.
pub(crate) fn put_binary(out: &mut Vec<u8>, field: &[u8]) {
    assert!(field.len() <= 65_535, "a field of MQTT has at most 65535 bytes");
    put_u16(out, field.len() as u16);
    out.extend_from_slice(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers() {
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARINT_MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value));
            assert_eq!(
                varint(&out),
                Varint::Value {
                    value,
                    bytes: out.len(),
                    minimal: true
                }
            );
            assert_eq!(varint(&out[..out.len() - 1]), Varint::Incomplete);
        }
        assert_eq!(
            varint(&[0x80, 0x00]),
            Varint::Value {
                value: 0,
                bytes: 2,
                minimal: false
            }
        );
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff]), Varint::TooLong);
    }
}
