//! What other threads hand to a shard: a list that is swapped under a lock, and a wake-up only when it
//! was empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use martlet_broker::{ConnId, Parcels, Peer, Revoked, Verdict};
use martlet_net::Detached;
use parking_lot::Mutex;

use crate::limits::{INBOX_BYTES_MAX, INBOX_MESSAGES_MAX};

/// Something for a shard.
#[derive(Debug)]
pub(crate) enum Item {
    /// A connection: just accepted, or moved here with what it has sent.
    Connection(Box<Arrival>),
    /// A login was checked.
    Login(ConnId, Verdict),
    /// Users are gone or changed.
    Revoked(Arc<Revoked>),
    /// Another shard, or the store, has room again.
    Room,
    /// The store ended batches, or loaded pages.
    Stored,
    /// Wills go out.
    Stop,
    /// Clients are told and closed.
    DisconnectAll,
    /// The thread ends.
    Exit,
}

/// A connection on its way to a shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: Detached,
    pub(crate) peer: Peer,
    /// What it has sent to another shard.
    pub(crate) unread: Vec<u8>,
    pub(crate) known: Known,
}

/// What is known of a client before its CONNECT is handled.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Who its certificate says that it is.
    pub(crate) identity: Option<Box<str>>,
    /// Its login was checked by the users of that generation.
    pub(crate) vouched: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    list: Mutex<List>,
    /// Messages that wait, and the bytes of their payloads.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Connections that are on their way: nobody else counts them.
    connections: AtomicUsize,
    /// Whether somebody found it full.
    wanted: AtomicBool,
}

#[derive(Debug, Default)]
struct List {
    items: Vec<Item>,
    parcels: Parcels,
    waker: Option<Waker>,
}

impl List {
    /// What is to be woken by what comes now: the owner, if it has seen all that came before.
    fn waker(&mut self) -> Option<Waker> {
        let has_seen_all = self.items.is_empty() && self.parcels.is_empty();
        self.waker.take_if(|_| has_seen_all)
    }
}

impl Inbox {
    pub(crate) fn push(&self, item: Item) {
        if matches!(item, Item::Connection(_)) {
            self.expect_connection();
        }
        self.push_expected(item);
    }

    /// A connection will be pushed, and is counted already. If it comes to nothing, it is as if it had been opened.
    pub(crate) fn expect_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Pushes one that was expected.
    pub(crate) fn push_expected(&self, item: Item) {
        let mut list = self.list.lock();
        let waker = list.waker();
        list.items.push(item);
        drop(list);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Hands over messages of another shard.
    pub(crate) fn send(&self, parcels: &mut Parcels) {
        let mut list = self.list.lock();
        let waker = list.waker();
        list.parcels.append(parcels);
        self.messages.store(list.parcels.len(), Ordering::SeqCst);
        self.bytes.store(list.parcels.bytes(), Ordering::SeqCst);
        drop(list);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether a message of QoS above 0 may be sent, behind those that are to be sent. If not, the owner tells
    /// everybody when there is room.
    pub(crate) fn has_room(&self, behind: &Parcels) -> bool {
        if self.is_roomy(behind) {
            return true;
        }
        // The owner takes first and looks for this then; who wants room says so first and looks again. So one
        // of the two sees the other, and nobody waits for room that is there.
        self.wanted.store(true, Ordering::SeqCst);
        self.is_roomy(behind)
    }

    fn is_roomy(&self, behind: &Parcels) -> bool {
        self.messages.load(Ordering::SeqCst) + behind.len() < INBOX_MESSAGES_MAX
            && self.bytes.load(Ordering::SeqCst) + behind.bytes() < INBOX_BYTES_MAX
    }

    /// Connections that were pushed and not yet opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// One of them was opened, and is counted elsewhere from now on.
    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_sub(1, Ordering::Release);
    }

    /// Takes everything into `items` and `parcels`, which are empty; the next that comes wakes `waker`.
    pub(crate) fn take(&self, items: &mut Vec<Item>, parcels: &mut Parcels, waker: &Waker) {
        let mut list = self.list.lock();
        std::mem::swap(&mut list.items, items);
        std::mem::swap(&mut list.parcels, parcels);
        if !list.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            list.waker = Some(waker.clone());
        }
        self.messages.store(0, Ordering::SeqCst);
        self.bytes.store(0, Ordering::SeqCst);
    }

    /// Whether somebody found it full since this was last asked.
    pub(crate) fn was_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst) && self.wanted.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Whoever finds it full is told when it is not, however close the two come: else a parked publisher
    /// would wait until something else wakes the owner.
    #[test]
    fn who_finds_it_full_is_told_of_room() {
        const ROUNDS: usize = 100_000;
        const BOUND: Duration = Duration::from_secs(3);
        let inbox = Inbox::default();
        let (has_room, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (start, end) = (Turnstile::default(), Turnstile::default());
        let mut untold = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1.. {
                    start.pass(round);
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    has_room.store(inbox.has_room(&Parcels::default()), Ordering::SeqCst);
                    end.pass(round);
                }
            });
            let began = Instant::now();
            for round in 1.. {
                let last = round == ROUNDS || began.elapsed() > BOUND;
                is_over.store(last, Ordering::SeqCst);
                inbox.messages.store(INBOX_MESSAGES_MAX, Ordering::SeqCst);
                start.pass(round);
                if last {
                    return;
                }
                // So that the two meet at every distance.
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                inbox.take(&mut Vec::new(), &mut Parcels::default(), Waker::noop());
                let is_told = inbox.was_wanted();
                end.pass(round);
                untold += usize::from(!is_told && !has_room.load(Ordering::SeqCst));
                inbox.was_wanted();
            }
        });
        assert_eq!(untold, 0, "publishers that nobody would tell of room");
    }

    /// Where two threads meet, round after round.
    #[derive(Default)]
    struct Turnstile(AtomicUsize);

    impl Turnstile {
        fn pass(&self, round: usize) {
            self.0.fetch_add(1, Ordering::SeqCst);
            let mut spins = 0;
            while self.0.load(Ordering::SeqCst) < 2 * round {
                spins += 1;
                if spins % 1_000 == 0 {
                    thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
        }
    }
}
