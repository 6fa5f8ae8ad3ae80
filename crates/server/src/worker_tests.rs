//! Connections that come from another shard, with what they have sent.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use martlet_broker::{ListenerRules, MemoryStore, Seed, Settings, Shared};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::*;

/// CONNECT of version 3.1.1, clean session, keep alive 0.
const CONNECT: [u8; 15] = *b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c";
const BOUND: Duration = Duration::from_secs(10);

/// Shard 0 of two, with a thread of its own; the other is only an inbox, and a name in the registry.
struct Lone {
    inboxes: Arc<[Inbox]>,
    shared: Arc<Shared>,
    listener: TcpListener,
}

impl Lone {
    /// The items of `first` are there when it begins.
    fn run(&self, first: Vec<Item>, check: impl FnOnce() + Send) {
        for item in first {
            self.inboxes[0].push(item);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let clock = Clock::start();
                let (shared, inboxes) = (Arc::clone(&self.shared), Arc::clone(&self.inboxes));
                let shard = Shard::new(0, shared, Box::new(MemoryStore), Seed::new(2), clock.now());
                let worker = Worker::new(
                    0,
                    shard,
                    inboxes,
                    EventLog::new(true, Arc::from(["1883".to_owned()])),
                    None,
                    clock,
                );
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                LocalSet::new().block_on(&runtime, worker.run());
            });
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
            self.inboxes[0].push(Item::Exit);
            if let Err(panic) = checked {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// A client, and its connection with what it sent before.
    fn client(&self, unread: &[u8]) -> (TcpStream, Item) {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(BOUND)).unwrap();
        let (stream, address) = self.listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let peer = peer(address);
        let arrival = Arrival {
            stream: martlet_net::StdSocket::Tcp(stream).into(),
            peer,
            unread: unread.to_vec(),
            known: Known::default(),
        };
        (client, Item::Connection(Box::new(arrival)))
    }
}

fn lone() -> Lone {
    let rules = vec![ListenerRules::default()];
    Lone {
        inboxes: (0..2).map(|_| Inbox::default()).collect(),
        shared: Shared::new(Settings::default(), rules, 2, &mut Seed::new(1)),
        listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
    }
}

fn peer(address: SocketAddr) -> Peer {
    Peer {
        address: address.into(),
        listener: 0,
    }
}

/// Its session can have moved on while it was on its way.
#[test]
fn a_connection_that_came_may_have_to_go_on() {
    struct Nowhere;
    impl Sink for Nowhere {
        fn close(&mut self, _: ConnId) {}
        fn relocate(&mut self, _: ConnId, _: u16, _: Relocated) {}
        fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
            false
        }
        fn has_room(&self, _: u16) -> bool {
            true
        }
        fn parcels(&mut self, _: u16) -> &mut Parcels {
            unreachable!("nothing is published")
        }
        fn event(&mut self, _: Event<'_>) {}
    }

    let lone = lone();
    let now = Clock::start().now();
    let mut other = Shard::new(
        1,
        Arc::clone(&lone.shared),
        Box::new(MemoryStore),
        Seed::new(3),
        now,
    );
    let conn = other.open(now, peer(SocketAddr::from(([127, 0, 0, 1], 1))));
    other.handle(now, Input::Bytes(conn, &CONNECT), &mut Nowhere);
    let (_client, item) = lone.client(&CONNECT);
    lone.run(vec![item], || {
        let start = Instant::now();
        while lone.inboxes[1].connections() == 0 {
            assert!(
                start.elapsed() < BOUND,
                "it never went on to the shard of its session"
            );
            std::thread::yield_now();
        }
    });
}

/// However many others came with it.
#[test]
fn what_came_along_is_handled_before_what_comes_later() {
    let lone = lone();
    let (_others, mut items): (Vec<_>, Vec<_>) = (0..200).map(|_| lone.client(&[])).unzip();
    let (first, later) = CONNECT.split_at(4);
    let (mut client, item) = lone.client(first);
    client.write_all(later).unwrap();
    items.push(item);
    lone.run(items, || {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("CONNACK comes");
        assert_eq!(answer, [0x20, 2, 0, 0]);
    });
}
