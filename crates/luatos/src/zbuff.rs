//! `zbuff`: a buffer of bytes with a cursor. As on the module, what lies before the cursor is what is used.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, Value};

use crate::api::{Args, Fault, Library, Returned, nothing};
use crate::limits;
use crate::machine::Machine;

/// What Lua calls a buffer.
const BUFFER: &str = "ZBUFF*";

/// A buffer in the hands of Lua.
#[derive(Clone)]
pub(crate) struct Buffer(Rc<RefCell<Bytes>>);

/// Its bytes, and the cursor.
struct Bytes {
    bytes: Vec<u8>,
    at: usize,
}

/// The functions of the library, which are methods too.
struct Methods(Table);

impl UserData for Buffer {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field("__name", BUFFER);
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Len, |_, buffer, ()| Ok(buffer.0.borrow().bytes.len()));
        methods.add_meta_method(MetaMethod::Index, |lua, buffer, key: Value| match key {
            Value::Integer(n) => {
                let bytes = &buffer.0.borrow().bytes;
                let byte = usize::try_from(n).ok().and_then(|n| bytes.get(n));
                Ok(byte.map_or(Value::Nil, |byte| Value::Integer((*byte).into())))
            }
            name => {
                let methods = lua.app_data_ref::<Methods>().map(|methods| methods.0.clone());
                methods.map_or(Ok(Value::Nil), |methods| methods.get(name))
            }
        });
        methods.add_meta_method(MetaMethod::NewIndex, |_, buffer, (n, byte): (i64, i64)| {
            let bytes = &mut buffer.0.borrow_mut().bytes;
            if let Some(place) = usize::try_from(n).ok().and_then(|n| bytes.get_mut(n)) {
                *place = byte as u8;
            }
            Ok(())
        });
    }
}

impl Buffer {
    /// What is used of it.
    pub(crate) fn used(&self) -> Vec<u8> {
        let bytes = self.0.borrow();
        bytes.bytes[..bytes.at].to_vec()
    }

    /// Puts bytes behind what is used, and makes it larger if need be; how many.
    pub(crate) fn append(&self, more: &[u8]) -> usize {
        let mut bytes = self.0.borrow_mut();
        let end = bytes.at + more.len();
        if end > bytes.bytes.len() {
            if end > limits::ZBUFF_BYTES_MAX {
                return 0;
            }
            bytes.bytes.resize(end, 0);
        }
        let at = bytes.at;
        bytes.bytes[at..end].copy_from_slice(more);
        bytes.at = end;
        more.len()
    }
}

/// The buffer that stands there, if it is one.
pub(crate) fn argument(args: &Args<'_>, n: usize) -> Option<Buffer> {
    args.object::<Buffer>(n, BUFFER).ok()
}

