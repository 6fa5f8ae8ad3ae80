//! Messages on their way from one shard to another.

use std::sync::Arc;

use bytes::Bytes;
use martlet_codec::{PropertiesBuf, Qos};
use martlet_session::{Message, MessageView};

use crate::connection::ClientId;
use crate::router::{Group, Member, Route, SessionRef};

/// What one shard has for another, in order: filled by the one, handed over as a whole, emptied by the other.
///
/// Small payloads are copied into one buffer, and what messages of one publisher to one topic have in common is there
/// once. So a message that crosses allocates nothing, and no count is moved between the caches of two cores for it.
#[derive(Debug, Default)]
pub struct Parcels {
    list: Vec<Parcel>,
    runs: Vec<Run>,
    /// The payloads that are copied.
    bytes: Vec<u8>,
    /// The bytes of the payloads that are shared.
    shared_bytes: usize,
}

#[derive(Debug)]
pub(crate) enum Parcel {
    /// A message for the hits that its route has in the other shard.
    Letter(Letter),
    /// A message for one member of a group.
    Assigned(Box<Assigned>),
}

/// A message, but for what it has in common with those around it.
#[derive(Debug)]
pub(crate) struct Letter {
    run: u32,
    start: u32,
    len: u32,
    qos: Qos,
    retain: bool,
    /// The number under which it is stored; 0: it is not.
    number: u64,
    more: Option<Box<More>>,
}

/// What few messages have.
#[derive(Debug)]
struct More {
    properties: PropertiesBuf,
    expires_at_ms: Option<u64>,
    /// The payload, where its bytes are shared.
    payload: Option<Bytes>,
}

/// What messages one after the other have in common.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) route: Arc<Route>,
    /// Who published, if it was a session.
    pub(crate) publisher: Option<SessionRef>,
    client_id: Option<ClientId>,
}

/// A message for a member of a group that was chosen.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) message: Arc<Message>,
    /// Somebody may have got it before the broker was started.
    pub(crate) resent: bool,
    /// Its place among the recipients of the message.
    pub(crate) at: u32,
    pub(crate) group: Arc<Group>,
    pub(crate) member: Member,
    /// The members that could not take it.
    pub(crate) tried: Vec<SessionRef>,
}

/// Payloads from this size on are shared instead of copied, where they can be.
const SHARED_BYTES_MIN: usize = 4 << 10;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl Parcels {
    /// Messages.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The bytes of their payloads.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    /// Adds all of `others` behind what is there, and leaves none of them; buffers are swapped where that will do.
    pub fn append(&mut self, others: &mut Self) {
        if self.is_empty() {
            return std::mem::swap(self, others);
        }
        let (runs, start) = (self.runs.len() as u32, self.bytes.len() as u32);
        self.list.extend(others.list.drain(..).map(|mut parcel| {
            if let Parcel::Letter(letter) = &mut parcel {
                letter.run += runs;
                letter.start += start;
            }
            parcel
        }));
        self.runs.append(&mut others.runs);
        self.bytes.extend_from_slice(&others.bytes);
        self.shared_bytes += others.shared_bytes;
        others.clear();
    }

    /// Adds a message for the hits of `route`.
    pub(crate) fn publish(
        &mut self,
        view: &MessageView<'_>,
        route: &Arc<Route>,
        publisher: Option<SessionRef>,
    ) {
        let continues = |run: &Run| {
            Arc::ptr_eq(&run.route, route)
                && run.publisher == publisher
                && run.client_id.as_ref().map(Arc::as_ptr) == view.publisher.map(Arc::as_ptr)
        };
        if !self.runs.last().is_some_and(continues) {
            self.runs.push(Run {
                route: Arc::clone(route),
                publisher,
                client_id: view.publisher.cloned(),
            });
        }
        let payload = view
            .shared
            .filter(|payload| payload.len() >= SHARED_BYTES_MIN)
            .cloned();
        let start = self.bytes.len() as u32;
        match &payload {
            Some(payload) => self.shared_bytes += payload.len(),
            None => self.bytes.extend_from_slice(view.payload),
        }
        let has_more = payload.is_some() || !view.properties.is_empty() || view.expires_at_ms.is_some();
        self.list.push(Parcel::Letter(Letter {
            run: self.runs.len() as u32 - 1,
            start,
            len: self.bytes.len() as u32 - start,
            qos: view.qos,
            retain: view.retain,
            number: view.number,
            more: has_more.then(|| {
                Box::new(More {
                    properties: view.properties.to_buf(),
                    expires_at_ms: view.expires_at_ms,
                    payload,
                })
            }),
        }));
    }

    /// Adds a message for a member of a group.
    pub(crate) fn assign(&mut self, assigned: Assigned) {
        self.shared_bytes += assigned.message.payload.len();
        self.list.push(Parcel::Assigned(Box::new(assigned)));
    }

    /// Takes them out one by one, with what is needed to read them.
    pub(crate) fn drain(&mut self) -> (impl Iterator<Item = Parcel>, &[Run], &[u8]) {
        self.shared_bytes = 0;
        (self.list.drain(..), &self.runs, &self.bytes)
    }

    /// Forgets what was taken out.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.runs.clear();
        self.bytes.clear();
        self.shared_bytes = 0;
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.list.shrink_to(KEPT_BYTES_MAX / size_of::<Parcel>());
    }
}

