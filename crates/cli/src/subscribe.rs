//! `martlet sub`.

use std::time::Duration;

use martlet_client::{Event, Events, Incoming, Lost, SubAck, Subscribe, Unsubscribe};
use martlet_codec::{SubscribeOptions, Version};
use tokio::io::Stdout;

use crate::connect::Link;
use crate::console;
use crate::failure::Failure;
use crate::output::Output;
use crate::program::Manner;
use crate::publish::forget;
use crate::settings::Settings;
use crate::stop::{Stop, Stops};

/// Subscribes and prints, and returns the exit status.
pub(crate) async fn run(settings: &Settings, stops: &mut Stops) -> Result<u8, Failure> {
    let link = tokio::select! {
        link = Link::open(settings) => link?,
        stop = stops.stopped() => return stopped_early(stop, settings),
    };
    let events = link.client.events();
    let mut subscriber = Subscriber {
        settings,
        output: Output::new(settings),
        stdout: tokio::io::stdout(),
        printed: 0,
        received: 0,
        removing: false,
        link,
    };
    let end = subscriber.run(events, stops).await;
    // What was received is printed, however it ends; that nobody reads it is no news then.
    let printed = subscriber.output.flush(&mut subscriber.stdout).await;
    let end = end.and_then(|end| printed.map(|_| end));
    match &end {
        Ok(End::Done) => subscriber.link.close(settings).await,
        Ok(End::Stopped(_)) | Err(_) => subscriber.link.leave(settings).await,
    }
    match end? {
        End::Stopped(Stop::Timeout) => Err(Failure::timed_out(settings)),
        End::Done | End::Stopped(_) => Ok(0),
    }
}

fn stopped_early(stop: Stop, settings: &Settings) -> Result<u8, Failure> {
    match stop {
        Stop::Timeout => Err(Failure::timed_out(settings)),
        stop => Ok(stop.status()),
    }
}

/// Why it ends well.
enum End {
    Done,
    Stopped(Stop),
}

struct Subscriber<'a> {
    settings: &'a Settings,
    link: Link,
    output: Output,
    stdout: Stdout,
    /// Messages that count for `-C`.
    printed: u32,
    /// Messages since the last line of `--message-rate`.
    received: u64,
    /// Whether a retained message was sent back empty.
    removing: bool,
}