/// Types that are read and written, with their length and how.
macro_rules! typed {
    ($zbuff:ident, $($read:literal $write:literal $type:ty as $lua:ty;)*) => {$(
        $zbuff.function($read, |_, args| {
            match take::<{ size_of::<$type>() }>(args)? {
                Some(bytes) => args.returns(<$type>::from_le_bytes(bytes) as $lua),
                None => args.returns(Value::Nil),
            }
        })?;
        $zbuff.function($write, |_, args| {
            let value = args.lua.unpack::<$lua>(args.value(2)).map_err(|_| args.bad(2, "a number expected"))?;
            put(args, &(value as $type).to_le_bytes())
        })?;
    )*};
}

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let zbuff = Library::open(lua, machine, "zbuff")?;
    for (n, name) in ["SEEK_SET", "SEEK_CUR", "SEEK_END"].into_iter().enumerate() {
        zbuff.value(name, n)?;
    }
    for (n, name) in ["HEAP_AUTO", "HEAP_SRAM", "HEAP_PSRAM"].into_iter().enumerate() {
        zbuff.value(name, n)?;
    }
    zbuff.function("create", create)?;
    zbuff.function("write", write)?;
    zbuff.function("copy", copy)?;
    zbuff.function("read", |_, args| {
        let buffer = buffer(args)?;
        let wanted = usize::try_from(args.opt_integer(2, 1)?).unwrap_or(0);
        let mut bytes = buffer.0.borrow_mut();
        let end = bytes.at.saturating_add(wanted).min(bytes.bytes.len());
        let read = args.lua.create_string(&bytes.bytes[bytes.at..end])?;
        bytes.at = end;
        args.returns(read)
    })?;
    zbuff.function("seek", seek)?;
    zbuff.function("used", |_, args| args.returns(buffer(args)?.0.borrow().at))?;
    zbuff.function("len", |_, args| {
        args.returns(buffer(args)?.0.borrow().bytes.len())
    })?;
    zbuff.function("toStr", |_, args| {
        let buffer = buffer(args)?;
        let bytes = buffer.0.borrow();
        let (start, end) = range(args, 2, bytes.bytes.len())?;
        args.returns(args.lua.create_string(&bytes.bytes[start..end])?)
    })?;
    zbuff.function("query", |_, args| {
        let buffer = buffer(args)?;
        let bytes = buffer.0.borrow();
        let (start, end) = range(args, 2, bytes.at)?;
        args.returns(args.lua.create_string(&bytes.bytes[start..end])?)
    })?;
    zbuff.function("clear", |_, args| {
        let fill = args.opt_integer(2, 0)? as u8;
        buffer(args)?.0.borrow_mut().bytes.fill(fill);
        nothing()
    })?;
    zbuff.function("resize", |_, args| {
        let buffer = buffer(args)?;
        let length = usize::try_from(args.integer(2)?).unwrap_or(0);
        if length > limits::ZBUFF_BYTES_MAX {
            return Err(args.bad(2, "too large"));
        }
        let mut bytes = buffer.0.borrow_mut();
        bytes.bytes.resize(length, 0);
        bytes.at = bytes.at.min(length);
        nothing()
    })?;
    zbuff.function("del", |_, args| {
        let buffer = buffer(args)?;
        let mut bytes = buffer.0.borrow_mut();
        let used = bytes.at;
        let (start, end) = range(args, 2, used)?;
        bytes.bytes.copy_within(end..used, start);
        bytes.at = used - (end - start);
        nothing()
    })?;
    zbuff.function("set", |_, args| {
        let buffer = buffer(args)?;
        let fill = args.opt_integer(3, 0)? as u8;
        let mut bytes = buffer.0.borrow_mut();
        let length = bytes.bytes.len();
        let start = usize::try_from(args.opt_integer(2, 0)?)
            .unwrap_or(length)
            .min(length);
        let count = usize::try_from(args.opt_integer(4, length as i64)?).unwrap_or(0);
        let end = start.saturating_add(count).min(length);
        bytes.bytes[start..end].fill(fill);
        nothing()
    })?;
    zbuff.function("reset", |_, args| {
        buffer(args)?.0.borrow_mut().at = 0;
        nothing()
    })?;
    zbuff.function("free", |_, args| {
        let buffer = buffer(args)?;
        *buffer.0.borrow_mut() = Bytes {
            bytes: Vec::new(),
            at: 0,
        };
        nothing()
    })?;
    zbuff.function("isEqual", |_, args| {
        let (one, other) = (buffer(args)?, args.object::<Buffer>(3, BUFFER)?);
        let (start, other_start) = (args.opt_integer(2, 0)?, args.opt_integer(4, 0)?);
        let count = usize::try_from(args.integer(5)?).unwrap_or(0);
        let part = |buffer: &Buffer, start: i64| {
            let start = usize::try_from(start).ok()?;
            let bytes = buffer.0.borrow();
            bytes
                .bytes
                .get(start..start.checked_add(count)?)
                .map(<[u8]>::to_vec)
        };
        let (one, other) = (part(&one, start), part(&other, other_start));
        args.returns(one.is_some() && one == other)
    })?;
    typed! { zbuff,
        "readI8" "writeI8" i8 as i64;
        "readU8" "writeU8" u8 as i64;
        "readI16" "writeI16" i16 as i64;
        "readU16" "writeU16" u16 as i64;
        "readI32" "writeI32" i32 as i64;
        "readU32" "writeU32" u32 as i64;
        "readI64" "writeI64" i64 as i64;
        "readU64" "writeU64" u64 as i64;
        "readF32" "writeF32" f32 as f64;
        "readF64" "writeF64" f64 as f64;
    }
    lua.set_app_data(Methods(zbuff.table));
    Ok(())
}

fn buffer(args: &Args<'_>) -> Result<Buffer, Fault> {
    args.object(1, BUFFER)
}

