//! Has the server keep a message for those who subscribe later, and removes it again.
//!
//! `cargo run -p martlet-client --example retained -- mqtt://localhost:1883`

use martlet_client::{Client, Message, Options, PropertiesBuf, Qos, ReasonCode, Subscribe, filter, topic};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let options = Options::from_url(&url.unwrap_or("mqtt://localhost:1883".to_owned()))?;
    let (client, _) = Client::connect(options).await?;
    let level = Message::new(topic!("example/tank/level"), "71 %").qos(Qos::AtLeastOnce);
    client.publish(level.retain(true)).await?.await?;
    println!("published and retained");
    let subscribe = Subscribe::to(filter!("example/tank/+"), Qos::AtLeastOnce);
    let mut messages = client.subscribe(subscribe).await?;
    if let Some(message) = messages.recv().await {
        let payload = String::from_utf8_lossy(&message.payload);
        println!("{} {payload}, retained: {}", message.topic, message.retain);
    }
    // An empty message takes the retained one away.
    let empty = Message::new(topic!("example/tank/level"), "").qos(Qos::AtLeastOnce);
    client.publish(empty.retain(true)).await?.await?;
    println!("removed");
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    Ok(())
}
