//! The rules of a client, pure: commands, bytes and the time go in; bytes, events, what to do about the
//! connection and the next deadline come out. No socket, clock, thread or randomness is known here.
//!
//! A driver asks [`Engine::task`] what to do. To [dial](Task::Dial) it makes a connection and calls
//! [`Engine::connect`], or [`Engine::unreachable`]; while there is a connection it feeds what it reads to
//! [`Engine::input`], writes what lies in [`Engine::output`] and says so by [`Engine::written`], and calls
//! [`Engine::lost`] when the connection ends. It calls [`Engine::timeout`] at [`Engine::deadline`]. After
//! each call it empties [`Engine::poll_event`].
//!
//! With a store, [`Engine::restore`] comes first; what [`Engine::store_batch`] hands out is to be kept, and
//! [`Engine::store_done`] says that it is: what rests on it leaves then and not before.
//!
//! When to connect again and to which server, packet identifiers, resending, de-duplication, aliases and
//! the renewal of subscriptions exist here only.

mod attempts;
mod authenticate;
mod connect;
mod connection;
mod event;
mod keeping;
mod names;
mod outbox;
mod packet_id;
mod packet_log;
mod publish;
mod receive;
mod request;
mod respond;
mod store;
mod wire;

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{Decoded, Disconnect, Limits, Packet, PacketId, Publish, TopicBuf, Violation};
use martlet_session::keepalive::PingAction;
use martlet_session::{
    AliasesIn, AliasesOut, ClientAgreed, Inflight, Output, PingTimer, Received, Speech, Ticket,
};

pub use event::{Event, Leftover, Stats, Task, Token, Unacked};
pub use publish::Accepted;
pub use receive::{Inbox, may_refuse};
pub(crate) use store::received_with;
pub use store::{Contents, Stage, StoreBatch, StoreOp, StoredMessage};

use crate::error::{Lost, Rejected};
use crate::limits;
use crate::options::Options;
use crate::policy::Offline;
use attempts::{Attempts, ms};
use authenticate::Authentication;
use keeping::Keeping;
use names::Names;
use outbox::{Outbox, Pending};
use packet_id::PacketIds;
use publish::Flow;
use request::{Request, Subscriptions};
use respond::Responses;
use wire::Wire;

/// A client's rules and state, over all of its connections.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    phase: Phase,
    /// The time of the last call.
    now_ms: u64,
    /// What the server agreed to last.
    agreed: Option<ClientAgreed>,
    /// Empty until it is given, assigned or made up.
    client_id: String,
    /// The expiry that the last CONNECT or CONNACK named.
    session_expiry_s: u32,
    attempts: Attempts,
    /// Whether the version fell back because the server closed without a word.
    was_cut: bool,
    /// By when CONNACK must have come.
    connect_by_ms: Option<u64>,
    authentication: Authentication,
    /// The start of a packet whose rest has not come.
    partial: Vec<u8>,
    wire: Wire,
    ping: PingTimer,
    /// Whether the driver reads from the server.
    reading: bool,
    seed: u64,
    ids: PacketIds,
    last_token: u64,
    /// With a store only.
    keeping: Option<Box<Keeping>>,
    // Sending.
    outbox: Outbox,
    inflight: Inflight<Pending>,
    /// Messages of QoS 1 and 2 by their identifier, from the time they are accepted.
    flows: HashMap<PacketId, Flow, FixedState>,
    /// Messages of QoS 0 in the output, and where each one ends.
    leaving: VecDeque<(u64, Pending)>,
    /// The topic aliases that the application defined on this connection.
    aliases_out: HashMap<u16, TopicBuf, FixedState>,
    /// Those that are chosen here.
    aliases_chosen: AliasesOut,
    leftover: Leftover,
    requests: VecDeque<Request>,
    subscriptions: Subscriptions,
    responses: Responses,
    // Receiving.
    received: Received,
    /// How many messages of QoS 1 and 2 the server may have under way: what we announced; version 3 has no limit but the number
    /// of identifiers.
    receive_maximum: u16,
    aliases_in: AliasesIn,
    names: Names,
    /// Messages of QoS 2 that the application has not taken.
    untaken: HashMap<PacketId, Ticket, FixedState>,
    last_ticket: u64,
    events: VecDeque<Event>,
    stats: Stats,
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Offline,
    /// The driver makes one.
    Dialing,
    /// CONNECT was sent.
    Connecting,
    /// CONNACK has come.
    Online,
    /// Our DISCONNECT lies in the output; the server is to take something of it by then.
    Leaving { by_ms: u64 },
    /// For good.
    Closed(Lost),
}

