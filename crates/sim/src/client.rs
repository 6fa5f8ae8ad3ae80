//! A client as a machine: bytes and time in, bytes and facts out. It keeps the rules of the standard, so what
//! goes wrong is the broker's.

mod dialogue;
mod incoming;
mod session;

use martlet_codec::{Disconnect, Packet, PropertiesBuf, PropertyId, Qos, ReasonCode};

use self::dialogue::Dialogue;
use self::session::ClientSession;
use crate::draws::Draws;
use crate::history::{ClientNo, ConnNo, Fact, History};
use crate::plan::{Persona, Reading, SHORT_EXPIRY_S};

/// What all clients are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Each does what its persona says.
    Play,
    /// Each comes back and finishes what is under way.
    Drain,
    /// Each reader reads once more.
    LastRead,
    /// Each begins a clean session and leaves.
    Farewell,
}

/// What a client wants of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing.
    None,
    /// A connection.
    Dial,
    /// To close it, when all was sent.
    Close,
    /// To be elsewhere: the broker does not hear of it.
    Abandon,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    no: ClientNo,
    pub(crate) persona: Persona,
    draws: Draws,
    session: ClientSession,
    dialogue: Option<Dialogue>,
    /// Bytes for the network.
    out: Vec<u8>,
    /// When it acts next.
    pub(crate) next_ms: u64,
    /// When it publishes next.
    publish_ms: u64,
    published: u32,
    act: Act,
    is_done: bool,
    /// The connection is left before the act begins.
    leaves_first: bool,
}

impl Client {
    pub(crate) fn new(no: ClientNo, persona: Persona, mut draws: Draws) -> Self {
        let next_ms = draws.below(500);
        Self {
            no,
            persona,
            draws,
            session: ClientSession::default(),
            dialogue: None,
            out: Vec::new(),
            next_ms,
            publish_ms: 0,
            published: 0,
            act: Act::Play,
            is_done: false,
            leaves_first: false,
        }
    }

    pub(crate) fn begin(&mut self, act: Act, now_ms: u64) {
        self.act = act;
        self.is_done = act == Act::LastRead && !self.persona.reads;
        self.next_ms = now_ms + self.draws.below(100);
        let is_anew = act == Act::Farewell || (act == Act::LastRead && self.persona.reads);
        self.leaves_first = is_anew && self.dialogue.is_some();
    }

