//! What is between the clients and the broker.

use martlet_broker::Input;

use super::{ClientNo, Pipe, Task, World};
use crate::history::ConnNo;
use crate::pipe::{Piece, Stream};
use crate::process::{now, peer};

impl World {
    pub(super) fn delay_ms(&mut self) -> u64 {
        self.draws.below(self.plan.delay_ms + 1)
    }

    pub(super) fn dial(&mut self, no: ClientNo) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let shard = self.draws.below(u64::from(self.recipe.shards)) as u16;
        let id = self.broker.shards[usize::from(shard)].open(now(self.now_ms), peer(conn));
        self.broker.conns.insert((shard, id), conn);
        let pipe = Pipe {
            client: no,
            at: Some((shard, id)),
            up: Stream::default(),
            down: Stream::default(),
            is_new: true,
        };
        self.pipes.insert(conn, pipe);
        self.clients[no].conn = Some(conn);
    }

    /// Sends what the engine has to say; some of it stays in a socket that is full.
    pub(super) fn write(&mut self, no: ClientNo) {
        let Some(conn) = self.clients[no].conn else { return };
        let mut bytes = self.clients[no].take_output(self.now_ms);
        while !bytes.is_empty() {
            let n = 1 + self.draws.below(bytes.len() as u64) as usize;
            let rest = bytes.split_off(n);
            let at_ms = self.now_ms + self.delay_ms();
            if let Some(pipe) = self.pipes.get_mut(&conn) {
                let at_ms = pipe.up.push(at_ms, Piece::Bytes(bytes));
                self.agenda.add(at_ms, Task::Up(conn));
            }
            bytes = rest;
        }
    }

    /// The client closes; what it has sent arrives.
    pub(super) fn hang_up(&mut self, no: ClientNo) {
        self.write(no);
        if let Some(conn) = self.clients[no].conn.take()
            && let Some(pipe) = self.pipes.get_mut(&conn)
        {
            let at_ms = pipe.up.push(self.now_ms, Piece::End);
            pipe.down.lose();
            self.agenda.add(at_ms, Task::Up(conn));
        }
    }

    /// Both ends are gone; of what was under way nothing arrives, or all.
    pub(super) fn cut(&mut self, no: ClientNo) {
        let Some(conn) = self.clients[no].conn.take() else {
            return;
        };
        let arrives = self.draws.one_in(2);
        if let Some(pipe) = self.pipes.get_mut(&conn) {
            if !arrives {
                pipe.up.lose();
            }
            let at_ms = pipe.up.push(self.now_ms + 1, Piece::End);
            self.agenda.add(at_ms, Task::Up(conn));
            pipe.down.lose();
        }
        let now_ms = self.now_ms;
        self.with(no, |client| client.lost(now_ms));
    }

    pub(super) fn up(&mut self, conn: ConnNo) {
        while let Some(pipe) = self.pipes.get_mut(&conn) {
            match (pipe.at, pipe.up.pop(self.now_ms)) {
                (_, None) => return,
                (None, Some(_)) => {}
                (Some((shard, id)), Some(Piece::Bytes(bytes))) => {
                    self.handle(shard, Input::Bytes(id, &bytes));
                }
                (Some(at), Some(Piece::End)) => {
                    self.pipes.remove(&conn);
                    self.broker.conns.remove(&at);
                    self.handle(at.0, Input::Closed(at.1));
                }
            }
        }
    }

    pub(super) fn down(&mut self, conn: ConnNo) {
        while let Some(pipe) = self.pipes.get_mut(&conn) {
            let no = pipe.client;
            if self.clients[no].conn != Some(conn) {
                return;
            }
            let now_ms = self.now_ms;
            match pipe.down.pop(now_ms) {
                None => return,
                Some(Piece::Bytes(bytes)) => self.with(no, |client| client.input(now_ms, &bytes)),
                Some(Piece::End) => {
                    self.clients[no].conn = None;
                    if let Some(pipe) = self.pipes.get_mut(&conn) {
                        pipe.up.push(now_ms, Piece::End);
                        self.agenda.add(now_ms, Task::Up(conn));
                    }
                    self.with(no, |client| client.lost(now_ms));
                }
            }
        }
    }
}
