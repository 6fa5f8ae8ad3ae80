//! Accepts a message while nothing can be reached, ends, and sends it from the next client of the same store: as a
//! program does that is killed and started again.
//!
//! `cargo run -p martlet-client --example store -- mqtt://localhost:1883`

use std::time::Duration;

use martlet_client::{
    Client, Durability, FileStore, Message, Options, PropertiesBuf, Qos, ReasonCode, Reconnect, topic,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or("mqtt://localhost:1883".to_owned());
    let folder = std::env::temp_dir().join(format!("martlet-example-store-{}", std::process::id()));

    // Nobody listens on that port.
    let unreachable = Options::new("localhost", 1).reconnect(Reconnect::fixed(Duration::from_mins(1)));
    let store = FileStore::open(&folder, Durability::Fsync)?;
    let client = Client::start(unreachable.client_id("example-store").store(store))?;
    let message = Message::new(topic!("example/store"), "written down").qos(Qos::ExactlyOnce);
    let token = client.publish(message).await?.token();
    println!("accepted without a server");
    let left = client
        .disconnect_now(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    println!("ended with {} message in the store", left.stored);

    let store = FileStore::open(&folder, Durability::Fsync)?;
    let options = Options::from_url(&url)?.client_id("example-store").store(store);
    let (client, _) = Client::connect(options).await?;
    if let Some(delivery) = client.delivery(token) {
        delivery.await?;
        println!("sent by the next run, and acknowledged");
    }
    client
        .disconnect(ReasonCode::Success, PropertiesBuf::new())
        .await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}