impl Letter {
    pub(crate) fn run<'a>(&self, runs: &'a [Run]) -> &'a Run {
        &runs[self.run as usize]
    }

    /// The message.
    pub(crate) fn view<'a>(&'a self, run: &'a Run, bytes: &'a [u8]) -> MessageView<'a> {
        let more = self.more.as_deref();
        let shared = more.and_then(|more| more.payload.as_ref());
        let copied = &bytes[self.start as usize..][..self.len as usize];
        MessageView {
            topic: run.route.topic().as_topic(),
            owned_topic: Some(run.route.topic()),
            properties: more
                .map(|more| more.properties.as_properties())
                .unwrap_or_default(),
            payload: shared.map_or(copied, |payload| payload),
            shared,
            qos: self.qos,
            retain: self.retain,
            expires_at_ms: more.and_then(|more| more.expires_at_ms),
            publisher: run.client_id.as_ref(),
            number: self.number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{Overlapping, RouteBuilder, Router};
    use martlet_codec::{Properties, PropertyId, Topic};

    fn view<'a>(topic: Topic<'a>, payload: &'a [u8]) -> MessageView<'a> {
        MessageView {
            topic,
            owned_topic: None,
            properties: Properties::EMPTY,
            payload,
            shared: None,
            qos: Qos::AtLeastOnce,
            retain: false,
            expires_at_ms: None,
            publisher: None,
            number: 0,
        }
    }

    /// Topic, payload and whether there are properties, of all that is in there.
    fn read(parcels: &mut Parcels) -> Vec<(String, Vec<u8>, bool)> {
        let (list, runs, bytes) = parcels.drain();
        let read = list.map(|parcel| {
            let Parcel::Letter(letter) = parcel else {
                panic!("no group is here")
            };
            let view = letter.view(letter.run(runs), bytes);
            let topic = view.topic.as_str().to_owned();
            (topic, view.payload.to_vec(), !view.properties.is_empty())
        });
        let read = read.collect();
        parcels.clear();
        read
    }

    #[test]
    fn what_is_appended_arrives_in_order_as_it_was() {
        let router = Router::new(1, Overlapping::Once);
        let topics = ["a", "b"].map(|name| Topic::new(name).unwrap());
        let routes = topics.map(|topic| Arc::new(router.route(topic, &mut RouteBuilder::new())));
        let mut properties = PropertiesBuf::new();
        properties.text(PropertyId::ContentType, "text");
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);

        let (mut ours, mut theirs) = (Parcels::default(), Parcels::default());
        let mut expected = Vec::new();
        for round in 0..4_u8 {
            for (topic, route) in topics.iter().zip(&routes) {
                ours.publish(&view(*topic, &[round]), route, None);
                ours.publish(&view(*topic, &[]), route, None);
                let mut rich = view(*topic, &large);
                rich.shared = Some(&large);
                rich.properties = properties.as_properties();
                ours.publish(&rich, route, None);
                let name = topic.as_str().to_owned();
                expected.push((name.clone(), vec![round], false));
                expected.push((name.clone(), vec![], false));
                expected.push((name, large.to_vec(), true));
            }
            theirs.append(&mut ours);
            assert!(ours.is_empty() && ours.bytes() == 0);
            if round == 1 {
                let bytes = theirs.bytes();
                assert_eq!((theirs.len(), bytes), (12, 4 + 4 * SHARED_BYTES_MIN));
                assert_eq!(read(&mut theirs), expected);
                expected.clear();
            }
        }
        assert_eq!(read(&mut theirs), expected);
        assert_eq!((theirs.len(), theirs.bytes()), (0, 0));
    }

    #[test]
    fn messages_of_one_publisher_to_one_topic_share_what_they_have_in_common() {
        let router = Router::new(1, Overlapping::Once);
        let topic = Topic::literal("a");
        let route = Arc::new(router.route(topic, &mut RouteBuilder::new()));
        let (one, other) = (ClientId::from("one"), ClientId::from("other"));
        let mut parcels = Parcels::default();
        for publisher in [&one, &one, &other, &other, &one] {
            let mut view = view(topic, b"x");
            view.publisher = Some(publisher);
            parcels.publish(&view, &route, None);
        }
        assert_eq!(parcels.runs.len(), 3);
        assert_eq!(Arc::strong_count(&route), 1 + 3);
    }
}
