//! `json`: tables to text and back, with the rules of the module's Lua CJSON.

mod decode;
mod number;

use std::rc::Rc;

use mlua::{Lua, Table, Value};

use crate::api::{Fault, Library};
use crate::limits;
use crate::machine::Machine;
use number::Format;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let json = Library::open(lua, machine, "json")?;
    json.value("null", Value::NULL)?;
    json.function("encode", |_, args| {
        let value = args.value(1);
        // As on a module: nil is no text at all, not even `null`.
        if value.is_nil() {
            return args.returns("");
        }
        let format = args
            .maybe_string(2)?
            .and_then(|text| Format::read(&text.as_bytes()));
        let mut writer = Writer {
            out: Vec::new(),
            format: format.unwrap_or_default(),
        };
        match writer.value(&value, 0) {
            Ok(()) => args.returns(args.lua.create_string(writer.out)?),
            Err(Fault::Said(why)) => args.returns((Value::Nil, why)),
            Err(fault) => Err(fault),
        }
    })?;
    json.function("decode", |_, args| {
        let decoded = match args.maybe_string(1)? {
            Some(text) => decode::decode(args.lua, &text.as_bytes()),
            None => Err(Fault::Said(format!(
                "a {} is no text of JSON",
                args.value(1).type_name()
            ))),
        };
        match decoded {
            Ok(value) => args.returns((value, 1)),
            Err(Fault::Said(why)) => args.returns((Value::Nil, false, why)),
            Err(fault) => Err(fault),
        }
    })
}

/// The text as it grows.
struct Writer {
    out: Vec<u8>,
    format: Format,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Fault> {
        match value {
            Value::Nil => self.out.extend(b"null"),
            null if null.is_null() => self.out.extend(b"null"),
            Value::Boolean(is) => self.out.extend(is.to_string().bytes()),
            Value::Integer(n) => self.out.extend(n.to_string().bytes()),
            Value::Number(n) => {
                let text = self.number(*n)?;
                self.out.extend(text.bytes());
            }
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table, depth)?,
            other => {
                return Err(Fault::Said(format!(
                    "a {} has no form in JSON",
                    other.type_name()
                )));
            }
        }
        Ok(())
    }

    fn number(&self, n: f64) -> Result<String, Fault> {
        if !n.is_finite() {
            return Err(Fault::Said(format!("{n} is no number of JSON")));
        }
        Ok(self.format.text(n))
    }

    /// Bytes as they are, whatever their encoding, but for those that would end the string or are no characters.
    fn string(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for byte in bytes {
            match byte {
                b'"' => self.out.extend(b"\\\""),
                b'\\' => self.out.extend(b"\\\\"),
                8 => self.out.extend(b"\\b"),
                b'\t' => self.out.extend(b"\\t"),
                b'\n' => self.out.extend(b"\\n"),
                12 => self.out.extend(b"\\f"),
                b'\r' => self.out.extend(b"\\r"),
                0..=31 | 127 => self.out.extend(format!("\\u{byte:04x}").bytes()),
                _ => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<(), Fault> {
        if depth >= limits::JSON_DEPTH_MAX {
            return Err(Fault::Said(
                "the table is too deep, or has itself in it".to_owned(),
            ));
        }
        let pairs = table
            .pairs::<Value, Value>()
            .collect::<Result<Vec<_>, _>>()
            .map_err(Fault::Lua)?;
        match array_length(&pairs)? {
            Some(length) => self.array(table, length, depth),
            None => self.object(pairs, depth),
        }
    }

    /// With `null` in its gaps.
    fn array(&mut self, table: &Table, length: i64, depth: usize) -> Result<(), Fault> {
        self.out.push(b'[');
        for n in 1..=length {
            if n > 1 {
                self.out.push(b',');
            }
            self.value(&table.raw_get(n)?, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// In the order of the keys, so that equal tables are equal texts.
    fn object(&mut self, pairs: Vec<(Value, Value)>, depth: usize) -> Result<(), Fault> {
        let mut fields = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let key = match key {
                Value::String(key) => key.as_bytes().to_vec(),
                Value::Integer(n) => n.to_string().into_bytes(),
                Value::Number(n) => self.number(n)?.into_bytes(),
                other => {
                    return Err(Fault::Said(format!("a {} is no key of JSON", other.type_name())));
                }
            };
            fields.push((key, value));
        }
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.out.push(b'{');
        for (n, (key, value)) in fields.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            self.string(key);
            self.out.push(b':');
            self.value(value, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// The highest index of a table that has no other keys. None: it is an object.
fn array_length(pairs: &[(Value, Value)]) -> Result<Option<i64>, Fault> {
    let mut length = 0;
    for (key, _) in pairs {
        match key {
            Value::Integer(n @ 1..) => length = length.max(*n),
            _ => return Ok(None),
        }
    }
    let items = i64::try_from(pairs.len()).unwrap_or(i64::MAX);
    if length > items.saturating_mul(limits::JSON_GAPS.0) && length > limits::JSON_GAPS.1 {
        return Err(Fault::Said(format!(
            "an array of {length} places with {items} values in it has too many gaps"
        )));
    }
    Ok((length > 0).then_some(length))
}
