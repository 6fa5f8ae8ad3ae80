//! What `tracing` is told, and what it is not. A process of its own: what `tracing` remembers of who listens is shared by
//! all threads of one.
#![cfg(feature = "tracing")]

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use martlet_client::{Client, DeliveryError, Message, PropertiesBuf, Protocol, ReasonCode, Reconnect, topic};
use martlet_codec::{Ack, Packet};
use tokio::join;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[allow(dead_code, reason = "most of it is for the other tests")]
#[path = "client/bench.rs"]
mod bench;
#[allow(dead_code, reason = "most of it is for the other tests")]
#[path = "client/fake.rs"]
mod fake;

use bench::*;
use fake::{Fake, within};

/// Writes down what is told.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("martlet_client")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

#[tokio::test]
async fn connections_and_what_was_not_delivered_are_told_without_secrets() {
    let lines = Lines::default();
    let _told = tracing::subscriber::set_default(lines.clone());
    let fake = Fake::bind().await;
    let options = fake
        .options()
        .protocol(Protocol::V5)
        .user_name("pump")
        .password("secret")
        .reconnect(Reconnect::fixed(Duration::from_millis(1)));
    let (connected, mut peer) = join!(within(Client::connect(options)), fake.agree(false));
    let (client, _) = connected.unwrap();
    let refused = client
        .publish(Message::new(topic!("a"), "confidential").qos(qos(1)))
        .await
        .unwrap();
    peer.expect("PUBLISH a q1 1").await;
    peer.send(&Packet::PubAck(Ack::new(id(1), ReasonCode::QuotaExceeded)))
        .await;
    assert!(matches!(within(refused).await, Err(DeliveryError::Refused(_))));
    drop(peer);
    let _peer = fake.agree(false).await;
    within(client.connected()).await.unwrap();
    let left = client.disconnect_now(ReasonCode::Success, PropertiesBuf::new());
    within(left).await.unwrap();
    let lines = lines.0.lock().unwrap();
    let server = format!("server=\"127.0.0.1:{}\"", fake.port());
    for (line, expected) in [
        &["DEBUG", "message=connecting", &server, "client_id=\"c\""][..],
        &[
            "INFO",
            "message=connected",
            "version=5.0",
            "session_present=false",
        ],
        &[
            "WARN",
            "message=message not delivered",
            "token=1",
            "quota exceeded",
        ],
        &[
            "WARN",
            "message=connection lost",
            "cause=the server closed the connection",
            "retry_in_ms=1",
        ],
        &["DEBUG", "message=connecting"],
        &["INFO", "message=connected"],
        &["INFO", "message=closed"],
    ]
    .iter()
    .enumerate()
    {
        assert!(
            expected.iter().all(|words| lines[line].contains(words)),
            "{lines:#?}"
        );
    }
    assert_eq!(lines.len(), 7, "{lines:#?}");
    let secrets = ["secret", "pump", "confidential"];
    assert!(
        lines
            .iter()
            .all(|line| secrets.iter().all(|secret| !line.contains(secret)))
    );
}
