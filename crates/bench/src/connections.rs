//! Connections without messages: how fast they come and go, and what one costs that does nothing.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::args::After;
use crate::check::Faults;
use crate::client::{Client, Session};
use crate::error::Error;
use crate::histogram::Histogram;
use crate::meter::Meter;
use crate::process::raise_open_files;
use crate::report::{Latency, Report};
use crate::run::Run;

/// Connects and disconnects for a while, `at_once` connections under way.
pub(crate) fn run_connect(run: &mut Run, at_once: u32, lasting: Duration) -> Result<Report, Error> {
    raise_open_files(at_once as usize + 32)?;
    let mut report = empty(run, format!("connect and disconnect, {at_once} at once"));
    // The first round warms up.
    round(run, at_once, &mut Histogram::new())?;
    let mut latency = Histogram::new();
    let meter = Meter::start(run.server.server_pid)?;
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < lasting {
        if run.stopped() {
            report.ended_early = Some("stopped".into());
            break;
        }
        round(run, at_once, &mut latency)?;
        count += u64::from(at_once);
        let part = (start.elapsed().as_millis() as u64, lasting.as_millis() as u64);
        run.show(part, || format!("{count} connections"));
    }
    let mut phase = meter.stop("connect", "connection", count)?;
    phase.latency_us = Latency::of(&latency);
    report.phases.push(phase);
    Ok(report)
}

/// Each asks before the first is answered.
fn round(run: &Run, at_once: u32, latency: &mut Histogram) -> Result<(), Error> {
    for (at, mut client) in begin(run, 0..at_once)? {
        client.wait_for_connack()?;
        latency.add(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX), 1);
        client.disconnect();
    }
    Ok(())
}

/// Opens connections and sends their CONNECTs; when each began.
fn begin(run: &Run, numbers: Range<u32>) -> Result<Vec<(Instant, Client)>, Error> {
    let begin = |nth| {
        let at = Instant::now();
        let mut client = run.open(&format!("c{nth:05}"))?;
        client.send_connect(Session::New)?;
        Ok((at, client))
    };
    numbers.map(begin).collect()
}

/// Connections under way at once, of those that will do nothing.
const IDLE_AT_ONCE: u32 = 64;

/// Makes connections and lets them stand.
pub(crate) fn run_idle(run: &mut Run, connections: u32, after: After) -> Result<Report, Error> {
    raise_open_files(connections as usize + 32)?;
    let mut report = empty(run, format!("{connections} connections that do nothing"));
    // What a broker takes once, for its first client, is not counted for each.
    round(run, 1, &mut Histogram::new())?;
    let mut clients = Vec::with_capacity(connections as usize);
    let before = Meter::start(run.server.server_pid)?;
    while (clients.len() as u32) < connections {
        if run.stopped() {
            report.ended_early = Some("stopped".into());
            break;
        }
        let first = clients.len() as u32;
        let batch = first..connections.min(first + IDLE_AT_ONCE);
        clients.append(&mut begin(run, batch)?);
        // Each asks before the first is answered: a handshake of TLS waits for the server several times.
        for (_, client) in &mut clients[first as usize..] {
            client.wait_for_connack()?;
        }
        let count = clients.len();
        run.show((count as u64, connections.into()), || {
            format!("{count} connections")
        });
    }
    report
        .phases
        .push(before.stop("connect", "connection", clients.len() as u64)?);
    let meter = Meter::start(run.server.server_pid)?;
    let count = clients.len() as u64;
    for (_, client) in clients {
        client.disconnect();
    }
    // A connection behind all the others was answered: the broker has seen them go.
    round(run, 1, &mut Histogram::new())?;
    report.phases.push(meter.stop("disconnect", "connection", count)?);
    run.settle(&before, after, ("connection", count), &mut report)?;
    Ok(report)
}

fn empty(run: &Run, workload: String) -> Report {
    Report {
        workload,
        version: run.speaks(),
        phases: Vec::new(),
        faults: Faults::default(),
        ended_early: None,
    }
}
