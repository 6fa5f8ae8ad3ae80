//! Bugs that are planted on purpose, around a broker that does not know of them: each must be found.

pub(crate) mod disk;
pub(crate) mod store;
pub(crate) mod wire;

macro_rules! bugs {
    ($( $(#[$doc:meta])* $name:ident = $key:literal; )*) => {
        /// A bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $( $(#[$doc])* $name, )* }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[ $( Self::$name, )* ];

            /// How it is asked for.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $key, )* }
            }
        }
    };
}

bugs! {
    /// Two messages change places on their way out.
    SwappedOrder = "swapped-order";
    /// Two PUBACK change places.
    SwappedAcks = "swapped-acks";
    /// A message of QoS 1 is never sent.
    LostMessage = "lost-message";
    /// The first message of a session that is taken on is never sent.
    LostAtTakeover = "lost-at-takeover";
    /// A resend does not say DUP.
    DupNotSet = "dup-not-set";
    /// A client gets one message more than it takes.
    WindowExceeded = "window-exceeded";
    /// A will is published twice.
    WillTwice = "will-twice";
    /// Clean Start goes on with the old session.
    CleanStartIgnored = "clean-start-ignored";
    /// UNSUBSCRIBE is acknowledged and nothing else.
    UnsubscribeIgnored = "unsubscribe-ignored";
    /// A resend of QoS 2 counts as a new message.
    IdentifierForgotten = "identifier-forgotten";
    /// An older retained message wins.
    RetainedOlder = "retained-older";
    /// The connection of a client that comes anew is not closed.
    NotClosed = "not-closed";
    /// What promises a batch leaves before its sync.
    AckBeforeSync = "ack-before-sync";
    /// A ticket ends with the sync of another.
    WrongSync = "wrong-sync";
    /// An UNSUBSCRIBE is not stored.
    UnsubscribeNotStored = "unsubscribe-not-stored";
    /// The identifier of a received message of QoS 2 is not stored.
    ReceivedNotStored = "received-not-stored";
    /// The identifier of a message of QoS 2 that goes out is not stored.
    SendingNotStored = "sending-not-stored";
    /// A record that lives is taken for dead, as cleaning would that forgets it.
    RecordForgotten = "record-forgotten";
    /// A snapshot says that it is newer than it is, so what came since is forgotten.
    SnapshotTooOld = "snapshot-too-old";
}

impl Bug {
    /// The bug of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }
}
