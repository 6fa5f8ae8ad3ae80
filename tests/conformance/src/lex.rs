//! Words of a line: `bare`, `"quoted"`, `key=bare`, `key="quoted"`, a quoted one repeated with `*N`.

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What stands before `=`.
    pub key: Option<String>,
    /// The value, escapes resolved.
    pub value: Vec<u8>,
    /// Whether the value stood in quotes.
    pub quoted: bool,
}

impl Word {
    /// The value as text.
    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.value).map_err(|_| "text that is not UTF-8 needs 'raw'".to_owned())
    }

    /// Whether it is this bare word.
    pub fn is(&self, word: &str) -> bool {
        self.key.is_none() && !self.quoted && self.value == word.as_bytes()
    }
}

/// Splits a line into words.
pub fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut rest = line.trim_start();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn word(rest: &str) -> Result<(Word, &str), String> {
    let end = rest.find([' ', '"', '=']).unwrap_or(rest.len());
    let (key, rest) = match rest[end..].strip_prefix('=') {
        Some(value) if end > 0 => (Some(rest[..end].to_owned()), value),
        _ => (None, rest),
    };
    if let Some(quoted) = rest.strip_prefix('"') {
        let (mut value, after) = unquote(quoted)?;
        let mut after = after;
        if let Some(times) = after.strip_prefix('*') {
            let end = times.find(' ').unwrap_or(times.len());
            let n: usize = times[..end]
                .parse()
                .map_err(|_| format!("'*{}' is not a number", &times[..end]))?;
            value = value.repeat(n);
            after = &times[end..];
        }
        return Ok((
            Word {
                key,
                value,
                quoted: true,
            },
            after,
        ));
    }
    let end = rest.find(' ').unwrap_or(rest.len());
    let value = rest.as_bytes()[..end].to_vec();
    Ok((
        Word {
            key,
            value,
            quoted: false,
        },
        &rest[end..],
    ))
}

fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut value = Vec::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[i + 1..])),
            '\\' => match chars.next() {
                Some((_, 'x')) => {
                    let hex = text.get(i + 2..i + 4).ok_or("'\\x' without two digits")?;
                    value.push(u8::from_str_radix(hex, 16).map_err(|_| format!("'\\x{hex}' is not a byte"))?);
                    chars.next();
                    chars.next();
                }
                Some((_, c @ ('"' | '\\'))) => value.push(c as u8),
                other => return Err(format!("'\\{}' is no escape", other.map_or(' ', |(_, c)| c))),
            },
            c => value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err("a closing '\"' is missing".to_owned())
}

/// A value in quotes; what is not printable is escaped, and one byte many times is said shortly.
pub fn quote(value: &[u8]) -> String {
    if value.len() > 32 && value.iter().all(|b| *b == value[0]) {
        return format!("{}*{}", quote(&value[..1]), value.len());
    }
    let mut out = String::from("\"");
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if !is_visible(c) => c
                    .encode_utf8(&mut [0; 4])
                    .bytes()
                    .for_each(|b| escape(b, &mut out)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| escape(*b, &mut out));
    }
    out.push('"');
    out
}

/// The byte-order mark and its like look like nothing.
fn is_visible(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{feff}')
}

fn escape(byte: u8, out: &mut String) {
    use std::fmt::Write;
    write!(out, "\\x{byte:02x}").expect("a String takes everything");
}

/// Words that mean something of their own.
const RESERVED: [&str; 9] = [
    "*",
    "no_local",
    "retain_as_published",
    "dup",
    "retain",
    "will",
    "clean",
    "bridge",
    "session",
];

/// A value bare where that reads back, else in quotes.
pub fn bare_or_quoted(value: &str) -> String {
    let plain = |c: char| is_visible(c) && !matches!(c, ' ' | '"' | '=' | '\\' | ';');
    if !value.is_empty() && value.chars().all(plain) && !RESERVED.contains(&value) {
        value.to_owned()
    } else {
        quote(value.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_line() {
        let got =
            words(r#"publish a/b qos=1 user-property="a b:c=d" "say \"x\" \\ \x00\xff" "y"*3"#).unwrap();
        let flat: Vec<_> = got
            .iter()
            .map(|w| (w.key.as_deref(), w.value.as_slice(), w.quoted))
            .collect();
        assert_eq!(
            flat,
            [
                (None, &b"publish"[..], false),
                (None, b"a/b", false),
                (Some("qos"), b"1", false),
                (Some("user-property"), b"a b:c=d", true),
                (None, b"say \"x\" \\ \0\xff", true),
                (None, b"yyy", true),
            ]
        );
        assert!(words("\"open").is_err());
        assert!(words(r#""\n""#).is_err());
    }

    #[test]
    fn quotes_read_back() {
        for value in [
            &b""[..],
            b"plain",
            b"q\"b\\",
            "\u{85}茶\u{feff}".as_bytes(),
            b"\xff\0",
            &[b'x'; 100],
        ] {
            let got = words(&quote(value)).unwrap();
            assert_eq!(
                (got.len(), got[0].value.as_slice()),
                (1, value),
                "{}",
                quote(value)
            );
        }
    }
}
