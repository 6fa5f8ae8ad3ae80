//! Connects, subscribes, publishes at each QoS and prints what comes back.
//!
//! `cargo run -p martlet-client --example round_trip -- mqtt://localhost:1883`

use martlet_client::{
    Client, FilterBuf, Message, Options, PropertiesBuf, Qos, ReasonCode, Subscribe, TopicBuf,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or("mqtt://localhost:1883".to_owned());
    let options = Options::from_url(&url)?.packet_log(|_, line| eprintln!("{line}"));
    let (client, mut messages, connected) = Client::connect(options).await?;
    println!(
        "connected as {} with MQTT {}",
        connected.client_id, connected.version
    );

    let filter = FilterBuf::new("S013/#")?;
    let suback = client.subscribe(Subscribe::to(filter, Qos::ExactlyOnce)).await?;
    println!("subscribed: {}", suback.reasons[0]);

    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let message = Message::new(TopicBuf::new("S013/MOT01/RECM")?, "DRVZ+1000").qos(qos);
        let acked = client.publish(message).await?.await?;
        println!("published: {}", acked.reason);
    }
    for _ in 0..3 {
        let Some(message) = messages.recv().await else {
            break;
        };
        println!("{} {}", message.topic, String::from_utf8_lossy(&message.payload));
    }
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    Ok(())
}