impl Engine {
    /// A client that is not connected. `seed` is for what must differ between clients: the waits between
    /// attempts, the response topic, and the client identifier that version 3 makes up.
    pub fn new(mut options: Options, seed: u64) -> Self {
        options.bound_inbox();
        let version = options.protocol.first();
        let client_id = connect::client_id(&options, version, seed);
        Self {
            attempts: Attempts::new(options.reconnect, options.servers(), seed),
            was_cut: false,
            connect_by_ms: None,
            authentication: Authentication::default(),
            aliases_chosen: AliasesOut::default(),
            leftover: Leftover::default(),
            responses: Responses::default(),
            stats: Stats::default(),
            phase: Phase::Offline,
            now_ms: 0,
            agreed: None,
            client_id,
            session_expiry_s: 0,
            partial: Vec::new(),
            wire: Wire::new(version, options.packet_log.is_some()),
            ping: PingTimer::default(),
            reading: true,
            ids: PacketIds::default(),
            seed,
            last_token: 0,
            keeping: None,
            outbox: Outbox::default(),
            inflight: Inflight::new(options.inflight_max),
            flows: HashMap::default(),
            leaving: VecDeque::new(),
            aliases_out: HashMap::default(),
            requests: VecDeque::new(),
            subscriptions: Subscriptions::default(),
            received: Received::default(),
            receive_maximum: u16::MAX,
            aliases_in: AliasesIn::default(),
            names: Names::default(),
            untaken: HashMap::default(),
            last_ticket: 0,
            events: VecDeque::new(),
            options,
        }
    }

    /// Bytes came from the server. Messages among them are told by [`Event::Message`].
    pub fn input(&mut self, now_ms: u64, bytes: &[u8]) {
        self.input_to(now_ms, bytes, None);
    }

    /// As [`input`](Self::input), with messages handed to an inbox at once, so that they do not pile up as events.
    pub fn input_to(&mut self, now_ms: u64, bytes: &[u8], mut inbox: Option<&mut dyn Inbox>) {
        self.now_ms = now_ms;
        if !self.is_connected() {
            return;
        }
        self.ping.heard(now_ms);
        let rest = self.rest_of_packet(bytes, &mut inbox);
        let used = self.packets(rest, &mut inbox);
        if self.is_connected() {
            self.partial.extend_from_slice(&rest[used..]);
        } else {
            // The next connection begins with bytes of its own.
            self.partial = Vec::new();
        }
        self.pump();
    }

