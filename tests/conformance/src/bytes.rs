//! Raw bytes in text: for what no packet can say.

/// Bytes out of a compact notation: hexadecimal digits in pairs, `'text'`, `[...]` for bytes behind
/// their length and `#` for the length of all that follows, both as variable byte integers, and
/// `(...)*N` for bytes that repeat.
pub fn parse(notation: &str) -> Result<Vec<u8>, String> {
    let mut chars = notation.chars();
    let out = until(&mut chars, None)?;
    match chars.next() {
        None => Ok(out),
        Some(_) => Err(format!("a closing bracket too many in {notation:?}")),
    }
}

type Chars<'a> = std::str::Chars<'a>;

fn until(chars: &mut Chars<'_>, end: Option<char>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '\'' => out.extend(
                chars
                    .by_ref()
                    .take_while(|c| *c != '\'')
                    .collect::<String>()
                    .bytes(),
            ),
            '[' => out.extend(behind_length(&until(chars, Some(']'))?)),
            '(' => {
                let part = until(chars, Some(')'))?;
                out.extend(part.repeat(count(chars)?));
            }
            '#' => {
                out.extend(behind_length(&until(chars, end)?));
                return Ok(out);
            }
            c if Some(c) == end => return Ok(out),
            high => {
                let low = chars.next().ok_or("an odd number of hexadecimal digits")?;
                out.push(digit(high)? << 4 | digit(low)?);
            }
        }
    }
    match end {
        None => Ok(out),
        Some(end) => Err(format!("{end:?} is missing")),
    }
}

fn digit(c: char) -> Result<u8, String> {
    c.to_digit(16)
        .map(|d| d as u8)
        .ok_or_else(|| format!("{c:?} is not a hexadecimal digit"))
}

fn count(chars: &mut Chars<'_>) -> Result<usize, String> {
    let rest = chars.as_str();
    let digits = rest.strip_prefix('*').ok_or("'(...)' without '*N'")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    *chars = digits[end..].chars();
    digits[..end]
        .parse()
        .map_err(|_| "'(...)*' without a number".to_owned())
}

fn behind_length(body: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (Vec::new(), body.len());
    while length > 127 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(body);
    out
}

/// The bytes in hexadecimal, for what cannot be read as a packet.
pub fn write(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for byte in bytes {
        write!(out, "{byte:02x}").expect("a String takes everything");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation() {
        let cases: &[(&str, &[u8])] = &[
            (
                "30 # 0001 'a' [ff '#'] c0",
                &[0x30, 7, 0, 1, b'a', 2, 0xff, b'#', 0xc0],
            ),
            ("[]", &[0]),
            ("(2f)*3 00", &[0x2f, 0x2f, 0x2f, 0]),
            ("10 [ (00)*128 ]", &[&[0x10, 0x80, 1][..], &[0; 128]].concat()),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).as_deref(), Ok(*expected), "{text}");
        }
        for bad in ["3", "zz", "[00", "00]", "(00)", "(00)*"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
