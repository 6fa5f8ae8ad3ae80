//! Messages on their way from publishers to subscribers: windows, acknowledgements, and the checks.

use martlet_codec::{Address, Decoded, Limits, Packet, PacketType, Publish, Qos};

use crate::check::{Arrival, Expected, Faults};
use crate::driver::{Handler, Links};
use crate::error::Error;
use crate::histogram::Histogram;
use crate::message::{Head, Shape};
use crate::topics::Topics;

/// What one publisher sends to one set of receivers.
#[derive(Debug)]
pub(crate) struct Stream {
    publisher: usize,
    /// Those who get each message.
    receivers: u32,
    sent: u64,
    head: Head,
    /// The head that arrivals are compared with, where the topic changes from message to message.
    expected_head: Head,
    slots: Vec<Slot>,
}

/// A message under way.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// When it was sent, or should have been.
    at: u64,
    /// Deliveries that are still due, and the acknowledgement; 0: the slot is free.
    remaining: u32,
}

#[derive(Debug)]
struct Publisher {
    link: usize,
    /// Its streams are `first_stream..first_stream + streams`, which take turns.
    first_stream: usize,
    streams: usize,
    turn: usize,
    under_way: u32,
    window: u32,
    /// By packet identifier - 1: what it stands for.
    ids: Vec<Option<(u32, u64)>>,
    next_id: u16,
    wanting: bool,
}

#[derive(Debug)]
struct Subscriber {
    link: usize,
    /// Its streams are `first_stream`, and then each `stride`.
    first_stream: usize,
    stride: usize,
    expected: Vec<Expected>,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Publisher(usize),
    Subscriber(usize),
}

/// When the next message is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// When there is room in the window.
    Window,
    /// At fixed times: number `next` at `start + next * interval`, in nanoseconds.
    Fixed { start: u64, interval: f64, next: u64 },
}

/// Room in a stream for messages under way at a fixed rate; beyond, the next waits, and its time runs.
const BACKLOG: usize = 1 << 14;
/// A publisher with more unsent bytes than this waits.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// All publishers and subscribers of a run.
#[derive(Debug)]
pub(crate) struct Flow {
    shape: Shape,
    topics: Topics,
    streams: Vec<Stream>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    roles: Vec<Role>,
    pace: Pace,
    open: bool,
    wanting: Vec<usize>,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Messages that were sent and not yet delivered to all and acknowledged.
    pub(crate) under_way: u64,
    pub(crate) pings_due: usize,
    pub(crate) latency: Histogram,
    pub(crate) measuring: bool,
    /// How late a message was sent at most, in nanoseconds, at a fixed rate.
    pub(crate) late_max: u64,
    pub(crate) faults: Faults,
}

