//! `uart`: ports that lead to standard input and output, to a pseudo terminal, or nowhere; `uart.1` and `uart.2` of the
//! values say which.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::rc::{Rc, Weak};

use mlua::{Function, IntoLua, Lua, Value};
use tokio::sync::mpsc;

use super::pty::Pty;
use crate::api::{Args, Library, Returned, nothing};
use crate::limits;
use crate::log;
use crate::machine::Machine;
use crate::zbuff;

const NUMBERS: [(&str, i64); 9] = [
    ("Odd", 1),
    ("Even", 2),
    ("None", 0),
    ("LSB", 0),
    ("MSB", 1),
    ("VUART_0", 32),
    ("ERROR_DROP", 1),
    ("DEBUG", 2),
    ("RX_FULL", 1),
];

/// Where a port leads.
#[derive(Default, Clone)]
enum Line {
    #[default]
    Nowhere,
    Stdio,
    Pty(Rc<Pty>),
}

/// A port that was set up.
#[derive(Default)]
struct Port {
    line: Line,
    received: VecDeque<u8>,
    on_receive: Option<Function>,
    on_sent: Option<Function>,
}

type Ports = Rc<RefCell<HashMap<i64, Port>>>;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let uart = Library::open(lua, machine, "uart")?;
    for (name, number) in NUMBERS {
        uart.value(name, number)?;
    }
    let ports = Ports::default();
    let shared = || Rc::clone(&ports);
    let all = shared();
    uart.function("setup", move |machine, args| setup(&all, machine, args))?;
    let all = shared();
    uart.function("write", move |machine, args| write(&all, machine, args))?;
    let all = shared();
    uart.function("read", move |_, args| read(&all, args))?;
    let all = shared();
    uart.function("on", move |_, args| {
        let (id, event) = (args.integer(1)?, args.string(2)?.to_string_lossy());
        let callback = match args.value(3) {
            Value::Nil => None,
            _ => Some(args.function(3)?),
        };
        let mut ports = all.borrow_mut();
        let port = ports.entry(id).or_default();
        match event.as_str() {
            "receive" | "recv" => port.on_receive = callback,
            "sent" => port.on_sent = callback,
            _ => return Err(args.bad(2, "'receive' or 'sent' expected")),
        }
        nothing()
    })?;
    let all = shared();
    uart.function("rxSize", move |_, args| {
        let id = args.integer(1)?;
        args.returns(all.borrow().get(&id).map_or(0, |port| port.received.len()))
    })?;
    let all = shared();
    uart.function("rxClear", move |_, args| {
        if let Some(port) = all.borrow_mut().get_mut(&args.integer(1)?) {
            port.received.clear();
        }
        nothing()
    })?;
    let all = shared();
    uart.function("close", move |_, args| {
        all.borrow_mut().remove(&args.integer(1)?);
        nothing()
    })?;
    uart.function("exist", |machine, args| {
        args.returns(leads_to(machine, args.integer(1)?) != "none")
    })
}

fn leads_to(machine: &Machine, id: i64) -> String {
    machine.said(&format!("uart.{id}"))
}

/// 0: the port is there. One that leads nowhere takes what is written, and nothing ever comes.
fn setup(ports: &Ports, machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let id = args.integer(1)?;
    let is_new = matches!(ports.borrow_mut().entry(id).or_default().line, Line::Nowhere);
    let wanted = leads_to(machine, id);
    let line = match wanted.as_str() {
        _ if !is_new || !machine.has_sockets() => return args.returns(0),
        "stdio" => {
            begin_reading(ports, machine, id, std::io::stdin());
            Line::Stdio
        }
        "pty" => {
            let opened = Pty::open().and_then(|pty| Ok((pty.reader()?, pty)));
            let (reader, pty) =
                opened.map_err(|error| args.bad(1, &format!("no pseudo terminal: {error}")))?;
            log::say(args.lua, 'I', "uart", &format!("port {id} is {}", pty.name()))?;
            begin_reading(ports, machine, id, reader);
            Line::Pty(Rc::new(pty))
        }
        _ => Line::Nowhere,
    };
    ports.borrow_mut().entry(id).or_default().line = line;
    args.returns(0)
}

/// Reads for a port on a thread of its own, which ends with the process.
fn begin_reading(ports: &Ports, machine: &Rc<Machine>, id: i64, mut from: impl Read + Send + 'static) {
    let (sender, chunks) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if sender.blocking_send(chunk[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    machine.spawn(listen(Rc::clone(ports), Rc::downgrade(machine), id, chunks));
}

/// Hands on what is read, until the port or what it reads from is gone.
async fn listen(ports: Ports, machine: Weak<Machine>, id: i64, mut chunks: mpsc::Receiver<Vec<u8>>) {
    while let Some(chunk) = chunks.recv().await {
        let mut ports_now = ports.borrow_mut();
        let (Some(machine), Some(port)) = (machine.upgrade(), ports_now.get_mut(&id)) else {
            return;
        };
        // What nobody reads is not kept for ever: the oldest goes, as in a port's own buffer.
        port.received.extend(&chunk);
        let surplus = port.received.len().saturating_sub(limits::UART_BYTES_MAX);
        port.received.drain(..surplus);
        let length = port.received.len();
        drop(ports_now);
        let ports = Rc::clone(&ports);
        machine.call(move |lua| {
            let callback = ports.borrow().get(&id).and_then(|port| port.on_receive.clone());
            let values = [id.into_lua(lua)?, length.into_lua(lua)?].into_iter().collect();
            Ok(callback.map(|callback| (callback, values)))
        });
    }
}

fn write(ports: &Ports, machine: &Rc<Machine>, args: &Args<'_>) -> Returned {
    let id = args.integer(1)?;
    let data = match zbuff::argument(args, 2) {
        Some(buffer) => buffer.used(),
        None => args.string(2)?.as_bytes().to_vec(),
    };
    let (line, on_sent) = match ports.borrow().get(&id) {
        Some(port) => (port.line.clone(), port.on_sent.clone()),
        None => return args.returns(0),
    };
    let written = match line {
        Line::Nowhere => Ok(()),
        Line::Stdio => {
            let mut output = std::io::stdout().lock();
            output.write_all(&data).and_then(|()| output.flush())
        }
        Line::Pty(pty) => pty.write(&data),
    };
    if written.is_err() {
        return args.returns(0);
    }
    machine.call(move |lua| {
        let values = [id.into_lua(lua)?].into_iter().collect();
        Ok(on_sent.map(|callback| (callback, values)))
    });
    args.returns(data.len())
}

fn read(ports: &Ports, args: &Args<'_>) -> Returned {
    let (id, wanted) = (args.integer(1)?, args.opt_integer(2, i64::MAX)?);
    let mut ports = ports.borrow_mut();
    let Some(port) = ports.get_mut(&id) else {
        return args.returns("");
    };
    let wanted = usize::try_from(wanted).unwrap_or(0).min(port.received.len());
    let bytes: Vec<u8> = port.received.drain(..wanted).collect();
    args.returns(args.lua.create_string(bytes)?)
}
