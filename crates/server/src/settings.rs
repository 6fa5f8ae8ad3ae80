//! From the configuration to the rules of the broker.

use std::num::NonZeroU16;
use std::sync::atomic::AtomicU64;

use martlet_broker::router::Overlapping;
use martlet_broker::{Durability, ListenerRules, Settings};
use martlet_codec::{Qos, Version};
use martlet_session::limits::QueueLimits;
use martlet_session::{NEVER, Policy};

use crate::config::{self, BrokerSettings, Config, Listener, ReceiveMaximumExceeded};

/// What holds for all sessions.
pub(crate) fn settings(config: &Config) -> Settings {
    let broker = &config.broker;
    let defaults = Settings::default();
    Settings {
        decode: martlet_codec::Limits {
            packet_bytes_max: broker.packet_bytes_max,
            topic_separators_max: broker.topic_levels_max,
            ..defaults.decode
        },
        session: martlet_session::limits::Limits {
            inflight_bytes_max: size(broker.inflight_out_bytes_max),
            queue: QueueLimits {
                messages_max: size(broker.queued_messages_max),
                bytes_max: size(broker.queued_bytes_max),
            },
            stored_queue: QueueLimits {
                messages_max: size(broker.queued_messages_max),
                bytes_max: size(broker.kept_queued_bytes_max),
            },
            queue_qos0: broker.queue_qos0,
            upgrade_qos: broker.upgrade_outgoing_qos,
            ..defaults.session
        },
        overlapping: match broker.overlapping {
            config::Overlapping::Once => Overlapping::Once,
            config::Overlapping::Each => Overlapping::Each,
        },
        payload_bytes_max: broker.payload_bytes_max,
        payload_format_check: broker.payload_format_check,
        queued_bytes_total_max: broker.queued_bytes_total_max,
        queued_memory_bytes_max: broker.queued_memory_bytes_max,
        durability: config
            .store
            .as_ref()
            .map_or(Durability::None, |store| store.durability),
        // The same for those who test kills: a will must go out between two of them.
        will_grace_ms: if cfg!(feature = "kill-points") {
            500
        } else {
            defaults.will_grace_ms
        },
        sessions_max: broker.sessions_max.unwrap_or(u64::MAX),
        retained_messages_max: size(broker.retained_messages_max),
        retained_bytes_max: broker.retained_bytes_max.unwrap_or(u64::MAX),
        retain_expiry_ms_max: broker.retain_expiry_s_max.map(|s| s.saturating_mul(1_000)),
        connect_timeout_ms: config.connect_timeout_ms,
        sys_interval_ms: config.sys_interval_s.map(|s| u64::from(s) * 1_000),
        ..defaults
    }
}

fn size(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// What holds for the clients of one listener.
pub(crate) fn rules(listener: &Listener, broker: &BrokerSettings) -> ListenerRules {
    let versions = [
        (listener.versions.v3_1, Version::V3_1),
        (listener.versions.v3_1_1, Version::V3_1_1),
        (listener.versions.v5, Version::V5),
    ];
    let policy = Policy {
        versions: versions
            .into_iter()
            .filter_map(|(served, version)| served.then_some(version))
            .collect(),
        receive_maximum: broker.receive_maximum,
        receive_maximum_enforced: broker.receive_maximum_exceeded == ReceiveMaximumExceeded::Disconnect,
        inflight_max: broker.inflight_out_max,
        packet_bytes_max: broker.packet_bytes_max,
        alias_in_max: listener.alias_in_max,
        alias_out_max: listener.alias_out_max,
        keep_alive_s_max: broker.keep_alive_s_max.and_then(NonZeroU16::new),
        keep_alive_s: broker.server_keep_alive_s,
        session_expiry_s_max: broker.session_expiry_s_max.unwrap_or(NEVER),
        qos_max: Qos::from_u8(listener.qos_max).expect("the configuration was checked"),
        retain_available: broker.retain_available,
        empty_client_id: listener.allow_zero_length_clientid,
        ..Policy::default()
    };
    ListenerRules {
        policy,
        allow_anonymous: listener.allow_anonymous,
        has_users: listener.password_file.is_some(),
        user_from_certificate: listener.tls.as_ref().is_some_and(|tls| tls.identity.is_some()),
        durability: listener.durability,
        auto_id_prefix: listener.auto_id_prefix.clone(),
        connections_max: listener.connections_max,
        connections: AtomicU64::new(0),
    }
}