impl Flow {
    pub(crate) fn new(shape: Shape, topics: Topics, pace: Pace) -> Self {
        Self {
            shape,
            topics,
            streams: Vec::new(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            roles: Vec::new(),
            pace,
            open: true,
            wanting: Vec::new(),
            sent: 0,
            delivered: 0,
            under_way: 0,
            pings_due: 0,
            latency: Histogram::new(),
            measuring: false,
            late_max: 0,
            faults: Faults::default(),
        }
    }

    /// The next connection is a publisher with `streams` streams of `receivers` each.
    pub(crate) fn add_publisher(&mut self, streams: usize, receivers: u32, window: u32) {
        let nth = self.publishers.len();
        let first_stream = self.streams.len();
        let room = match self.pace {
            Pace::Window => (window as usize).next_power_of_two(),
            Pace::Fixed { .. } => BACKLOG,
        };
        for stream in first_stream..first_stream + streams {
            let topic = self.topics.of(stream, 0);
            self.streams.push(Stream {
                publisher: nth,
                receivers,
                sent: 0,
                head: self.shape.head(&topic, stream as u32),
                expected_head: self.shape.head(&topic, stream as u32),
                slots: vec![Slot::default(); room],
            });
        }
        let ids = match (self.shape.qos(), self.pace) {
            (Qos::AtMostOnce, _) => 0,
            (_, Pace::Window) => (window as usize * 2).clamp(16, 32_768),
            (_, Pace::Fixed { .. }) => (window as usize).min(65_535),
        };
        self.publishers.push(Publisher {
            link: self.roles.len(),
            first_stream,
            streams,
            turn: 0,
            under_way: 0,
            window,
            ids: vec![None; ids],
            next_id: 0,
            wanting: true,
        });
        self.wanting.push(nth);
        self.roles.push(Role::Publisher(nth));
    }

    /// The next connection is a subscriber, of `count` streams.
    pub(crate) fn add_subscriber(&mut self, first_stream: usize, stride: usize, count: usize) {
        self.roles.push(Role::Subscriber(self.subscribers.len()));
        self.subscribers.push(Subscriber {
            link: self.roles.len() - 1,
            first_stream,
            stride,
            expected: (0..count).map(|_| Expected::default()).collect(),
        });
    }

    /// Nothing new is sent from now on.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// From now on the clock of a fixed rate runs.
    pub(crate) fn start(&mut self, now: u64) {
        if let Pace::Fixed { start, .. } = &mut self.pace {
            *start = now;
        }
    }

    /// Asks each server side for a sign of life: what was sent before comes before it.
    pub(crate) fn ping(&mut self, links: &mut Links) {
        for at in 0..links.len() {
            links.out(at).extend_from_slice(&PINGREQ);
            self.pings_due += 1;
        }
    }

    /// What is missing is lost.
    pub(crate) fn count_lost(&mut self, links: &Links) {
        for subscriber in &self.subscribers {
            for (nth, expected) in subscriber.expected.iter().enumerate() {
                let stream = subscriber.first_stream + nth * subscriber.stride;
                let missing = expected.missing(self.streams[stream].sent);
                if missing > 0 {
                    self.faults.lost += missing;
                    let name = links.name(subscriber.link);
                    self.faults
                        .tell(|| format!("{missing} of stream {stream} never came to {name}"));
                }
            }
        }
    }

    /// Sends up to `count` messages of a publisher, as far as there is room; how many.
    #[inline]
    fn publish(&mut self, links: &mut Links, nth: usize, at: u64, count: u64) -> u64 {
        let publisher = &mut self.publishers[nth];
        let has_id = self.shape.qos() != Qos::AtMostOnce;
        let (out, written) = links.out_and_written(publisher.link);
        let mut done = 0;
        while done < count && publisher.under_way < publisher.window {
            let stream_id = publisher.first_stream + publisher.turn;
            let stream = &mut self.streams[stream_id];
            let mask = stream.slots.len() - 1;
            let sequence = stream.sent;
            let slot = &mut stream.slots[sequence as usize & mask];
            if slot.remaining > 0 || out.len() - written > UNSENT_BYTES_MAX {
                break;
            }
            let mut id = 0;
            if has_id {
                let place = &mut publisher.ids[usize::from(publisher.next_id)];
                if place.is_some() {
                    break;
                }
                *place = Some((stream_id as u32, sequence));
                id = publisher.next_id + 1;
                publisher.next_id = if usize::from(id) == publisher.ids.len() {
                    0
                } else {
                    id
                };
            }
            *slot = Slot {
                at,
                remaining: stream.receivers + u32::from(has_id),
            };
            stream.sent += 1;
            publisher.under_way += 1;
            publisher.turn += 1;
            if publisher.turn == publisher.streams {
                publisher.turn = 0;
            }
            self.topics
                .patch(&self.shape, &mut stream.head, stream_id, sequence);
            self.shape.put(out, &stream.head, sequence, id);
            done += 1;
        }
        self.sent += done;
        self.under_way += done;
        done
    }

    /// One of those who wait for a message has what it waits for.
    #[inline]
    fn done(&mut self, stream: usize, sequence: u64) {
        let stream = &mut self.streams[stream];
        let mask = stream.slots.len() - 1;
        let slot = &mut stream.slots[sequence as usize & mask];
        debug_assert!(slot.remaining > 0, "each receiver counts once");
        slot.remaining -= 1;
        if slot.remaining > 0 {
            return;
        }
        self.under_way -= 1;
        let publisher = &mut self.publishers[stream.publisher];
        publisher.under_way -= 1;
        if !publisher.wanting {
            publisher.wanting = true;
            self.wanting.push(stream.publisher);
        }
    }

    /// A message came, of a stream that `nth` receives, and it is whole.
    fn arrived(&mut self, nth: usize, own: usize, stream: usize, sequence: u64, now: u64, name: &str) {
        let expected = &mut self.subscribers[nth].expected[own];
        let before = expected.next;
        let period = self.topics.period(stream);
        let is_overtaken = expected.is_overtaken(sequence, period);
        let arrival = expected.arrive(sequence);
        let after = expected.next;
        self.delivered += 1;
        if self.measuring {
            let slots = &self.streams[stream].slots;
            let at = slots[sequence as usize & (slots.len() - 1)].at;
            self.latency.add(now.saturating_sub(at), 1);
        }
        let what = match arrival {
            Arrival::Due => return self.done(stream, sequence),
            Arrival::Early if period == 1 => "came early",
            Arrival::Late if is_overtaken => {
                self.faults.reordered += 1;
                "came late"
            }
            Arrival::Early | Arrival::Late => "",
            Arrival::Again => {
                self.faults.repeated += 1;
                "came again"
            }
        };
        if !what.is_empty() {
            self.faults
                .tell(|| format!("message {sequence} of stream {stream} {what} to {name}, {before} was due"));
        }
        for skipped in before..after {
            self.done(stream, skipped);
        }
    }

    /// Whose place a stream has among those of a subscriber.
    #[inline]
    fn place(&self, nth: usize, stream: usize) -> Option<usize> {
        let subscriber = &self.subscribers[nth];
        let offset = stream.checked_sub(subscriber.first_stream)?;
        let own = match subscriber.stride {
            1 => offset,
            stride if offset % stride == 0 => offset / stride,
            _ => return None,
        };
        (own < subscriber.expected.len()).then_some(own)
    }

    /// Takes messages off the front of `bytes` as long as each is exactly the one that must come next; how
    /// many bytes they were.
    #[inline]
    fn take_due(&mut self, links: &mut Links, nth: usize, bytes: &[u8], now: u64) -> usize {
        let first = ack_of(self.shape.qos());
        let mut at = 0;
        // Those that were sent at once and came at once have one latency.
        let (mut sent_at, mut alike) = (0, 0);
        while let Some(stream_id) = self.shape.stream_of(&bytes[at..]) {
            let stream_id = stream_id as usize;
            let Some(own) = self.place(nth, stream_id) else {
                break;
            };
            let subscriber = &mut self.subscribers[nth];
            let expected = &mut subscriber.expected[own];
            let stream = &mut self.streams[stream_id];
            let sequence = expected.next;
            if sequence >= stream.sent {
                break;
            }
            self.topics
                .patch(&self.shape, &mut stream.expected_head, stream_id, sequence);
            let Some(id) = self.shape.is(&bytes[at..], &stream.expected_head, sequence) else {
                break;
            };
            at += self.shape.frame_len;
            expected.next += 1;
            self.delivered += 1;
            if self.measuring {
                let slot_at = stream.slots[sequence as usize & (stream.slots.len() - 1)].at;
                if slot_at != sent_at {
                    self.latency.add(now.saturating_sub(sent_at), alike);
                    (sent_at, alike) = (slot_at, 0);
                }
                alike += 1;
            }
            if let Some(first) = first {
                let [high, low] = id.to_be_bytes();
                let out = links.out(subscriber.link);
                out.extend_from_slice(&[first, 2, high, low]);
            }
            self.done(stream_id, sequence);
        }
        self.latency.add(now.saturating_sub(sent_at), alike);
        at
    }

    fn acknowledge(&mut self, links: &mut Links, nth: usize, id: u16) {
        if let Some(first) = ack_of(self.shape.qos()) {
            let [high, low] = id.to_be_bytes();
            let link = self.subscribers[nth].link;
            links.out(link).extend_from_slice(&[first, 2, high, low]);
        }
    }

    /// A PUBLISH that is not what must come next byte for byte: says what is wrong with it, if anything.
    fn explain(&mut self, links: &mut Links, nth: usize, publish: &Publish<'_>, now: u64) {
        if let Some(id) = publish.delivery.packet_id() {
            self.acknowledge(links, nth, id.get());
        }
        let link = self.subscribers[nth].link;
        let name = links.name(link).to_owned();
        let topic = match publish.address {
            Address::Name(topic) | Address::Define(topic, _) => topic.as_str(),
            Address::Alias(_) => "an alias",
        };
        let read = self.shape.read_payload(publish.payload);
        let read = read.filter(|_| publish.delivery.qos() == self.shape.qos() && !publish.retain);
        let known = read.filter(|(stream, sequence)| {
            let stream = self.streams.get(*stream as usize);
            stream.is_some_and(|stream| *sequence < stream.sent)
        });
        let Some((stream, sequence)) = known else {
            self.faults.corrupted += 1;
            let bytes = publish.payload.len();
            self.faults
                .tell(|| format!("{name} got {bytes} bytes of topic {topic} that nobody sent"));
            return;
        };
        let stream = stream as usize;
        let own = self.place(nth, stream);
        if let Some(own) = own.filter(|_| topic == self.topics.of(stream, sequence)) {
            self.arrived(nth, own, stream, sequence, now, &name);
        } else {
            self.faults.misrouted += 1;
            self.faults
                .tell(|| format!("{name} got message {sequence} of stream {stream} as topic {topic}"));
        }
    }

    /// A packet of four bytes that ends or goes on with the delivery of a message.
    #[inline]
    fn ack(&mut self, links: &mut Links, role: Role, first: u8, id: u16) -> Result<(), String> {
        let [high, low] = id.to_be_bytes();
        match (role, first) {
            (Role::Publisher(nth), PUBREC) => {
                let link = self.publishers[nth].link;
                links.out(link).extend_from_slice(&[PUBREL, 2, high, low]);
            }
            (Role::Publisher(nth), PUBACK | PUBCOMP) => {
                let ids = &mut self.publishers[nth].ids;
                let place = ids.get_mut(usize::from(id).wrapping_sub(1));
                let (stream, sequence) = place
                    .and_then(Option::take)
                    .ok_or_else(|| format!("an acknowledgement of {id}, which nothing has"))?;
                self.done(stream as usize, sequence);
            }
            (Role::Subscriber(nth), PUBREL) => {
                let link = self.subscribers[nth].link;
                links.out(link).extend_from_slice(&[PUBCOMP, 2, high, low]);
            }
            _ => return Err(format!("a packet that is not due ({first:#04x})")),
        }
        Ok(())
    }

    /// Any packet.
    fn packet(&mut self, links: &mut Links, role: Role, packet: &Packet<'_>, now: u64) -> Result<(), String> {
        match (packet, role) {
            (Packet::Publish(publish), Role::Subscriber(nth)) => self.explain(links, nth, publish, now),
            (Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack), _) => {
                if ack.reason.is_error() {
                    return Err(format!("{:?} with {:?}", packet.packet_type(), ack.reason));
                }
                let first = match packet.packet_type() {
                    PacketType::PubAck => PUBACK,
                    PacketType::PubRec => PUBREC,
                    PacketType::PubRel => PUBREL,
                    _ => PUBCOMP,
                };
                return self.ack(links, role, first, ack.packet_id.get());
            }
            (Packet::PingResp, _) if self.pings_due > 0 => self.pings_due -= 1,
            (Packet::Disconnect(disconnect), _) => {
                return Err(format!("DISCONNECT: {:?}", disconnect.reason));
            }
            _ => return Err(format!("{:?}", packet.packet_type())),
        }
        Ok(())
    }
}

