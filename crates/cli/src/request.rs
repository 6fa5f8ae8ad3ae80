//! `martlet rr`: a request and its response.

use std::time::{Duration, Instant};

use bytes::Bytes;
use martlet_client::{DeliveryError, Message, Subscribe};
use martlet_codec::{PropertyId, ReasonCode, TopicBuf, Version};

use crate::connect::Link;
use crate::console;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::Settings;
use crate::stop::{Stop, Stops};
use crate::subscribe::subscribe_options;

/// Asks, prints the first answer, and returns the exit status.
pub(crate) async fn run(settings: &Settings, payload: Bytes, stops: &mut Stops) -> Result<u8, Failure> {
    let mut link = tokio::select! {
        link = Link::open(settings) => link?,
        stop = stops.stopped() => return stopped(stop, settings),
    };
    let topic = settings
        .topic
        .clone()
        .expect("the options were checked for a topic");
    let message = Message::new(topic, payload)
        .qos(settings.qos)
        .properties(request_properties(settings, &link));
    let asked = tokio::select! {
        asked = ask(&mut link, message, settings) => asked,
        stop = stops.stopped() => {
            link.leave(settings).await;
            return stopped(stop, settings);
        }
    };
    match asked {
        Ok(()) => {
            link.close(settings).await;
            Ok(0)
        }
        Err(failure) => {
            link.leave(settings).await;
            Err(failure)
        }
    }
}

fn stopped(stop: Stop, settings: &Settings) -> Result<u8, Failure> {
    match stop {
        Stop::Timeout => Err(Failure::timed_out(settings)),
        stop => Ok(stop.status()),
    }
}

fn response_topic(settings: &Settings) -> &TopicBuf {
    let topic = settings.response_topic.as_ref();
    topic.expect("the options were checked for a response topic")
}

fn request_properties(settings: &Settings, link: &Link) -> martlet_codec::PropertiesBuf {
    let mut properties = link.properties(&settings.properties.publish);
    if link.connected.version == Version::V5 {
        properties.text(PropertyId::ResponseTopic, response_topic(settings).as_str());
    }
    properties
}

async fn ask(link: &mut Link, message: Message, settings: &Settings) -> Result<(), Failure> {
    let filter = martlet_codec::FilterBuf::new(response_topic(settings).as_str())
        .expect("a topic name is a filter that matches itself");
    let request = Subscribe::default()
        .and(filter, subscribe_options(settings, link))
        .properties(link.properties(&settings.properties.subscribe));
    let answer = link
        .client
        .subscribe_bare(request)
        .await
        .map_err(|error| Failure::request(&error, settings))?;
    if let Some(reason) = answer.reasons.iter().find(|reason| reason.is_error()) {
        let text = answer.properties.as_properties().reason_string();
        let filter = response_topic(settings).as_str();
        return Err(Failure::subscribe_refused(filter, *reason, text, true, settings));
    }
    let (sent, topic) = (Instant::now(), message.topic.clone());
    let delivery = link
        .client
        .publish(message)
        .await
        .map_err(|error| Failure::publish(&error, settings))?;
    let mut delivery = Box::pin(delivery);
    let mut delivered = false;
    let response = loop {
        tokio::select! {
            biased;
            message = link.messages.recv() => match message {
                Some(message) if message.retain && settings.no_retained => {}
                Some(message) => break message,
                None => return Err(Failure::lost(&link.client.closed().await, settings)),
            },
            end = &mut delivery, if !delivered => {
                delivered = true;
                match end {
                    Ok(acked) if acked.reason == ReasonCode::NoMatchingSubscribers => {
                        let text = format!("nobody subscribes to '{}': the request reached nobody.", topic.as_str());
                        console::warning(settings, &text);
                    }
                    Err(DeliveryError::Refused(acked)) => {
                        let failure = Failure::publish_refused(topic.as_str(), &acked, settings);
                        if !settings.role.is_mosquitto() {
                            return Err(failure);
                        }
                        console::report(&failure, settings);
                    }
                    Err(DeliveryError::Rejected(rejected)) => return Err(Failure::rejected(&rejected)),
                    // An error that is left ends the messages too, and they say why.
                    Ok(_) | Err(_) => {}
                }
            }
        }
    };
    let took = sent.elapsed();
    let mut output = Output::new(settings);
    output.message(&response, settings);
    if settings.latency {
        output.text(&latency(took));
    }
    // That nobody reads the answer is no error.
    output.flush(&mut tokio::io::stdout()).await.map(|_| ())
}

/// As mosquitto prints it.
fn latency(took: Duration) -> String {
    let ns = took.subsec_nanos();
    match (took.as_secs(), ns) {
        (0, ..1_000) => format!("Latency: {ns}ns\n"),
        (0, ..1_000_000) => format!("Latency: {:.6}µs\n", f64::from(ns) / 1e3),
        (0, _) => format!("Latency: {:.6}ms\n", f64::from(ns) / 1e6),
        (seconds, _) => format!("Latency: {seconds}.{ns:09}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies() {
        let cases = [
            (999, "Latency: 999ns\n"),
            (1_500, "Latency: 1.500000µs\n"),
            (2_500_000, "Latency: 2.500000ms\n"),
            (1_000_000_002, "Latency: 1.000000002\n"),
        ];
        for (ns, text) in cases {
            assert_eq!(latency(Duration::from_nanos(ns)), text);
        }
    }
}