    /// Completes the packet whose start has come, if there is one, and returns what stands behind it.
    fn rest_of_packet<'a>(&mut self, bytes: &'a [u8], inbox: &mut Option<&mut dyn Inbox>) -> &'a [u8] {
        let mut rest = bytes;
        while !self.partial.is_empty() && !rest.is_empty() && self.is_connected() {
            let mut partial = std::mem::take(&mut self.partial);
            // Until it is known how long it is, byte by byte.
            let missing = Packet::announced_len(&partial).map_or(1, |length| length - partial.len());
            let (front, behind) = rest.split_at(missing.min(rest.len()));
            partial.extend_from_slice(front);
            rest = behind;
            if self.packets(&partial, inbox) > 0 {
                partial.clear();
                partial.shrink_to(limits::READ_BYTES);
            }
            self.partial = partial;
        }
        rest
    }

    /// Handles the whole packets at the front of `bytes`, and tells how many bytes they took.
    fn packets(&mut self, bytes: &[u8], inbox: &mut Option<&mut dyn Inbox>) -> usize {
        let limits = Limits {
            packet_bytes_max: self.options.packet_bytes_max,
            ..Limits::NONE
        };
        let mut used = 0;
        let mut known = None;
        while self.is_connected() {
            let rest = &bytes[used..];
            if self.phase == Phase::Connecting
                && let Some(cause) = connect::no_answer(rest)
            {
                self.ended(cause);
                break;
            }
            if self.phase == Phase::Online {
                self.names.last(&mut known);
                let known = known.as_ref().map(TopicBuf::as_topic);
                match Packet::decode_publish(rest, self.wire.version, &limits, known) {
                    Ok(Some((publish, n))) => {
                        used += n;
                        self.log_received(&publish);
                        if let Err(violation) = self.publish_came(&publish, inbox) {
                            self.violated(violation);
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(fault) => {
                        self.violated(fault.violation);
                        break;
                    }
                }
            }
            match Packet::decode(rest, Some(self.wire.version), &limits) {
                Ok(Decoded::Packet(packet, n)) => {
                    used += n;
                    if let Some(log) = &mut self.wire.log {
                        log.push_back(packet_log::received(&packet, Speech::of(self.wire.version)));
                    }
                    if let Err(violation) = self.packet(&packet, inbox) {
                        self.violated(violation);
                    }
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(fault) => self.violated(fault.violation),
            }
        }
        used
    }

    fn log_received(&mut self, publish: &Publish<'_>) {
        if let Some(log) = &mut self.wire.log {
            let packet = Packet::Publish(*publish);
            log.push_back(packet_log::received(&packet, Speech::of(self.wire.version)));
        }
    }

    fn packet(&mut self, packet: &Packet<'_>, inbox: &mut Option<&mut dyn Inbox>) -> Result<(), Violation> {
        match (&self.phase, packet) {
            (Phase::Connecting, Packet::ConnAck(connack)) => self.connack(connack),
            (Phase::Connecting, Packet::Auth(auth)) => self.auth_came(auth),
            (Phase::Connecting, _) => Err(Violation::BeforeConnAck),
            (_, Packet::ConnAck(_)) => Err(Violation::SecondConnAck),
            (_, Packet::Publish(publish)) => self.publish_came(publish, inbox),
            (_, Packet::PubRel(ack)) => {
                self.pubrel_came(ack);
                Ok(())
            }
            (_, Packet::PubAck(ack)) => self.puback_came(ack),
            (_, Packet::PubRec(ack)) => self.pubrec_came(ack),
            (_, Packet::PubComp(ack)) => self.pubcomp_came(ack),
            (_, Packet::SubAck(suback)) => self.suback_came(suback),
            (_, Packet::UnsubAck(unsuback)) => self.unsuback_came(unsuback),
            (_, Packet::PingResp) => {
                self.events.push_back(Event::Pong);
                Ok(())
            }
            (_, Packet::Disconnect(disconnect)) => self.disconnect_came(disconnect),
            (_, Packet::Auth(auth)) => self.auth_came(auth),
            (_, Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq) => {
                Err(Violation::Direction)
            }
        }
    }

    fn disconnect_came(&mut self, disconnect: &Disconnect<'_>) -> Result<(), Violation> {
        if !Speech::of(self.wire.version).properties {
            return Err(Violation::Direction);
        }
        if disconnect.properties.session_expiry_s().is_some() {
            return Err(Violation::ServerExpiry);
        }
        self.ended(Lost::Disconnected {
            reason: disconnect.reason,
            properties: disconnect.properties.to_buf(),
        });
        Ok(())
    }

    /// The server broke a rule: it is told where the version can, and the connection ends.
    fn violated(&mut self, violation: Violation) {
        if self.phase == Phase::Online && Speech::of(self.wire.version).properties {
            self.wire
                .packet(&Packet::Disconnect(Disconnect::new(violation.code())));
        }
        self.ended(Lost::Violation(violation));
    }

    /// The time has come that [`deadline`](Self::deadline) named.
    pub fn timeout(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if !self.has_connection() {
            self.not_left();
        }
        // Of a request with a store both times are over at once: then it has waited too long for its response.
        self.expire_requests();
        self.expire_messages();
        match self.phase {
            Phase::Online => self.keep_alive(),
            Phase::Leaving { by_ms } if now_ms >= by_ms => self.close(&Lost::ByUs),
            Phase::Dialing | Phase::Connecting if self.connect_by_ms.is_some_and(|at| now_ms >= at) => {
                let after_ms = ms(self.options.connect_timeout);
                self.ended(Lost::NoAnswer { after_ms });
            }
            _ => {}
        }
    }

    fn keep_alive(&mut self) {
        if !self.reading {
            // The answer may lie in the socket that nobody reads: no reason to doubt the server.
            self.ping.heard(self.now_ms);
        }
        match self.ping.action(self.now_ms) {
            PingAction::Wait => {}
            PingAction::Ping => self.wire.packet(&Packet::PingReq),
            PingAction::Lost => {
                let after_ms = self.ping_answer_ms();
                self.ended(Lost::PingTimeout { after_ms });
            }
        }
    }

    fn ping_answer_ms(&self) -> u64 {
        let keep_alive_s = self.agreed.map_or(0, |agreed| agreed.keep_alive_s);
        (u64::from(keep_alive_s) * 500).max(1_000)
    }

    /// When [`timeout`](Self::timeout) is to be called.
    pub fn deadline(&self) -> Option<u64> {
        let of_phase = match self.phase {
            Phase::Online => self.ping.deadline_ms(),
            Phase::Leaving { by_ms } => Some(by_ms),
            Phase::Offline => self.attempts.next_ms(),
            Phase::Dialing | Phase::Connecting => self.connect_by_ms,
            Phase::Closed(_) => return None,
        };
        let others = [self.outbox.next_expiry_ms(), self.responses.next_timeout_ms()];
        others.into_iter().flatten().chain(of_phase).min()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        Stats {
            outbox_messages: self.outbox.messages(),
            outbox_bytes: self.outbox.bytes(),
            unsent_messages: self.outbox.unsent() + self.leaving.len(),
            ..self.stats
        }
    }

    /// What was left when the client closed; the messages are handed out once.
    pub fn leftover(&mut self) -> Leftover {
        std::mem::take(&mut self.leftover)
    }

    /// The driver begins or ceases to read from the server. While it does not, no PINGRESP is missed.
    pub fn reading(&mut self, now_ms: u64, reading: bool) {
        self.now_ms = now_ms;
        if reading && !self.reading {
            self.ping.heard(now_ms);
        }
        self.reading = reading;
    }

    /// What waits to be written.
    pub fn output(&self) -> &Output {
        &self.wire.output
    }

    /// The front of the output was handed to the socket.
    pub fn written(&mut self, now_ms: u64, bytes: usize) {
        self.now_ms = now_ms;
        if bytes > 0 {
            self.ping.sent(now_ms);
            if self.is_leaving() {
                self.phase = self.leaving_from_now();
            }
        }
        let end = self.wire.written(bytes);
        self.left(end);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The client identifier; empty until one is assigned.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Writes the packet log from now on, or does so no more; it begins as
    /// [`Options::packet_log`](crate::Options::packet_log) says.
    pub fn log_packets(&mut self, on: bool) {
        if self.wire.log.is_some() != on {
            self.wire.log = on.then(VecDeque::new);
        }
    }

    /// The next line for the packet log.
    pub fn poll_packet_log(&mut self) -> Option<String> {
        self.wire.log.as_mut()?.pop_front()
    }

    fn needs_version_5(&self, needed: bool, what: &'static str) -> Result<(), Rejected> {
        let version = self.wire.version;
        if needed && !Speech::of(version).properties {
            return Err(Rejected::NeedsVersion5 { what, version });
        }
        Ok(())
    }

    /// Whether commands are taken.
    fn check_open(&self) -> Result<(), Lost> {
        match &self.phase {
            Phase::Closed(cause) => Err(cause.clone()),
            Phase::Leaving { .. } => Err(Lost::ByUs),
            Phase::Offline | Phase::Dialing | Phase::Connecting | Phase::Online => Ok(()),
        }
    }

    /// Whether the policy takes nothing without a connection.
    fn refuses_offline(&self) -> bool {
        match self.options.policy.offline {
            Offline::Keep => false,
            Offline::KeepOnceConnected => self.agreed.is_none(),
            Offline::Refuse => self.phase != Phase::Online,
        }
    }

    /// Whether there is a connection on which something may still come: what comes behind our
    /// DISCONNECT is not looked at.
    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Online)
    }

    /// Whether the driver makes a connection.
    pub fn is_dialing(&self) -> bool {
        self.phase == Phase::Dialing
    }

    /// Whether there is a connection that the driver moves bytes on.
    pub fn has_connection(&self) -> bool {
        self.is_connected() || self.is_leaving()
    }

    /// Whether our DISCONNECT lies in the output: once that is written, the driver closes.
    pub fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    /// Whether the client is closed for good, and by what.
    pub fn closed(&self) -> Option<&Lost> {
        match &self.phase {
            Phase::Closed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether there is a connection that the server has agreed to.
    pub fn is_online(&self) -> bool {
        self.phase == Phase::Online
    }

    /// Accepted messages that have no end yet.
    pub fn unfinished(&self) -> usize {
        self.outbox.messages()
    }

    /// Whether an answer of the server is waited for.
    pub fn awaits_answer(&self) -> bool {
        !self.flows.is_empty()
            || !self.requests.is_empty()
            || !self.responses.is_empty()
            || self.phase == Phase::Connecting
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }
}
