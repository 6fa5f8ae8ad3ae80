//! SUBSCRIBE and UNSUBSCRIBE, their answers, and what must be subscribed again when a session is lost.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use martlet_codec::packet::PacketType;
use martlet_codec::{
    Filter, FilterBuf, Filters, Packet, PacketId, Place, PropertiesBuf, PropertyId, ReasonCode,
    RetainHandling, SubscribeOptions, SubscribeRequests, Violation,
};
use martlet_session::ClientAgreed;

use super::{Engine, Event, Phase, Token};
use crate::check::wrong_property;
use crate::error::{Lost, Rejected, RequestError};
use crate::event::{SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::limits;

/// A request without an answer.
#[derive(Debug)]
pub(super) struct Request {
    packet_id: PacketId,
    /// None: the renewal of subscriptions, which nobody waits for.
    token: Option<Token>,
    what: What,
    /// On this connection.
    pub(super) sent: bool,
}

#[derive(Debug)]
enum What {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
}

/// What the server granted.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_filter: HashMap<FilterBuf, Subscription, FixedState>,
    last: u64,
}

#[derive(Debug)]
struct Subscription {
    /// They are renewed in the order in which they were made.
    order: u64,
    options: SubscribeOptions,
    properties: Arc<PropertiesBuf>,
}

/// One renewal asks for at most this many bytes of filters.
const RENEWAL_BYTES_MAX: usize = 16 << 10;

impl Subscriptions {
    fn granted(&mut self, filter: &FilterBuf, options: SubscribeOptions, properties: &Arc<PropertiesBuf>) {
        self.last += 1;
        let subscription = Subscription {
            order: self.last,
            options,
            properties: Arc::clone(properties),
        };
        self.by_filter.insert(filter.clone(), subscription);
    }

    /// All of them in as few SUBSCRIBE as their properties and `bytes_max` allow.
    fn renewals(&self, bytes_max: usize) -> Vec<Subscribe> {
        let mut all: Vec<_> = self.by_filter.iter().collect();
        all.sort_unstable_by_key(|(_, subscription)| subscription.order);
        let mut renewals: Vec<Subscribe> = Vec::new();
        let mut bytes = 0;
        for (filter, subscription) in all {
            bytes += filter.as_str().len() + 3;
            let request = (filter.clone(), subscription.options);
            match renewals.last_mut() {
                Some(last) if last.properties == *subscription.properties && bytes <= bytes_max => {
                    last.filters.push(request);
                }
                _ => {
                    bytes =
                        filter.as_str().len() + 3 + subscription.properties.as_properties().as_bytes().len();
                    renewals.push(Subscribe {
                        filters: vec![request],
                        properties: (*subscription.properties).clone(),
                        buffer: None,
                    });
                }
            }
        }
        renewals
    }
}

/// Whether these properties may stand in that packet.
pub(super) fn check_properties(properties: &PropertiesBuf, packet: PacketType) -> Result<(), Rejected> {
    let place = Place::Packet(packet);
    properties.check(place).map_err(
        |violation| match wrong_property(properties.as_properties(), place) {
            Some(property) => Rejected::Property { property, violation },
            None => Rejected::Violation(violation),
        },
    )
}

fn check_subscribe(agreed: &ClientAgreed, subscribe: &Subscribe) -> Result<(), Rejected> {
    let needs_5 = |what| Rejected::NeedsVersion5 {
        what,
        version: agreed.version,
    };
    let not_served = |what| Err(Rejected::NotServed { what });
    let properties = subscribe.properties.as_properties();
    if !agreed.speech.properties && !properties.is_empty() {
        return Err(needs_5("properties of SUBSCRIBE"));
    }
    if !agreed.subscription_id_available && properties.get(PropertyId::SubscriptionIdentifier).is_some() {
        return not_served("subscription identifiers");
    }
    for (filter, options) in &subscribe.filters {
        let SubscribeOptions {
            no_local,
            retain_as_published,
            retain_handling,
            ..
        } = *options;
        let has_options = no_local || retain_as_published || retain_handling != RetainHandling::Always;
        if has_options && !agreed.speech.properties {
            return Err(needs_5("no local, retain as published and retain handling"));
        }
        let filter = filter.as_filter();
        if filter.share_group().is_some() && !agreed.shared_available {
            return not_served("shared subscriptions");
        }
        if filter.has_wildcard() && !agreed.wildcard_available {
            return not_served("wildcard subscriptions");
        }
    }
    Ok(())
}

