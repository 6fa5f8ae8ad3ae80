//! rumqttc, as its documentation shows it: a task that publishes, and a loop that is polled.

use std::time::Duration;

use anyhow::Result;
use clients::{Args, INFLIGHT, Meter, PAYLOAD_BYTES, QUEUE, Role, SETTLE, Scales, TOPIC};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::read()?;
    if args.role == Role::Idle {
        return idle(args).await;
    }
    let mut options = MqttOptions::new(args.client_id(), "127.0.0.1", args.port);
    options.set_keep_alive(Duration::from_secs(60));
    options.set_inflight(INFLIGHT.get());
    let (client, mut connection) = AsyncClient::new(options, QUEUE);
    while !matches!(connection.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    match args.role {
        Role::Publish => publish(client, connection, args).await,
        Role::Receive | Role::Idle => receive(client, connection, args).await,
    }
}

async fn idle(args: Args) -> Result<()> {
    let connect = async |n: u64| {
        let mut options = MqttOptions::new(format!("{}-{n}", args.client_id()), "127.0.0.1", args.port);
        options.set_keep_alive(Duration::from_secs(60));
        let (client, mut connection) = AsyncClient::new(options, 10);
        while !matches!(connection.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
        tokio::spawn(async move { while connection.poll().await.is_ok() {} });
        Ok::<_, anyhow::Error>(client)
    };
    // What is there once for all.
    let mut clients = vec![connect(args.messages).await?];
    clients.reserve_exact(usize::try_from(args.messages)?);
    let scales = Scales::start()?;
    for n in 0..args.messages {
        clients.push(connect(n).await?);
    }
    tokio::time::sleep(SETTLE).await;
    scales.stop(args.messages)
}

async fn publish(client: AsyncClient, mut connection: EventLoop, args: Args) -> Result<()> {
    let qos = qos(args.qos);
    let meter = Meter::start();
    tokio::spawn(async move {
        for _ in 0..args.messages {
            client.publish(TOPIC, qos, false, [b'.'; PAYLOAD_BYTES]).await?;
        }
        // Dropped, it would end the loop.
        std::future::pending::<Result<(), rumqttc::ClientError>>().await
    });
    let mut done = 0;
    while done < args.messages {
        done += u64::from(match connection.poll().await? {
            Event::Outgoing(Outgoing::Publish(_)) => args.qos == 0,
            Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_)) => true,
            _ => false,
        });
    }
    meter.stop(args.messages);
    Ok(())
}

async fn receive(client: AsyncClient, mut connection: EventLoop, args: Args) -> Result<()> {
    client.subscribe(TOPIC, qos(args.qos.max(1))).await?;
    while !matches!(connection.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
    println!("ready");
    let meter = Meter::start();
    let (mut came, mut released) = (0, 0);
    while came < args.messages || (args.qos == 2 && released < args.messages) {
        match connection.poll().await? {
            Event::Incoming(Packet::Publish(publish)) if publish.payload.is_empty() => break,
            Event::Incoming(Packet::Publish(publish)) => {
                assert_eq!(publish.payload.len(), PAYLOAD_BYTES);
                came += 1;
            }
            Event::Outgoing(Outgoing::PubComp(_)) => released += 1,
            _ => {}
        }
    }
    meter.stop(came);
    Ok(())
}

fn qos(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
