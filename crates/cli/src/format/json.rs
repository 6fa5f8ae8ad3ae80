//! `%j` and `%J`: a message as JSON, laid out as mosquitto lays it out.

use martlet_codec::{Properties, PropertyId, Value};

use super::{Complaint, Moment, Shown};

/// How the payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// As a string.
    Escaped,
    /// As the JSON that it is.
    Raw,
}

/// Appends the message; nothing at all if the payload is to be raw and is not JSON.
pub(super) fn write(
    message: Shown<'_>,
    moment: &Moment,
    payload: Payload,
    pretty: bool,
    out: &mut Vec<u8>,
) -> Result<(), Complaint> {
    let start = out.len();
    let mut json = Json {
        out,
        pretty,
        depth: 0,
    };
    let written = json.object(|json, first| {
        json.key("tst", first);
        json.string(&moment.json());
        json.key("topic", false);
        json.string(message.topic);
        json.key("qos", false);
        json.plain(&message.qos.to_string());
        json.key("retain", false);
        json.plain(if message.retain { "true" } else { "false" });
        json.key("payloadlen", false);
        json.plain(&message.payload.len().to_string());
        if message.qos > 0 {
            json.key("mid", false);
            json.plain(&message.packet_id.unwrap_or(0).to_string());
        }
        if !message.properties.is_empty() {
            json.key("properties", false);
            json.properties(message.properties);
        }
        json.key("payload", false);
        if message.payload.is_empty() {
            json.plain("null");
        } else if payload == Payload::Escaped {
            json.string(&String::from_utf8_lossy(message.payload));
        } else {
            json.copy(message.payload).ok_or(Complaint::NotJson)?;
        }
        Ok(())
    });
    if written.is_err() {
        out.truncate(start);
    }
    written
}

struct Json<'a> {
    out: &'a mut Vec<u8>,
    pretty: bool,
    depth: usize,
}

/// Arrays and objects of a payload in each other, at most.
const DEPTH_MAX: usize = 500;

