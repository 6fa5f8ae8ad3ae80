//! Handshakes of TLS and WebSocket, on threads of their own: a shard gets a connection when MQTT flows, so a storm of
//! handshakes costs the clients of a shard no more than their share of the processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use martlet_broker::Peer;
use martlet_net::{Detached, Fault, Stream};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use crate::entrance::Entrance;
use crate::inbox::{Arrival, Inbox, Item, Known};
use crate::limits::{HANDSHAKES_MAX, LINGER_MS};

/// The door to the threads that do handshakes. They end when it is gone; what runs is cut.
#[derive(Debug)]
pub(crate) struct Handshakes {
    queues: Vec<Sender<Job>>,
    next: AtomicUsize,
    running: Arc<AtomicUsize>,
    inboxes: Arc<[Inbox]>,
}

/// A connection that was accepted, and the shard that it goes to.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) stream: Detached,
    pub(crate) peer: Peer,
    pub(crate) shard: usize,
    pub(crate) entrance: Arc<Entrance>,
    /// The listener's name in the log.
    pub(crate) listener: Arc<str>,
}

/// What all handshakes of a thread share.
struct Hall {
    inboxes: Arc<[Inbox]>,
    running: Arc<AtomicUsize>,
    timeout_ms: u64,
}

impl Handshakes {
    /// Starts that many threads.
    pub(crate) fn start(
        threads: usize,
        inboxes: &Arc<[Inbox]>,
        timeout_ms: u64,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let running = Arc::new(AtomicUsize::new(0));
        let start = |index| {
            // Never full: no more are let in than fit all queues together.
            let (queue, jobs) = channel(HANDSHAKES_MAX);
            let hall = Arc::new(Hall {
                inboxes: Arc::clone(inboxes),
                running: Arc::clone(&running),
                timeout_ms,
            });
            let thread = std::thread::Builder::new()
                .name(format!("handshake-{index}"))
                .spawn(move || run(&hall, jobs))
                .expect("the system starts a thread");
            (queue, thread)
        };
        let (queues, threads) = (0..threads).map(start).unzip();
        let door = Self {
            queues,
            next: AtomicUsize::new(0),
            running,
            inboxes: Arc::clone(inboxes),
        };
        (door, threads)
    }

    /// Whether as many handshakes run as may: nobody is accepted who needs one.
    pub(crate) fn is_full(&self) -> bool {
        self.running.load(Ordering::Relaxed) >= HANDSHAKES_MAX
    }

    /// Begins a handshake. The shard was told to expect a connection.
    pub(crate) fn begin(&self, job: Job) {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.queues.len();
        self.running.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = self.queues[index].try_send(job) {
            self.running.fetch_sub(1, Ordering::Relaxed);
            let job = refused.into_inner();
            self.inboxes[job.shard].connection_opened();
            tracing::error!(from = %job.peer.address, "connection.failed");
        }
    }
}

fn run(hall: &Arc<Hall>, mut jobs: Receiver<Job>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has what a runtime needs");
    runtime.block_on(async {
        while let Some(job) = jobs.recv().await {
            let hall = Arc::clone(hall);
            tokio::spawn(async move { hall.receive(job).await });
        }
    });
}

impl Hall {
    async fn receive(&self, job: Job) {
        let Job {
            stream,
            peer,
            shard,
            entrance,
            listener,
        } = job;
        let limit = Duration::from_millis(self.timeout_ms);
        let result = match self.greet(stream, &entrance, limit).await {
            Ok((stream, identity)) => stream
                .detach()
                .map(|stream| (stream, identity))
                .map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        self.running.fetch_sub(1, Ordering::Relaxed);
        match result {
            Ok((stream, identity)) => {
                let arrival = Arrival {
                    stream,
                    peer,
                    unread: Vec::new(),
                    known: Known {
                        identity,
                        vouched: None,
                    },
                };
                self.inboxes[shard].push_expected(Item::Connection(Box::new(arrival)));
            }
            Err(fault) => {
                self.inboxes[shard].connection_opened();
                tell(&fault, &peer, &entrance, &listener);
            }
        }
    }

    /// Runs the handshakes of one connection.
    async fn greet(
        &self,
        stream: Detached,
        entrance: &Entrance,
        limit: Duration,
    ) -> Result<(Stream, Option<Box<str>>), Fault> {
        let mut stream = Stream::attach(stream)?.with_layers(entrance.layers()?);
        match timeout(limit, stream.open()).await {
            Err(_) => Err(Fault::Timeout(self.timeout_ms)),
            Ok(Err(fault)) => {
                // It may read why.
                if !matches!(fault, Fault::Closed | Fault::Io(_)) && stream.shutdown().is_ok() {
                    let _ = timeout(Duration::from_millis(LINGER_MS), stream.linger()).await;
                }
                Err(fault)
            }
            Ok(Ok(())) => {
                let identity = stream.layers().and_then(|layers| entrance.identity(layers));
                Ok((stream, identity))
            }
        }
    }
}

/// Says why somebody did not come in.
pub(crate) fn tell(fault: &Fault, peer: &Peer, entrance: &Entrance, listener: &str) {
    let (from, expected) = (&peer.address, entrance.expects());
    if let Some(got) = fault.got() {
        tracing::warn!(expected, got = got.key(), %from, listener, "listener.mismatch");
        return;
    }
    let (reason, text) = (fault.key(), fault.to_string());
    match fault {
        // Port scanners and load balancers do so all day long.
        Fault::Closed | Fault::Io(_) => {
            tracing::info!(target: crate::log::NOTICE, %from, listener, reason, text, "handshake.failed");
        }
        _ => tracing::warn!(%from, listener, reason, text, "handshake.failed"),
    }
}
