//! Subscribes, and prints the first message that comes; `publish` sends one.
//!
//! `cargo run -p martlet-client --example subscribe -- mqtt://localhost:1883`

use martlet_client::{Client, Options, PropertiesBuf, Qos, ReasonCode, Subscribe, filter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let options = Options::from_url(&url.unwrap_or("mqtt://localhost:1883".to_owned()))?;
    let (client, _) = Client::connect(options).await?;
    let subscribe = Subscribe::to(filter!("S013/+/RECM"), Qos::AtLeastOnce);
    let mut messages = client.subscribe(subscribe).await?;
    println!("subscribed to {}", messages.filters()[0]);
    // An offer is acknowledged when it is accepted: what happens to fail before comes again.
    if let Some(offer) = messages.offer().await {
        println!("{} {}", offer.topic, String::from_utf8_lossy(&offer.payload));
        offer.accept();
    }
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    Ok(())
}
