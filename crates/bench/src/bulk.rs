//! A number of messages sent by one client as fast as they are acknowledged, or taken by one client as
//! fast as they come.

use martlet_codec::{Address, Decoded, Limits, Packet, PacketId, Publish, Qos, Version};

use crate::check::{Arrival, Expected, Faults};
use crate::driver::{Driver, Handler, Links};
use crate::error::Error;
use crate::message::Shape;
use crate::run::Run;
use crate::traffic::{SILENCE, TURN};

/// Runs the loop until all is done; why it ended early.
pub(crate) fn run<H: Handler + Bulk>(
    run: &mut Run,
    driver: &mut Driver,
    bulk: &mut H,
) -> Result<Option<String>, Error> {
    let mut progress = (bulk.done(), driver.now());
    while !bulk.is_complete() {
        if run.stopped() {
            return Ok(Some("stopped".into()));
        }
        driver.turn(TURN, bulk)?;
        let now = driver.now();
        if bulk.done() > progress.0 {
            progress = (bulk.done(), now);
        } else if u128::from(now - progress.1) > SILENCE.as_nanos() {
            return Ok(Some("nothing came any more".into()));
        }
        run.show((bulk.done(), bulk.all()), || format!("{} messages", bulk.done()));
    }
    Ok(None)
}

/// Something that comes to an end.
pub(crate) trait Bulk {
    fn done(&self) -> u64;
    fn all(&self) -> u64;
    fn is_complete(&self) -> bool;
}

/// Sends messages of QoS 1 or 2 on the first connection of the loop.
pub(crate) struct Sender<F> {
    version: Version,
    qos: Qos,
    total: u64,
    window: u64,
    sent: u64,
    acknowledged: u64,
    /// Appends message `sequence` with that packet identifier.
    put: F,
}

impl<F: FnMut(&mut Vec<u8>, u64, u16)> Sender<F> {
    pub(crate) fn new(version: Version, qos: Qos, total: u64, window: u32, put: F) -> Self {
        Self {
            version,
            qos,
            total,
            window: window.into(),
            sent: 0,
            acknowledged: 0,
            put,
        }
    }

    /// Acknowledgements come in the order of the messages [MQTT5-4.6.0-2], so their identifiers are known.
    const fn id(sequence: u64) -> u16 {
        (sequence % 65_535) as u16 + 1
    }
}

impl<F> Bulk for Sender<F> {
    fn done(&self) -> u64 {
        self.acknowledged
    }

    fn all(&self) -> u64 {
        self.total
    }

    fn is_complete(&self) -> bool {
        self.acknowledged == self.total
    }
}

impl<F: FnMut(&mut Vec<u8>, u64, u16)> Handler for Sender<F> {
    fn take(&mut self, links: &mut Links, link: usize, bytes: &[u8], _now: u64) -> Result<usize, Error> {
        each(links, link, self.version, bytes, |links, packet| {
            let last = if self.qos == Qos::ExactlyOnce {
                "PUBCOMP"
            } else {
                "PUBACK"
            };
            match packet {
                Packet::PubRec(ack) if self.qos == Qos::ExactlyOnce && !ack.reason.is_error() => {
                    put_ack(links.out(link), 0x62, ack.packet_id);
                    Ok(())
                }
                Packet::PubAck(ack) | Packet::PubComp(ack) if !ack.reason.is_error() => {
                    let due = Self::id(self.acknowledged);
                    if ack.packet_id.get() != due || self.acknowledged == self.sent {
                        return Err(format!("{last} of {} where {due} was due", ack.packet_id));
                    }
                    self.acknowledged += 1;
                    Ok(())
                }
                other => Err(format!("{other:?}")),
            }
        })
    }

    fn send(&mut self, links: &mut Links, _now: u64) {
        while self.sent < self.total && self.sent - self.acknowledged < self.window {
            (self.put)(links.out(0), self.sent, Self::id(self.sent));
            self.sent += 1;
        }
    }
}

/// In which order the messages come.
pub(crate) enum Order {
    /// Any, each once.
    Any(Vec<bool>),
    /// That of sending.
    Sent(Expected),
}

/// Takes messages of stream 0 on the first connection of the loop, and checks them.
pub(crate) struct Taker<'a, F> {
    pub(crate) shape: &'a Shape,
    pub(crate) total: u64,
    /// The QoS at which they come.
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) order: Order,
    /// The topic of a message.
    pub(crate) topic: F,
    pub(crate) taken: u64,
    pub(crate) faults: Faults,
    pub(crate) end: End,
}

