//! CONNECT, CONNACK, and what becomes of the session between two connections.

use martlet_codec::{ConnAck, Connect, Packet, PropertyId, ReasonCode, Version, Violation, Will};
use martlet_session::{AliasesIn, AliasesOut, ClientAgreed, PingTimer, Received, Speech};

use super::attempts::ms;
use super::authenticate::Authentication;
use super::{Engine, Event, Phase};
use crate::auth::Login;
use crate::error::{Lost, Refusal};
use crate::event::Connected;
use crate::options::Options;
use crate::policy::{self, Nameless, Pings, Unfinished};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The client identifier to begin with in that version; empty: the server assigns one.
pub(super) fn client_id(options: &Options, version: Version, seed: u64) -> String {
    let is_named_here =
        !Speech::of(version).assigned_client_id && options.policy.nameless == Nameless::NamesItself;
    if options.client_id.is_empty() && is_named_here {
        made_up_client_id(seed)
    } else {
        options.client_id.clone()
    }
}

/// A client identifier that every server takes: 1 to 23 letters and digits [MQTT3-3.1.3-5].
fn made_up_client_id(seed: u64) -> String {
    let mut id = String::from("martlet");
    let mut rest = seed;
    for _ in 0..11 {
        id.push(char::from(ALPHABET[(rest % 62) as usize]));
        rest /= 62;
    }
    id
}

