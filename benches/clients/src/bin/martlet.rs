//! Our client library, as its documentation shows it.

use anyhow::{Context, Result};
use clients::{Args, INFLIGHT, Meter, PAYLOAD_BYTES, QUEUE, Role, SETTLE, Scales};
use martlet_client::{Client, FilterBuf, Message, Options, Protocol, Qos, Subscribe, TopicBuf};

/// Of messages between the application and the connection.
const BYTES: usize = 64 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::read()?;
    if args.role == Role::Idle {
        return idle(args).await;
    }
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
        Role::Receive | Role::Idle => tokio::spawn(receive(client, args)).await?,
    }
}

async fn idle(args: Args) -> Result<()> {
    let connect = |n: u64| {
        let options = Options::new("127.0.0.1", args.port)
            .client_id(format!("{}-{n}", args.client_id()))
            .protocol(Protocol::V3_1_1);
        Client::connect(options)
    };
    // What is there once for all.
    let mut clients = vec![connect(args.messages).await?.0];
    clients.reserve_exact(usize::try_from(args.messages)?);
    let scales = Scales::start()?;
    for n in 0..args.messages {
        clients.push(connect(n).await?.0);
    }
    tokio::time::sleep(SETTLE).await;
    scales.stop(args.messages)
}

async fn publish(client: &Client, args: Args) -> Result<()> {
    let topics = args.topics().into_iter().map(TopicBuf::new);
    let topics = topics.collect::<Result<Vec<_>, _>>()?;
    let qos = qos(args.qos);
    let meter = Meter::start();
    for (_, topic) in (0..args.messages).zip(topics.iter().cycle()) {
        let payload = vec![b'.'; PAYLOAD_BYTES];
        let _ = client
            .publish(Message::new(topic.clone(), payload).qos(qos))
            .await?;
    }
    client.flush().await?;
    meter.stop(args.messages);
    if args.qos == 0 {
        let end = Message::new(topics[0].clone(), "").qos(Qos::AtLeastOnce);
        client.publish(end).await?.await?;
    }
    Ok(())
}

async fn receive(client: Client, args: Args) -> Result<()> {
    let mut streams = Vec::new();
    for topic in args.topics() {
        let subscribe = Subscribe::to(FilterBuf::new(&topic)?, qos(args.qos.max(1)));
        streams.push(client.subscribe(subscribe).await?);
    }
    println!("ready");
    let meter = Meter::start();
    let (mut next, mut came) = (0, 0);
    while came < args.messages {
        let message = streams[next].recv().await.context("the connection is lost")?;
        if message.payload.is_empty() {
            break;
        }
        assert_eq!(message.payload.len(), PAYLOAD_BYTES);
        came += 1;
        next = (next + 1) % streams.len();
    }
    meter.stop(came);
    Ok(())
}

fn qos(qos: u8) -> Qos {
    match qos {
        0 => Qos::AtMostOnce,
        1 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    }
}
