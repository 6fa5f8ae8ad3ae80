//! Writes a store with everything that this version stores, the same at every run.

use std::path::Path;
use std::sync::Arc;

use martlet_broker::{
    Batch, Change, Durability, Recipient, Store, StoreEvent, StoredSession, StoredSubscription, StoredWill,
};
use martlet_codec::{
    FilterBuf, PacketId, PropertiesBuf, PropertyId, Qos, RetainHandling, SubscribeOptions, TopicBuf,
};
use martlet_journal::{RealDisk, SyncJob};
use martlet_session::{Key, Message, NEVER, Now, Ticket};
use martlet_store::{Engine, Exchange, Handle, Limits};

/// When all of it happens.
const NOW: Now = Now {
    mono_ms: 1_000,
    wall_ms: 1_700_000_000_000,
};
/// So far ahead that no test sees it.
const FAR_MS: u64 = 100 * 365 * 86_400 * 1_000;
const SEGMENT_BYTES: u32 = 4 << 10;
const SALT: u32 = 0x6d61_7274;

const V3: u64 = 1;
const V5: u64 = 2;
const MEMBER: u64 = 3;
const OVER: u64 = 4;
const WILL: u64 = 5;
const EXPIRED: u64 = 6;
const GROUP: &str = "$share/group/jobs";

/// Writes it into a folder that is empty or not there.
pub fn write(folder: &Path) {
    let mut writer = Writer::open(folder);
    writer.sessions();
    writer.subscriptions();
    writer.messages();
    writer.under_way();
    writer.retained();
    // What follows is replayed behind it.
    writer.engine.last_snapshot();
    writer.much_that_dies();
    drop(writer);
    // It says which process wrote it.
    std::fs::remove_file(folder.join("lock")).expect("it was locked");
}

struct Writer {
    engine: Engine<RealDisk>,
    handle: Handle,
    next_ticket: u64,
}

impl Writer {
    fn open(folder: &Path) -> Self {
        let disk = RealDisk::open(folder, "martlet-compat").expect("the folder can be made");
        let mut limits = Limits::tiny();
        limits.journal.segment_bytes = SEGMENT_BYTES;
        limits.journal.reserve_bytes = 0;
        limits.clean_bytes_min = u64::from(SEGMENT_BYTES);
        let exchange = Exchange::new(1, limits.pending_bytes_max, |_| {}, |_, _| {});
        let opened = Engine::open(disk, limits, SALT, NOW, Arc::new(exchange));
        let (engine, _, _) = opened.expect("a store can be begun");
        let handle = engine.handle(0);
        Self {
            engine,
            handle,
            next_ticket: 0,
        }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        self.next_ticket += 1;
        let ticket = Some(Ticket(self.next_ticket));
        let batch = Batch {
            ticket,
            durability: Durability::Fsync,
            changes,
            is_loose: false,
        };
        self.handle.submit(NOW, batch);
        self.handle.flush();
        self.engine.write();
        self.sync();
        let ended = self.handle.poll();
        assert!(matches!(ended, Some(StoreEvent::Durable(_))), "{ended:?}");
    }

    fn sync(&mut self) {
        if let Some(synced) = self.engine.begin_sync().map(SyncJob::run) {
            self.engine.end_sync(synced);
        }
    }

    fn sessions(&mut self) {
        let session = |number, client_id: &str, expiry_s| StoredSession {
            number,
            client_id: client_id.into(),
            expiry_s,
            is_over: false,
            away_since_ms: Some(NOW.wall_ms),
            sent_up_to: 0,
            will: None,
        };
        let will = StoredWill {
            message: Arc::new(message(0, "wills/gone", Qos::AtLeastOnce, "farewell")),
            expiry_s: Some(3_600),
            delay_ms: u64::from(NEVER) * 1_000,
        };
        let sessions = [
            session(V3, "three", NEVER),
            // The longest that ends.
            session(V5, "five", NEVER - 1),
            session(MEMBER, "member", NEVER),
            StoredSession {
                is_over: true,
                ..session(OVER, "over", 0)
            },
            StoredSession {
                will: Some(will),
                away_since_ms: None,
                sent_up_to: 50,
                ..session(WILL, "will", NEVER)
            },
            session(EXPIRED, "expired", 1),
        ];
        self.commit(sessions.into_iter().map(Change::Session).collect());
    }