impl Json<'_> {
    fn plain(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        for letter in text.chars() {
            match letter {
                '"' => self.plain("\\\""),
                '\\' => self.plain("\\\\"),
                '\n' => self.plain("\\n"),
                '\r' => self.plain("\\r"),
                '\t' => self.plain("\\t"),
                '\u{8}' => self.plain("\\b"),
                '\u{c}' => self.plain("\\f"),
                letter if letter < ' ' => self.plain(&format!("\\u{:04x}", letter as u32)),
                letter => self.plain(letter.encode_utf8(&mut [0; 4])),
            }
        }
        self.out.push(b'"');
    }

    fn object<E>(&mut self, members: impl FnOnce(&mut Self, bool) -> Result<(), E>) -> Result<(), E> {
        self.open();
        let written = members(self, true);
        self.close();
        written
    }

    fn open(&mut self) {
        self.out.push(b'{');
        self.depth += 1;
        if self.pretty {
            self.out.push(b'\n');
        }
    }

    /// With what stands between members, and before a name.
    fn before_key(&mut self, first: bool) {
        if !first {
            self.out.push(b',');
            if self.pretty {
                self.out.push(b'\n');
            }
        }
        if self.pretty {
            self.out.resize(self.out.len() + self.depth, b'\t');
        }
    }

    fn after_key(&mut self) {
        self.plain(if self.pretty { ":\t" } else { ":" });
    }

    fn key(&mut self, name: &str, first: bool) {
        self.before_key(first);
        self.string(name);
        self.after_key();
    }

    fn close(&mut self) {
        self.depth -= 1;
        if self.pretty {
            if self.out.last() != Some(&b'\n') {
                self.out.push(b'\n');
            }
            self.out.resize(self.out.len() + self.depth, b'\t');
        }
        self.out.push(b'}');
    }

    fn comma(&mut self) {
        self.plain(if self.pretty { ", " } else { "," });
    }

    fn properties(&mut self, properties: Properties<'_>) {
        let done: Result<(), ()> = self.object(|json, mut first| {
            let mut users_done = false;
            for (id, value) in properties.iter() {
                if id == PropertyId::UserProperty && std::mem::replace(&mut users_done, true) {
                    continue;
                }
                let name = if id == PropertyId::UserProperty {
                    "user-properties"
                } else {
                    id.name()
                };
                json.key(name, std::mem::take(&mut first));
                match value {
                    Value::Number(number) => json.plain(&number.to_string()),
                    Value::Text(text) => json.string(text),
                    Value::Binary(bytes) => json.string(&String::from_utf8_lossy(bytes)),
                    Value::Pair(..) => json.user_properties(properties),
                }
            }
            Ok(())
        });
        debug_assert!(done.is_ok());
    }

    /// A list, because a name may come twice.
    fn user_properties(&mut self, properties: Properties<'_>) {
        self.out.push(b'[');
        self.depth += 1;
        for (i, (name, value)) in properties.user_properties().enumerate() {
            if i > 0 {
                self.comma();
            }
            self.open();
            self.key(name, true);
            self.string(value);
            self.close();
        }
        self.depth -= 1;
        self.out.push(b']');
    }

    /// Checks that `text` is JSON and writes it in this layout, its numbers and strings unchanged.
    fn copy(&mut self, text: &[u8]) -> Option<()> {
        let text = std::str::from_utf8(text).ok()?;
        let mut source = Source {
            rest: text.as_bytes(),
        };
        self.copy_value(&mut source, 0)?;
        source.space();
        source.rest.is_empty().then_some(())
    }

    fn copy_value(&mut self, source: &mut Source<'_>, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        source.space();
        match source.rest.first()? {
            b'{' => self.copy_object(source, depth),
            b'[' => self.copy_array(source, depth),
            b'"' => {
                self.out.extend_from_slice(source.string()?);
                Some(())
            }
            b'-' | b'0'..=b'9' => {
                self.out.extend_from_slice(source.number()?);
                Some(())
            }
            _ => {
                let word = [&b"true"[..], b"false", b"null"]
                    .into_iter()
                    .find(|word| source.take(word))?;
                self.out.extend_from_slice(word);
                Some(())
            }
        }
    }

    fn copy_object(&mut self, source: &mut Source<'_>, depth: usize) -> Option<()> {
        source.take(b"{");
        self.open();
        source.space();
        let mut first = true;
        while !source.take(b"}") {
            if !first && !source.take(b",") {
                return None;
            }
            source.space();
            self.before_key(std::mem::take(&mut first));
            self.out.extend_from_slice(source.string()?);
            self.after_key();
            source.space();
            source.take(b":").then_some(())?;
            self.copy_value(source, depth + 1)?;
            source.space();
        }
        self.close();
        Some(())
    }

    fn copy_array(&mut self, source: &mut Source<'_>, depth: usize) -> Option<()> {
        source.take(b"[");
        self.out.push(b'[');
        self.depth += 1;
        source.space();
        let mut first = true;
        while !source.take(b"]") {
            if !std::mem::take(&mut first) {
                source.take(b",").then_some(())?;
                self.comma();
            }
            self.copy_value(source, depth + 1)?;
            source.space();
        }
        self.depth -= 1;
        self.out.push(b']');
        Some(())
    }
}

/// JSON that is left to read.
struct Source<'a> {
    rest: &'a [u8],
}

impl<'a> Source<'a> {
    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, word: &[u8]) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn split(&mut self, at: usize) -> &'a [u8] {
        let (token, rest) = self.rest.split_at(at);
        self.rest = rest;
        token
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let mut at = 1;
        (self.rest.first() == Some(&b'"')).then_some(())?;
        loop {
            match self.rest.get(at)? {
                b'"' => return Some(self.split(at + 1)),
                b'\\' => match self.rest.get(at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                    b'u' => {
                        let digits = self.rest.get(at + 2..at + 6)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        at += 6;
                    }
                    _ => return None,
                },
                0..=0x1f => return None,
                _ => at += 1,
            }
        }
    }

    fn number(&mut self) -> Option<&'a [u8]> {
        let digits = |mut at: usize| {
            let start = at;
            while self.rest.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            (at > start).then_some(at)
        };
        let start = usize::from(self.rest.first() == Some(&b'-'));
        let mut at = digits(start)?;
        if self.rest[start] == b'0' && at > start + 1 {
            return None;
        }
        if self.rest.get(at) == Some(&b'.') {
            at = digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.rest.get(at) {
            let sign = usize::from(matches!(self.rest.get(at + 1), Some(b'+' | b'-')));
            at = digits(at + 1 + sign)?;
        }
        Some(self.split(at))
    }
}
