//! Publishes at each QoS, and tells what the acknowledgement of each is.
//!
//! `cargo run -p martlet-client --example qos -- mqtt://localhost:1883`

use martlet_client::{Client, Message, Options, PropertiesBuf, Qos, ReasonCode, Subscribe, filter, topic};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let options = Options::from_url(&url.unwrap_or("mqtt://localhost:1883".to_owned()))?;
    let (client, _) = Client::connect(options).await?;
    let subscribe = Subscribe::to(filter!("example/qos"), Qos::ExactlyOnce);
    let mut messages = client.subscribe(subscribe).await?;
    for (qos, payload) in [
        (Qos::AtMostOnce, "handed to the network"),
        (Qos::AtLeastOnce, "acknowledged by PUBACK"),
        (Qos::ExactlyOnce, "acknowledged by PUBREC and PUBCOMP"),
    ] {
        let message = Message::new(topic!("example/qos"), payload).qos(qos);
        let acked = client.publish(message).await?.await?;
        if let Some(message) = messages.recv().await {
            let payload = String::from_utf8_lossy(&message.payload);
            println!("QoS {}: {payload}: {}", message.qos.as_u8(), acked.reason);
        }
    }
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    Ok(())
}
