//! Text of JSON to values of Lua.

use mlua::{Lua, Value};

use crate::api::Fault;
use crate::limits;

/// The one value that a text has.
pub(super) fn decode(lua: &Lua, text: &[u8]) -> Result<Value, Fault> {
    let mut reader = Reader { lua, text, at: 0 };
    let value = reader.value(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.wanted("the end")),
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// What stands there, behind blanks.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn wanted(&self, what: &str) -> Fault {
        let found = match self.text.get(self.at) {
            None => "the text ends".to_owned(),
            Some(byte) => format!("there is '{}'", byte.escape_ascii()),
        };
        Fault::Said(format!("{what} is wanted at byte {}, {found}", self.at + 1))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= limits::JSON_DEPTH_MAX => Err(Fault::Said(format!(
                "more than {} levels at byte {}",
                limits::JSON_DEPTH_MAX,
                self.at + 1
            ))),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let bytes = self.string()?;
                Ok(Value::String(self.lua.create_string(bytes)?))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", Value::NULL),
            _ => Err(self.wanted("a value")),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Fault> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wanted("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value, Fault> {
        let table = self.lua.create_table()?;
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Table(table));
        }
        loop {
            table.raw_push(self.value(depth + 1)?)?;
            if self.ends(b']', "',' or ']'")? {
                return Ok(Value::Table(table));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Fault> {
        let table = self.lua.create_table()?;
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Table(table));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.wanted("a name"));
            }
            let key = self.string()?;
            if self.peek() != Some(b':') {
                return Err(self.wanted("':'"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            if self.ends(b'}', "',' or '}'")? {
                return Ok(Value::Table(table));
            }
        }
    }

    /// Whether a list ends there or goes on.
    fn ends(&mut self, end: u8, what: &str) -> Result<bool, Fault> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.wanted(what)),
        }
    }

    /// Integers that have room in one of Lua, and floats.
    fn number(&mut self) -> Result<Value, Fault> {
        let rest = &self.text[self.at..];
        let is_of_number =
            |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(|byte| is_of_number(byte)).count();
        let number = &rest[..length];
        let value = match std::str::from_utf8(number) {
            Ok(text) if is_number(number) => {
                let integer = text.parse().map(Value::Integer).ok();
                integer.or_else(|| text.parse().map(Value::Number).ok())
            }
            _ => None,
        };
        let value = value.ok_or_else(|| self.wanted("a number"))?;
        self.at += length;
        Ok(value)
    }

    /// Bytes as they are, whatever their encoding; escapes become UTF-8.
    fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            let byte = *self.text.get(self.at).ok_or_else(|| self.wanted("'\"'"))?;
            self.at += 1;
            match byte {
                b'"' => return Ok(bytes),
                b'\\' => self.escape(&mut bytes)?,
                byte => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let plain = match self.text.get(self.at) {
            Some(b'u') => {
                let character = self
                    .unicode()
                    .ok_or_else(|| self.wanted("a character of Unicode"))?;
                bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
                return Ok(());
            }
            Some(b'b') => 8,
            Some(b't') => b'\t',
            Some(b'n') => b'\n',
            Some(b'f') => 12,
            Some(b'r') => b'\r',
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            _ => return Err(self.wanted("an escape")),
        };
        self.at += 1;
        bytes.push(plain);
        Ok(())
    }

    /// `uXXXX`, or two of them with a backslash between.
    fn unicode(&mut self) -> Option<char> {
        let first = self.unit(self.at)?;
        if (0xD800..0xDC00).contains(&first) {
            if self.text.get(self.at + 5) != Some(&b'\\') {
                return None;
            }
            let second = self
                .unit(self.at + 6)
                .filter(|unit| (0xDC00..0xE000).contains(unit))?;
            let character = char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00));
            self.at += 11;
            return character;
        }
        let character = char::from_u32(first)?;
        self.at += 5;
        Some(character)
    }

    /// The number of `uXXXX` at that place.
    fn unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.get(at..at + 5)?.strip_prefix(b"u")?;
        digits.iter().try_fold(0, |number, digit| {
            char::from(*digit).to_digit(16).map(|digit| number * 16 + digit)
        })
    }
}

/// `-? (0 | [1-9][0-9]*) (.[0-9]+)? ([eE][+-]?[0-9]+)?`
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> (usize, &[u8]) {
        let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (length, &text[length..])
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (before, mut rest) = digits(text);
    if before == 0 || (before > 1 && text[0] == b'0') {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (length, behind) = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = behind;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let has_sign = matches!(exponent.first(), Some(b'+' | b'-'));
        let (length, behind) = digits(&exponent[usize::from(has_sign)..]);
        return length > 0 && behind.is_empty();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &[u8]) -> String {
        let lua = Lua::new();
        match decode(&lua, text) {
            Ok(Value::String(string)) => format!("'{}'", string.as_bytes().escape_ascii()),
            Ok(value) => format!("{value:?}"),
            Err(Fault::Said(why)) => why,
            Err(Fault::Lua(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn what_texts_say() {
        let table: [(&[u8], &str); 22] = [
            (b" 1 ", "Integer(1)"),
            (b"-0", "Integer(0)"),
            (b"1.5e1", "Number(15)"),
            (b"9223372036854775808", "Number(9223372036854776000)"),
            (b"true", "Boolean(true)"),
            (b"\"\xff\x01\"", "'\\xff\\x01'"),
            (
                b"\"\\u00e9\\ud83d\\ude00\\/\\n\"",
                "'\\xc3\\xa9\\xf0\\x9f\\x98\\x80/\\n'",
            ),
            (b"", "a value is wanted at byte 1, the text ends"),
            (b"tru", "a value is wanted at byte 1, there is 't'"),
            (b"1 2", "the end is wanted at byte 3, there is '2'"),
            (b"01", "a number is wanted at byte 1, there is '0'"),
            (b"1.", "a number is wanted at byte 1, there is '1'"),
            (b"-", "a number is wanted at byte 1, there is '-'"),
            (b"1e+", "a number is wanted at byte 1, there is '1'"),
            (b"[1,]", "a value is wanted at byte 4, there is ']'"),
            (b"[1", "',' or ']' is wanted at byte 3, the text ends"),
            (b"{1", "a name is wanted at byte 2, there is '1'"),
            (b"{\"a\"", "':' is wanted at byte 5, the text ends"),
            (
                b"{\"a\":1 \xff",
                "',' or '}' is wanted at byte 8, there is '\\xff'",
            ),
            (
                b"\"\\ud83d\"",
                "a character of Unicode is wanted at byte 3, there is 'u'",
            ),
            (b"\"\\x", "an escape is wanted at byte 3, there is 'x'"),
            (
                b"\"\\u12",
                "a character of Unicode is wanted at byte 3, there is 'u'",
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(said(text), wanted, "{}", text.escape_ascii());
        }
        let deep = vec![b'['; 1_000_000];
        assert_eq!(said(&deep), "more than 128 levels at byte 129");
    }
}
