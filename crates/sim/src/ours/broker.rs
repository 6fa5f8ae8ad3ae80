//! The broker, what it says that is wrong, and who sees what it takes.

use std::io::IoSlice;

use martlet_broker::{Input, Relocated};
use martlet_client::Qos;
use martlet_codec::{
    Connect, Decoded, Limits, Packet, Properties, Subscribe, SubscribeOptions, SubscribeRequests,
};

use super::{At, ClientNo, OBSERVER, Task, World, plan};
use crate::history::ConnNo;
use crate::pipe::Piece;
use crate::process::{Effect, Process, now, peer};

impl World {
    /// Hands something to a shard, and does what it wants.
    pub(super) fn handle(&mut self, shard: u16, input: Input<'_>) {
        let effects = self
            .broker
            .handle(shard, self.now_ms, input, &|name| Some(client_no(name)));
        let mut dirty = Vec::new();
        self.broker.shards[usize::from(shard)].take_dirty(&mut dirty);
        for id in dirty {
            self.flush((shard, id));
        }
        for effect in effects {
            match effect {
                Effect::Close(id) => {
                    self.flush((shard, id));
                    self.close((shard, id));
                }
                Effect::Relocate(id, to, relocated) => self.relocate((shard, id), to, &relocated),
                Effect::Parcels(to) => self.forward(to, shard),
                Effect::Fact(_) => {}
            }
        }
    }

    /// One shard's parcels reach another.
    fn forward(&mut self, to: u16, from: u16) {
        let (mut parcels, was_full) = self.broker.take_parcels(to, from);
        if !parcels.is_empty() {
            self.handle(to, Input::Forwarded(&mut parcels));
        }
        if was_full {
            self.handle(from, Input::Room);
        }
    }

    /// A connection goes to the shard that has its session.
    fn relocate(&mut self, from: At, to: u16, relocated: &Relocated) {
        let id = self.broker.shards[usize::from(to)].open(now(self.now_ms), relocated.peer);
        if self.observer == Some(from) {
            self.observer = Some((to, id));
        }
        if let Some(conn) = self.broker.conns.remove(&from) {
            self.broker.conns.insert((to, id), conn);
            if let Some(pipe) = self.pipes.get_mut(&conn) {
                pipe.at = Some((to, id));
            }
        }
        self.handle(to, Input::Bytes(id, &relocated.unread));
    }

    /// What the broker has for a connection goes out.
    fn flush(&mut self, at: At) {
        let (shard, id) = at;
        loop {
            let Some(output) = self.broker.shards[usize::from(shard)].output(id) else {
                return;
            };
            let mut slices = [IoSlice::new(&[]); 16];
            let n = output.slices(&mut slices);
            let bytes: Vec<u8> = slices[..n]
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            if bytes.is_empty() {
                return;
            }
            let wrote = bytes.len();
            if self.observer == Some(at) {
                self.observed(&bytes);
            } else {
                self.send_down(at, bytes);
            }
            self.handle(shard, Input::Wrote(id, wrote));
        }
    }

    fn send_down(&mut self, at: At, mut bytes: Vec<u8>) {
        let Some(conn) = self.broker.conns.get(&at).copied() else {
            return;
        };
        let refuses = !self.is_draining && self.draws.one_in(self.plan.refuses_connect_one_in);
        let Some(pipe) = self.pipes.get_mut(&conn) else {
            return;
        };
        if std::mem::take(&mut pipe.is_new) && refuses {
            let version = self.clients[pipe.client].version();
            bytes = plan::refusal(version, self.draws.below(4));
            self.note("a CONNACK refuses");
        }
        while !bytes.is_empty() {
            let n = 1 + self.draws.below(bytes.len() as u64) as usize;
            let rest = bytes.split_off(n);
            let at_ms = self.now_ms + self.delay_ms();
            if let Some(pipe) = self.pipes.get_mut(&conn) {
                let at_ms = pipe.down.push(at_ms, Piece::Bytes(bytes));
                self.agenda.add(at_ms, Task::Down(conn));
            }
            bytes = rest;
        }
    }

    /// The broker's end is closed.
    fn close(&mut self, at: At) {
        let Some(conn) = self.broker.conns.remove(&at) else {
            return;
        };
        if let Some(pipe) = self.pipes.get_mut(&conn) {
            pipe.at = None;
            let at_ms = pipe.down.push(self.now_ms, Piece::End);
            self.agenda.add(at_ms, Task::Down(conn));
        }
        self.handle(at.0, Input::Closed(at.1));
    }

    /// A packet that has no business there, between two that have.
    pub(super) fn say_wrong(&mut self, no: ClientNo) {
        let Some(conn) = self.clients[no].conn else { return };
        let is_online = self.clients[no].is_online();
        let (version, kind) = (self.clients[no].version(), self.draws.below(6));
        let number = 60_000 + self.draws.below(1_000) as u16;
        let bytes = plan::wrong(version, kind, number);
        if let Some(pipe) = self.pipes.get_mut(&conn).filter(|_| is_online) {
            let at_ms = pipe.down.push(self.now_ms, Piece::Bytes(bytes));
            self.agenda.add(at_ms, Task::Down(conn));
            self.note(&format!("something wrong is said to client {no}"));
        }
    }

    /// The broker starts anew with nothing: all sessions are lost.
    pub(super) fn forget(&mut self) {
        self.note("the broker forgets everything");
        self.broker = Process::start(&self.recipe, self.now_ms, &mut self.draws)
            .expect("a broker without a store starts");
        self.ledger.epoch += 1;
        let conns: Vec<ConnNo> = self.pipes.keys().copied().collect();
        for conn in conns {
            if let Some(pipe) = self.pipes.get_mut(&conn) {
                pipe.at = None;
                pipe.up.lose();
                let at_ms = pipe.down.push(self.now_ms + 1, Piece::End);
                self.agenda.add(at_ms, Task::Down(conn));
            }
        }
        self.observe();
    }

    /// A subscriber of QoS 0 over a network without time: it sees each message that the broker takes, once.
    pub(super) fn observe(&mut self) {
        let id = self.broker.shards[0].open(now(self.now_ms), peer(0));
        self.observer = Some((0, id));
        let version = martlet_codec::Version::V5;
        let mut bytes = Vec::new();
        Packet::Connect(Connect {
            version,
            bridge: false,
            clean_start: true,
            keep_alive_s: 0,
            client_id: OBSERVER,
            will: None,
            user_name: None,
            password: None,
            properties: Properties::EMPTY,
        })
        .encode(version, &mut bytes);
        let filter = martlet_codec::FilterBuf::new("to/#").expect("a filter");
        let requests = [(filter.as_filter(), SubscribeOptions::qos(Qos::AtMostOnce))];
        Packet::Subscribe(Subscribe {
            packet_id: martlet_codec::PacketId::MIN,
            properties: Properties::EMPTY,
            requests: SubscribeRequests::List(&requests),
        })
        .encode(version, &mut bytes);
        self.handle(0, Input::Bytes(id, &bytes));
    }

    fn observed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Ok(Decoded::Packet(packet, n)) =
            Packet::decode(rest, Some(martlet_codec::Version::V5), &Limits::NONE)
        {
            if let Packet::Publish(publish) = &packet {
                self.ledger.at_server(publish.payload);
            }
            rest = &rest[n..];
        }
        assert!(rest.is_empty(), "the broker writes whole packets");
    }
}

/// The number that a client's name says.
fn client_no(name: &str) -> usize {
    let no = name.strip_prefix("ours-").and_then(|no| no.parse().ok());
    no.unwrap_or(usize::MAX)
}
