//! The process that the kill test of the client kills: it publishes what it can and takes what comes, and writes down
//! what the client has said of both.
//!
//! `victim PORT FOLDER LEDGER ROUND MODE`; `MARTLET_KILL_AT` says where it ends. A line of the ledger is one of
//! `accepted ID`, `offered ID`, `taken ID`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use martlet_client::poll::Pump;
use martlet_client::{
    Durability, FileStore, MemoryStore, Message, Options, Protocol, Qos, Reconnect, Subscribe, TopicBuf,
    blocking, filter,
};

/// Messages that a run publishes at most; one that was not killed by then waits for the clock.
const MESSAGES: u32 = 400;

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What outlives the process: whoever writes a line there has handed it to the system.
#[derive(Clone)]
struct Ledger(Arc<Mutex<File>>);

impl Ledger {
    fn open(path: &str) -> Fallible<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    fn line(&self, what: &str, id: &str) -> Fallible {
        let mut file = self.0.lock().map_err(|_| "a thread has panicked")?;
        Ok(file.write_all(format!("{what} {id}\n").as_bytes())?)
    }
}

fn main() -> Fallible {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, folder, ledger, round, mode] = arguments.as_slice() else {
        return Err("it takes PORT FOLDER LEDGER ROUND MODE".into());
    };
    let ledger = Ledger::open(ledger)?;
    let store = FileStore::open(folder, Durability::Fsync)?;
    if !store.damage().is_empty() {
        return Err(format!("a kill has damaged the store: {:?}", store.damage()).into());
    }
    let options = Options::new("127.0.0.1", port.parse()?)
        .protocol(if round.parse::<u32>()? % 2 == 0 {
            Protocol::V5
        } else {
            Protocol::V3_1_1
        })
        .client_id("victim")
        .reconnect(Reconnect::fixed(Duration::from_millis(20)))
        .store(store);
    match mode.as_str() {
        "threads" => threads(options, &ledger, round),
        "forgets" => threads(options.store(MemoryStore::new()), &ledger, round),
        "pump" => pump(options, &ledger, round),
        "drain" => drain(options, &ledger),
        other => Err(format!("there is no mode {other}").into()),
    }
}

/// The messages of a run, by turns of QoS 1 and 2.
fn message(round: &str, n: u32) -> Fallible<(String, Message)> {
    let (qos, topic) = if n.is_multiple_of(2) {
        (Qos::AtLeastOnce, "from-victim/1")
    } else {
        (Qos::ExactlyOnce, "from-victim/2")
    };
    let id = format!("{round}-{n}");
    let message = Message::new(TopicBuf::new(topic)?, id.clone()).qos(qos);
    Ok((id, message))
}

fn subscription() -> Subscribe {
    Subscribe::to(filter!("to-victim/#"), Qos::ExactlyOnce)
}

fn threads(options: Options, ledger: &Ledger, round: &str) -> Fallible {
    let client = blocking::Client::start(options)?;
    let taker = spawn_taker(&client, ledger);
    let _ = client.subscribe_bare(subscription())?;
    for n in 0..MESSAGES {
        let (id, message) = message(round, n)?;
        drop(client.publish(message)?);
        ledger.line("accepted", &id)?;
    }
    taker.join().map_err(|_| "the taker has panicked")?
}

/// Takes what comes, one after the other, until the client is closed.
fn spawn_taker(client: &blocking::Client, ledger: &Ledger) -> thread::JoinHandle<Fallible> {
    let mut messages = client.expect(filter!("to-victim/#"));
    let (client, ledger) = (client.clone(), ledger.clone());
    thread::spawn(move || {
        while let Some((message, receipt)) = messages.recv_with_receipt() {
            let id = String::from_utf8(message.payload.to_vec())?;
            ledger.line("offered", &id)?;
            receipt.acknowledge();
            client.stored()?;
            ledger.line("taken", &id)?;
        }
        Ok(())
    })
}

/// Publishes nothing new: what earlier runs have left is sent, and what waits is taken.
fn drain(options: Options, ledger: &Ledger) -> Fallible {
    let client = blocking::Client::start(options)?;
    let taker = spawn_taker(&client, ledger);
    // For the case that no run has come so far.
    let _ = client.subscribe_bare(subscription())?;
    client.flush()?;
    client.stored()?;
    ledger.line("accepted", "drained")?;
    taker.join().map_err(|_| "the taker has panicked")?
}

/// The same on one thread, which moves the bytes and syncs itself.
fn pump(options: Options, ledger: &Ledger, round: &str) -> Fallible {
    const LONG: Duration = Duration::from_secs(20);
    let late = || "it does not come";
    let (client, mut pump) = Pump::new(options)?;
    let mut messages = client.expect(filter!("to-victim/#"));
    let _ = pump
        .run(client.subscribe_bare(subscription()), LONG)
        .ok_or_else(late)??;
    for n in 0.. {
        if n < MESSAGES {
            let (id, message) = message(round, n)?;
            drop(pump.run(client.publish(message), LONG).ok_or_else(late)??);
            ledger.line("accepted", &id)?;
        } else {
            pump.turn(LONG);
        }
        while let Some((message, receipt)) = pump.run(messages.recv_with_receipt(), Duration::ZERO).flatten()
        {
            let id = String::from_utf8(message.payload.to_vec())?;
            ledger.line("offered", &id)?;
            receipt.acknowledge();
            pump.run(client.stored(), LONG).ok_or_else(late)??;
            ledger.line("taken", &id)?;
        }
    }
    Ok(())
}