/// How a message of that QoS is answered first.
const fn ack_of(qos: Qos) -> Option<u8> {
    match qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce => Some(PUBACK),
        Qos::ExactlyOnce => Some(PUBREC),
    }
}

const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;
const PINGREQ: [u8; 2] = [0xc0, 0];

impl Handler for Flow {
    fn take(&mut self, links: &mut Links, link: usize, bytes: &[u8], now: u64) -> Result<usize, Error> {
        let role = self.roles[link];
        let mut at = 0;
        loop {
            if let Role::Subscriber(nth) = role {
                at += self.take_due(links, nth, &bytes[at..], now);
            }
            let rest = &bytes[at..];
            if let [first @ (PUBACK | PUBREC | PUBREL | PUBCOMP), 2, high, low, ..] = *rest {
                self.ack(links, role, first, u16::from_be_bytes([high, low]))
                    .map_err(|what| protocol(links, link, what))?;
                at += 4;
                continue;
            }
            match Packet::decode(rest, Some(self.shape.version()), &Limits::NONE) {
                Ok(Decoded::Packet(packet, length)) => {
                    self.packet(links, role, &packet, now)
                        .map_err(|what| protocol(links, link, what))?;
                    at += length;
                }
                Ok(Decoded::Incomplete { .. }) => return Ok(at),
                Err(fault) => return Err(protocol(links, link, format!("what is no MQTT: {fault}"))),
            }
        }
    }

    fn send(&mut self, links: &mut Links, now: u64) {
        if let Pace::Fixed {
            start,
            interval,
            next,
        } = self.pace
        {
            let mut next = next;
            let publishers = self.publishers.len() as u64;
            while self.open {
                #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // below 2^52 for a month
                let due = start + (next as f64 * interval) as u64;
                if due > now || self.publish(links, (next % publishers) as usize, due, 1) == 0 {
                    break;
                }
                if self.measuring {
                    self.late_max = self.late_max.max(now - due);
                }
                next += 1;
            }
            self.pace = Pace::Fixed {
                start,
                interval,
                next,
            };
            return;
        }
        let mut wanting = std::mem::take(&mut self.wanting);
        for nth in wanting.drain(..) {
            self.publishers[nth].wanting = false;
            if self.open {
                self.publish(links, nth, now, u64::MAX);
            }
        }
        self.wanting = wanting;
    }
}

fn protocol(links: &Links, link: usize, what: String) -> Error {
    Error::Protocol {
        client: links.name(link).to_owned(),
        what,
    }
}