    fn subscriptions(&mut self) {
        let of = |number, session, filter: &str, options, identifier| {
            Change::Subscribed(StoredSubscription {
                number,
                session,
                filter: FilterBuf::new(filter).expect("a filter"),
                options,
                identifier,
            })
        };
        let plain = SubscribeOptions::qos(Qos::AtLeastOnce);
        let odd = SubscribeOptions {
            qos: Qos::ExactlyOnce,
            no_local: true,
            retain_as_published: true,
            retain_handling: RetainHandling::New,
        };
        let never = SubscribeOptions {
            retain_handling: RetainHandling::Never,
            ..plain
        };
        self.commit(vec![
            of(10, V3, "news/+", plain, None),
            of(11, V5, "news/#", odd, Some(7)),
            of(12, V5, "own", never, Some((1 << 28) - 1)),
            of(13, MEMBER, GROUP, plain, Some(1)),
            of(14, EXPIRED, "news/#", plain, None),
        ]);
    }

    fn messages(&mut self) {
        let to = |session, number, at, qos| Recipient {
            session,
            key: Key::new(number, at),
            qos,
            retain: false,
            subscription_ids: Box::default(),
            shared: None,
            resent: false,
        };
        let both = |number| {
            vec![
                to(V3, number, 0, Qos::AtLeastOnce),
                Recipient {
                    subscription_ids: [7, 300].into(),
                    retain: true,
                    ..to(V5, number, 1, Qos::ExactlyOnce)
                },
            ]
        };
        let queued = |message, recipients| Change::Queued {
            message: Arc::new(message),
            recipients,
        };
        let alone = message(20, "own", Qos::AtLeastOnce, "alone");
        self.commit(vec![queued(alone, vec![to(V5, 20, 0, Qos::AtLeastOnce)])]);
        let shared = Message {
            properties: properties(),
            payload: vec![0, 255].into(),
            publisher: Some("publisher".into()),
            ..message(21, "news/shared", Qos::ExactlyOnce, "")
        };
        self.commit(vec![queued(shared, both(21))]);
        let far = Message {
            expires_at_ms: Some(NOW.mono_ms + FAR_MS),
            ..message(22, "news/far", Qos::AtLeastOnce, "expires in a hundred years")
        };
        self.commit(vec![queued(far, vec![to(V3, 22, 0, Qos::AtLeastOnce)])]);
        let over = Message {
            expires_at_ms: Some(NOW.mono_ms + 1_000),
            ..message(23, "news/late", Qos::AtLeastOnce, "expired long ago")
        };
        self.commit(vec![queued(over, vec![to(V3, 23, 0, Qos::AtLeastOnce)])]);
        let lost = message(24, "news/nobody", Qos::AtLeastOnce, "of the session that expired");
        self.commit(vec![queued(lost, vec![to(EXPIRED, 24, 0, Qos::AtLeastOnce)])]);
        let left = Recipient {
            shared: Some(GROUP.into()),
            ..to(OVER, 25, 0, Qos::AtLeastOnce)
        };
        let job = message(25, "jobs", Qos::AtLeastOnce, "left by a member that is over");
        self.commit(vec![queued(job, vec![left])]);
    }

