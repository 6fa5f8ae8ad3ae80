//! What the network does.

use martlet_broker::Input;

use super::World;
use crate::agenda::Task;
use crate::history::{ConnNo, Fact};
use crate::pipe::{BrokerEnd, Piece, Pipe, Stream};
use crate::plan::Reading;
use crate::plant::wire::Wire;
use crate::process::peer;

/// A connection whose bytes are not taken is looked at again after that.
const AGAIN_MS: u64 = 5;

impl World {
    /// A client connects, to a shard that the seed decides.
    pub(super) fn dial(&mut self, no: usize) {
        let conn = self.next_conn;
        self.next_conn += 1;
        let shard = self.draws.below(u64::from(self.recipe.shards)) as u16;
        let pipe = Pipe {
            client: no,
            end: BrokerEnd::Moving {
                shard,
                relocated: None,
            },
            up: Stream::default(),
            down: Stream::default(),
            is_abandoned: false,
            next_read_ms: 0,
            wire: Wire::new(self.recipe.bug, &self.past),
        };
        self.pipes.insert(conn, pipe);
        let at_ms = self.now_ms + self.delay_ms();
        self.agenda.add(at_ms, Task::Arrive(conn));
        self.clients[no].dialled(self.now_ms, conn, &mut self.history);
        let bytes = self.clients[no].take_output();
        self.send_up(conn, &bytes);
    }

    fn delay_ms(&mut self) -> u64 {
        self.draws.below(self.network.delay_ms_max + 1)
    }

    /// A connection reaches a shard.
    pub(super) fn arrive(&mut self, conn: ConnNo) {
        let (Some(pipe), Some(process)) = (self.pipes.get_mut(&conn), &mut self.process) else {
            return;
        };
        let BrokerEnd::Moving { shard, relocated } = &mut pipe.end else {
            return;
        };
        let (shard, relocated) = (*shard, relocated.take());
        let from = relocated.as_ref().map_or(peer(conn), |relocated| relocated.peer);
        let id = process.shards[usize::from(shard)].open(crate::process::now(self.now_ms), from);
        process.conns.insert((shard, id), conn);
        pipe.end = BrokerEnd::Open {
            shard,
            id,
            closes_by_ms: None,
        };
        if let Some(relocated) = relocated {
            self.handle(shard, Input::Bytes(id, &relocated.unread));
        }
        self.agenda.add(self.now_ms, Task::Up(conn));
    }

    /// A client sends.
    pub(super) fn send_up(&mut self, conn: ConnNo, bytes: &[u8]) {
        let pieces = self.split(bytes);
        for piece in pieces {
            let at_ms = self.now_ms + self.delay_ms();
            let Some(pipe) = self.pipes.get_mut(&conn).filter(|pipe| !pipe.up.is_shut) else {
                return;
            };
            let at_ms = pipe.up.push(at_ms, Piece::Bytes(piece));
            self.agenda.add(at_ms, Task::Up(conn));
        }
    }

    /// The broker sends.
    pub(super) fn send_down(&mut self, conn: ConnNo, bytes: &[u8]) {
        let pieces = self.split(bytes);
        for piece in pieces {
            let at_ms = self.now_ms + self.delay_ms();
            let Some(pipe) = self.pipes.get_mut(&conn).filter(|pipe| !pipe.down.is_shut) else {
                return;
            };
            let at_ms = pipe.down.push(at_ms, Piece::Bytes(piece));
            self.agenda.add(at_ms, Task::Down(conn));
        }
    }

    fn split(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while rest.len() > 1 && self.draws.one_in(self.network.split_one_in) {
            let (piece, behind) = rest.split_at(1 + self.draws.below(rest.len() as u64 - 1) as usize);
            pieces.push(piece.to_vec());
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(rest.to_vec());
        }
        pieces
    }

    /// Bytes may have arrived at the broker.
    pub(super) fn up(&mut self, conn: ConnNo) {
        loop {
            let (Some(pipe), Some(process)) = (self.pipes.get_mut(&conn), &self.process) else {
                return;
            };
            let BrokerEnd::Open {
                shard,
                id,
                closes_by_ms: None,
            } = pipe.end
            else {
                return;
            };
            if !process.shards[usize::from(shard)].wants_read(id) {
                if !pipe.up.is_empty() {
                    self.agenda.add(self.now_ms + AGAIN_MS, Task::Up(conn));
                }
                return;
            }
            let injected = pipe.wire.take_injected();
            if !injected.is_empty() {
                self.handle(shard, Input::Bytes(id, &injected));
                continue;
            }
            match pipe.up.pop(self.now_ms) {
                None => return,
                Some(Piece::End) => return self.close_at_broker(conn),
                Some(Piece::Bytes(bytes)) => {
                    let bytes = pipe.wire.up(bytes);
                    self.read(shard, id, &bytes);
                    self.flush_answers(conn);
                }
            }
        }
    }

