//! A broker as a process: its shards and its store. It is dropped as a whole when it crashes.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use martlet_broker::{
    Address, ConnId, Durability, Ending, Event, Input, ListenerRules, Login, MemoryStore, Parcels, Peer,
    Reason, Relocated, Seed, Settings, Shard, Shared, Sink, Store,
};
use martlet_codec::Violation;
use martlet_journal::FaultyDisk;
use martlet_session::{Now, Policy};
use parking_lot::Mutex;

use crate::draws::Draws;
use crate::engine::{self, DiskStore};
use crate::history::{ConnNo, Fact};
use crate::plan::Keeping;
use crate::plant::{self, Bug};
use crate::slow::SlowStore;

/// The process.
pub(crate) struct Process {
    pub(crate) shards: Vec<Shard>,
    pub(crate) shared: Arc<Shared>,
    slow_store: Option<Arc<Mutex<SlowStore>>>,
    pub(crate) disk_store: Option<DiskStore>,
    /// What each shard has for each other: `inboxes[to][from]`.
    inboxes: Vec<Vec<Parcels>>,
    parcels_max: usize,
    /// Which connection has which name in which shard.
    pub(crate) conns: HashMap<(u16, ConnId), ConnNo>,
}

/// What a shard wants of the world.
#[derive(Debug)]
pub(crate) enum Effect {
    Close(ConnId),
    Relocate(ConnId, u16, Relocated),
    /// There are parcels for this shard.
    Parcels(u16),
    Fact(Fact),
}

/// A call of a shard, as its sink.
struct Turn<'a> {
    effects: &'a mut Vec<Effect>,
    /// What it has for each other shard.
    parcels: Vec<Parcels>,
    /// What waits in the inboxes of the others.
    waiting: Vec<usize>,
    parcels_max: usize,
    clients: &'a dyn Fn(&str) -> Option<usize>,
}

/// Wall time differs from the virtual one by this: two clocks that agree on nothing but how much time passes.
const WALL_MS: u64 = 1_790_000_000_000;

pub(crate) fn now(ms: u64) -> Now {
    Now {
        mono_ms: ms,
        wall_ms: WALL_MS + ms,
    }
}

/// How a process is made.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) disk: FaultyDisk,
    pub(crate) limits: martlet_store::Limits,
    pub(crate) durability: Durability,
    pub(crate) shards: u16,
    pub(crate) keeping: Keeping,
    pub(crate) settings: Settings,
    pub(crate) policy: Policy,
    pub(crate) parcels_max: usize,
    pub(crate) bug: Option<Bug>,
}

impl Process {
    /// Starts, with what is on the disk if there is a disk. Nothing is connected.
    pub(crate) fn start(recipe: &Recipe, ms: u64, draws: &mut Draws) -> Result<Self, String> {
        let rules = ListenerRules {
            policy: recipe.policy.clone(),
            durability: recipe.durability,
            ..ListenerRules::default()
        };
        let count = usize::from(recipe.shards);
        let mut seed = Seed::new(draws.next());
        let shared = Shared::new(recipe.settings.clone(), vec![rules], count, &mut seed);
        let salt = draws.next() as u32;
        if recipe.bug == Some(Bug::SnapshotTooOld) && recipe.keeping == Keeping::Disk {
            plant::disk::forget_news(&recipe.disk, recipe.limits.journal, salt)?;
        }
        let opened = match recipe.keeping {
            Keeping::Disk => Some(DiskStore::open(
                &recipe.disk,
                recipe.limits,
                recipe.shards,
                ms,
                salt,
            )?),
            Keeping::Memory | Keeping::Slow => None,
        };
        let slow_store = (recipe.keeping == Keeping::Slow)
            .then(|| SlowStore::new(recipe.shards))
            .map(|store| Arc::new(Mutex::new(store)));
        let mut shards = Vec::new();
        for index in 0..recipe.shards {
            let store: Box<dyn Store> = match (&slow_store, &opened) {
                (_, Some((disk_store, _))) => Box::new(disk_store.handle(index)),
                (Some(slow_store), _) => Box::new(SlowStore::handle(slow_store, index)),
                (None, None) => Box::new(MemoryStore),
            };
            let store = plant::store::wrap(store, recipe.bug);
            let seed = Seed::new(draws.next());
            shards.push(Shard::new(index, Arc::clone(&shared), store, seed, now(ms)));
        }
        let disk_store = opened.map(|(disk_store, restored)| {
            engine::restore(restored, &shared, &mut shards, ms, draws);
            disk_store
        });
        let inboxes = (0..count)
            .map(|_| (0..count).map(|_| Parcels::default()).collect())
            .collect();
        Ok(Self {
            shards,
            shared,
            slow_store,
            disk_store,
            inboxes,
            conns: HashMap::new(),
            parcels_max: recipe.parcels_max,
        })
    }

    /// Hands an input to a shard, and tells what follows from it.
    pub(crate) fn handle(
        &mut self,
        shard: u16,
        ms: u64,
        input: Input<'_>,
        clients: &dyn Fn(&str) -> Option<usize>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let index = usize::from(shard);
        let mut turn = Turn {
            effects: &mut effects,
            parcels: self.shards.iter().map(|_| Parcels::default()).collect(),
            waiting: self.inboxes.iter().map(|inbox| inbox[index].len()).collect(),
            parcels_max: self.parcels_max,
            clients,
        };
        self.shards[index].handle(now(ms), input, &mut turn);
        for (to, mut parcels) in turn.parcels.into_iter().enumerate() {
            if !parcels.is_empty() {
                self.inboxes[to][index].append(&mut parcels);
                effects.push(Effect::Parcels(to as u16));
            }
        }
        effects
    }

