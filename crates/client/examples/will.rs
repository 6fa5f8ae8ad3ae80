//! Leaves a will with the server, and vanishes: the server publishes it.
//!
//! `cargo run -p martlet-client --example will -- mqtt://localhost:1883`

use std::time::Duration;

use martlet_client::poll::Pump;
use martlet_client::{Client, Message, Options, PropertiesBuf, Qos, ReasonCode, Subscribe, filter, topic};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let options = Options::from_url(&url.unwrap_or("mqtt://localhost:1883".to_owned()))?;
    let (watcher, _) = Client::connect(options.clone()).await?;
    let subscribe = Subscribe::to(filter!("example/pump/state"), Qos::AtLeastOnce);
    let mut messages = watcher.subscribe(subscribe).await?;

    let will = Message::new(topic!("example/pump/state"), "gone").qos(Qos::AtLeastOnce);
    // This client runs only while it is pumped, and its connection is cut with the pump.
    let (client, mut pump) = Pump::new(options.will(will))?;
    let connected = pump.run(client.connected(), Duration::from_secs(10));
    connected.ok_or("no connection within 10 s")??;
    println!("connected with a will");
    drop(pump);

    if let Some(message) = messages.recv().await {
        println!("{} {}", message.topic, String::from_utf8_lossy(&message.payload));
    }
    watcher
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    Ok(())
}
