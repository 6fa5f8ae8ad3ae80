//! The life of a client: when a connection is to be made, how it ends, and the end for good.

use std::time::Duration;

use martlet_codec::packet::PacketType;
use martlet_codec::{Disconnect, Packet, Properties, PropertiesBuf, ReasonCode, Violation};
use martlet_session::{AliasesIn, Speech};

use super::attempts::{Next, ms};
use super::authenticate::Authentication;
use super::request::check_properties;
use super::{Engine, Event, Phase, Task};
use crate::error::{Lost, Rejected, RequestError};
use crate::limits;
use crate::options::Options;
use crate::policy::Unfinished;

impl Engine {
    /// Begins: the first attempt to connect is due. `retries_first`: the policy for lost connections holds
    /// for it too; else the client closes when no server of the list agrees.
    pub fn start(&mut self, now_ms: u64, retries_first: bool) {
        self.now_ms = now_ms;
        self.attempts.start(now_ms, retries_first);
    }

    /// What is to be done about the connection now.
    pub fn task(&mut self, now_ms: u64) -> Task {
        self.now_ms = now_ms;
        match self.phase {
            Phase::Closed(_) => Task::End,
            Phase::Offline if self.attempts.next_ms().is_some_and(|at_ms| at_ms <= now_ms) => {
                self.attempts.begun();
                self.phase = Phase::Dialing;
                self.connect_by_ms = Some(now_ms + ms(self.options.connect_timeout));
                self.stats.attempts += 1;
                Task::Dial {
                    server: self.attempts.server(),
                }
            }
            Phase::Offline => Task::Wait,
            Phase::Dialing => Task::Dial {
                server: self.attempts.server(),
            },
            Phase::Connecting | Phase::Online | Phase::Leaving { .. } => Task::Carry,
        }
    }

    /// The server could not be reached, or the application has no login for it.
    pub fn unreachable(&mut self, now_ms: u64, cause: Lost) {
        self.now_ms = now_ms;
        if self.phase == Phase::Dialing {
            self.ended(cause);
        }
    }

    /// The server that is tried or in use, by its place in the list.
    pub fn server(&self) -> usize {
        self.attempts.server()
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
            Phase::Offline | Phase::Dialing | Phase::Connecting => {
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

    pub(super) const fn leaving_from_now(&self) -> Phase {
        let by_ms = self.now_ms + limits::LEAVE_TIMEOUT_MS;
        Phase::Leaving { by_ms }
    }

    fn check_disconnect(&self, reason: ReasonCode, properties: Properties<'_>) -> Result<(), Rejected> {
        if !Speech::of(self.wire.version).properties {
            // Version 3 has one DISCONNECT, behind which no will is published.
            self.needs_version_5(reason != ReasonCode::Success, "reasons of DISCONNECT")?;
            return self.needs_version_5(!properties.is_empty(), "properties of DISCONNECT");
        }
        check_properties(&properties.to_buf(), PacketType::Disconnect)?;
        if !reason.allowed_in(PacketType::Disconnect) {
            return Err(Rejected::Violation(Violation::AckReasonCode));
        }
        // [MQTT5-3.1.2-23]
        if self.session_expiry_s == 0 && properties.session_expiry_s().is_some_and(|s| s > 0) {
            return Err(Rejected::Violation(Violation::SessionExpiryFromZero));
        }
        Ok(())
    }

    /// The connection has ended outside: closed by the server, or failed.
    pub fn lost(&mut self, now_ms: u64, cause: Lost) {
        self.now_ms = now_ms;
        match self.phase {
            Phase::Connecting | Phase::Online => self.ended(cause),
            Phase::Leaving { .. } => self.close(&Lost::ByUs),
            Phase::Offline | Phase::Dialing | Phase::Closed(_) => {}
        }
    }

    /// This connection is over, or there was none. What belongs to it goes; what belongs to the session
    /// stays, as the policy says.
    pub(super) fn ended(&mut self, cause: Lost) {
        let retry_with = match cause {
            Lost::Closed => self.fall_back_as_cut(),
            _ => None,
        };
        let retry_at_ms = self.next_attempt(retry_with.is_some(), cause.may_pass());
        self.phase = Phase::Offline;
        self.connect_by_ms = None;
        self.authentication = Authentication::default();
        self.drop_renewals();
        self.partial = Vec::new();
        self.aliases_out.clear();
        self.aliases_in = AliasesIn::default();
        self.received.disconnect();
        for request in &mut self.requests {
            request.sent = false;
        }
        if self.options.policy.unfinished == Unfinished::Fail {
            self.fail_messages(&cause);
            self.fail_requests(&cause);
        }
        let closes_with = retry_at_ms.is_none().then(|| cause.clone());
        self.events.push_back(Event::Lost {
            cause,
            retry_with,
            retry_at_ms,
        });
        if let Some(cause) = closes_with {
            self.close(&cause);
        }
    }

    /// When the next attempt begins; none: there is none.
    pub(super) fn next_attempt(&mut self, in_another_version: bool, may_pass: bool) -> Option<u64> {
        if in_another_version {
            self.attempts.again(self.now_ms);
            return Some(self.now_ms);
        }
        match self.attempts.failed(self.now_ms, may_pass) {
            Next::At(at_ms) => {
                self.first_version();
                Some(at_ms)
            }
            Next::Close => None,
        }
    }

    /// A client that is closed begins anew with these options: the first attempt is due after `wait`. For
    /// interfaces whose clients may connect again after they were disconnected, and whatever ended them.
    ///
    /// What the session knows goes on where the client identifier is the same: which messages of QoS 2 came.
    /// Nothing else is left of the time before; not for clients with a store, which begin with what that has.
    pub fn reopen(&mut self, now_ms: u64, options: Options, wait: Duration) {
        assert!(
            matches!(self.phase, Phase::Closed(_)),
            "a client that is not closed is open"
        );
        let anew = Self::new(
            options,
            self.seed.wrapping_add(self.last_token).wrapping_add(now_ms),
        );
        let mut before = std::mem::replace(self, anew);
        self.ids = before.ids;
        self.last_token = before.last_token;
        self.last_ticket = before.last_ticket;
        self.events = before.events;
        self.stats = before.stats;
        if before.options.client_id == self.options.client_id && !self.options.client_id.is_empty() {
            before.received.disconnect();
            self.received = before.received;
        }
        self.now_ms = now_ms;
        self.attempts.start(now_ms + ms(wait), true);
    }

    /// Ends the client for good: whatever has no end yet ends with `cause`.
    pub fn close(&mut self, cause: &Lost) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.phase = Phase::Closed(cause.clone());
        self.connect_by_ms = None;
        self.close_responses(cause);
        self.close_messages(cause);
        self.close_requests(cause);
    }
}
