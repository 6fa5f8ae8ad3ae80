//! Files as a module has them: `/luadb/` is the folder of the script, and `io` has more functions than Lua's own.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};

use crate::api::{Args, Fault, Library, Returned};
use crate::machine::Machine;

/// Where the files of a script are on a module.
const LUADB: &str = "/luadb/";

/// Functions of Lua that take a path first, and learn where `/luadb/` is. The rest of theirs is as it was.
const WRAP: &str = "
local map = ...
local function first(f)
    return function(path, ...)
        if type(path) == 'string' then path = map(path) end
        return f(path, ...)
    end
end
for _, name in ipairs { 'open', 'lines', 'input', 'output' } do
    io[name] = first(io[name])
end
dofile, loadfile = first(dofile), first(loadfile)
os.remove = first(os.remove)
local rename = os.rename
function os.rename(from, to)
    return rename(type(from) == 'string' and map(from) or from, type(to) == 'string' and map(to) or to)
end";

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let io = Library::open(lua, machine, "io")?;
    io.function("luadb", |machine, args| {
        let path = args.string(1)?;
        let mapped = map(machine, &path.to_string_lossy());
        args.returns(mapped.display().to_string())
    })?;
    let map_path: Function = io.table.get("luadb")?;
    io.table.set("luadb", mlua::Nil)?;
    lua.load(WRAP).set_name("=[io]").call::<()>(map_path)?;
    io.function("exists", |machine, args| {
        args.returns(path(machine, args)?.is_file())
    })?;
    io.function("dexist", |machine, args| {
        args.returns(path(machine, args)?.is_dir())
    })?;
    io.function("fileSize", |machine, args| {
        let size = fs::metadata(path(machine, args)?).map_or(0, |found| found.len());
        args.returns(size as i64)
    })?;
    io.function("readFile", read_file)?;
    io.function("writeFile", write_file)?;
    io.function("mkdir", |machine, args| {
        args.returns(fs::create_dir(path(machine, args)?).is_ok())
    })?;
    io.function("rmdir", |machine, args| {
        args.returns(fs::remove_dir(path(machine, args)?).is_ok())
    })?;
    io.function("lsdir", list_folder)?;
    install_os(lua, machine)?;
    set_package_path(lua, machine)
}

/// Where the file of a script is here.
fn map(machine: &Machine, path: &str) -> PathBuf {
    match path.strip_prefix(LUADB) {
        Some(rest) => machine.settings.folder.join(rest),
        None => path.into(),
    }
}

fn path(machine: &Machine, args: &Args<'_>) -> Result<PathBuf, Fault> {
    Ok(map(machine, &args.string(1)?.to_string_lossy()))
}

/// `io.readFile(path[, mode[, offset[, length]]])`: nil where there is none.
fn read_file(machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let path = path(machine, args)?;
    let offset = u64::try_from(args.opt_integer(3, 0)?).unwrap_or(0);
    let length = args.opt_integer(4, -1)?;
    let read = || {
        let mut file = fs::File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        match u64::try_from(length) {
            Ok(length) => file.take(length).read_to_end(&mut bytes)?,
            Err(_) => file.read_to_end(&mut bytes)?,
        };
        std::io::Result::Ok(bytes)
    };
    match read() {
        Ok(bytes) => args.returns(args.lua.create_string(bytes)?),
        Err(_) => args.returns(mlua::Nil),
    }
}

/// `io.writeFile(path, data[, mode])`: whether it was written; a mode with `a` appends.
fn write_file(machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let path = path(machine, args)?;
    let data = args.string(2)?;
    let mode = args
        .opt_string(3)?
        .map(|mode| mode.to_string_lossy())
        .unwrap_or_default();
    let mut options = fs::OpenOptions::new();
    options.create(true);
    if mode.contains('a') {
        options.append(true);
    } else {
        options.write(true).truncate(true);
    }
    let written = options
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &data.as_bytes()));
    args.returns(written.is_ok())
}

/// `io.lsdir(path[, count[, offset]])`: whether, and a list of names with their kind and size.
fn list_folder(machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let path = path(machine, args)?;
    let count = usize::try_from(args.opt_integer(2, 10)?).unwrap_or(0);
    let offset = usize::try_from(args.opt_integer(3, 0)?).unwrap_or(0);
    let Ok(entries) = fs::read_dir(path) else {
        return args.returns((false, mlua::Nil));
    };
    let mut names: Vec<_> = entries.flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    let list = args.lua.create_table()?;
    for entry in names.into_iter().skip(offset).take(count) {
        let item: Table = args.lua.create_table()?;
        let meta = entry.metadata().ok();
        item.set("name", entry.file_name().to_string_lossy().into_owned())?;
        item.set("type", i64::from(meta.as_ref().is_some_and(fs::Metadata::is_dir)))?;
        item.set("size", meta.map_or(0, |meta| meta.len()) as i64)?;
        list.push(item)?;
    }
    args.returns((true, list))
}

/// `require` looks beside the script first, then in the folders that were named, then where it looked before.
fn set_package_path(lua: &Lua, machine: &Machine) -> mlua::Result<()> {
    let package: Table = lua.globals().get("package")?;
    let before: mlua::LuaString = package.get("path")?;
    let mut path = String::new();
    let own = std::iter::once(&machine.settings.folder);
    for folder in own.chain(&machine.settings.path) {
        let folder = if folder.as_os_str().is_empty() {
            ".".into()
        } else {
            folder.display().to_string()
        };
        path.push_str(&format!("{folder}/?.lua;{folder}/?/init.lua;"));
    }
    package.set("path", format!("{path}{}", before.to_string_lossy()))
}

/// The calendar of a time that jumps. Errors are those of Lua's own functions, at the place of the call.
const CALENDAR: &str = "
local now = ...
local time, date, error, pcall = os.time, os.date, error, pcall
local function pass(name, ok, ...)
    if ok then return ... end
    error(((...):gsub('%?', name)), 2)
end
function os.time(at)
    if at == nil then return now() end
    return pass('time', pcall(time, at))
end
function os.date(format, at)
    return pass('date', pcall(date, format or '%c', at or now()))
end";

/// `os.exit`: what was published leaves before the process ends. A time that jumps is that of `os.time` and `os.date`.
fn install_os(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let os = Library::open(lua, machine, "os")?;
    os.function("exit", |machine, args| {
        let status = match args.value(1) {
            Value::Nil | Value::Boolean(true) => 0,
            Value::Boolean(false) => 1,
            _ => args.integer(1)? as i32,
        };
        machine.exit(status)
    })?;
    if machine.clock.is_virtual() {
        let weak = Rc::downgrade(machine);
        let now = lua.create_function(move |_, ()| {
            Ok(weak
                .upgrade()
                .map_or(0, |machine| (machine.clock.wall_ms() / 1_000) as i64))
        })?;
        lua.load(CALENDAR).set_name("=[os]").call::<()>(now)?;
    }
    Ok(())
}
