//! Connects, and tells what the server has agreed to.
//!
//! `cargo run -p martlet-client --example connect -- mqtt://localhost:1883`

use std::time::Duration;

use martlet_client::{Client, Options, PropertiesBuf, ReasonCode};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let options = Options::from_url(&url.unwrap_or("mqtt://localhost:1883".to_owned()))?
        .client_id("example-connect")
        .keep_alive(Duration::from_secs(30));
    let (client, connected) = Client::connect(options).await?;
    println!("connected as {}", connected.client_id);
    println!("with MQTT {}", connected.version);
    println!("the server had the session: {}", connected.session_present);
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    println!("disconnected");
    Ok(())
}