    /// The same bytes come in one of the two ways that a shard takes them.
    fn read(&mut self, shard: u16, conn: martlet_broker::ConnId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.draws.one_in(2) {
            return self.handle(shard, Input::Bytes(conn, bytes));
        }
        let start = self.draws.below(200) as usize;
        let mut buffer = vec![0; start];
        buffer.extend_from_slice(bytes);
        self.handle(
            shard,
            Input::Read {
                conn,
                buffer: &mut buffer,
                start,
            },
        );
    }

    /// Bytes may have arrived at the client.
    pub(super) fn down(&mut self, conn: ConnNo) {
        loop {
            let Some(pipe) = self.pipes.get_mut(&conn) else {
                return;
            };
            let no = pipe.client;
            if self.clients[no].conn() != Some(conn) {
                return self.forget(conn);
            }
            let piece = match self.clients[no].reading() {
                Reading::Prompt => pipe.down.pop(self.now_ms),
                Reading::Slow { every_ms, bytes } => {
                    if self.now_ms < pipe.next_read_ms {
                        self.agenda.add(pipe.next_read_ms, Task::Down(conn));
                        return;
                    }
                    pipe.next_read_ms = self.now_ms + every_ms;
                    pipe.down.pop_some(self.now_ms, bytes)
                }
            };
            match piece {
                None => {
                    pipe.next_read_ms = 0;
                    return;
                }
                Some(Piece::End) => {
                    self.clients[no].lost(self.now_ms, &mut self.history);
                    self.plan_tick(no);
                    if let Some(pipe) = self.pipes.get_mut(&conn) {
                        pipe.up.lose();
                        pipe.up.push(self.now_ms, Piece::End);
                        self.agenda.add(self.now_ms, Task::Up(conn));
                    }
                    return self.forget(conn);
                }
                Some(Piece::Bytes(bytes)) => {
                    self.agenda.add(self.now_ms, Task::Flush(conn));
                    let wish = self.clients[no].bytes(self.now_ms, &bytes, &mut self.history);
                    self.fulfil(no, Some(conn), wish);
                    self.plan_tick(no);
                }
            }
        }
    }

    /// A client closes its end; what it has sent arrives.
    pub(super) fn close_up(&mut self, conn: ConnNo) {
        let at_ms = self.now_ms + self.delay_ms();
        if let Some(pipe) = self.pipes.get_mut(&conn) {
            let at_ms = pipe.up.push(at_ms, Piece::End);
            pipe.up.is_shut = true;
            pipe.down.lose();
            self.agenda.add(at_ms, Task::Up(conn));
        }
        self.forget(conn);
    }

    /// A client is elsewhere; the broker does not hear of it.
    pub(super) fn abandon(&mut self, conn: ConnNo) {
        self.history.note(Fact::Cut { conn });
        if let Some(pipe) = self.pipes.get_mut(&conn) {
            pipe.is_abandoned = true;
            pipe.up.is_shut = true;
        }
        self.forget(conn);
    }

    /// The network cuts a connection: what is under way may be lost, and the broker may not hear of it.
    pub(super) fn cut(&mut self, conn: ConnNo) {
        let Some(pipe) = self.pipes.get_mut(&conn) else {
            return;
        };
        let no = pipe.client;
        if self.draws.one_in(2) {
            pipe.up.lose();
        }
        self.clients[no].lost(self.now_ms, &mut self.history);
        self.plan_tick(no);
        if self.draws.one_in(4) {
            return self.abandon(conn);
        }
        self.history.note(Fact::Cut { conn });
        self.close_up(conn);
    }

    /// Drops a connection that nobody has any more.
    pub(super) fn forget(&mut self, conn: ConnNo) {
        let is_over = self.pipes.get(&conn).is_some_and(|pipe| {
            matches!(pipe.end, BrokerEnd::Closed) && self.clients[pipe.client].conn() != Some(conn)
        });
        if is_over {
            self.pipes.remove(&conn);
        }
    }

    /// What a planted bug answered in place of the broker goes out.
    fn flush_answers(&mut self, conn: ConnNo) {
        let answers = self
            .pipes
            .get_mut(&conn)
            .map(|pipe| pipe.wire.take_answers())
            .unwrap_or_default();
        self.send_down(conn, &answers);
    }
}
