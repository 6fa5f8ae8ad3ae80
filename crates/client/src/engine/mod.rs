//! The rules of a client, pure: commands, bytes and the time go in; bytes, events and the next deadline
//! come out. No socket, clock, thread or randomness is known here.
//!
//! A driver makes a connection and calls [`Engine::connect`]; it feeds what it reads to
//! [`Engine::input`], writes what lies in [`Engine::output`] and says so by [`Engine::written`], calls
//! [`Engine::timeout`] at [`Engine::deadline`] and [`Engine::lost`] when the connection ends. After each
//! call it empties [`Engine::poll_event`].
//!
//! Packet identifiers, resending, de-duplication, aliases and the renewal of subscriptions exist here
//! only.

mod connect;
mod event;
mod packet_id;
mod packet_log;
mod publish;
mod receive;
mod request;

mod wire;

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::{
    Decoded, Disconnect, Limits, Packet, PacketId, Place, Properties, PropertiesBuf, PropertyId, ReasonCode,
    TopicBuf, Violation,
};
use martlet_session::keepalive::PingAction;
use martlet_session::{AliasesIn, ClientAgreed, Inflight, Output, PingTimer, Received, Speech, Ticket};

pub use event::{Event, Token, Unacked};

use crate::error::{Lost, Rejected, RequestError};
use crate::limits;
use crate::options::Options;
use packet_id::PacketIds;
use publish::{Flow, Outbox, Pending};
use request::{Request, Subscriptions};
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
    /// The start of a packet whose rest has not come.
    partial: Vec<u8>,
    wire: Wire,
    ping: PingTimer,
    /// Whether the driver reads from the server.
    reading: bool,
    seed: u64,
    ids: PacketIds,
    last_token: u64,
    // Sending.
    outbox: Outbox,
    inflight: Inflight<Pending>,
    /// Messages of QoS 1 and 2 by their identifier, from the time they are accepted.
    flows: HashMap<PacketId, Flow, FixedState>,
    /// Messages of QoS 0 in the output, and where each one ends.
    leaving: VecDeque<(u64, Pending)>,
    /// The topic aliases that the application defined on this connection.
    aliases_out: HashMap<u16, TopicBuf, FixedState>,
    requests: VecDeque<Request>,
    subscriptions: Subscriptions,
    // Receiving.
    received: Received,
    aliases_in: AliasesIn,
    /// Messages of QoS 2 that the application has not taken.
    untaken: HashMap<PacketId, Ticket, FixedState>,
    last_ticket: u64,
    events: VecDeque<Event>,
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Offline,
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
    /// A client that is not connected. `seed` is for what must differ between clients: the client
    /// identifier that version 3 makes up.
    pub fn new(mut options: Options, seed: u64) -> Self {
        options.bound_inbox();
        let version = options.protocol.first();
        let mut client_id = options.client_id.clone();
        if client_id.is_empty() && !Speech::of(version).assigned_client_id {
            client_id = connect::made_up_client_id(seed);
        }
        Self {
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
            outbox: Outbox::default(),
            inflight: Inflight::new(options.inflight_max),
            flows: HashMap::default(),
            leaving: VecDeque::new(),
            aliases_out: HashMap::default(),
            requests: VecDeque::new(),
            subscriptions: Subscriptions::default(),
            received: Received::default(),
            aliases_in: AliasesIn::default(),
            untaken: HashMap::default(),
            last_ticket: 0,
            events: VecDeque::new(),
            options,
        }
    }

    /// Bytes came from the server.
    pub fn input(&mut self, now_ms: u64, bytes: &[u8]) {
        self.now_ms = now_ms;
        if !self.is_connected() {
            return;
        }
        self.ping.heard(now_ms);
        if self.partial.is_empty() {
            let used = self.packets(bytes);
            if self.is_connected() {
                self.partial.extend_from_slice(&bytes[used..]);
            }
        } else {
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            let used = self.packets(&partial);
            // The next connection begins with bytes of its own.
            if self.is_connected() {
                partial.drain(..used);
                self.partial = partial;
            }
        }
        self.pump();
    }

    /// Handles the whole packets at the front of `bytes`, and tells how many bytes they took.
    fn packets(&mut self, bytes: &[u8]) -> usize {
        let limits = Limits {
            packet_bytes_max: self.options.packet_bytes_max,
            ..Limits::NONE
        };
        let mut used = 0;
        while self.is_connected() {
            if self.phase == Phase::Connecting
                && let Some(cause) = connect::no_answer(&bytes[used..])
            {
                self.ended(cause);
                break;
            }
            match Packet::decode(&bytes[used..], Some(self.wire.version), &limits) {
                Ok(Decoded::Packet(packet, n)) => {
                    used += n;
                    if let Some(log) = &mut self.wire.log {
                        log.push_back(packet_log::received(&packet, Speech::of(self.wire.version)));
                    }
                    if let Err(violation) = self.packet(&packet) {
                        self.violated(violation);
                    }
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(fault) => self.violated(fault.violation),
            }
        }
        used
    }

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Violation> {
        match (&self.phase, packet) {
            (Phase::Connecting, Packet::ConnAck(connack)) => self.connack(connack),
            (Phase::Connecting, Packet::Auth(_)) => Err(self.auth()),
            (Phase::Connecting, _) => Err(Violation::BeforeConnAck),
            (_, Packet::ConnAck(_)) => Err(Violation::SecondConnAck),
            (_, Packet::Publish(publish)) => self.publish_came(publish),
            (_, Packet::PubRel(ack)) => {
                self.pubrel_came(ack);
                Ok(())
            }
            (_, Packet::PubAck(ack)) => self.puback_came(ack),
            (_, Packet::PubRec(ack)) => self.pubrec_came(ack),
            (_, Packet::PubComp(ack)) => self.pubcomp_came(ack),
            (_, Packet::SubAck(suback)) => self.suback_came(suback),
            (_, Packet::UnsubAck(unsuback)) => self.unsuback_came(unsuback),
            (_, Packet::PingResp) => Ok(()),
            (_, Packet::Disconnect(disconnect)) => self.disconnect_came(disconnect),
            (_, Packet::Auth(_)) => Err(self.auth()),
            (_, Packet::Connect(_) | Packet::Subscribe(_) | Packet::Unsubscribe(_) | Packet::PingReq) => {
                Err(Violation::Direction)
            }
        }
    }

    /// AUTH is answered by nothing yet: it is refused, by the reason that fits.
    fn auth(&self) -> Violation {
        let asked = self.options.properties.as_properties();
        if asked.text(PropertyId::AuthenticationMethod).is_some() {
            Violation::AuthMethodUnknown
        } else {
            Violation::AuthWithoutMethod
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
        match self.phase {
            Phase::Online => {}
            Phase::Leaving { by_ms } if now_ms >= by_ms => return self.close(&Lost::ByUs),
            _ => return,
        }
        if !self.reading {
            // The answer may lie in the socket that nobody reads: no reason to doubt the server.
            self.ping.heard(now_ms);
        }
        match self.ping.action(now_ms) {
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
        match self.phase {
            Phase::Online => self.ping.deadline_ms(),
            Phase::Leaving { by_ms } => Some(by_ms),
            _ => None,
        }
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

    /// The next line for the packet log.
    pub fn poll_packet_log(&mut self) -> Option<String> {
        self.wire.log.as_mut()?.pop_front()
    }

    /// Sends DISCONNECT behind all that lies in the output; the driver writes that out and closes.
    /// Returns how many accepted messages are left without an end. Without a connection the client is
    /// closed at once.
    pub fn disconnect(
        &mut self,
        now_ms: u64,
        reason: ReasonCode,
        properties: &PropertiesBuf,
    ) -> Result<usize, RequestError> {
        self.now_ms = now_ms;
        match &self.phase {
            Phase::Closed(cause) => return Err(RequestError::Closed(cause.clone())),
            Phase::Leaving { .. } => return Err(RequestError::Closed(Lost::ByUs)),
            Phase::Offline | Phase::Connecting => {
                let left = self.unfinished();
                self.close(&Lost::ByUs);
                return Ok(left);
            }
            Phase::Online => {}
        }
        self.check_disconnect(reason, properties.as_properties())?;
        let left = self.unfinished();
        self.wire.packet(&Packet::Disconnect(Disconnect {
            reason,
            properties: properties.as_properties(),
        }));
        self.phase = self.leaving_from_now();
        Ok(left)
    }

    const fn leaving_from_now(&self) -> Phase {
        let by_ms = self.now_ms + limits::LEAVE_TIMEOUT_MS;
        Phase::Leaving { by_ms }
    }

    fn check_disconnect(&self, reason: ReasonCode, properties: Properties<'_>) -> Result<(), Rejected> {
        if !Speech::of(self.wire.version).properties {
            // Version 3 has one DISCONNECT; a wish for the will can be had by no DISCONNECT only.
            return self.needs_version_5(!properties.is_empty(), "properties of DISCONNECT");
        }
        let place = Place::Packet(martlet_codec::packet::PacketType::Disconnect);
        Properties::check(properties.as_bytes(), place).map_err(Rejected::Violation)?;
        if !reason.allowed_in(martlet_codec::packet::PacketType::Disconnect) {
            return Err(Rejected::Violation(Violation::AckReasonCode));
        }
        // [MQTT5-3.1.2-23]
        if self.session_expiry_s == 0 && properties.session_expiry_s().is_some_and(|s| s > 0) {
            return Err(Rejected::Violation(Violation::SessionExpiryFromZero));
        }
        Ok(())
    }

    fn needs_version_5(&self, needed: bool, what: &'static str) -> Result<(), Rejected> {
        let version = self.wire.version;
        if needed && !Speech::of(version).properties {
            return Err(Rejected::NeedsVersion5 { what, version });
        }
        Ok(())
    }

    /// The connection has ended outside: closed by the server, or failed.
    pub fn lost(&mut self, now_ms: u64, cause: Lost) {
        self.now_ms = now_ms;
        match self.phase {
            Phase::Connecting | Phase::Online => self.ended(cause),
            Phase::Leaving { .. } => self.close(&Lost::ByUs),
            Phase::Offline | Phase::Closed(_) => {}
        }
    }

    /// This connection is over. What belongs to it goes; what belongs to the session stays.
    fn ended(&mut self, cause: Lost) {
        let retry_with = self.fall_back(cause == Lost::Closed);
        self.phase = Phase::Offline;
        self.drop_renewals();
        self.partial = Vec::new();
        self.aliases_out.clear();
        self.aliases_in = AliasesIn::default();
        self.received.disconnect();
        for request in &mut self.requests {
            request.sent = false;
        }
        self.events.push_back(Event::Lost { cause, retry_with });
    }

    /// Ends the client for good: whatever has no end yet ends with `cause`.
    pub fn close(&mut self, cause: &Lost) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.phase = Phase::Closed(cause.clone());
        self.close_messages(cause);
        self.close_requests(cause);
    }

    /// Whether there is a connection on which something may still come: what comes behind our
    /// DISCONNECT is not looked at.
    fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Online)
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
        !self.flows.is_empty() || !self.requests.is_empty() || self.phase == Phase::Connecting
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }
}
