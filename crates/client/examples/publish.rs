//! Publishes a message and waits for its acknowledgement.
//!
//! `cargo run -p martlet-client --example publish -- mqtt://localhost:1883`

use martlet_client::{Client, Message, Options, PropertiesBuf, Qos, ReasonCode, topic};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let options = Options::from_url(&url.unwrap_or("mqtt://localhost:1883".to_owned()))?;
    let (client, _) = Client::connect(options).await?;
    let message = Message::new(topic!("S013/MOT01/RECM"), "DRVZ+1000").qos(Qos::AtLeastOnce);
    // The first wait is for room in the client, the second for the server.
    let delivery = client.publish(message).await?;
    println!("accepted");
    delivery.await?;
    println!("acknowledged");
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    Ok(())
}