    /// What one shard has for another; whether that one had no room any more.
    pub(crate) fn take_parcels(&mut self, to: u16, from: u16) -> (Parcels, bool) {
        let parcels = std::mem::take(&mut self.inboxes[usize::from(to)][usize::from(from)]);
        let was_full = parcels.len() >= self.parcels_max;
        (parcels, was_full)
    }

    /// The slow store comes to an end with one batch of this shard; whether there was one.
    pub(crate) fn end_one(&self, shard: u16) -> bool {
        self.slow_store
            .as_ref()
            .is_some_and(|store| store.lock().end_one(shard))
    }

    pub(crate) fn set_failing(&self, fails: bool) {
        if let Some(store) = &self.slow_store {
            store.lock().set_failing(fails);
        }
    }

    pub(crate) fn has_slow_store(&self) -> bool {
        self.slow_store.is_some()
    }

    /// When a shard next wants to be told the time.
    pub(crate) fn deadline_ms(&self) -> Option<(u64, u16)> {
        let due = |(index, shard): (usize, &Shard)| Some((shard.deadline_ms()?, index as u16));
        self.shards.iter().enumerate().filter_map(due).min()
    }

    /// The messages that wait in queues.
    pub(crate) fn queued(&self) -> u64 {
        self.shared.totals().queued
    }

    /// What is there although all clients have finished, if anything.
    pub(crate) fn unrest(&self) -> Option<String> {
        let totals = self.shared.totals();
        let parcels: usize = self.inboxes.iter().flatten().map(Parcels::len).sum();
        if parcels > 0 {
            return Some(format!("{parcels} messages between shards"));
        }
        if (totals.queued, totals.queued_bytes) != (0, 0) {
            return Some(format!(
                "{} messages of {} bytes in queues",
                totals.queued, totals.queued_bytes
            ));
        }
        let is_busy = |store: &DiskStore| store.has_work() || store.waits_for_sync();
        if self.disk_store.as_ref().is_some_and(is_busy) {
            return Some("the store is at work".to_owned());
        }
        None
    }

    /// What is there although all clients have left with their sessions, if anything.
    pub(crate) fn rest(&self) -> String {
        let totals = self.shared.totals();
        let found = [
            ("sessions", totals.sessions),
            ("connected sessions", totals.sessions_connected),
            ("sockets", totals.sockets),
            ("queued messages", totals.queued),
            ("queued bytes", totals.queued_bytes),
            ("registered clients", self.shared.registry.len() as u64),
            ("subscriptions", self.shared.router.read().subscriptions() as u64),
        ];
        let stored = self.disk_store.as_ref().map(DiskStore::rest).unwrap_or_default();
        let parts: Vec<_> = found
            .iter()
            .chain(&stored)
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        parts.join(", ")
    }
}

/// The address of a connection says its number.
pub(crate) fn peer(conn: ConnNo) -> Peer {
    Peer {
        address: SocketAddr::new(Ipv4Addr::from(0x7f00_0000 + conn).into(), 1).into(),
        listener: 0,
    }
}

fn conn_of(peer: Peer) -> ConnNo {
    match peer.address {
        Address::Internet(SocketAddr::V4(address)) => u32::from(*address.ip()) - 0x7f00_0000,
        _ => unreachable!("addresses are made by `peer`"),
    }
}

impl Sink for Turn<'_> {
    fn close(&mut self, conn: ConnId) {
        self.effects.push(Effect::Close(conn));
    }

    fn relocate(&mut self, conn: ConnId, shard: u16, relocated: Relocated) {
        self.effects.push(Effect::Relocate(conn, shard, relocated));
    }

    /// The listener has no users, so nothing is checked.
    fn check_login(&mut self, _: ConnId, _: Login<'_>) -> bool {
        false
    }

    fn has_room(&self, shard: u16) -> bool {
        let to = usize::from(shard);
        self.waiting[to] + self.parcels[to].len() < self.parcels_max
    }

    fn parcels(&mut self, shard: u16) -> &mut Parcels {
        &mut self.parcels[usize::from(shard)]
    }

    fn event(&mut self, event: Event<'_>) {
        let client = |name: &str| (self.clients)(name);
        let fact = match event {
            Event::Connected {
                client_id,
                peer,
                clean_start,
                session_present,
                ..
            } => Fact::BrokerAccepted {
                client: client(client_id).expect("only clients of the plan come"),
                conn: conn_of(peer),
                clean_start,
                session_present,
            },
            Event::Disconnected {
                client_id,
                peer,
                ending,
                has_will,
                ..
            } => Fact::BrokerEnded {
                client: client_id.and_then(client),
                conn: conn_of(peer),
                by_goodbye: ending == Ending::Client(martlet_codec::ReasonCode::Success),
                accused: matches!(ending, Ending::Violation(violation) if violation != Violation::KeepAlive),
                has_will,
                why: ending.text().to_owned(),
            },
            Event::Dropped {
                client_id,
                topic,
                reason,
                count,
            } => Fact::BrokerDropped {
                client: client_id.and_then(client),
                topic: topic.map(str::to_owned),
                reason: words(reason),
                count,
            },
            Event::Expired { client_id } => match client(client_id) {
                Some(client) => Fact::BrokerExpired { client },
                None => return,
            },
            _ => return,
        };
        self.effects.push(Effect::Fact(fact));
    }
}

fn words(reason: Reason) -> String {
    reason.key().to_owned()
}