impl Engine {
    /// Asks for subscriptions; the answer is told by [`Event::Subscribed`]. Without a connection it waits
    /// for the next.
    pub fn subscribe(&mut self, now_ms: u64, subscribe: Subscribe) -> Result<Token, RequestError> {
        self.now_ms = now_ms;
        self.check_request()?;
        check_properties(&subscribe.properties, PacketType::Subscribe)?;
        if subscribe.filters.is_empty() {
            return Err(Rejected::Violation(Violation::NoFilter).into());
        }
        let shared_no_local = |(filter, options): &(FilterBuf, SubscribeOptions)| {
            options.no_local && filter.as_filter().share_group().is_some()
        };
        if subscribe.filters.iter().any(shared_no_local) {
            return Err(Rejected::Violation(Violation::SharedNoLocal).into());
        }
        if let (Phase::Online, Some(agreed)) = (&self.phase, &self.agreed) {
            check_subscribe(agreed, &subscribe)?;
        }
        self.request(What::Subscribe(subscribe))
    }

    /// Gives subscriptions up; the answer is told by [`Event::Unsubscribed`]. Without a connection it
    /// waits for the next.
    pub fn unsubscribe(&mut self, now_ms: u64, unsubscribe: Unsubscribe) -> Result<Token, RequestError> {
        self.now_ms = now_ms;
        self.check_request()?;
        check_properties(&unsubscribe.properties, PacketType::Unsubscribe)?;
        if unsubscribe.filters.is_empty() {
            return Err(Rejected::Violation(Violation::NoFilter).into());
        }
        if self.phase == Phase::Online {
            let has_properties = !unsubscribe.properties.is_empty();
            self.needs_version_5(has_properties, "properties of UNSUBSCRIBE")?;
        }
        self.request(What::Unsubscribe(unsubscribe))
    }

    /// The packet identifier of a SUBSCRIBE or UNSUBSCRIBE that has no answer yet.
    pub fn packet_id_of(&self, token: Token) -> Option<PacketId> {
        let mut newest_first = self.requests.iter().rev();
        let request = newest_first.find(|request| request.token == Some(token))?;
        Some(request.packet_id)
    }

    fn check_request(&self) -> Result<(), RequestError> {
        self.check_open().map_err(RequestError::Closed)?;
        if self.phase != Phase::Online && self.refuses_offline() {
            return Err(Rejected::Offline.into());
        }
        if self.requests.len() >= limits::REQUESTS_MAX {
            return Err(too_many_requests().into());
        }
        Ok(())
    }

    fn request(&mut self, what: What) -> Result<Token, RequestError> {
        let packet_id = self.ids.take().ok_or_else(too_many_requests)?;
        let request = Request {
            packet_id,
            token: None,
            what,
            sent: false,
        };
        if self.phase == Phase::Online {
            // Refused by its size: then nothing has happened.
            if let Err(rejected) = self.put(&request) {
                self.ids.free(packet_id);
                return Err(rejected.into());
            }
        }
        let token = self.token();
        self.requests.push_back(Request {
            token: Some(token),
            sent: self.phase == Phase::Online,
            ..request
        });
        Ok(token)
    }

