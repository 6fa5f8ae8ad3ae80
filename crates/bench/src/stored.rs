//! What stored sessions cost, in parts between which the broker may be restarted: they subscribe and go, messages
//! are published to them, they come back and take them.

use martlet_codec::{Address, Packet, Publish, Qos, SubscribeOptions, Version};

use crate::args::{Load, Part};
use crate::bulk::{self, Bulk, each, put_ack};
use crate::check::{Arrival, Expected, Faults};
use crate::client::{Client, Session};
use crate::driver::{Driver, Handler, Links};
use crate::error::Error;
use crate::message::{Head, Shape};
use crate::meter::Meter;
use crate::process::raise_open_files;
use crate::report::Report;
use crate::run::Run;

/// Sessions that are set up at once.
const SESSIONS_AT_ONCE: u32 = 256;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) sessions: u32,
    /// Subscriptions of each.
    pub(crate) filters: u32,
    /// Messages for each.
    pub(crate) messages: u32,
    pub(crate) publishers: u32,
}

/// Runs a part.
pub(crate) fn run(run: &mut Run, part: Part, counts: Counts, load: &Load) -> Result<Report, Error> {
    // Parts are processes of their own that speak of the same sessions.
    "bench/stored".clone_into(&mut run.prefix);
    let Counts {
        sessions,
        filters,
        messages,
        publishers,
    } = counts;
    if load.qos == Qos::AtMostOnce {
        return Err(Error::Arguments(
            "for sessions that are away, take -q 1 or 2".into(),
        ));
    }
    let (qos, size, window) = (load.qos.as_u8(), load.size, load.window);
    let workload = match part {
        Part::Subscribe => format!("{sessions} stored sessions of {filters} subscriptions"),
        Part::Publish => format!(
            "{publishers} publishers, {messages} messages for each of {sessions} stored sessions, QoS {qos}, {size} bytes, window {window}"
        ),
        Part::Take => format!("{sessions} stored sessions take {messages} messages each"),
    };
    let mut report = Report {
        workload,
        version: run.speaks(),
        phases: Vec::new(),
        faults: Faults::default(),
        ended_early: None,
    };
    match part {
        Part::Subscribe => subscribe(run, counts, load, &mut report)?,
        Part::Publish => publish(run, counts, load, &mut report)?,
        Part::Take => take(run, counts, load, &mut report)?,
    }
    Ok(report)
}

/// The topics of one length of a session; messages go to the first.
fn topic(run: &Run, session: u32, nth: u32) -> String {
    format!("{}/{session:07}/{nth}", run.prefix)
}

fn name(session: u32) -> String {
    format!("s{session:07}")
}

fn shape(run: &Run, load: &Load) -> Shape {
    Shape::new(
        run.server.protocol_version,
        load.qos,
        load.size as usize,
        &topic(run, 0, 0),
    )
}

fn subscribe(run: &mut Run, counts: Counts, load: &Load, report: &mut Report) -> Result<(), Error> {
    let options = SubscribeOptions::qos(load.qos);
    let meter = Meter::start(run.server.server_pid)?;
    let mut done = 0;
    while done < counts.sessions && !run.stopped() {
        let batch = done..counts.sessions.min(done + SESSIONS_AT_ONCE);
        let mut clients = Vec::with_capacity(batch.len());
        for session in batch.clone() {
            let mut client = run.open(&name(session))?;
            client.send_connect(Session::Kept)?;
            clients.push(client);
        }
        for (client, session) in clients.iter_mut().zip(batch.clone()) {
            client.wait_for_connack()?;
            let filters: Vec<String> = (0..counts.filters).map(|nth| topic(run, session, nth)).collect();
            client.send_subscribe(&filters, options)?;
        }
        for client in &mut clients {
            client.wait_for_suback(options)?;
        }
        done = batch.end;
        // A broker that has closed the last has seen all others go.
        let last = clients.pop();
        clients.into_iter().for_each(Client::disconnect);
        last.map_or(Ok(()), Client::leave)?;
        run.show((done.into(), counts.sessions.into()), || {
            format!("{done} sessions")
        });
    }
    if done < counts.sessions {
        report.ended_early = Some("stopped".into());
    }
    report
        .phases
        .push(meter.stop("subscribe", "session", done.into())?);
    Ok(())
}

