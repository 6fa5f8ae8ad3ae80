//! What keeps a client's store: a thread of its own, or whoever pumps; and those who wait until something is kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::SystemTime;

use tokio::sync::oneshot;

use crate::engine::{Accepted, Engine, Token};
use crate::error::{DeliveryError, Lost, StoreError};
use crate::event::Acked;
use crate::hub::Hub;
use crate::kill_points::{self, Point};
use crate::options::{Options, OptionsError};
use crate::shared::Shared;
use crate::store::Store;

type End = Result<Acked, DeliveryError>;

/// Those who wait for the store, or for a message beside the one who published it.
#[derive(Default)]
pub(crate) struct Kept {
    /// `publish` of each message that the store has not answered for.
    publishing: BTreeMap<Token, oneshot::Sender<Result<(), StoreError>>>,
    /// Who wait until so many operations are kept.
    waiters: VecDeque<(u64, oneshot::Sender<()>)>,
    /// Who asked for the end of a message by its token.
    others: BTreeMap<Token, Vec<oneshot::Sender<End>>>,
}

impl Kept {
    /// The store has answered for a message.
    pub(crate) fn stored(&mut self, token: Token, end: Result<(), StoreError>) {
        if let Some(publishing) = self.publishing.remove(&token) {
            // An error says that nobody waits any more.
            let _ = publishing.send(end);
        }
    }

    /// A message has its end.
    pub(crate) fn ended(&mut self, token: Token, end: &End) {
        if self.others.is_empty() {
            return;
        }
        for other in self.others.remove(&token).into_iter().flatten() {
            let _ = other.send(end.clone());
        }
    }

    pub(crate) fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Wakes those whose operations are kept.
    pub(crate) fn progress(&mut self, engine: &Engine) {
        let (_, answered) = engine.store_progress();
        while let Some((_, waiter)) = self.waiters.pop_front_if(|(until, _)| *until <= answered) {
            let _ = waiter.send(());
        }
        if engine
            .closed()
            .is_some_and(|cause| matches!(cause, Lost::Store(_)))
        {
            self.waiters.clear();
        }
    }
}

/// What the store says of a message.
pub(crate) type Stored = oneshot::Receiver<Result<(), StoreError>>;

impl Hub {
    /// What the store will say of a message that was just accepted; none: it is not asked.
    pub(crate) fn await_kept(&mut self, accepted: &Accepted) -> Option<Stored> {
        if !self.engine.has_store() || accepted.packet_id.is_none() {
            return None;
        }
        let (sender, stored) = oneshot::channel();
        self.kept.publishing.insert(accepted.token, sender);
        Some(stored)
    }

    /// Whoever flushes waits for the messages of earlier runs too.
    pub(crate) fn await_restored(&mut self) {
        for pending in self.engine.pending() {
            let (sender, _) = oneshot::channel();
            self.deliveries.insert(pending.token, sender);
        }
    }

    /// The end of a message that has none yet.
    pub(crate) fn await_end(&mut self, token: Token) -> oneshot::Receiver<End> {
        let (sender, end) = oneshot::channel();
        self.kept.others.entry(token).or_default().push(sender);
        end
    }

    /// Waits until all is kept that was handed to the store so far; none: that is so.
    pub(crate) fn await_stored(&mut self) -> Option<oneshot::Receiver<()>> {
        let (issued, answered) = self.engine.store_progress();
        if issued == answered {
            return None;
        }
        let (sender, stored) = oneshot::channel();
        self.kept.waiters.push_back((issued, sender));
        Some(stored)
    }
}

/// Opens the store of the options and tells the engine what it has.
pub(crate) fn open(options: &Options, engine: &mut Engine) -> Result<Option<Box<dyn Store>>, OptionsError> {
    let Some(slot) = &options.store else {
        return Ok(None);
    };
    let (store, contents) = slot.open(&options.client_id)?;
    let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    engine.restore(contents, u64::try_from(wall.as_millis()).unwrap_or(0));
    Ok(Some(store))
}

/// The state of whoever keeps the store.
pub(crate) struct Keeper {
    /// Whether there is a store, and it is open.
    holds_store: AtomicBool,
    /// Whether it was told that there is something to do.
    is_rung: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Keeper {
    pub(crate) const fn new(holds_store: bool) -> Self {
        Self {
            holds_store: AtomicBool::new(holds_store),
            is_rung: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    pub(crate) fn holds_store(&self) -> bool {
        self.holds_store.load(Ordering::Acquire)
    }

    /// There is something to keep, or nothing more will come. Who pumps looks by itself.
    pub(crate) fn ring(&self) {
        if let Some(thread) = self.thread.get()
            && !self.is_rung.swap(true, Ordering::AcqRel)
        {
            thread.unpark();
        }
    }
}

/// Keeps what there is to keep; whether there was something. A store that fails is dropped.
pub(crate) fn keep(shared: &Shared, store: &mut Option<Box<dyn Store>>) -> bool {
    let Some(open) = store else { return false };
    let Some(batch) = shared.lock().engine.store_batch() else {
        return false;
    };
    let kept = open.keep(&batch.ops);
    if kept.is_err() {
        *store = None;
    }
    kill_points::pass(Point::BeforeStored);
    shared.with(|hub, now_ms| match kept {
        Ok(refused) => hub.engine.store_done(now_ms, &batch, refused),
        Err(error) => hub.engine.store_failed(now_ms, error),
    });
    kill_points::pass(Point::AfterStored);
    true
}

/// The store goes: who waits for the end of the client is told.
pub(crate) fn close(shared: &Shared, store: &mut Option<Box<dyn Store>>) {
    *store = None;
    shared.keeper.holds_store.store(false, Ordering::Release);
    shared.with(|_, _| ());
}

/// Starts the thread of a store.
pub(crate) fn spawn(shared: &Arc<Shared>, store: Option<Box<dyn Store>>) -> Result<(), OptionsError> {
    let Some(store) = store else { return Ok(()) };
    let weak = Arc::downgrade(shared);
    let thread = thread::Builder::new()
        .name("martlet-store".to_owned())
        .spawn(move || run(&weak, Some(store)))
        .map_err(|error| StoreError::Failed {
            place: "of this client".to_owned(),
            text: format!("no thread for it: {error}"),
        })?;
    // It is set once, here.
    let _ = shared.keeper.thread.set(thread.thread().clone());
    shared.keeper.ring();
    Ok(())
}

/// Keeps until the client is closed and all is kept, or until nobody has the client any more.
fn run(weak: &Weak<Shared>, mut store: Option<Box<dyn Store>>) {
    let gathers = store.as_ref().map(|store| store.gathers()).unwrap_or_default();
    while let Some(shared) = weak.upgrade() {
        shared.keeper.is_rung.store(false, Ordering::Release);
        let has_ops = shared.lock().engine.has_store_ops();
        if has_ops && !gathers.is_zero() {
            thread::sleep(gathers);
        }
        if keep(&shared, &mut store) {
            shared.wake.notify_one();
            continue;
        }
        if store.is_none() || shared.lock().engine.closed().is_some() {
            close(&shared, &mut store);
            shared.wake.notify_one();
            return;
        }
        drop(shared);
        thread::park();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}
