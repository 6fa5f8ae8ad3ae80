//! Messages from publishers to subscribers for a while: pairs, fan-out, fan-in, and among many filters.

use std::time::Duration;

use martlet_codec::{Qos, SubscribeOptions};

use crate::args::{Order, Traffic};
use crate::client::{Client, Session};
use crate::driver::Driver;
use crate::error::Error;
use crate::flow::{Flow, Pace};
use crate::message::Shape;
use crate::meter::Meter;
use crate::process::raise_open_files;
use crate::report::{Latency, Phase, Report};
use crate::run::Run;
use crate::topics::{Scattered, Topics};

/// Who sends to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    Pairs(u32, Order),
    FanOut(u32),
    FanIn(u32),
}

/// Nothing comes for so long: what is missing is lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// Between looks at the clock and at signals.
pub(crate) const TURN: Duration = Duration::from_millis(50);
/// The finest interval at which a fixed rate wakes up.
const WAKE_MIN: Duration = Duration::from_micros(50);

/// A run of that layout.
pub(crate) fn run(run: &mut Run, layout: Layout, traffic: &Traffic) -> Result<Report, Error> {
    let (publishers, subscribers) = layout.counts();
    raise_open_files(layout.connections() + 32)?;
    let prefix = run.prefix.clone();
    let topics = Topics::Fixed { prefix };
    let mut flow = Flow::new(shape(run, &topics, traffic), topics, pace(traffic));
    let mut driver = Driver::new()?;
    // Those that do nothing stay until the end.
    let (clients, _idle) = if traffic.raw {
        (layout.open(run, traffic)?, Vec::new())
    } else {
        layout.connect(run, traffic)?
    };
    for (nth, client) in clients.into_iter().enumerate() {
        if nth < publishers {
            let window = window(traffic, &client);
            let receivers = if matches!(layout, Layout::FanOut(_)) {
                subscribers as u32
            } else {
                1
            };
            flow.add_publisher(1, receivers, window);
        } else {
            let nth = nth - publishers;
            match layout {
                Layout::Pairs(..) => flow.add_subscriber(nth, 1, 1),
                Layout::FanOut(_) => flow.add_subscriber(0, 1, 1),
                Layout::FanIn(_) => flow.add_subscriber(0, 1, publishers),
            }
        }
        driver.add(client)?;
    }
    let mut report = Report {
        workload: format!("{}, {}", layout.describe(), describe(traffic)),
        version: run.speaks(),
        phases: Vec::new(),
        faults: crate::check::Faults::default(),
        ended_early: None,
    };
    drive(run, traffic, &mut driver, &mut flow, &mut report)?;
    drop(driver);
    end_sessions(run, traffic, subscribers)?;
    Ok(report)
}

fn subscriber(nth: usize) -> String {
    format!("s{nth:05}")
}

const fn session(traffic: &Traffic) -> Session {
    if traffic.stored {
        Session::Kept
    } else {
        Session::New
    }
}

/// A stored session ends when a new one of its name does.
fn end_sessions(run: &Run, traffic: &Traffic, subscribers: usize) -> Result<(), Error> {
    let stored = if traffic.stored { subscribers } else { 0 };
    for nth in 0..stored {
        run.connect(&subscriber(nth), Session::New)?.disconnect();
    }
    Ok(())
}

/// A run among many filters.
pub(crate) fn run_filters(
    run: &mut Run,
    (filters, subscribers, publishers): (u32, u32, u32),
    traffic: &Traffic,
) -> Result<Report, Error> {
    if filters < subscribers {
        return Err(Error::Arguments("each subscriber needs a filter at least".into()));
    }
    raise_open_files((publishers + subscribers) as usize + 32)?;
    let scattered = Scattered {
        prefix: run.prefix.clone(),
        filters: filters.into(),
        subscribers: subscribers.into(),
    };
    let mut driver = Driver::new()?;
    let mut clients = Vec::new();
    for nth in 0..publishers {
        clients.push(run.connect(&format!("p{nth:05}"), Session::New)?);
    }
    let mut holders = Vec::new();
    for nth in 0..subscribers {
        holders.push(run.connect(&subscriber(nth as usize), session(traffic))?);
    }
    let mut report = Report {
        workload: format!(
            "{publishers} publishers among {filters} filters of {subscribers} subscribers, {}",
            describe(traffic)
        ),
        version: run.speaks(),
        phases: Vec::new(),
        faults: crate::check::Faults::default(),
        ended_early: None,
    };
    let subscribed = subscribe(run, &scattered, &mut holders, traffic.qos)?;
    report.phases.push(subscribed);
    let topics = Topics::Scattered(scattered);
    let mut flow = Flow::new(shape(run, &topics, traffic), topics, pace(traffic));
    for client in clients {
        let window = window(traffic, &client);
        flow.add_publisher(subscribers as usize, 1, window);
        driver.add(client)?;
    }
    for (nth, client) in holders.into_iter().enumerate() {
        flow.add_subscriber(nth, subscribers as usize, publishers as usize);
        driver.add(client)?;
    }
    if run.stopped() {
        report.ended_early = Some("stopped".into());
        return Ok(report);
    }
    drive(run, traffic, &mut driver, &mut flow, &mut report)?;
    drop(driver);
    end_sessions(run, traffic, subscribers as usize)?;
    Ok(report)
}

