//! A broker in this process and on its clock, for scripts whose time jumps: no socket, no disk, nobody else.

use std::collections::HashMap;
use std::io::IoSlice;
use std::rc::Rc;

use martlet_broker::{
    ConnId, Event, Input, ListenerRules, Login, MemoryStore, Parcels, Peer, Relocated, Seed, Settings, Shard,
    Shared, Sink,
};
use martlet_client::Lost;
use martlet_client::engine::{Engine, Task};
use martlet_session::{Now, Output};

use crate::clock::VIRTUAL_BEGIN_MS;
use crate::mqtt::Device;

/// What the broker does to the world around it: there is none but the clients' ends of connections.
#[derive(Default)]
struct Outside {
    closed: Vec<ConnId>,
    parcels: Parcels,
}

impl Sink for Outside {
    fn close(&mut self, conn: ConnId) {
        self.closed.push(conn);
    }

    fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {
        unreachable!("there is one shard")
    }

    fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
        false
    }

    fn has_room(&self, _: u16) -> bool {
        true
    }

    fn parcels(&mut self, _: u16) -> &mut Parcels {
        &mut self.parcels
    }

    fn event(&mut self, _: Event<'_>) {}
}

/// The broker, and who is connected.
pub(crate) struct InnerBroker {
    shard: Shard,
    outside: Outside,
    links: HashMap<ConnId, Rc<Device>>,
    dirty: Vec<ConnId>,
}

const fn at(now_ms: u64) -> Now {
    Now {
        mono_ms: now_ms,
        wall_ms: VIRTUAL_BEGIN_MS + now_ms,
    }
}

impl InnerBroker {
    pub(crate) fn new(now_ms: u64) -> Self {
        let settings = Settings {
            sys_interval_ms: None,
            ..Settings::default()
        };
        let mut seed = Seed::new(1);
        let shared = Shared::new(settings, vec![ListenerRules::default()], 1, &mut seed);
        let shard = Shard::new(0, shared, Box::new(MemoryStore), seed, at(now_ms));
        Self {
            shard,
            outside: Outside::default(),
            links: HashMap::new(),
            dirty: Vec::new(),
        }
    }

    /// When something is due.
    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        self.shard.deadline_ms()
    }

    /// Does what is due, and moves all bytes there are.
    pub(crate) fn turn(&mut self, now_ms: u64, devices: &[Rc<Device>]) {
        self.handle(now_ms, Input::Time);
        for device in devices {
            device.with(|engine, now_ms| {
                if engine.deadline().is_some_and(|at_ms| at_ms <= now_ms) {
                    engine.timeout(now_ms);
                }
            });
        }
        while self.step(now_ms, devices) {}
    }

    fn handle(&mut self, now_ms: u64, input: Input<'_>) {
        self.shard.handle(at(now_ms), input, &mut self.outside);
    }

    fn conn_of(&self, device: &Rc<Device>) -> Option<ConnId> {
        let mut links = self.links.iter();
        links
            .find(|(_, other)| Rc::ptr_eq(other, device))
            .map(|(conn, _)| *conn)
    }

    /// Whether anything has moved.
    fn step(&mut self, now_ms: u64, devices: &[Rc<Device>]) -> bool {
        let mut has_moved = false;
        for device in devices {
            has_moved |= self.serve_client(now_ms, device);
        }
        self.shard.take_dirty(&mut self.dirty);
        for conn in std::mem::take(&mut self.dirty) {
            has_moved |= self.reach_client(now_ms, conn);
        }
        for conn in std::mem::take(&mut self.outside.closed) {
            self.reach_client(now_ms, conn);
            self.handle(now_ms, Input::Closed(conn));
            if let Some(device) = self.links.remove(&conn) {
                device.with(|engine, now_ms| engine.lost(now_ms, Lost::Closed));
            }
            has_moved = true;
        }
        has_moved
    }

    fn serve_client(&mut self, now_ms: u64, device: &Rc<Device>) -> bool {
        if device.take_cut() {
            if let Some(conn) = self.conn_of(device) {
                self.links.remove(&conn);
                self.handle(now_ms, Input::Closed(conn));
            }
            device.with(|engine, now_ms| engine.lost(now_ms, Lost::Closed));
            return true;
        }
        match device.with(Engine::task) {
            Some(Task::Dial { .. }) => {
                let peer = Peer {
                    address: ([127, 0, 0, 1], 1).into(),
                    listener: 0,
                };
                let conn = self.shard.open(at(now_ms), peer);
                self.links.insert(conn, Rc::clone(device));
                device.with(Engine::connect);
                true
            }
            Some(Task::Carry) => self.carry(now_ms, device),
            Some(Task::End) => {
                if let Some(conn) = self.conn_of(device) {
                    self.links.remove(&conn);
                    self.handle(now_ms, Input::Closed(conn));
                }
                device.left();
                device.with(Engine::task).is_some_and(|task| task != Task::End)
            }
            Some(Task::Wait) => {
                // The connection that it had is over.
                if let Some(conn) = self.conn_of(device) {
                    self.links.remove(&conn);
                    self.handle(now_ms, Input::Closed(conn));
                }
                false
            }
            None => false,
        }
    }

    fn carry(&mut self, now_ms: u64, device: &Rc<Device>) -> bool {
        let Some(conn) = self.conn_of(device) else {
            device.with(|engine, now_ms| engine.lost(now_ms, Lost::Closed));
            return true;
        };
        let bytes = device.with(|engine, now_ms| {
            let mut bytes = Vec::new();
            while !engine.output().is_empty() {
                let n = append(engine.output(), &mut bytes);
                engine.written(now_ms, n);
            }
            bytes
        });
        let bytes = bytes.unwrap_or_default();
        let has_left = device.with(|engine, _| engine.is_leaving()) == Some(true);
        if !bytes.is_empty() {
            self.handle(now_ms, Input::Bytes(conn, &bytes));
        }
        if has_left {
            device.with(|engine, _| engine.close(&Lost::ByUs));
        }
        !bytes.is_empty() || has_left
    }

    fn reach_client(&mut self, now_ms: u64, conn: ConnId) -> bool {
        let mut bytes = Vec::new();
        while let Some(output) = self.shard.output(conn)
            && !output.is_empty()
        {
            let n = append(output, &mut bytes);
            self.handle(now_ms, Input::Wrote(conn, n));
        }
        if let Some(device) = self.links.get(&conn) {
            device.with(|engine, now_ms| engine.input(now_ms, &bytes));
        }
        !bytes.is_empty()
    }
}

/// Takes the front of an output; how many bytes.
fn append(output: &Output, bytes: &mut Vec<u8>) -> usize {
    let mut slices = [IoSlice::new(&[]); 16];
    let n = output.slices(&mut slices);
    let before = bytes.len();
    for slice in &slices[..n] {
        bytes.extend_from_slice(slice);
    }
    bytes.len() - before
}
