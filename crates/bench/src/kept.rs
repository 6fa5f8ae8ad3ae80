//! Messages that the broker keeps: retained ones, and those for a client that is away.

use martlet_codec::{Qos, SubscribeOptions};

use crate::args::{After, Load};
use crate::bulk::{self, End, Order, Sender, Taker};
use crate::check::{Expected, Faults};
use crate::client::Session;
use crate::driver::Driver;
use crate::error::Error;
use crate::message::Shape;
use crate::meter::Meter;
use crate::report::Report;
use crate::run::Run;

/// Sets retained messages, reads them back, and clears them.
pub(crate) fn run_retained(run: &mut Run, messages: u32, load: &Load, after: After) -> Result<Report, Error> {
    let mut report = start(run, "retained", messages, load)?;
    let version = run.server.protocol_version;
    let total = u64::from(messages);
    let prefix = run.prefix.clone();
    let topic = |sequence: u64| format!("{prefix}/{:04}/{:03}", sequence / 1_000, sequence % 1_000);
    let shape = Shape::retained(version, load.qos, load.size as usize, &topic(0));

    let mut publisher = Driver::new()?;
    let client = run.connect("setter", Session::New)?;
    let window = load.window.min(client.receive_max.into());
    publisher.add(client)?;
    let mut setter = Sender::new(
        version,
        load.qos,
        total,
        window,
        |out: &mut Vec<u8>, sequence, id| {
            shape.put(out, &shape.head(&topic(sequence), 0), sequence, id);
        },
    );
    let before = Meter::start(run.server.server_pid)?;
    report.ended_early = bulk::run(run, &mut publisher, &mut setter)?;
    report
        .phases
        .push(before.stop("set", "message", bulk::Bulk::done(&setter))?);
    if report.ended_early.is_some() {
        return Ok(report);
    }

    let mut reader = Driver::new()?;
    let mut client = run.connect("reader", Session::New)?;
    let meter = Meter::start(run.server.server_pid)?;
    client.subscribe(&[format!("{prefix}/#")], SubscribeOptions::qos(Qos::AtMostOnce))?;
    reader.add(client)?;
    let mut taker = Taker {
        shape: &shape,
        total,
        qos: Qos::AtMostOnce,
        retain: true,
        order: Order::Any(vec![false; messages as usize]),
        topic,
        taken: 0,
        faults: Faults::default(),
        end: End::Open,
    };
    report.ended_early = bulk::run(run, &mut reader, &mut taker)?;
    report
        .phases
        .push(meter.stop("read back", "message", taker.taken)?);
    report.faults = taker.finish();
    drop(reader);

    let topic = |sequence: u64| format!("{prefix}/{:04}/{:03}", sequence / 1_000, sequence % 1_000);
    let mut clearer = Sender::new(
        version,
        load.qos,
        total,
        window,
        |out: &mut Vec<u8>, sequence, id| {
            shape.put_empty(out, &topic(sequence), id);
        },
    );
    let meter = Meter::start(run.server.server_pid)?;
    let ended = bulk::run(run, &mut publisher, &mut clearer)?;
    report.ended_early = report.ended_early.or(ended);
    report
        .phases
        .push(meter.stop("clear", "message", bulk::Bulk::done(&clearer))?);
    run.settle(&before, after, ("message", total), &mut report)?;
    Ok(report)
}

/// Fills the queue of a client that is away, and lets it come back.
pub(crate) fn run_offline(run: &mut Run, messages: u32, load: &Load, after: After) -> Result<Report, Error> {
    let mut report = start(run, "messages for a client that is away", messages, load)?;
    let version = run.server.protocol_version;
    let total = u64::from(messages);
    let topic = format!("{}/queue", run.prefix);
    let mut away = run.connect("away", Session::Kept)?;
    away.subscribe(std::slice::from_ref(&topic), SubscribeOptions::qos(load.qos))?;
    away.leave()?;

    let shape = Shape::new(version, load.qos, load.size as usize, &topic);
    let head = shape.head(&topic, 0);
    let mut publisher = Driver::new()?;
    let client = run.connect("publisher", Session::New)?;
    let window = load.window.min(client.receive_max.into());
    publisher.add(client)?;
    let mut sender = Sender::new(
        version,
        load.qos,
        total,
        window,
        |out: &mut Vec<u8>, sequence, id| {
            shape.put(out, &head, sequence, id);
        },
    );
    let before = Meter::start(run.server.server_pid)?;
    report.ended_early = bulk::run(run, &mut publisher, &mut sender)?;
    report
        .phases
        .push(before.stop("in", "message", bulk::Bulk::done(&sender))?);

    if report.ended_early.is_none() {
        let meter = Meter::start(run.server.server_pid)?;
        let mut reader = Driver::new()?;
        reader.add(run.connect("away", Session::Kept)?)?;
        let mut taker = Taker {
            shape: &shape,
            total,
            qos: load.qos,
            retain: false,
            order: Order::Sent(Expected::default()),
            topic: |_| topic.clone(),
            taken: 0,
            faults: Faults::default(),
            end: End::Open,
        };
        report.ended_early = bulk::run(run, &mut reader, &mut taker)?;
        report.phases.push(meter.stop("out", "message", taker.taken)?);
        report.faults = taker.finish();
    }
    // Its session ends with it.
    run.connect("away", Session::New)?.disconnect();
    run.settle(&before, after, ("message", total), &mut report)?;
    Ok(report)
}

fn start(run: &Run, what: &str, messages: u32, load: &Load) -> Result<Report, Error> {
    if load.qos == Qos::AtMostOnce {
        let advice = "at QoS 0 nothing tells when the broker has a message: take -q 1 or 2";
        return Err(Error::Arguments(advice.into()));
    }
    Ok(Report {
        workload: format!(
            "{messages} {what}, QoS {}, {} bytes, window {}",
            load.qos.as_u8(),
            load.size,
            load.window
        ),
        version: run.speaks(),
        phases: Vec::new(),
        faults: Faults::default(),
        ended_early: None,
    })
}
