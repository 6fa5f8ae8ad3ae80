//! `martlet pub`.

use bytes::Bytes;
use martlet_client::{Client, Delivery, DeliveryError, Message};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::connect::Link;
use crate::console;
use crate::failure::{Failure, status};
use crate::input;
use crate::settings::{Input, Settings};
use crate::stop::Stops;

/// Publishes, and returns the exit status.
pub(crate) async fn run(settings: &Settings, payload: Bytes, stops: &mut Stops) -> Result<u8, Failure> {
    let link = tokio::select! {
        link = Link::open(settings) => link?,
        stop = stops.stopped() => return Ok(stop.status()),
    };
    let message = Message::new(topic(settings), payload)
        .qos(settings.qos)
        .retain(settings.retain)
        .properties(link.properties(&settings.properties.publish));
    let work = async {
        match settings.input {
            Some(Input::Lines) => lines(&link.client, message, settings).await,
            _ => repeated(&link.client, message, settings).await,
        }
    };
    let done = tokio::select! {
        done = work => done,
        stop = stops.stopped() => {
            link.leave(settings).await;
            return Ok(stop.status());
        }
    };
    match done {
        Ok(status) => {
            link.close(settings).await;
            Ok(status)
        }
        Err(failure) => {
            link.leave(settings).await;
            Err(failure)
        }
    }
}

fn topic(settings: &Settings) -> martlet_codec::TopicBuf {
    settings
        .topic
        .clone()
        .expect("the options were checked for a topic")
}

/// One message, `--repeat` times, each after the acknowledgement of the one before it.
async fn repeated(client: &Client, message: Message, settings: &Settings) -> Result<u8, Failure> {
    let mut worst = 0;
    for round in 0..settings.repeat.count {
        if round > 0 {
            tokio::time::sleep(settings.repeat.delay).await;
        }
        let delivery = publish(client, message.clone(), settings).await?;
        worst = worst.max(settle(delivery, settings).await?);
    }
    Ok(worst)
}

/// Each line of standard input as a message.
async fn lines(client: &Client, message: Message, settings: &Settings) -> Result<u8, Failure> {
    let mut lines = input::lines();
    let (deliveries, settled) = settle_all();
    let fed: Result<(), Failure> = async {
        loop {
            let line = tokio::select! {
                biased;
                line = lines.recv() => line,
                // The next line may come late; nobody waits for it in vain.
                cause = client.closed() => return Err(Failure::lost(&cause, settings)),
            };
            let Some(line) = line else { break };
            let line = line.map_err(|error| {
                let text = format!("cannot read standard input: {}.", crate::wrong::cause(&error));
                Failure::new("C013", text.clone(), format!("Error: {text}\n"), status::FAILED)
            })?;
            let message = Message {
                payload: line,
                ..message.clone()
            };
            // It ends only when a delivery failed, which is reported there.
            if deliveries
                .send(publish(client, message, settings).await?)
                .await
                .is_err()
            {
                break;
            }
        }
        Ok(())
    }
    .await;
    drop(deliveries);
    let settled = settled
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    fed?;
    report_all(settled, settings)
}

async fn publish(client: &Client, message: Message, settings: &Settings) -> Result<Delivery, Failure> {
    client
        .publish(message)
        .await
        .map_err(|error| Failure::publish(&error, settings))
}

/// Deliveries that are under way, at most. At it: no more lines are read.
const DELIVERIES_MAX: usize = 1_000;

type Ends = Vec<Result<(), DeliveryError>>;

/// Waits for deliveries in their order, so that many can be under way. Successes are forgotten.
fn settle_all() -> (mpsc::Sender<Delivery>, JoinHandle<Ends>) {
    let (sender, mut receiver) = mpsc::channel::<Delivery>(DELIVERIES_MAX);
    let settled = tokio::spawn(async move {
        let mut failed = Vec::new();
        while let Some(delivery) = receiver.recv().await {
            if let Err(error) = delivery.await {
                let is_last = matches!(error, DeliveryError::Closed(_));
                failed.push(Err(error));
                if is_last || failed.len() >= FAILED_MAX {
                    break;
                }
            }
        }
        failed
    });
    (sender, settled)
}

/// Refusals that are told apart. At it: publishing stops.
const FAILED_MAX: usize = 1_000;

fn report_all(ends: Ends, settings: &Settings) -> Result<u8, Failure> {
    let mut worst = 0;
    for end in ends {
        worst = worst.max(judge(end, settings)?);
    }
    Ok(worst)
}

/// Waits for the acknowledgement.
async fn settle(delivery: Delivery, settings: &Settings) -> Result<u8, Failure> {
    judge(delivery.await.map(|_| ()), settings)
}

/// What a delivery's end means. A refusal is reported and the program goes on; the rest ends it.
fn judge(end: Result<(), DeliveryError>, settings: &Settings) -> Result<u8, Failure> {
    match end {
        Ok(()) => Ok(0),
        Err(DeliveryError::Refused(acked)) => {
            let failure = Failure::publish_refused(topic(settings).as_str(), &acked, settings);
            Ok(console::report(&failure, settings))
        }
        Err(DeliveryError::Rejected(rejected)) => {
            let failure = Failure::rejected(&rejected);
            Ok(console::report(&failure, settings))
        }
        Err(DeliveryError::Closed(lost)) => Err(Failure::lost(&lost, settings)),
        Err(error) => Err(Failure::new(
            "C004",
            format!("{error}."),
            format!("Error: {error}.\n"),
            status::LOST,
        )),
    }
}

/// A message without payload, for retained messages that are to go.
pub(crate) fn forget(topic: martlet_codec::TopicBuf) -> Message {
    Message::new(topic, Bytes::new())
        .qos(martlet_codec::Qos::AtLeastOnce)
        .retain(true)
}
