//! What LuatOS adds to `string`.

use std::rc::Rc;

use base64ct::{Base64, Encoding};
use mlua::{Lua, Value};

use crate::api::{Args, Library, Returned};
use crate::machine::Machine;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let string = Library::open(lua, machine, "string")?;
    string.function("toHex", to_hex)?;
    string.function("fromHex", |_, args| {
        let bytes = from_hex(&args.string(1)?.as_bytes());
        args.returns(args.lua.create_string(bytes)?)
    })?;
    string.function("toValue", |_, args| {
        let text = args.string(1)?.as_bytes().to_vec();
        let nibble = |byte: &u8| (if *byte > b'9' { byte.wrapping_add(9) } else { *byte }) & 15;
        let values: Vec<u8> = text.iter().map(nibble).collect();
        args.returns((args.lua.create_string(values)?, text.len()))
    })?;
    string.function("split", split)?;
    string.function("trim", trim)?;
    string.function("startsWith", |_, args| {
        let (text, start) = (args.string(1)?, args.string(2)?);
        args.returns(text.as_bytes().starts_with(&start.as_bytes()))
    })?;
    string.function("endsWith", |_, args| {
        let (text, end) = (args.string(1)?, args.string(2)?);
        args.returns(text.as_bytes().ends_with(&end.as_bytes()))
    })?;
    string.function("toBase64", |_, args| {
        let text = Base64::encode_string(&args.string(1)?.as_bytes());
        args.returns(text)
    })?;
    string.function("fromBase64", |_, args| {
        let bytes = from_base64(&args.string(1)?.as_bytes());
        args.returns(args.lua.create_string(bytes)?)
    })?;
    string.function("urlEncode", url_encode)
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Upper case, as on the module.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// `string.toHex(text[, separator])`: the digits, and how many there are.
fn to_hex(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let bytes = args.string(1)?.as_bytes().to_vec();
    let separator = args
        .opt_string(2)?
        .map(|text| text.to_string_lossy())
        .unwrap_or_default();
    let digits = if separator.is_empty() {
        hex(&bytes)
    } else {
        bytes
            .iter()
            .map(|byte| format!("{byte:02X}{separator}"))
            .collect()
    };
    args.returns((digits, bytes.len() * 2))
}

/// The bytes; what is no digit is left out.
pub(crate) fn from_hex(text: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = text
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// Nothing where it is not base64; line ends may stand in it.
pub(crate) fn from_base64(text: &[u8]) -> Vec<u8> {
    let text: String = text
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| char::from(*byte))
        .collect();
    Base64::decode_vec(&text).unwrap_or_default()
}

/// `string.split(text, separators[, keeps_empty])`: at each of the characters, empty parts left out.
fn split(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let text = args.string(1)?.as_bytes().to_vec();
    let separators = args
        .opt_string(2)?
        .map(|text| text.as_bytes().to_vec())
        .unwrap_or_default();
    let separators = if separators.is_empty() {
        b",".to_vec()
    } else {
        separators
    };
    let keeps_empty = matches!(args.value(3), Value::Boolean(true));
    let list = args.lua.create_table()?;
    if text.is_empty() {
        return args.returns(list);
    }
    for part in text.split(|byte| separators.contains(byte)) {
        if keeps_empty || !part.is_empty() {
            list.push(args.lua.create_string(part)?)?;
        }
    }
    args.returns(list)
}

/// `string.trim(text[, left[, right]])`: white space, on both sides unless one is `false`.
fn trim(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let bytes = args.string(1)?.as_bytes().to_vec();
    let mut text = &bytes[..];
    if !matches!(args.value(2), Value::Boolean(false)) {
        text = text.trim_ascii_start();
    }
    if !matches!(args.value(3), Value::Boolean(false)) {
        text = text.trim_ascii_end();
    }
    args.returns(args.lua.create_string(text)?)
}

/// `string.urlEncode(text[, mode[, space, kept]])`: mode 0 as forms do, 1 as RFC 3986, -1 as the rest says.
fn url_encode(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let text = args.string(1)?.as_bytes().to_vec();
    let (space_is_plus, kept) = match args.opt_integer(2, 0)? {
        1 => (false, b".-_".to_vec()),
        -1 => (args.integer(3)? == 0, args.string(4)?.as_bytes().to_vec()),
        _ => (true, b".-*_".to_vec()),
    };
    let mut coded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            byte if byte.is_ascii_alphanumeric() || (kept.contains(&byte) && byte.is_ascii()) => {
                coded.push(char::from(byte));
            }
            b' ' if space_is_plus => coded.push('+'),
            byte => coded.push_str(&format!("%{byte:02X}")),
        }
    }
    args.returns(coded)
}