    /// Whether it has done what the act asks of it; of `Drain` that is for the world to see.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(crate) fn conn(&self) -> Option<ConnNo> {
        self.dialogue.as_ref().map(|dialogue| dialogue.conn)
    }

    pub(crate) fn reading(&self) -> Reading {
        if self.act == Act::Play {
            self.persona.reading
        } else {
            Reading::Prompt
        }
    }

    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Why it is not at rest, if it is not.
    pub(crate) fn unrest(&self, history: &History) -> Option<String> {
        let name = &self.persona.name;
        let Some(dialogue) = self.dialogue.as_ref().filter(|dialogue| dialogue.is_connected) else {
            return Some(format!("{name} is not connected"));
        };
        if !self.session.inflight.is_empty() {
            return Some(format!(
                "{name} waits for {} acknowledgements",
                self.session.inflight.len()
            ));
        }
        if dialogue.owes() {
            return Some(format!("{name} has not acknowledged all"));
        }
        // Who never read that its session had expired and another had begun waits in vain.
        let mut unreleased = self.session.unreleased.values();
        if unreleased.any(|conn| !history.began_anew_after(self.no, *conn)) {
            return Some(format!("{name} waits for PUBREL"));
        }
        dialogue
            .awaits()
            .then(|| format!("{name} waits for SUBACK or UNSUBACK"))
    }

    /// The connection that it wanted is there: says CONNECT.
    pub(crate) fn dialled(&mut self, now_ms: u64, conn: ConnNo, history: &mut History) {
        let clean_start = self.act == Act::Farewell
            || self.persona.always_clean
            || self.session.must_clean
            || (self.act == Act::Play && self.draws.one_in(self.persona.cleans_one_in));
        if clean_start || self.session.ends_with_connection {
            self.give_up(history);
        }
        self.session.must_clean |= clean_start;
        self.leaves_first = false;
        let mut dialogue = Dialogue::new(conn, &self.persona);
        let expiry_s = if self.act == Act::Farewell {
            0
        } else {
            let expiry_s = self.persona.expiry_s(clean_start);
            if self.act == Act::Play && self.persona.is_short(expiry_s, &mut self.draws) {
                SHORT_EXPIRY_S
            } else {
                expiry_s
            }
        };
        self.session.ends_with_connection = expiry_s == 0;
        let has_will = self.act == Act::Play;
        dialogue.connect(
            self.no,
            &self.persona,
            clean_start,
            expiry_s,
            has_will,
            history,
            &mut self.out,
        );
        self.dialogue = Some(dialogue);
        self.next_ms = now_ms + 1;
    }

    /// Its time has come.
    pub(crate) fn tick(&mut self, now_ms: u64, history: &mut History) -> Wish {
        self.next_ms = now_ms + self.draws.between(1, 100);
        let Some(dialogue) = &mut self.dialogue else {
            let may_dial = self.act != Act::Farewell || !self.is_done;
            return if may_dial { Wish::Dial } else { Wish::None };
        };
        dialogue.send_due(now_ms, self.no, history, &mut self.out);
        if !dialogue.is_connected {
            return Wish::None;
        }
        dialogue.ping(now_ms, &mut self.out);
        if std::mem::take(&mut self.leaves_first) {
            return self.leave(history);
        }
        match self.act {
            Act::Play => self.play(now_ms, history),
            Act::Drain | Act::LastRead => {
                self.drain(history);
                Wish::None
            }
            Act::Farewell => {
                self.is_done = true;
                self.leave(history)
            }
        }
    }

    fn play(&mut self, now_ms: u64, history: &mut History) -> Wish {
        if self.draws.one_in(self.persona.abandons_one_in) {
            self.over(history);
            return Wish::Abandon;
        }
        if self.draws.one_in(self.persona.leaves_one_in) {
            return self.leave(history);
        }
        if self.persona.reads {
            return self.read(now_ms, history);
        }
        self.subscribe(history);
        if now_ms >= self.publish_ms && self.published < self.persona.messages {
            self.publish_ms = now_ms + self.draws.between(0, 2 * self.persona.pause_ms);
            self.publish_some(history);
        }
        Wish::None
    }

    /// A reader comes, reads, and comes back later.
    fn read(&mut self, now_ms: u64, history: &mut History) -> Wish {
        let has_read = self.dialogue.as_ref().is_some_and(|dialogue| dialogue.has_read);
        if has_read {
            self.next_ms = now_ms + self.draws.between(1, self.persona.pause_ms);
            return self.leave(history);
        }
        self.subscribe(history);
        Wish::None
    }

    fn drain(&mut self, history: &mut History) {
        self.subscribe(history);
        let has_read = self.dialogue.as_ref().is_some_and(|dialogue| dialogue.has_read);
        if self.act == Act::LastRead && self.persona.reads {
            self.is_done = has_read;
        }
    }

    fn leave(&mut self, history: &mut History) -> Wish {
        let Some(dialogue) = &self.dialogue else {
            return Wish::None;
        };
        let conn = dialogue.conn;
        let is_v5 = self.persona.says_limits();
        // Whether the broker hears it, the client learns from its next CONNACK.
        let ends_session = self.act == Act::Play
            && is_v5
            && !self.session.ends_with_connection
            && self.draws.one_in(self.persona.ends_one_in);
        let mut properties = PropertiesBuf::new();
        if ends_session {
            properties.number(PropertyId::SessionExpiryInterval, 0_u32);
        }
        let goodbye = Packet::Disconnect(Disconnect {
            reason: ReasonCode::Success,
            properties: properties.as_properties(),
        });
        goodbye.encode(dialogue.version, &mut self.out);
        history.note(Fact::Leaving {
            client: self.no,
            conn,
            ends_session,
        });
        self.over(history);
        Wish::Close
    }

    /// The connection is over, as far as the client knows.
    pub(crate) fn over(&mut self, history: &mut History) {
        if let Some(dialogue) = self.dialogue.take() {
            let (client, conn) = (self.no, dialogue.conn);
            history.note(Fact::Ended { client, conn });
        }
    }

    /// The connection is over: somebody else closed it.
    pub(crate) fn lost(&mut self, now_ms: u64, history: &mut History) {
        self.out.clear();
        self.over(history);
        self.next_ms = now_ms + self.draws.between(1, 1_000);
    }

    fn give_up(&mut self, history: &mut History) {
        for message in self.session.reset() {
            let client = self.no;
            history.note(Fact::GivenUp { client, message });
        }
    }

    /// Subscribes to what it wants and has not; now and then unsubscribes from what it has.
    fn subscribe(&mut self, history: &mut History) {
        let Some(dialogue) = &mut self.dialogue else {
            return;
        };
        if dialogue.awaits() {
            return;
        }
        let toggles = self.persona.toggles && self.act == Act::Play;
        for (filter, qos) in &self.persona.filters {
            let has = self.session.subscribed.contains(filter);
            if has && toggles && self.draws.one_in(40) {
                let id = self.session.free_id(dialogue.awaited());
                dialogue.unsubscribe(self.no, id, filter, history, &mut self.out);
                return;
            }
            // One that was refused is asked for again, but not at once.
            if !has && (!toggles || self.draws.one_in(10)) {
                let id = self.session.free_id(dialogue.awaited());
                dialogue.subscribe(self.no, id, filter, *qos, history, &mut self.out);
                return;
            }
        }
    }

    /// Publishes one message or a few.
    fn publish_some(&mut self, history: &mut History) {
        let burst = if self.draws.one_in(5) {
            self.draws.between(2, 10)
        } else {
            1
        };
        for _ in 0..burst {
            let Some(dialogue) = &mut self.dialogue else {
                return;
            };
            let window = self.persona.window.min(dialogue.window);
            let is_full = self.session.inflight.len() >= usize::from(window) || dialogue.to_resend > 0;
            if self.published >= self.persona.messages || is_full {
                return;
            }
            let qos = *self.draws.pick(&self.persona.qoses);
            let topic = self.draws.pick(&self.persona.topics).clone();
            let clears = self.persona.retains && self.draws.one_in(8);
            let expires = self.draws.one_in(self.persona.expires_one_in);
            let bytes = if self.draws.one_in(4) {
                self.draws.below(self.persona.payload_bytes_max as u64) as usize
            } else {
                0
            };
            let retain = self.persona.retains;
            let message = history.say(crate::history::Said {
                publisher: self.no,
                topic,
                qos,
                retain,
                clears,
                expires,
                bytes,
            });
            let id = (qos != Qos::AtMostOnce).then(|| self.session.free_id(dialogue.awaited()));
            if let Some(id) = id {
                self.session.sent(id, message, qos);
            }
            self.published += 1;
            dialogue.publish(self.no, message, id, false, history, &mut self.out);
        }
    }
}