/// How far the end is: behind the answer to a PINGREQ, nothing comes that was sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Open,
    Asked,
    Seen,
}

impl<F: Fn(u64) -> String> Taker<'_, F> {
    fn message(&mut self, publish: &Publish<'_>) {
        self.taken += 1;
        let read = self.shape.read_payload(publish.payload);
        let as_sent = publish.delivery.qos() == self.qos && publish.retain == self.retain;
        let known = read.filter(|(stream, sequence)| as_sent && *stream == 0 && *sequence < self.total);
        let topic = match publish.address {
            Address::Name(topic) | Address::Define(topic, _) => topic.as_str(),
            Address::Alias(_) => "an alias",
        };
        let Some((_, sequence)) = known else {
            self.faults.corrupted += 1;
            self.faults
                .tell(|| format!("a message of topic {topic} that nobody sent"));
            return;
        };
        if topic != (self.topic)(sequence) {
            self.faults.misrouted += 1;
            self.faults
                .tell(|| format!("message {sequence} came as topic {topic}"));
            return;
        }
        let arrival = match &mut self.order {
            Order::Sent(expected) => expected.arrive(sequence),
            Order::Any(seen) => {
                if std::mem::replace(&mut seen[sequence as usize], true) {
                    Arrival::Again
                } else {
                    Arrival::Due
                }
            }
        };
        match arrival {
            Arrival::Due => return,
            Arrival::Early => {}
            Arrival::Late => self.faults.reordered += 1,
            Arrival::Again => self.faults.repeated += 1,
        }
        self.faults
            .tell(|| format!("message {sequence} came out of turn"));
    }

    /// What did not come is lost.
    pub(crate) fn finish(mut self) -> Faults {
        let lost = match &self.order {
            Order::Any(seen) => seen.iter().filter(|seen| !**seen).count() as u64,
            Order::Sent(expected) => expected.missing(self.total),
        };
        if lost > 0 {
            self.faults.lost += lost;
            self.faults.tell(|| format!("{lost} messages never came"));
        }
        self.faults
    }
}

impl<F> Bulk for Taker<'_, F> {
    fn done(&self) -> u64 {
        self.taken
    }

    fn all(&self) -> u64 {
        self.total
    }

    fn is_complete(&self) -> bool {
        self.end == End::Seen
    }
}

impl<F: Fn(u64) -> String> Handler for Taker<'_, F> {
    fn take(&mut self, links: &mut Links, link: usize, bytes: &[u8], _now: u64) -> Result<usize, Error> {
        each(links, link, self.shape.version(), bytes, |links, packet| {
            match packet {
                Packet::Publish(publish) => {
                    self.message(publish);
                    if let Some(id) = publish.delivery.packet_id() {
                        let first = if self.qos == Qos::ExactlyOnce { 0x50 } else { 0x40 };
                        put_ack(links.out(link), first, id);
                    }
                }
                Packet::PubRel(ack) => put_ack(links.out(link), 0x70, ack.packet_id),
                Packet::PingResp if self.end == End::Asked => self.end = End::Seen,
                other => return Err(format!("{other:?}")),
            }
            Ok(())
        })
    }

    fn send(&mut self, links: &mut Links, _now: u64) {
        if self.taken >= self.total && self.end == End::Open {
            self.end = End::Asked;
            links.out(0).extend_from_slice(&[0xc0, 0]);
        }
    }
}

pub(crate) fn put_ack(out: &mut Vec<u8>, first: u8, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// Hands each whole packet on; how many bytes they were.
pub(crate) fn each(
    links: &mut Links,
    link: usize,
    version: Version,
    bytes: &[u8],
    mut handle: impl FnMut(&mut Links, &Packet<'_>) -> Result<(), String>,
) -> Result<usize, Error> {
    let mut at = 0;
    loop {
        let result = match Packet::decode(&bytes[at..], Some(version), &Limits::NONE) {
            Ok(Decoded::Incomplete { .. }) => return Ok(at),
            Ok(Decoded::Packet(packet, length)) => {
                at += length;
                handle(links, &packet)
            }
            Err(fault) => Err(format!("what is no MQTT: {fault}")),
        };
        result.map_err(|what| Error::Protocol {
            client: links.name(link).to_owned(),
            what,
        })?;
    }
}