fn publish(run: &mut Run, counts: Counts, load: &Load, report: &mut Report) -> Result<(), Error> {
    raise_open_files(counts.publishers as usize + 32)?;
    let shape = shape(run, load);
    let heads = (0..counts.sessions).map(|session| shape.head(&topic(run, session, 0), session));
    let mut filler = Filler {
        version: run.server.protocol_version,
        heads: heads.collect(),
        shape,
        messages: counts.messages.into(),
        flows: Vec::new(),
    };
    let mut driver = Driver::new()?;
    for nth in 0..counts.publishers {
        let client = run.connect(&format!("p{nth:05}"), Session::New)?;
        // Each has sessions of its own, so that the messages of one session have an order.
        let sessions = (nth..counts.sessions).step_by(counts.publishers as usize).count() as u64;
        let window = load.window.min(client.receive_max.into()).into();
        filler.flows.push(Sent {
            window,
            total: sessions * filler.messages,
            sent: 0,
            acknowledged: 0,
        });
        driver.add(client)?;
    }
    let meter = Meter::start(run.server.server_pid)?;
    report.ended_early = bulk::run(run, &mut driver, &mut filler)?;
    report
        .phases
        .push(meter.stop("publish", "message", filler.done())?);
    Ok(())
}

fn take(run: &mut Run, counts: Counts, load: &Load, report: &mut Report) -> Result<(), Error> {
    raise_open_files(counts.sessions as usize + 32)?;
    let shape = shape(run, load);
    let meter = Meter::start(run.server.server_pid)?;
    let mut driver = Driver::new()?;
    let mut collector = Collector {
        topics: (0..counts.sessions)
            .map(|session| topic(run, session, 0))
            .collect(),
        shape,
        messages: counts.messages.into(),
        seen: Vec::new(),
        taken: 0,
        faults: Faults::default(),
    };
    for session in 0..counts.sessions {
        collector.seen.push(Seen::default());
        let client = run.connect(&name(session), Session::Kept)?;
        if !client.is_resumed {
            return Err(client.protocol("CONNACK without the session that it had".into()));
        }
        driver.add(client)?;
    }
    report.ended_early = bulk::run(run, &mut driver, &mut collector)?;
    report
        .phases
        .push(meter.stop("take", "message", collector.taken)?);
    report.faults = collector.finish();
    Ok(())
}

/// What a publisher has sent.
#[derive(Debug)]
struct Sent {
    window: u64,
    total: u64,
    sent: u64,
    acknowledged: u64,
}

/// Publishes to sessions that are away.
struct Filler {
    version: Version,
    shape: Shape,
    /// Of each session.
    heads: Vec<Head>,
    /// For each session.
    messages: u64,
    flows: Vec<Sent>,
}

/// Acknowledgements come in the order of the messages [MQTT5-4.6.0-2], so their identifiers are known.
const fn id(nth: u64) -> u16 {
    (nth % 65_535) as u16 + 1
}

impl Bulk for Filler {
    fn done(&self) -> u64 {
        self.flows.iter().map(|flow| flow.acknowledged).sum()
    }

    fn all(&self) -> u64 {
        self.flows.iter().map(|flow| flow.total).sum()
    }

    fn is_complete(&self) -> bool {
        self.flows.iter().all(|flow| flow.acknowledged == flow.total)
    }
}

impl Handler for Filler {
    fn take(&mut self, links: &mut Links, link: usize, bytes: &[u8], _now: u64) -> Result<usize, Error> {
        let flow = &mut self.flows[link];
        let is_exactly_once = self.shape.qos() == Qos::ExactlyOnce;
        each(links, link, self.version, bytes, |links, packet| match packet {
            Packet::PubRec(ack) if is_exactly_once && !ack.reason.is_error() => {
                put_ack(links.out(link), 0x62, ack.packet_id);
                Ok(())
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) if !ack.reason.is_error() => {
                let due = id(flow.acknowledged);
                if ack.packet_id.get() != due || flow.acknowledged == flow.sent {
                    return Err(format!("the end of {} where {due} was due", ack.packet_id));
                }
                flow.acknowledged += 1;
                Ok(())
            }
            other => Err(format!("{other:?}")),
        })
    }

