//! Listeners that speak QUIC: a thread for each, which does the handshakes and carries the bytes of its connections between
//! the network and the sockets that shards read and write.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use martlet_broker::Peer;
use martlet_net::Fault;
use martlet_net::quic::{Coming, Listener};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::acceptor::{Acceptor, Fullness, Listening};
use crate::entrance::Entrance;
use crate::handshakes::tell;
use crate::inbox::{Arrival, Inbox, Item, Known};
use crate::limits::{LINGER_MS, STOP_MS};
use crate::placement::Placement;

/// The threads of all such listeners.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a connection on its way needs.
struct Greeting {
    entrance: Arc<Entrance>,
    inboxes: Arc<[Inbox]>,
    listener: Arc<str>,
    timeout_ms: u64,
}

/// Starts those of the listeners that speak QUIC; all others are given back.
pub(crate) fn start(
    acceptors: Vec<Acceptor>,
    entrances: &[Option<Arc<Entrance>>],
    timeout_ms: u64,
) -> (Vec<Acceptor>, Threads) {
    let mut threads = Threads::default();
    let is_other = |acceptor: Acceptor| match (&acceptor.listener, &entrances[usize::from(acceptor.rules)]) {
        (Listening::Quic(_), Some(entrance)) => {
            threads.start(acceptor, Arc::clone(entrance), timeout_ms);
            None
        }
        _ => Some(acceptor),
    };
    let others = acceptors.into_iter().filter_map(is_other).collect();
    (others, threads)
}

impl Threads {
    /// Starts one for a listener.
    fn start(&mut self, mut acceptor: Acceptor, entrance: Arc<Entrance>, timeout_ms: u64) {
        // The threads of other handshakes end with the last who can give them any.
        acceptor.entrance = None;
        let (stop, stopped) = oneshot::channel();
        self.stops.push(stop);
        let thread = std::thread::Builder::new()
            .name("quic".to_owned())
            .spawn(move || run(&acceptor, entrance, timeout_ms, stopped))
            .expect("the system starts a thread");
        self.threads.push(thread);
    }

    /// Nobody is accepted any more. They end when their connections have.
    pub(crate) fn stop(&mut self) {
        self.stops.clear();
    }

    /// All of them, to be waited for.
    pub(crate) fn threads(&mut self) -> impl Iterator<Item = JoinHandle<()>> {
        self.threads.drain(..)
    }
}

fn run(acceptor: &Acceptor, entrance: Arc<Entrance>, timeout_ms: u64, stopped: oneshot::Receiver<()>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system has what a runtime needs");
    runtime.block_on(async {
        let config = entrance.tls_config().expect("QUIC has TLS");
        let Listening::Quic(socket) = &acceptor.listener else {
            return;
        };
        let listening = socket
            .try_clone()
            .and_then(|socket| Listener::new(socket, &config));
        let listener = match listening {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(address = %acceptor.address, %error, "listener.failed");
                return;
            }
        };
        let greeting = Arc::new(Greeting {
            entrance,
            inboxes: Arc::clone(&acceptor.inboxes),
            listener: Arc::clone(&acceptor.name),
            timeout_ms,
        });
        let mut connections = JoinSet::new();
        tokio::select! {
            () = accept(acceptor, &listener, &greeting, &mut connections) => {}
            _ = stopped => {}
        }
        // Clients are told, and take it.
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_millis(STOP_MS + LINGER_MS), all).await;
        let _ = timeout(Duration::from_millis(LINGER_MS), listener.close()).await;
    });
}

async fn accept(
    acceptor: &Acceptor,
    listener: &Listener,
    greeting: &Arc<Greeting>,
    connections: &mut JoinSet<()>,
) {
    let mut placement = Placement::new(Instant::now(), acceptor.inboxes.len());
    let mut fullness = Fullness::default();
    loop {
        acceptor.wait_for_room(&mut fullness).await;
        let Some(coming) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let peer = Peer {
            address: coming.address().into(),
            listener: acceptor.rules,
        };
        let shard = placement.choose(Instant::now(), |shard| acceptor.load(shard));
        acceptor.inboxes[shard].expect_connection();
        let greeting = Arc::clone(greeting);
        connections.spawn(async move { greeting.receive(coming, peer, shard).await });
    }
}

impl Greeting {
    /// Runs the handshake, gives the connection to its shard, and carries its bytes until it ends.
    async fn receive(&self, coming: Coming, peer: Peer, shard: usize) {
        let limit = Duration::from_millis(self.timeout_ms);
        let config = self.entrance.tls_config().expect("QUIC has TLS");
        let opened = match timeout(limit, coming.open(&config)).await {
            Ok(opened) => opened,
            Err(_) => Err(Fault::Timeout(self.timeout_ms)),
        };
        match opened {
            Ok(opened) => {
                let identity = self.entrance.identity_of(&opened.certificates);
                let (stream, carrying) = opened.into_parts();
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
                carrying.await;
            }
            Err(fault) => {
                self.inboxes[shard].connection_opened();
                tell(&fault, &peer, &self.entrance, &self.listener);
            }
        }
    }
}