    fn put(&mut self, request: &Request) -> Result<(), Rejected> {
        let packet_id = request.packet_id;
        match &request.what {
            What::Subscribe(subscribe) => {
                let agreed = self.agreed.as_ref().expect("the connection is up");
                check_subscribe(agreed, subscribe)?;
                let list: Vec<(Filter<'_>, SubscribeOptions)> = subscribe
                    .filters
                    .iter()
                    .map(|(filter, options)| (filter.as_filter(), *options))
                    .collect();
                self.wire.request(&Packet::Subscribe(martlet_codec::Subscribe {
                    packet_id,
                    properties: subscribe.properties.as_properties(),
                    requests: SubscribeRequests::List(&list),
                }))
            }
            What::Unsubscribe(unsubscribe) => {
                let has_properties = !unsubscribe.properties.is_empty();
                self.needs_version_5(has_properties, "properties of UNSUBSCRIBE")?;
                let list: Vec<Filter<'_>> = unsubscribe.filters.iter().map(FilterBuf::as_filter).collect();
                self.wire
                    .request(&Packet::Unsubscribe(martlet_codec::Unsubscribe {
                        packet_id,
                        properties: unsubscribe.properties.as_properties(),
                        filters: Filters::List(&list),
                    }))
            }
        }
    }

    /// A connection came up: what has no answer is asked (again).
    pub(super) fn send_requests(&mut self) {
        for mut request in std::mem::take(&mut self.requests) {
            match self.put(&request) {
                Ok(()) => {
                    request.sent = true;
                    self.requests.push_back(request);
                }
                Err(rejected) => self.unasked(request, &rejected),
            }
        }
    }

    fn unasked(&mut self, request: Request, rejected: &Rejected) {
        self.ids.free(request.packet_id);
        match (request.token, request.what) {
            (Some(token), what) => self.failed(token, &what, &RequestError::Rejected(rejected.clone())),
            (None, What::Subscribe(subscribe)) => {
                for (filter, _) in subscribe.filters {
                    self.renewal_refused(filter, ReasonCode::ImplementationSpecific);
                }
            }
            (None, What::Unsubscribe(_)) => {}
        }
    }

    fn failed(&mut self, token: Token, what: &What, error: &RequestError) {
        let error = error.clone();
        match what {
            What::Subscribe(_) => self.subscribed(token, Err(error)),
            What::Unsubscribe(_) => self.events.push_back(Event::Unsubscribed {
                token,
                end: Err(error),
            }),
        }
    }

    fn subscribed(&mut self, token: Token, end: Result<SubAck, RequestError>) {
        if let Some(end) = self.own_suback(token, end) {
            self.events.push_back(Event::Subscribed { token, end });
        }
    }

    fn renewal_refused(&mut self, filter: FilterBuf, reason: ReasonCode) {
        self.subscriptions.by_filter.remove(filter.as_str());
        if self.is_response_filter(filter.as_str()) {
            return self.responses_unsubscribed();
        }
        self.events
            .push_back(Event::ResubscribeRefused { filter, reason });
    }

    /// The server has no subscriptions: those that it had granted are asked for again, before
    /// anything else is asked.
    pub(super) fn renew_subscriptions(&mut self) {
        let bytes_max = RENEWAL_BYTES_MAX.min(self.wire.packet_bytes_max as usize / 2);
        let renewals = self.subscriptions.renewals(bytes_max);
        let mut first = VecDeque::with_capacity(renewals.len() + self.requests.len());
        for subscribe in renewals {
            // There are identifiers enough: outbox and requests are bounded below their number.
            let packet_id = self.ids.take().expect("fewer are in use than there are");
            first.push_back(Request {
                packet_id,
                token: None,
                what: What::Subscribe(subscribe),
                sent: false,
            });
        }
        first.append(&mut self.requests);
        self.requests = first;
    }

    /// The server has no subscriptions, and the policy leaves them to the application.
    pub(super) fn forget_subscriptions(&mut self) {
        self.subscriptions.by_filter.clear();
        self.responses_unsubscribed();
    }

    /// The connection was lost and the policy asks for nothing again.
    pub(super) fn fail_requests(&mut self, cause: &Lost) {
        self.end_requests(&RequestError::ConnectionLost(cause.clone()));
    }

    /// The connection ended: the next one makes new renewals, if it needs any.
    pub(super) fn drop_renewals(&mut self) {
        let ids = &mut self.ids;
        self.requests.retain(|request| {
            if request.token.is_none() {
                ids.free(request.packet_id);
            }
            request.token.is_some()
        });
    }

    /// Takes the request that an answer belongs to, if `belongs` says that it does. An answer to
    /// nothing is ignored, as an acknowledgement of nothing is.
    fn answered(
        &mut self,
        id: PacketId,
        belongs: impl Fn(&What) -> bool,
    ) -> Result<Option<Request>, Violation> {
        let Some(index) = self
            .requests
            .iter()
            .position(|request| request.packet_id == id && request.sent)
        else {
            return Ok(None);
        };
        if !belongs(&self.requests[index].what) {
            return Err(Violation::WrongAck);
        }
        self.ids.free(id);
        Ok(self.requests.remove(index))
    }

    pub(super) fn suback_came(&mut self, suback: &martlet_codec::SubAck<'_>) -> Result<(), Violation> {
        let reasons: Vec<ReasonCode> = suback.reasons.iter().collect();
        let answered = self.answered(
            suback.packet_id,
            |what| matches!(what, What::Subscribe(asked) if asked.filters.len() == reasons.len()),
        )?;
        let Some(Request {
            token,
            what: What::Subscribe(asked),
            packet_id,
            ..
        }) = answered
        else {
            return Ok(());
        };
        let properties = Arc::new(asked.properties);
        for ((filter, options), reason) in asked.filters.into_iter().zip(&reasons) {
            if !reason.is_error() {
                self.subscriptions.granted(&filter, options, &properties);
            } else if token.is_none() {
                self.renewal_refused(filter, *reason);
            }
        }
        if let Some(token) = token {
            let end = Ok(SubAck {
                packet_id,
                reasons,
                properties: suback.properties.to_buf(),
            });
            self.subscribed(token, end);
        }
        Ok(())
    }

    pub(super) fn unsuback_came(&mut self, unsuback: &martlet_codec::UnsubAck<'_>) -> Result<(), Violation> {
        let reasons: Vec<ReasonCode> = unsuback.reasons.iter().collect();
        let codes = self.agreed.is_some_and(|agreed| agreed.speech.properties);
        let answered = self.answered(
            unsuback.packet_id,
            |what| matches!(what, What::Unsubscribe(asked) if !codes || asked.filters.len() == reasons.len()),
        )?;
        let Some(Request {
            token: Some(token),
            what: What::Unsubscribe(asked),
            packet_id,
            ..
        }) = answered
        else {
            return Ok(());
        };
        for (index, filter) in asked.filters.iter().enumerate() {
            if reasons.get(index).is_none_or(|reason| !reason.is_error()) {
                self.subscriptions.by_filter.remove(filter.as_str());
            }
        }
        let end = Ok(UnsubAck {
            packet_id,
            reasons,
            properties: unsuback.properties.to_buf(),
        });
        self.events.push_back(Event::Unsubscribed { token, end });
        Ok(())
    }

    /// Nothing is answered any more.
    pub(super) fn close_requests(&mut self, cause: &Lost) {
        self.end_requests(&RequestError::Closed(cause.clone()));
    }

    fn end_requests(&mut self, error: &RequestError) {
        for request in std::mem::take(&mut self.requests) {
            self.ids.free(request.packet_id);
            if let Some(token) = request.token {
                self.failed(token, &request.what, error);
            }
        }
    }
}

fn too_many_requests() -> Rejected {
    Rejected::TooManyRequests {
        maximum: limits::REQUESTS_MAX,
    }
}