/// `zbuff.create(length[, fill])`: nil where there is no length, or too much.
fn create(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let length = usize::try_from(args.integer(1)?).unwrap_or(0);
    if length == 0 || length > limits::ZBUFF_BYTES_MAX {
        return args.returns(Value::Nil);
    }
    let mut bytes = Bytes {
        bytes: vec![0; length],
        at: 0,
    };
    match args.value(2) {
        Value::Integer(fill) => bytes.bytes.fill(fill as u8),
        Value::String(text) => {
            let text = text.as_bytes();
            let end = text.len().min(length);
            bytes.bytes[..end].copy_from_slice(&text[..end]);
            bytes.at = end;
        }
        _ => {}
    }
    args.returns(args.lua.create_userdata(Buffer(Rc::new(RefCell::new(bytes))))?)
}

/// The bytes of a string, of numbers, or of another buffer, from that argument on.
fn bytes_of(args: &Args<'_>, n: usize) -> Result<Vec<u8>, Fault> {
    if let Some(other) = argument(args, n) {
        return Ok(other.used());
    }
    match args.value(n) {
        Value::Integer(_) => (n..=args.count()).map(|n| Ok(args.integer(n)? as u8)).collect(),
        _ => Ok(args.string(n)?.as_bytes().to_vec()),
    }
}

/// `buffer:write(...)`: at the cursor, as far as there is room; how many bytes.
fn write(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let buffer = buffer(args)?;
    let more = bytes_of(args, 2)?;
    let mut bytes = buffer.0.borrow_mut();
    let (at, end) = (
        bytes.at,
        bytes.at.saturating_add(more.len()).min(bytes.bytes.len()),
    );
    bytes.bytes[at..end].copy_from_slice(&more[..end - at]);
    bytes.at = end;
    args.returns(end - at)
}

/// `buffer:copy(start, ...)`: at a place, or the cursor where that is nil; the buffer grows.
fn copy(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let buffer = buffer(args)?;
    let more = bytes_of(args, 3)?;
    if !args.is_nil(2) {
        let mut bytes = buffer.0.borrow_mut();
        let used = bytes.at as i64;
        let start = args.integer(2)?;
        let start = if start < 0 { used + start } else { start };
        let end = bytes.bytes.len();
        bytes.at = usize::try_from(start).unwrap_or(0).min(end);
    }
    args.returns(buffer.append(&more))
}

/// `buffer:seek(offset[, whence])`: where the cursor is then.
fn seek(_: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let buffer = buffer(args)?;
    let mut bytes = buffer.0.borrow_mut();
    let length = bytes.bytes.len() as i64;
    let base = match args.opt_integer(3, 0)? {
        1 => bytes.at as i64,
        2 => length,
        _ => 0,
    };
    let at = base.saturating_add(args.integer(2)?).clamp(0, length);
    bytes.at = at as usize;
    args.returns(at)
}

/// A start, and a count behind it; without a count, to the end.
fn range(args: &Args<'_>, n: usize, length: usize) -> Result<(usize, usize), Fault> {
    let start = args.opt_integer(n, 0)?;
    let start = if start < 0 { start + length as i64 } else { start };
    let start = usize::try_from(start).unwrap_or(0).min(length);
    let count = args.opt_integer(n + 1, length as i64)?;
    let count = usize::try_from(count).unwrap_or(0);
    Ok((start, start.saturating_add(count).min(length)))
}

/// So many bytes at the cursor, if there are.
fn take<const N: usize>(args: &Args<'_>) -> Result<Option<[u8; N]>, Fault> {
    let buffer = buffer(args)?;
    let mut bytes = buffer.0.borrow_mut();
    let found = bytes
        .bytes
        .get(bytes.at..)
        .and_then(|rest| rest.first_chunk::<N>().copied());
    if found.is_some() {
        bytes.at += N;
    }
    Ok(found)
}

/// Writes them at the cursor; how many there was room for: all or none.
fn put(args: &Args<'_>, more: &[u8]) -> Returned {
    let buffer = buffer(args)?;
    let mut bytes = buffer.0.borrow_mut();
    let (at, end) = (bytes.at, bytes.at + more.len());
    let Some(place) = bytes.bytes.get_mut(at..end) else {
        return args.returns(0);
    };
    place.copy_from_slice(more);
    bytes.at = end;
    args.returns(more.len())
}
