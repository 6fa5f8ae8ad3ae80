//! How the fields of a format are padded and cut, which is how C's `printf` does it.

use super::Field;

impl Field {
    fn pad(&self) -> u8 {
        if self.zero { b'0' } else { b' ' }
    }

    pub(super) fn blank(&self, out: &mut Vec<u8>) {
        out.resize(out.len() + self.width, self.pad());
    }

    pub(super) fn optional_number(&self, number: Option<u64>, out: &mut Vec<u8>) {
        match number {
            Some(number) => self.number(number, out),
            None => self.blank(out),
        }
    }

    pub(super) fn number(&self, number: u64, out: &mut Vec<u8>) {
        self.aligned(number.to_string().as_bytes(), self.pad(), out);
    }

    pub(super) fn float(&self, number: f64, out: &mut Vec<u8>) {
        let digits = self.precision.unwrap_or(6);
        let text = format!("{number:.digits$}");
        let text = if number.is_nan() { "nan" } else { &text };
        match text.strip_prefix('-') {
            // Zeros stand between the sign and the digits.
            Some(digits) if self.zero && !self.left && number.is_finite() => {
                out.push(b'-');
                let width = self.width.saturating_sub(1);
                Self {
                    width,
                    ..self.clone()
                }
                .aligned(digits.as_bytes(), b'0', out);
            }
            _ if number.is_finite() => self.aligned(text.as_bytes(), self.pad(), out),
            _ => self.aligned(text.as_bytes(), b' ', out),
        }
    }

    /// Text, of which the precision is the longest part that is shown; a letter is never cut in two.
    pub(super) fn text(&self, text: &str, out: &mut Vec<u8>) {
        let max = self.precision.unwrap_or(text.len()).min(text.len());
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.aligned(&text.as_bytes()[..end], b' ', out);
    }

    /// The payload, cut to the width if there is one.
    pub(super) fn payload(&self, payload: &[u8], out: &mut Vec<u8>) {
        let shown = if self.width > 0 {
            payload.len().min(self.width)
        } else {
            payload.len()
        };
        self.aligned(&payload[..shown], self.pad(), out);
    }

    /// Two digits a byte, and the separator after as many digits as the precision says. The width
    /// cuts at that many bytes and pads to that many digits.
    pub(super) fn hex(&self, payload: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
        let shown = if self.width > 0 {
            payload.len().min(self.width)
        } else {
            payload.len()
        };
        let padding = self.width.saturating_sub(shown * 2);
        let mut at = 0;
        let mut separate = |out: &mut Vec<u8>| {
            at += 1;
            if self.precision.is_some_and(|every| every > 0 && at % every == 0) {
                out.push(self.separator);
            }
        };
        if !self.left {
            for _ in 0..padding {
                out.push(self.pad());
                separate(out);
            }
        }
        for (i, byte) in payload[..shown].iter().enumerate() {
            out.push(digits[usize::from(byte >> 4)]);
            separate(out);
            out.push(digits[usize::from(byte & 0x0f)]);
            if i + 1 < shown {
                separate(out);
            }
        }
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }

    /// `pad` stands on the left; on the right it is always spaces.
    fn aligned(&self, text: &[u8], pad: u8, out: &mut Vec<u8>) {
        let padding = self.width.saturating_sub(text.len());
        if !self.left {
            out.resize(out.len() + padding, pad);
        }
        out.extend_from_slice(text);
        if self.left {
            out.resize(out.len() + padding, b' ');
        }
    }
}
