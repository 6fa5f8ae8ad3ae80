//! What other threads hand to a shard: a list that is swapped under a lock, and a wake-up only when it
//! was empty.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use martlet_broker::{Parcels, Peer};
use parking_lot::Mutex;

use crate::limits::{INBOX_BYTES_MAX, INBOX_MESSAGES_MAX};

/// Something for a shard.
#[derive(Debug)]
pub(crate) enum Item {
    /// A connection: just accepted, or moved here with what it has sent.
    Connection {
        stream: TcpStream,
        peer: Peer,
        unread: Vec<u8>,
    },
    /// Another shard has room again.
    Room,
    /// Wills go out.
    Stop,
    /// Clients are told and closed.
    DisconnectAll,
    /// The thread ends.
    Exit,
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
        if matches!(item, Item::Connection { .. }) {
            self.connections.fetch_add(1, Ordering::Relaxed);
        }
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
        self.wanted.store(true, Ordering::SeqCst);
        // The owner may have taken everything just before it could see that it is wanted.
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
