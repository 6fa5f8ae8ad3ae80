//! Connections without messages: how fast they come and go, and what one costs that does nothing.

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
    let mut clients: Vec<(Instant, Client)> = Vec::with_capacity(at_once as usize);
    for nth in 0..at_once {
        let at = Instant::now();
        let mut client = run.open(&format!("c{nth:05}"))?;
        client.send_connect(Session::New)?;
        clients.push((at, client));
    }
    for (at, mut client) in clients {
        client.wait_for_connack()?;
        latency.add(u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX), 1);
        client.disconnect();
    }
    Ok(())
}

/// Makes connections and lets them stand.
pub(crate) fn run_idle(run: &mut Run, connections: u32, after: After) -> Result<Report, Error> {
    raise_open_files(connections as usize + 32)?;
    let mut report = empty(run, format!("{connections} connections that do nothing"));
    // What a broker takes once, for its first client, is not counted for each.
    round(run, 1, &mut Histogram::new())?;
    let mut clients = Vec::with_capacity(connections as usize);
    let before = Meter::start(run.server.server_pid)?;
    for nth in 0..connections {
        if run.stopped() {
            report.ended_early = Some("stopped".into());
            break;
        }
        clients.push(run.connect(&format!("c{nth:05}"), Session::New)?);
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
    for client in clients {
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
        version: run.server.protocol_version.to_string(),
        phases: Vec::new(),
        faults: Faults::default(),
        ended_early: None,
    }
}