    /// QoS 2 in each step of either direction.
    fn under_way(&mut self) {
        let recipient = |number| Recipient {
            session: V5,
            key: Key::new(number, 0),
            qos: Qos::ExactlyOnce,
            retain: false,
            subscription_ids: [7].into(),
            shared: None,
            resent: false,
        };
        for (number, payload) in [(30, "sent"), (31, "received"), (32, "completed")] {
            self.commit(vec![Change::Queued {
                message: Arc::new(message(number, "news/two", Qos::ExactlyOnce, payload)),
                recipients: vec![recipient(number)],
            }]);
        }
        let (session, key) = (V5, |number| Some(Key::new(number, 0)));
        for (number, order) in [(30, 40), (31, 41), (32, 42)] {
            self.commit(vec![Change::Sending {
                session,
                id: id(number),
                key: key(number),
                order,
            }]);
        }
        for (number, order) in [(31, 43), (32, 44)] {
            self.commit(vec![Change::Releasing {
                session,
                id: id(number),
                key: key(number),
                order,
            }]);
        }
        let done = id(32);
        self.commit(vec![Change::Completed { session, id: done }]);
        self.commit(vec![
            Change::Received { session, id: id(1) },
            Change::Received { session, id: id(2) },
        ]);
        self.commit(vec![Change::Released { session, id: id(2) }]);
    }

    fn retained(&mut self) {
        let retained = |version, message: Message, expires_at_ms| Change::Retained {
            message: Arc::new(Message {
                retain: true,
                expires_at_ms,
                ..message
            }),
            version,
            expires_at_ms,
            replaces: vec![],
        };
        let of = |topic, payload| message(0, topic, Qos::AtLeastOnce, payload);
        self.commit(vec![retained(1, of("retained/plain", "before"), None)]);
        self.commit(vec![Change::Retained {
            message: Arc::new(Message {
                retain: true,
                properties: properties(),
                ..of("retained/plain", "plain")
            }),
            version: 2,
            expires_at_ms: None,
            replaces: vec![1],
        }]);
        let far = Some(NOW.mono_ms + FAR_MS);
        self.commit(vec![retained(3, of("retained/far", "far"), far)]);
        let over = Some(NOW.mono_ms + 1_000);
        self.commit(vec![retained(4, of("retained/late", "expired long ago"), over)]);
        self.commit(vec![retained(5, of("retained/cleared", "cleared"), None)]);
        self.commit(vec![Change::Cleared { versions: vec![5] }]);
        // A body that a session and the topic share.
        let shared = Message {
            retain: true,
            ..message(33, "own", Qos::AtLeastOnce, "queued and retained")
        };
        let recipient = Recipient {
            session: V5,
            key: Key::new(33, 0),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_ids: [(1 << 28) - 1].into(),
            shared: None,
            resent: false,
        };
        let queued = Change::Queued {
            message: Arc::new(shared.clone()),
            recipients: vec![recipient],
        };
        self.commit(vec![queued, retained(6, shared, None)]);
    }

    /// Messages come and go until segments have been cleaned, so that there are copies and deaths that live on.
    fn much_that_dies(&mut self) {
        let key = |number| Key::new(number, 0);
        for number in 100..140 {
            let recipient = Recipient {
                session: V3,
                key: key(number),
                qos: Qos::AtLeastOnce,
                retain: false,
                subscription_ids: Box::default(),
                shared: None,
                resent: false,
            };
            let stays = number % 13 == 0;
            let text = if stays {
                "stays".to_owned()
            } else {
                ".".repeat(400)
            };
            self.commit(vec![Change::Queued {
                message: Arc::new(message(number, "news/many", Qos::AtLeastOnce, &text)),
                recipients: vec![recipient],
            }]);
            if !stays {
                self.commit(vec![Change::Done { key: key(number) }]);
            }
        }
        // Two segments go, and a third stays that has been emptied.
        for _ in 0..3 {
            assert!(self.engine.clean(), "there is much to clean");
            self.sync();
        }
    }
}

fn id(id: u64) -> PacketId {
    PacketId::new(id as u16).expect("not 0")
}

fn message(number: u64, topic: &str, qos: Qos, payload: &str) -> Message {
    Message {
        topic: TopicBuf::new(topic).expect("a topic"),
        properties: PropertiesBuf::new(),
        payload: payload.as_bytes().to_vec().into(),
        qos,
        retain: false,
        expires_at_ms: None,
        publisher: None,
        number: number.into(),
    }
}

fn properties() -> PropertiesBuf {
    let mut properties = PropertiesBuf::new();
    properties.text(PropertyId::ContentType, "text/plain");
    properties.text(PropertyId::ResponseTopic, "answers");
    properties
}