    fn send(&mut self, links: &mut Links, _now: u64) {
        let publishers = self.flows.len() as u64;
        for (link, flow) in self.flows.iter_mut().enumerate() {
            while flow.sent < flow.total && flow.sent - flow.acknowledged < flow.window {
                // One message for each of its sessions, then the next for each.
                let sessions = flow.total / self.messages; // not 0: then there is nothing to send
                let session = link as u64 + publishers * (flow.sent % sessions);
                let sequence = flow.sent / sessions;
                let head = &self.heads[session as usize];
                self.shape.put(links.out(link), head, sequence, id(flow.sent));
                flow.sent += 1;
            }
        }
    }
}

/// What a session has taken.
#[derive(Debug, Default)]
struct Seen {
    expected: Expected,
    count: u64,
    is_asked: bool,
    is_over: bool,
}

/// Takes what was queued; each connection is a session.
struct Collector {
    shape: Shape,
    /// Of each session.
    topics: Vec<String>,
    /// For each session.
    messages: u64,
    seen: Vec<Seen>,
    taken: u64,
    faults: Faults,
}

impl Collector {
    fn message(&mut self, session: usize, publish: &Publish<'_>) {
        self.taken += 1;
        let seen = &mut self.seen[session];
        seen.count += 1;
        let topic = match publish.address {
            Address::Name(topic) | Address::Define(topic, _) => topic.as_str(),
            Address::Alias(_) => "an alias",
        };
        let read = self.shape.read_payload(publish.payload);
        let faults = &mut self.faults;
        let Some((stream, sequence)) = read.filter(|(_, sequence)| *sequence < self.messages) else {
            faults.corrupted += 1;
            return faults.tell(|| format!("a message of topic {topic} that nobody sent"));
        };
        if stream as usize != session || topic != self.topics[session] {
            faults.misrouted += 1;
            return faults.tell(|| format!("session {session} got a message of topic {topic}"));
        }
        match seen.expected.arrive(sequence) {
            Arrival::Due => return,
            Arrival::Early => {}
            Arrival::Late => faults.reordered += 1,
            Arrival::Again => faults.repeated += 1,
        }
        faults.tell(|| format!("message {sequence} came to session {session} out of turn"));
    }

    /// What did not come is lost.
    fn finish(mut self) -> Faults {
        let missing = self.seen.iter().map(|seen| seen.expected.missing(self.messages));
        let lost: u64 = missing.sum();
        if lost > 0 {
            self.faults.lost += lost;
            self.faults.tell(|| format!("{lost} messages never came"));
        }
        self.faults
    }
}

impl Bulk for Collector {
    fn done(&self) -> u64 {
        self.taken
    }

    fn all(&self) -> u64 {
        self.messages * self.seen.len() as u64
    }

    fn is_complete(&self) -> bool {
        self.seen.iter().all(|seen| seen.is_over)
    }
}

impl Handler for Collector {
    fn take(&mut self, links: &mut Links, link: usize, bytes: &[u8], _now: u64) -> Result<usize, Error> {
        let version = self.shape.version();
        each(links, link, version, bytes, |links, packet| {
            match packet {
                Packet::Publish(publish) => {
                    self.message(link, publish);
                    if let Some(id) = publish.delivery.packet_id() {
                        let first = if publish.delivery.qos() == Qos::ExactlyOnce {
                            0x50
                        } else {
                            0x40
                        };
                        put_ack(links.out(link), first, id);
                    }
                }
                Packet::PubRel(ack) => put_ack(links.out(link), 0x70, ack.packet_id),
                // Behind the answer nothing comes that was sent before.
                Packet::PingResp if self.seen[link].is_asked => self.seen[link].is_over = true,
                other => return Err(format!("{other:?}")),
            }
            Ok(())
        })
    }

    fn send(&mut self, links: &mut Links, _now: u64) {
        for (link, seen) in self.seen.iter_mut().enumerate() {
            if seen.count >= self.messages && !seen.is_asked {
                seen.is_asked = true;
                links.out(link).extend_from_slice(&[0xc0, 0]);
            }
        }
    }
}
