//! What other threads hand to a shard: a list that is swapped under a lock, and a wake-up only when it
//! was empty.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use martlet_broker::{Forward, Peer};
use parking_lot::Mutex;

use crate::limits::INBOX_FORWARDS_MAX;

/// Something for a shard.
#[derive(Debug)]
pub(crate) enum Item {
    /// A message from another shard.
    Forward(Forward),
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
    forwards: AtomicUsize,
    /// Connections that are on their way: nobody else counts them.
    connections: AtomicUsize,
    /// Whether somebody found it full.
    wanted: AtomicBool,
}

#[derive(Debug, Default)]
struct List {
    items: Vec<Item>,
    waker: Option<Waker>,
}

impl Inbox {
    pub(crate) fn push(&self, item: Item) {
        if matches!(item, Item::Forward(_)) {
            self.forwards.fetch_add(1, Ordering::Relaxed);
        } else if matches!(item, Item::Connection { .. }) {
            self.connections.fetch_add(1, Ordering::Relaxed);
        }
        let mut list = self.list.lock();
        let was_empty = list.items.is_empty();
        list.items.push(item);
        if was_empty && let Some(waker) = list.waker.take() {
            drop(list);
            waker.wake();
        }
    }

    /// Whether a message of QoS above 0 may be pushed. If not, the owner tells everybody when there is room.
    pub(crate) fn has_room(&self) -> bool {
        if self.forwards.load(Ordering::Relaxed) < INBOX_FORWARDS_MAX {
            return true;
        }
        self.wanted.store(true, Ordering::Relaxed);
        false
    }

    /// Connections that were pushed and not yet opened.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// One of them was opened, and is counted elsewhere from now on.
    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_sub(1, Ordering::Release);
    }

    /// Takes everything into `items`, which is empty; if there is nothing, `waker` is woken by the next push.
    pub(crate) fn take(&self, items: &mut Vec<Item>, waker: &Waker) {
        let mut list = self.list.lock();
        std::mem::swap(&mut list.items, items);
        if !list.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            list.waker = Some(waker.clone());
        }
        drop(list);
        let forwards = items
            .iter()
            .filter(|item| matches!(item, Item::Forward(_)))
            .count();
        self.forwards.fetch_sub(forwards, Ordering::Relaxed);
    }

    /// Whether somebody found it full since this was last asked.
    pub(crate) fn was_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }
}