impl Subscriber<'_> {
    async fn run(&mut self, mut events: Events, stops: &mut Stops) -> Result<End, Failure> {
        let client = self.link.client.clone();
        let request = subscribe(self.settings, &self.link);
        let unsubscribe = unsubscribes(self.settings, &self.link);
        let mut asking = Box::pin(async move {
            // The first of each leave together, the SUBSCRIBE in front.
            let subscribing = async {
                match request {
                    Some(request) => client.subscribe_bare(request).await.map(Some),
                    None => Ok(None),
                }
            };
            let unsubscribing = async {
                for request in unsubscribe {
                    client.unsubscribe(request).await?;
                }
                Ok(())
            };
            let (answer, ()) = tokio::try_join!(subscribing, unsubscribing)?;
            Ok(answer)
        });
        let mut asked = false;
        let mut has_events = true;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.reset();
        loop {
            tokio::select! {
                biased;
                stop = stops.stopped() => return Ok(End::Stopped(stop)),
                answer = &mut asking, if !asked => {
                    asked = true;
                    let answer = answer.map_err(|error| Failure::request(&error, self.settings))?;
                    if let Some(answer) = answer {
                        self.granted(&answer)?;
                    }
                    if self.settings.exit_after_suback {
                        return Ok(End::Done);
                    }
                }
                event = events.recv(), if has_events => match event {
                    Some(event) => self.event(&event)?,
                    // The messages end too, once they are all taken.
                    None => has_events = false,
                },
                _ = second.tick(), if self.settings.message_rate => {
                    let rate = std::mem::take(&mut self.received);
                    self.output.text(&format!("{rate} msgs/s\n"));
                    if !self.output.flush(&mut self.stdout).await? {
                        return Ok(End::Done);
                    }
                }
                message = self.link.recv() => match message {
                    Some(message) => if self.burst(message).await? {
                        return Ok(End::Done);
                    },
                    None => return Err(self.lost().await),
                },
            }
        }
    }

    async fn lost(&self) -> Failure {
        Failure::lost(&self.link.client.closed().await, self.settings)
    }

    /// A message and those that came with it, then one write. Says whether that was all.
    async fn burst(&mut self, first: Incoming) -> Result<bool, Failure> {
        let mut next = Some(first);
        while let Some(message) = next {
            if self.message(message).await? {
                return Ok(true);
            }
            if self.output.is_full() {
                break;
            }
            next = self.link.messages.try_recv();
        }
        // Nobody reads any more: that is an end, and no error.
        Ok(!self.output.flush(&mut self.stdout).await?)
    }

    /// Says whether this was the last message.
    async fn message(&mut self, message: Incoming) -> Result<bool, Failure> {
        self.received += 1;
        if self.settings.message_rate {
            return Ok(false);
        }
        if self.settings.retained_only && !message.retain {
            return Ok(true);
        }
        let topic = message.topic.as_topic();
        let filtered = self.settings.filters_out.iter();
        if message.retain && self.settings.no_retained
            || filtered
                .into_iter()
                .any(|filter| filter.as_filter().matches(topic))
        {
            return Ok(false);
        }
        if self.settings.remove_retained && message.retain {
            self.removing = true;
            let empty = forget(message.topic.clone());
            let delivery = self.link.client.publish(empty).await;
            // The end waits for all acknowledgements at once.
            drop(delivery.map_err(|error| Failure::publish(&error, self.settings))?);
        }
        self.output.message(&message, self.settings);
        self.printed += 1;
        Ok(self.settings.count == Some(self.printed))
    }

    /// The answer to the SUBSCRIBE.
    fn granted(&self, answer: &SubAck) -> Result<(), Failure> {
        let settings = self.settings;
        if settings.debug && !settings.quiet {
            let codes: Vec<String> = answer
                .reasons
                .iter()
                .map(|code| code.as_u8().to_string())
                .collect();
            let line = format!("Subscribed (mid: {}): {}\n", answer.packet_id, codes.join(", "));
            match settings.role.manner {
                Manner::Martlet => console::put(&line),
                Manner::Mosquitto => {
                    use std::io::Write;
                    let _ = std::io::stdout().write_all(line.as_bytes());
                }
            }
        }
        let all = answer.reasons.iter().all(|reason| reason.is_error());
        let text = answer.properties.as_properties().reason_string();
        let refused = settings
            .filters
            .iter()
            .zip(&answer.reasons)
            .filter(|(_, reason)| reason.is_error());
        let mut failures: Vec<Failure> = refused
            .map(|(filter, reason)| Failure::subscribe_refused(filter.as_str(), *reason, text, all, settings))
            .collect();
        let last = if all { failures.pop() } else { None };
        for failure in failures {
            // mosquitto's programs speak only when nothing was granted, and once.
            if settings.role.manner == Manner::Martlet {
                console::report(&failure, settings);
            }
        }
        last.map_or(Ok(()), Err)
    }

    /// What happened to the connection.
    fn event(&self, event: &Event) -> Result<(), Failure> {
        let settings = self.settings;
        match event {
            // It takes a DISCONNECT for the end, whatever the reason.
            Event::Lost {
                cause: cause @ Lost::Disconnected { .. },
                retry_in: Some(_),
            } if settings.role.is_mosquitto() => return Err(Failure::lost(cause, settings)),
            Event::Lost {
                cause,
                retry_in: Some(wait),
            } => console::warning(
                settings,
                &format!("{}, connecting again in {} s.", lost(cause), wait.as_secs_f64()),
            ),
            Event::Connected(_) => console::warning(settings, "connected again."),
            Event::RetryFailed { error, retry_in, .. } => console::warning(
                settings,
                &format!("{error}, trying again in {} s.", retry_in.as_secs_f64()),
            ),
            Event::ResubscribeRefused { filter, reason } => {
                let failure = Failure::subscribe_refused(filter.as_str(), *reason, None, false, settings);
                console::report(&failure, settings);
            }
            Event::Dropped { messages } => {
                console::warning(
                    settings,
                    &format!("{messages} messages of QoS 0 were dropped: the output is too slow."),
                );
            }
            _ => {}
        }
        Ok(())
    }
}

fn lost(cause: &Lost) -> String {
    match cause {
        Lost::Disconnected { reason, .. } => format!("the server ended the connection: {reason}"),
        cause => format!("the connection was lost: {cause}"),
    }
}

fn subscribe(settings: &Settings, link: &Link) -> Option<Subscribe> {
    let options = subscribe_options(settings, link);
    let filters = settings
        .filters
        .iter()
        .map(|filter| (filter.clone(), options))
        .collect();
    (!settings.filters.is_empty()).then(|| Subscribe {
        filters,
        properties: link.properties(&settings.properties.subscribe),
        ..Subscribe::default()
    })
}

/// What version 3 cannot say is left out: `-R` filters here as well.
pub(crate) fn subscribe_options(settings: &Settings, link: &Link) -> SubscribeOptions {
    if link.connected.version != Version::V5 {
        return SubscribeOptions::qos(settings.qos);
    }
    SubscribeOptions {
        qos: settings.qos,
        no_local: false,
        retain_as_published: settings.retain_as_published,
        retain_handling: settings.retain_handling,
    }
}

/// One UNSUBSCRIBE a filter, as mosquitto sends them.
fn unsubscribes(settings: &Settings, link: &Link) -> Vec<Unsubscribe> {
    let properties = link.properties(&settings.properties.unsubscribe);
    let filters = settings.unsubscribe.iter();
    filters
        .map(|filter| Unsubscribe {
            filters: vec![filter.clone()],
            properties: properties.clone(),
        })
        .collect()
}