/// What is wrong with these bytes as the start of an answer to CONNECT, as the first of them tells: nobody
/// waits for the rest of a web page.
pub(super) fn no_answer(bytes: &[u8]) -> Option<Lost> {
    const CONNACK: u8 = 0x20;
    const AUTH: u8 = 0xf0;
    const PUBLISH: u8 = 0x30;
    let first = *bytes.first()?;
    match (first & 0xf0, first & 0x0f) {
        // There is no packet of type 0; the decoder says so.
        (CONNACK | AUTH | 0, 0) => None,
        (PUBLISH, _) | (_, 0 | 2) => Some(Lost::Violation(Violation::BeforeConnAck)),
        _ => {
            let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
            let began = line[..line.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
            Some(Lost::NotMqtt { began })
        }
    }
}

/// Bytes that are shown of what is not MQTT.
const SHOWN_BYTES_MAX: usize = 32;

impl Engine {
    /// A connection is up: CONNECT lies in the output. `false`: the client was closed meanwhile.
    pub fn connect(&mut self, now_ms: u64) -> bool {
        if matches!(self.phase, Phase::Closed(_)) {
            return false;
        }
        assert!(
            matches!(self.phase, Phase::Offline | Phase::Dialing),
            "one connection at a time"
        );
        self.now_ms = now_ms;
        self.attempts.begun();
        if self.phase == Phase::Offline {
            self.connect_by_ms = Some(now_ms + ms(self.options.connect_timeout));
        }
        self.phase = Phase::Connecting;
        self.reading = true;
        if self.agreed.is_none() && self.was_cut && self.holds_properties() {
            // They have come to the store since it fell back.
            self.wire.version = self.options.protocol.first();
        }
        self.wire.reset();
        self.not_left();
        let version = self.wire.version;
        let speech = Speech::of(version);
        let options = &self.options;
        self.session_expiry_s = options.properties.as_properties().session_expiry_s().unwrap_or(0);
        // The session of an earlier connection is never thrown away; what version 3 says by "clean" is
        // also how the session ends, so it must be repeated.
        let clean_start = options.clean_start && (self.agreed.is_none() || speech.clean_is_expiry);
        let connect = Connect {
            version,
            bridge: false,
            clean_start,
            keep_alive_s: options.keep_alive_s,
            client_id: &self.client_id,
            will: options.will.as_ref().map(|will| Will {
                topic: will.topic.as_topic(),
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.as_properties(),
            }),
            user_name: options.user_name.as_deref(),
            password: options
                .password
                .as_deref()
                .filter(|_| speech.lone_password || options.user_name.is_some()),
            properties: options.properties.as_properties(),
        };
        self.wire.packet(&Packet::Connect(connect));
        true
    }

    pub(super) fn connack(&mut self, connack: &ConnAck<'_>) -> Result<(), Violation> {
        // [MQTT5-3.2.2-6] [MQTT3-3.2.2-4]
        if connack.reason.is_error() {
            if connack.session_present {
                return Err(Violation::SessionPresent);
            }
            self.refused(connack);
            return Ok(());
        }
        // [MQTT5-4.12.0-5]
        let method = connack.properties.text(PropertyId::AuthenticationMethod);
        if method.is_some() && method != self.auth_method() {
            return Err(Violation::AuthMethodUnknown);
        }
        self.authentication = Authentication::Idle;
        let version = self.wire.version;
        let agreed = ClientAgreed::read(version, connack, self.options.keep_alive_s);
        let first = self.agreed.is_none();
        let clean = self.options.clean_start && (first || agreed.speech.clean_is_expiry);
        // [MQTT5-3.2.2-4]: a session that was to be thrown away cannot be there. One that an earlier run
        // of the application left on the server is what `clean_start(false)` asks for.
        if connack.session_present && clean {
            return Err(Violation::SessionPresent);
        }
        if let Some(id) = connack.properties.text(PropertyId::AssignedClientIdentifier)
            && self.client_id.is_empty()
        {
            id.clone_into(&mut self.client_id);
        }
        if let Some(expiry_s) = connack.properties.session_expiry_s() {
            self.session_expiry_s = expiry_s;
        }
        let information = connack.properties.text(PropertyId::ResponseInformation);
        self.responses.information = information.map(str::to_owned);
        self.agreed = Some(agreed);
        self.attempts.up(self.now_ms);
        self.connect_by_ms = None;
        self.stats.connections += 1;
        self.aliases_chosen = AliasesOut::new(self.options.aliases_out_max.min(agreed.topic_alias_maximum));
        self.wire.packet_bytes_max = agreed.packet_bytes_max;
        let percent = self.options.policy.ping_percent;
        let ping = PingTimer::early(agreed.keep_alive_s, percent, self.now_ms);
        self.ping = match self.options.policy.pings {
            Pings::WhenIdle => ping,
            Pings::Regularly => ping.regular(),
        };
        let asked = self.options.properties.as_properties();
        let aliases_in_max = if agreed.speech.properties {
            asked.topic_alias_maximum().unwrap_or(0)
        } else {
            0
        };
        self.receive_maximum = match asked.number(PropertyId::ReceiveMaximum) {
            Some(maximum) if agreed.speech.properties => maximum as u16,
            _ => u16::MAX,
        };
        self.aliases_in = AliasesIn::new(aliases_in_max);
        self.phase = Phase::Online;
        self.events.push_back(Event::Connected(Connected {
            version,
            session_present: connack.session_present,
            client_id: self.client_id.clone(),
            keep_alive_s: agreed.keep_alive_s,
            receive_maximum: agreed.receive_maximum,
            qos_max: agreed.qos_max,
            retain_available: agreed.retain_available,
            packet_bytes_max: agreed.packet_bytes_max,
            topic_alias_maximum: agreed.topic_alias_maximum,
            properties: connack.properties.to_buf(),
        }));
        self.go_on(connack.session_present, clean, &agreed);
        Ok(())
    }

    /// Resumes the session, or starts over with what the server has lost.
    fn go_on(&mut self, session_present: bool, clean: bool, agreed: &ClientAgreed) {
        let window = agreed.receive_maximum.min(self.options.inflight_max);
        // 3.1 does not tell: with a session that is not clean the flows go on, and subscriptions are
        // renewed all the same, which does no harm.
        let resumed = session_present || (!agreed.speech.session_present && !clean);
        if !resumed {
            self.received = Received::default();
            self.untaken.clear();
            self.keep_session_lost();
            match self.options.policy.unfinished {
                Unfinished::Keep => self.publish_again(),
                Unfinished::KeepWithSession | Unfinished::Fail => self.fail_inflight(),
            }
        }
        self.inflight.resume(window);
        if !session_present {
            match self.options.policy.subscriptions {
                policy::Subscriptions::Renew => self.renew_subscriptions(),
                policy::Subscriptions::Forget => self.forget_subscriptions(),
            }
        }
        self.send_requests();
        self.pump();
    }

    fn refused(&mut self, connack: &ConnAck<'_>) {
        let version = self.wire.version;
        let refusal = Refusal {
            reason: connack.reason,
            version,
            code: Speech::of(version).connack_code(connack.reason),
            properties: connack.properties.to_buf(),
        };
        let not_spoken = connack.reason == ReasonCode::UnsupportedProtocolVersion;
        let retry_with = if not_spoken { self.fall_back() } else { None };
        let retry_at_ms = self.next_attempt(retry_with.is_some(), refusal.may_pass());
        self.phase = Phase::Offline;
        self.connect_by_ms = None;
        self.authentication = Authentication::default();
        self.partial = Vec::new();
        self.events.push_back(Event::Refused {
            refusal: refusal.clone(),
            retry_with,
            retry_at_ms,
        });
        if retry_at_ms.is_none() {
            self.close(&Lost::Refused(refusal));
        }
    }

    /// Before a connection was up another server may speak what this one does not.
    pub(super) fn first_version(&mut self) {
        if self.agreed.is_none() {
            self.wire.version = self.options.protocol.first();
            self.was_cut = false;
        }
    }

    /// Who the client says it is from the next CONNECT on.
    pub fn login(&mut self, login: Login) {
        self.options.user_name = login.user_name;
        self.options.password = login.password;
    }

    /// The version to try next after the server has refused this one. Once a connection was up its version stays.
    pub(super) fn fall_back(&mut self) -> Option<Version> {
        if self.agreed.is_some() || self.phase != Phase::Connecting || self.options.authenticator.is_some() {
            return None;
        }
        let version = self.options.protocol.fallback(self.wire.version)?;
        self.was_cut = false;
        self.wire.version = version;
        if self.client_id.is_empty() {
            self.client_id = client_id(&self.options, version, self.seed);
        }
        Some(version)
    }

    /// The same after the server has closed without a word, as some do that do not speak this version, and as any does that is
    /// stopped. What the store has promised to deliver is not given up for that guess.
    pub(super) fn fall_back_as_cut(&mut self) -> Option<Version> {
        if self.holds_properties() {
            return None;
        }
        let version = self.fall_back()?;
        self.was_cut = true;
        Some(version)
    }

    /// Whether the store has messages to send that version 3 cannot say.
    fn holds_properties(&self) -> bool {
        let waiting = self.outbox.iter().filter(|pending| pending.packet_id.is_some());
        let sent = self.inflight.iter().filter_map(|(_, pending)| pending);
        self.has_store()
            && waiting
                .chain(sent)
                .any(|pending| !pending.message.properties.as_properties().is_empty())
    }
}