/// Filters in a SUBSCRIBE.
const FILTERS_AT_ONCE: usize = 100;

fn subscribe(run: &mut Run, scattered: &Scattered, holders: &mut [Client], qos: Qos) -> Result<Phase, Error> {
    let meter = Meter::start(run.server.server_pid)?;
    let mut next: Vec<u64> = (0..scattered.subscribers).collect();
    let mut done = 0;
    while done < scattered.filters && !run.stopped() {
        for (client, next) in holders.iter_mut().zip(&mut next) {
            let own = (*next..scattered.filters).step_by(scattered.subscribers as usize);
            let filters: Vec<String> = own
                .take(FILTERS_AT_ONCE)
                .map(|index| scattered.filter(index))
                .collect();
            if filters.is_empty() {
                continue;
            }
            client.subscribe(&filters, SubscribeOptions::qos(qos))?;
            *next += scattered.subscribers * filters.len() as u64;
            done += filters.len() as u64;
        }
        run.show((done, scattered.filters), || format!("{done} filters"));
    }
    meter.stop("subscribe", "filter", done)
}

fn shape(run: &Run, topics: &Topics, traffic: &Traffic) -> Shape {
    let topic = topics.of(0, 0);
    Shape::new(
        run.server.protocol_version,
        traffic.qos,
        traffic.size as usize,
        &topic,
    )
}

fn pace(traffic: &Traffic) -> Pace {
    match traffic.rate {
        None => Pace::Window,
        Some(rate) => Pace::Fixed {
            start: 0,
            interval: 1e9 / f64::from(rate),
            next: 0,
        },
    }
}

/// The server's limit, and the user's where the run goes by the window.
fn window(traffic: &Traffic, client: &Client) -> u32 {
    let own = if traffic.rate.is_some() {
        u32::MAX
    } else {
        traffic.window
    };
    if traffic.qos == Qos::AtMostOnce {
        own
    } else {
        own.min(client.receive_max.into())
    }
}

fn describe(traffic: &Traffic) -> String {
    let pace = match traffic.rate {
        None => format!("window {}", traffic.window),
        Some(rate) => format!("{rate} messages a second"),
    };
    let (qos, size) = (traffic.qos.as_u8(), traffic.size);
    let stored = if traffic.stored { ", stored sessions" } else { "" };
    format!("QoS {qos}, {size} bytes, {pace}{stored}")
}

/// Warms up, measures, waits for what is under way, and looks whether all is there.
fn drive(
    run: &mut Run,
    traffic: &Traffic,
    driver: &mut Driver,
    flow: &mut Flow,
    report: &mut Report,
) -> Result<(), Error> {
    if let Some(rate) = traffic.rate {
        driver.wake_every(WAKE_MIN.max(Duration::from_secs(1) / rate))?;
    }
    flow.start(driver.now());
    let ended = turns(run, driver, flow, traffic.warm_up)?;
    let meter = Meter::start(run.server.server_pid)?;
    let before = flow.delivered;
    flow.measuring = true;
    let ended = match ended {
        None => turns(run, driver, flow, traffic.seconds)?,
        ended => ended,
    };
    flow.measuring = false;
    let mut phase = meter.stop("deliver", "message", flow.delivered - before)?;
    phase.latency_us = Latency::of(&flow.latency);
    #[allow(clippy::cast_precision_loss)]
    if traffic.rate.is_some() {
        phase.send_late_us_max = Some(flow.late_max as f64 / 1e3);
    }
    report.phases.push(phase);
    report.ended_early = ended;
    flow.close();
    quiet(run, driver, flow, |flow| flow.under_way == 0)?;
    if !traffic.raw && report.ended_early.as_deref() != Some(SILENT) {
        flow.ping(&mut driver.links);
        quiet(run, driver, flow, |flow| flow.pings_due == 0)?;
        if flow.pings_due > 0 {
            report.ended_early = Some("the broker does not answer PINGREQ".into());
        }
    }
    flow.count_lost(&driver.links);
    report.faults = flow.faults.clone();
    Ok(())
}

const SILENT: &str = "nothing came any more";

