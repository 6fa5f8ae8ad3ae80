//! What a seed makes of a run.

use std::num::NonZeroU16;
use std::time::Duration;

use martlet_broker::{Durability, Settings};
use martlet_client::policy::{Acknowledge, Policy};
use martlet_client::{Options, Overflow, Protocol, Reconnect, Version};
use martlet_codec::{
    Ack, ConnAck, Disconnect, Packet, PacketId, Properties, ReasonCode, ReasonCodes, SubAck,
};
use martlet_journal::FaultyDisk;

use super::Play;
use crate::draws::Draws;
use crate::plan::Keeping;
use crate::process::Recipe;

/// The choices of a run. A time or a chance of 0 is never.
pub(super) struct Plan {
    pub(super) clients: Vec<ClientPlan>,
    pub(super) pause_ms: u64,
    pub(super) take_ms: u64,
    pub(super) delay_ms: u64,
    pub(super) store_ms: u64,
    pub(super) kill_every_ms: u64,
    pub(super) cut_every_ms: u64,
    pub(super) wrong_every_ms: u64,
    pub(super) unreachable_one_in: u64,
    pub(super) refuses_connect_one_in: u64,
    pub(super) expires_one_in: u64,
    pub(super) properties_one_in: u64,
    pub(super) untaken_one_in: u64,
    pub(super) store_fails_one_in: u64,
    pub(super) refuses_one_in: u64,
    /// The broker loses all sessions once.
    pub(super) forgets: bool,
    /// The broker's.
    shards: u16,
}

/// One of the clients.
pub(super) struct ClientPlan {
    pub(super) name: String,
    pub(super) options: Options,
    /// That of its connections: the broker speaks all of them.
    pub(super) version: Version,
    /// Its store says that something is kept before it is.
    pub(super) lies: bool,
}

impl Plan {
    pub(super) fn new(play: Play) -> Self {
        let mut draws = Draws::new(play.seed);
        let clients = (0..2).map(|no| ClientPlan::new(no, play, &mut draws)).collect();
        let mut sometimes = |n: u64| if draws.one_in(2) { n } else { 0 };
        let plan = Self {
            clients,
            kill_every_ms: sometimes(4_000),
            cut_every_ms: sometimes(3_000),
            wrong_every_ms: sometimes(4_000),
            unreachable_one_in: sometimes(3),
            refuses_connect_one_in: sometimes(4),
            expires_one_in: sometimes(5),
            properties_one_in: sometimes(3),
            untaken_one_in: sometimes(10),
            store_fails_one_in: sometimes(60),
            refuses_one_in: sometimes(20),
            forgets: sometimes(1) == 1,
            shards: 1,
            pause_ms: 0,
            take_ms: 0,
            delay_ms: 0,
            store_ms: 0,
        };
        Self {
            shards: draws.between(1, 3) as u16,
            pause_ms: draws.between(1, 200),
            take_ms: draws.below(300),
            delay_ms: draws.below(100),
            store_ms: draws.below(100),
            // A store that lies is found out by kills.
            kill_every_ms: if play.lies { 2_000 } else { plan.kill_every_ms },
            ..plan
        }
    }

    /// A broker that keeps nothing beyond its process.
    pub(super) fn broker(&self, seed: u64) -> Recipe {
        Recipe {
            disk: FaultyDisk::new(seed),
            limits: martlet_store::Limits::default(),
            durability: Durability::default(),
            shards: self.shards,
            keeping: Keeping::Memory,
            settings: Settings::default(),
            policy: martlet_session::Policy::default(),
            parcels_max: 1_000,
            bug: None,
        }
    }
}

impl ClientPlan {
    fn new(no: usize, play: Play, draws: &mut Draws) -> Self {
        let name = format!("ours-{no}");
        let window = NonZeroU16::new(draws.between(1, 6) as u16).expect("at least 1");
        let acknowledge = *draws.pick(&[Acknowledge::Taken, Acknowledge::Taken, Acknowledge::Arrived]);
        let policy = Policy {
            acknowledge,
            ..Policy::KEEP_ALL
        };
        let second = Duration::from_secs(1);
        let protocol = *draws.pick(&[Protocol::V5, Protocol::V3_1_1, Protocol::V5, Protocol::Auto]);
        let mut options = Options::new("broker", 1883)
            .protocol(protocol)
            .client_id(name.clone())
            .clean_start(false)
            .session_expiry(Duration::MAX)
            .keep_alive(10 * second)
            .max_inflight(window)
            .policy(policy)
            .reconnect(Reconnect::full_jitter(second, 5 * second))
            .overflow(*draws.pick(&[Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest]))
            .outbox(draws.between(2, 60) as usize, 1 << 20);
        if draws.one_in(2) {
            options = options.receive_maximum(window);
        }
        if draws.one_in(3) {
            options = options.topic_aliases(2);
        }
        if play.prints {
            // Asked for by the world, which prints it.
            options = options.packet_log(|_, _| {});
        }
        Self {
            name,
            options,
            version: protocol.first(),
            lies: play.lies,
        }
    }
}

fn encoded(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

/// A CONNACK that says no: sometimes one that may say yes later, sometimes one that will not.
pub(super) fn refusal(version: Version, kind: u64) -> Vec<u8> {
    let reason = match kind {
        0 => ReasonCode::NotAuthorized,
        _ => ReasonCode::ServerUnavailable,
    };
    encoded(
        version,
        &Packet::ConnAck(ConnAck {
            session_present: false,
            reason,
            properties: Properties::EMPTY,
        }),
    )
}

/// A packet about an identifier that means nothing, or one that has no business there.
pub(super) fn wrong(version: Version, kind: u64, number: u16) -> Vec<u8> {
    let id = PacketId::new(number).expect("at least 60,000");
    let ack = Ack::new(id, ReasonCode::Success);
    let is_v5 = version == Version::V5;
    encoded(
        version,
        &match kind {
            0 => Packet::PubAck(ack),
            1 => Packet::PubRec(ack),
            2 => Packet::PubRel(ack),
            3 => Packet::PubComp(ack),
            4 if is_v5 => Packet::Disconnect(Disconnect::new(ReasonCode::ServerBusy)),
            _ => Packet::SubAck(SubAck {
                packet_id: id,
                properties: Properties::EMPTY,
                reasons: ReasonCodes::List(&[ReasonCode::Success]),
            }),
        },
    )
}
