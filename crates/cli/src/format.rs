//! `-F`: a format is read once and then written for each message. No I/O here: the time is handed in.

mod field;
mod json;
mod time;

use martlet_codec::{Properties, PropertyId};

pub(crate) use time::Moment;

/// A message, as far as it can be printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) packet_id: Option<u16>,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) properties: Properties<'a>,
}

/// A format that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(Vec<u8>),
    Field(Field),
    /// `@` and a letter of strftime.
    Time(char),
}

/// `%`, flags, width, precision, separator, letter.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    letter: char,
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    separator: u8,
}

/// Why a format is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFormat {
    Incomplete,
    IncompleteEscape,
    Specifier(char),
    Escape(char),
}

/// Why a field of a message could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// `%J`
    NotJson,
    /// `%f`
    NotFloat,
    /// `%d`
    NotDouble,
}

/// What may stand behind `%`, and what it prints.
pub(crate) const SPECIFIERS: &[(char, &str)] = &[
    ('t', "topic"),
    ('p', "payload"),
    (
        'x',
        "payload in hexadecimal, %X in capitals; %.2:x puts a : after each 2 digits",
    ),
    ('X', ""),
    ('f', "payload of 4 bytes as a floating-point number"),
    ('d', "payload of 8 bytes as a floating-point number"),
    ('l', "length of the payload in bytes"),
    ('j', "the message as JSON, its payload as a string"),
    ('J', "the message as JSON, its payload as the JSON that it is"),
    ('q', "quality of service"),
    ('r', "retain flag: 0 or 1"),
    ('m', "packet identifier, 0 at QoS 0"),
    ('I', "time: 2026-11-21T10:09:58+0000"),
    ('U', "time in seconds since 1970, with nanoseconds"),
    ('A', "topic alias (5.0, as all below)"),
    ('C', "content type"),
    ('D', "correlation data"),
    ('E', "message expiry interval"),
    ('F', "payload format indicator"),
    ('P', "user properties, name:value"),
    ('R', "response topic"),
    ('S', "subscription identifier"),
    ('%', "a percent sign"),
];
/// What may stand between the digits of `%.2:x`.
const SEPARATORS: &str = "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~ ";
/// The width and precision of a field, at most: what is larger would only fill the screen.
const WIDTH_MAX: usize = 100_000;

impl Format {
    /// Reads a format.
    pub(crate) fn new(text: &str) -> Result<Self, BadFormat> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let piece = match letter {
                '%' => Piece::Field(field(&mut letters)?),
                '@' => match letters.next().ok_or(BadFormat::Incomplete)? {
                    '@' => {
                        plain.push(b'@');
                        continue;
                    }
                    letter => Piece::Time(letter),
                },
                '\\' => {
                    plain.push(escape(letters.next())?);
                    continue;
                }
                letter => {
                    plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(piece);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// Appends a message in this format. What could not be written is left out and complained about.
    pub(crate) fn write(
        &self,
        message: Shown<'_>,
        moment: &Moment,
        pretty: bool,
        out: &mut Vec<u8>,
    ) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Time(letter) => moment.write(*letter, out),
                Piece::Field(field) => complaints.extend(field.write(message, moment, pretty, out).err()),
            }
        }
        complaints
    }
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn field(letters: &mut Letters<'_>) -> Result<Field, BadFormat> {
    let left = letters.next_if_eq(&'-').is_some();
    let zero = letters.next_if_eq(&'0').is_some();
    let width = number(letters).unwrap_or(0);
    let precision = letters.next_if_eq(&'.').map(|_| number(letters).unwrap_or(0));
    let separator = letters.next_if(|letter| SEPARATORS.contains(*letter));
    let letter = letters.next().ok_or(BadFormat::Incomplete)?;
    if !SPECIFIERS.iter().any(|(known, _)| *known == letter) {
        return Err(BadFormat::Specifier(letter));
    }
    Ok(Field {
        letter,
        left,
        zero,
        width,
        precision,
        separator: separator.unwrap_or(' ') as u8,
    })
}

fn number(letters: &mut Letters<'_>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
        letters.next();
        number = Some((number.unwrap_or(0) * 10 + digit as usize).min(WIDTH_MAX));
    }
    number
}

fn escape(letter: Option<char>) -> Result<u8, BadFormat> {
    Ok(match letter.ok_or(BadFormat::IncompleteEscape)? {
        '\\' => b'\\',
        '0' => 0,
        'a' => 0x07,
        'e' => 0x1b,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        letter => return Err(BadFormat::Escape(letter)),
    })
}

impl Field {
    fn write(
        &self,
        message: Shown<'_>,
        moment: &Moment,
        pretty: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Complaint> {
        let properties = message.properties;
        match self.letter {
            '%' => out.push(b'%'),
            'A' => self.optional_number(message.topic_alias.map(u64::from), out),
            'C' => match properties.text(PropertyId::ContentType) {
                Some(text) => self.text(text, out),
                None => self.blank(out),
            },
            'D' => out.extend_from_slice(properties.binary(PropertyId::CorrelationData).unwrap_or_default()),
            'E' => self.optional_number(properties.message_expiry_s().map(u64::from), out),
            'F' => {
                let indicator = properties.number(PropertyId::PayloadFormatIndicator);
                self.optional_number(indicator.map(u64::from), out);
            }
            'I' => self.text(&moment.iso_8601(), out),
            'j' => json::write(message, moment, json::Payload::Escaped, pretty, out)?,
            'J' => json::write(message, moment, json::Payload::Raw, pretty, out)?,
            'l' => self.number(message.payload.len() as u64, out),
            'm' => self.number(message.packet_id.unwrap_or(0).into(), out),
            'P' => {
                for (i, (name, value)) in properties.user_properties().enumerate() {
                    if i > 0 {
                        out.push(b' ');
                    }
                    out.extend_from_slice(format!("{name}:{value}").as_bytes());
                }
            }
            'p' => self.payload(message.payload, out),
            'q' => out.push(b'0' + message.qos),
            'R' => {
                if let Some(text) = properties.text(PropertyId::ResponseTopic) {
                    self.text(text, out);
                }
            }
            'r' => out.push(b'0' + u8::from(message.retain)),
            'S' => {
                let identifier = properties.subscription_identifiers().next();
                self.optional_number(identifier.map(|id| id.get().into()), out);
            }
            't' => self.text(message.topic, out),
            'U' => out.extend_from_slice(moment.unix_ns().as_bytes()),
            'x' => self.hex(message.payload, b"0123456789abcdef", out),
            'X' => self.hex(message.payload, b"0123456789ABCDEF", out),
            'f' => {
                let bytes = message.payload.try_into().map_err(|_| Complaint::NotFloat)?;
                self.float(f64::from(f32::from_ne_bytes(bytes)), out);
            }
            'd' => {
                let bytes = message.payload.try_into().map_err(|_| Complaint::NotDouble)?;
                self.float(f64::from_ne_bytes(bytes), out);
            }
            letter => unreachable!("%{letter} was refused when the format was read"),
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "format/tests.rs"]
mod tests;
