//! Numbers and texts as they stand in records: numbers in as few bytes as they need.

/// Appends to a record.
#[derive(Debug)]
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// One more than the number, or 0 for none.
    pub(crate) fn optional(&mut self, number: Option<u64>) {
        match number {
            None => self.number(0),
            Some(number) => self.number(number.saturating_add(1)),
        }
    }

    /// How much more a number is than another, or less: in few bytes if they are near each other.
    pub(crate) fn difference(&mut self, number: u64, other: u64) {
        let difference = number.wrapping_sub(other).cast_signed();
        self.number((difference << 1 ^ difference >> 63).cast_unsigned());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// Reads a record; none: it is not what was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    #[allow(clippy::option_option)] // nothing there, and a number that is none
    pub(crate) fn optional(&mut self) -> Option<Option<u64>> {
        Some(self.number()?.checked_sub(1))
    }

    /// A number, of which the difference to another stands here.
    pub(crate) fn difference(&mut self, other: u64) -> Option<u64> {
        let bits = self.number()?;
        Some(other.wrapping_add(bits >> 1 ^ (bits & 1).wrapping_neg()))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), 1 << 62, u64::MAX];
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        for number in numbers {
            writer.number(number);
            writer.optional(Some(number >> 1));
            writer.difference(number, 300);
        }
        writer.optional(None);
        writer.bytes(b"bytes");
        let mut reader = Reader(&bytes);
        for number in numbers {
            assert_eq!(reader.number(), Some(number));
            assert_eq!(reader.optional(), Some(Some(number >> 1)));
            assert_eq!(reader.difference(300), Some(number));
        }
        assert_eq!(reader.optional(), Some(None));
        assert_eq!(reader.bytes(), Some(&b"bytes"[..]));
        assert!(reader.0.is_empty() && reader.byte().is_none());
    }

    #[test]
    fn what_is_cut_or_too_large_is_nothing() {
        assert_eq!(Reader(&[0x80]).number(), None);
        assert_eq!(Reader(&[0xff; 10]).number(), None);
        assert_eq!(Reader(&[5, b'a']).bytes(), None);
    }
}