/// Runs the loop for a while; why it ended early.
fn turns(
    run: &mut Run,
    driver: &mut Driver,
    flow: &mut Flow,
    lasting: Duration,
) -> Result<Option<String>, Error> {
    let start = driver.now();
    let lasting = lasting.as_nanos() as u64;
    let mut progress = (flow.delivered, start);
    loop {
        let now = driver.now();
        if now - start >= lasting {
            return Ok(None);
        }
        if run.stopped() {
            return Ok(Some("stopped".into()));
        }
        if flow.delivered > progress.0 || flow.under_way == 0 {
            progress = (flow.delivered, now);
        } else if now - progress.1 > SILENCE.as_nanos() as u64 {
            return Ok(Some(SILENT.into()));
        }
        run.show((now - start, lasting), || {
            format!("{} messages, {}", flow.delivered, flow.faults)
        });
        let left = Duration::from_nanos(lasting - (now - start));
        driver.turn(left.min(TURN), flow)?;
    }
}

/// Runs the loop until `done`, or until nothing comes for a while.
fn quiet(
    run: &mut Run,
    driver: &mut Driver,
    flow: &mut Flow,
    done: impl Fn(&Flow) -> bool,
) -> Result<(), Error> {
    let state = |flow: &Flow| (flow.delivered, flow.under_way, flow.pings_due);
    let mut progress = (state(flow), driver.now());
    while !done(flow) {
        driver.turn(TURN, flow)?;
        let now = driver.now();
        if state(flow) != progress.0 {
            progress = (state(flow), now);
        } else if now - progress.1 > SILENCE.as_nanos() as u64 {
            break;
        }
        run.show((flow.delivered, flow.delivered + flow.under_way), || {
            format!("waiting for {} messages", flow.under_way)
        });
    }
    Ok(())
}

impl Layout {
    fn counts(self) -> (usize, usize) {
        match self {
            Self::Pairs(n, _) => (n as usize, n as usize),
            Self::FanOut(n) => (1, n as usize),
            Self::FanIn(n) => (n as usize, 1),
        }
    }

    /// With those that do nothing.
    fn connections(self) -> usize {
        let (publishers, subscribers) = self.counts();
        match self {
            Self::Pairs(_, Order::EveryOther) => 2 * (publishers + subscribers),
            _ => publishers + subscribers,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Pairs(n, Order::Sides) => format!("{n} pairs"),
            Self::Pairs(n, Order::Pairs) => format!("{n} pairs that connect one by one"),
            Self::Pairs(n, Order::EveryOther) => format!("{n} pairs among as many idle clients"),
            Self::FanOut(n) => format!("fan-out 1 to {n}"),
            Self::FanIn(n) => format!("fan-in {n} to 1"),
        }
    }

    /// Publishers, then subscribers; and those that do nothing.
    fn connect(self, run: &Run, traffic: &Traffic) -> Result<(Vec<Client>, Vec<Client>), Error> {
        let (publishers, subscribers) = self.counts();
        let order = match self {
            Self::Pairs(_, order) => order,
            Self::FanOut(_) | Self::FanIn(_) => Order::Sides,
        };
        let (mut clients, mut receivers, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for nth in 0..publishers {
            clients.push(run.connect(&format!("p{nth:05}"), Session::New)?);
            match order {
                Order::Sides => {}
                Order::Pairs => receivers.push(self.subscriber(run, traffic, nth)?),
                Order::EveryOther => idle.push(run.connect(&format!("i{nth:05}"), Session::New)?),
            }
        }
        for nth in receivers.len()..subscribers {
            receivers.push(self.subscriber(run, traffic, nth)?);
            if order == Order::EveryOther {
                idle.push(run.connect(&format!("j{nth:05}"), Session::New)?);
            }
        }
        clients.append(&mut receivers);
        Ok((clients, idle))
    }

    fn subscriber(self, run: &Run, traffic: &Traffic, nth: usize) -> Result<Client, Error> {
        let topics = Topics::Fixed {
            prefix: run.prefix.clone(),
        };
        let mut client = run.connect(&subscriber(nth), session(traffic))?;
        let filter = match self {
            Self::Pairs(..) => topics.of(nth, 0),
            Self::FanOut(_) => topics.of(0, 0),
            Self::FanIn(_) => format!("{}/+", run.prefix),
        };
        client.subscribe(&[filter], SubscribeOptions::qos(traffic.qos))?;
        Ok(client)
    }

    /// Sockets in the order in which the relay expects them; returned as publishers, then subscribers.
    fn open(self, run: &Run, traffic: &Traffic) -> Result<Vec<Client>, Error> {
        if traffic.qos != Qos::AtMostOnce {
            return Err(Error::Arguments(
                "the relay answers nothing: --raw is for QoS 0".into(),
            ));
        }
        let (publishers, subscribers) = self.counts();
        if !matches!(self, Self::Pairs(..)) {
            let names = (0..publishers + subscribers).map(|nth| format!("r{nth:05}"));
            return names.map(|name| run.open(&name)).collect();
        }
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for nth in 0..publishers {
            from.push(run.open(&format!("p{nth:05}"))?);
            to.push(run.open(&format!("s{nth:05}"))?);
        }
        from.append(&mut to);
        Ok(from)
    }
}
