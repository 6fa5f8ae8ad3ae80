//! Our client library, as its documentation shows it.

use anyhow::{Context, Result};
use clients::{Args, INFLIGHT, Meter, PAYLOAD_BYTES, QUEUE, Role, TOPIC};
use martlet_client::{Client, FilterBuf, Message, Options, Protocol, Qos, Subscribe, TopicBuf};

/// Of messages between the application and the connection.
const BYTES: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::read()?;
    let options = Options::new("127.0.0.1", args.port)
        .client_id(args.client_id())
        .protocol(Protocol::V3_1_1)
        .max_inflight(INFLIGHT)
        .outbox(QUEUE, BYTES)
        .inbox(QUEUE, BYTES);
    let (client, _) = Client::connect(options).await?;
    match args.role {
        Role::Publish => publish(&client, args).await,
        // In a task, as services do: the runtime looks at the system more often before it polls its outermost future.
        Role::Receive => tokio::spawn(receive(client, args)).await?,
    }
}

async fn publish(client: &Client, args: Args) -> Result<()> {
    let topic = TopicBuf::new(TOPIC)?;
    let qos = qos(args.qos);
    let meter = Meter::start();
    for _ in 0..args.messages {
        let payload = vec![b'.'; PAYLOAD_BYTES];
        let _ = client
            .publish(Message::new(topic.clone(), payload).qos(qos))
            .await?;
    }
    client.flush().await?;
    meter.stop(args.messages);
    Ok(())
}

async fn receive(client: Client, args: Args) -> Result<()> {
    let mut messages = client
        .subscribe(Subscribe::to(FilterBuf::new(TOPIC)?, qos(args.qos)))
        .await?;
    println!("ready");
    let meter = Meter::start();
    for _ in 0..args.messages {
        let message = messages.recv().await.context("the connection is lost")?;
        assert_eq!(message.payload.len(), PAYLOAD_BYTES);
    }
    meter.stop(args.messages);
    Ok(())
}

fn qos(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}
