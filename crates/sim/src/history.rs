//! What happened in a run, as clients, network and broker saw it: all that checkers know.

use std::collections::BTreeMap;
use std::fmt;

use martlet_codec::{Qos, ReasonCode};

/// A client, by its number.
pub type ClientNo = usize;

/// A connection, by its number; no number is used again.
pub type ConnNo = u32;

/// A message, by its number.
pub type MessageNo = u32;

/// A message that a client published, or would have its will publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who published it.
    pub publisher: ClientNo,
    /// Its topic name.
    pub topic: String,
    /// The QoS at which it was published.
    pub qos: Qos,
    /// Whether it is retained.
    pub retain: bool,
    /// Whether its payload is empty, so that it clears a retained message.
    pub clears: bool,
    /// Whether the broker may drop it in time.
    pub expires: bool,
    /// The bytes of its payload.
    pub bytes: usize,
}

/// An acknowledgement that a publisher got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// PUBACK.
    PubAck,
    /// PUBREC.
    PubRec,
    /// PUBCOMP.
    PubComp,
}

/// The will of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Willed {
    /// What is published.
    pub message: MessageNo,
    /// How long it waits, in milliseconds.
    pub delay_ms: u64,
}

/// The reason of changes that nobody waited for, which the store could not keep.
pub(crate) const LOST: &str = "store_lost";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of the packets
pub enum Fact {
    /// A client sent CONNECT.
    Connecting {
        client: ClientNo,
        conn: ConnNo,
        clean_start: bool,
        expiry_s: u32,
        /// Messages of QoS 1 and 2 that the broker may have under way to it.
        window: u16,
        will: Option<Willed>,
    },
    /// A client read a CONNACK that accepts it.
    Connected {
        client: ClientNo,
        conn: ConnNo,
        /// None: the version has no word for it.
        session_present: Option<bool>,
    },
    /// A client read a CONNACK that refuses it.
    Refused {
        client: ClientNo,
        conn: ConnNo,
        reason: ReasonCode,
    },
    /// A client sent PUBLISH.
    Published {
        client: ClientNo,
        conn: ConnNo,
        message: MessageNo,
        dup: bool,
        id: u16,
    },
    /// A client read the answer to a message of its own.
    Acknowledged {
        client: ClientNo,
        conn: ConnNo,
        message: MessageNo,
        step: Step,
        reason: ReasonCode,
    },
    /// A client forgot a message that was not finished: the broker did not have its session any more.
    GivenUp { client: ClientNo, message: MessageNo },
    /// A client sent SUBSCRIBE.
    Subscribing {
        client: ClientNo,
        conn: ConnNo,
        filter: String,
        qos: Qos,
    },
    /// A client read SUBACK.
    Subscribed {
        client: ClientNo,
        conn: ConnNo,
        filter: String,
        reason: ReasonCode,
    },
    /// A client sent UNSUBSCRIBE.
    Unsubscribing {
        client: ClientNo,
        conn: ConnNo,
        filter: String,
    },
    /// A client read UNSUBACK.
    Unsubscribed {
        client: ClientNo,
        conn: ConnNo,
        filter: String,
        /// Whether it says that the subscription is gone.
        is_gone: bool,
    },
    /// A client read PUBLISH.
    Received {
        client: ClientNo,
        conn: ConnNo,
        message: MessageNo,
        topic: String,
        qos: Qos,
        retain: bool,
        dup: bool,
        id: u16,
        /// Whether it counts: not, if its QoS 2 identifier is one that was not released.
        is_new: bool,
    },
    /// A client sent what ends a message that it got: PUBACK or PUBCOMP.
    Finished { client: ClientNo, conn: ConnNo, id: u16 },
    /// A client has got all retained messages that its subscription brings.
    Read { client: ClientNo, conn: ConnNo },
    /// A client sent DISCONNECT.
    Leaving {
        client: ClientNo,
        conn: ConnNo,
        ends_session: bool,
    },
    /// A client read DISCONNECT.
    Dismissed {
        client: ClientNo,
        conn: ConnNo,
        reason: ReasonCode,
    },
    /// A connection is over for its client: closed, cut, or left behind.
    Ended { client: ClientNo, conn: ConnNo },
    /// The network cut a connection, or lost sight of its client.
    Cut { conn: ConnNo },
    /// A client did what the standard forbids or read what it could not decode: the simulation or the broker is wrong.
    Nonsense {
        client: ClientNo,
        conn: ConnNo,
        what: String,
    },

    /// The broker accepted a client.
    BrokerAccepted {
        client: ClientNo,
        conn: ConnNo,
        clean_start: bool,
        session_present: bool,
    },
    /// The broker ended a connection.
    BrokerEnded {
        client: Option<ClientNo>,
        conn: ConnNo,
        /// Whether the client said goodbye, so that there is no will.
        by_goodbye: bool,
        /// Whether the client broke a rule, as the broker sees it, other than by its silence.
        accused: bool,
        has_will: bool,
        why: String,
    },
    /// The broker dropped messages.
    BrokerDropped {
        client: Option<ClientNo>,
        /// None: nobody looked.
        topic: Option<String>,
        reason: String,
        count: u64,
    },
    /// A session of the broker ended because nobody came.
    BrokerExpired { client: ClientNo },

    /// The process is there.
    Started { shards: u16, store: &'static str },
    /// The process is gone; `keeps`: what was promised must be there again.
    Crashed { keeps: bool, cuts_power: bool },
    /// The process could not start.
    NotStarted { what: String },
    /// Something of the store, for those who read.
    Store(String),
    /// No faults any more: all clients come back and finish.
    Draining,
    /// All is finished, or the time is over.
    Rested { is_quiet: bool, why: String },
    /// All clients have left with their sessions: what is still there, if anything.
    Emptied { rest: String },
}

/// A fact and its time.
#[derive(Debug, Clone)]
pub struct At {
    /// Milliseconds of virtual time.
    pub ms: u64,
    /// What happened.
    pub fact: Fact,
}

/// A run.
#[derive(Debug, Default)]
pub struct History {
    /// What happened, in order.
    pub facts: Vec<At>,
    /// The messages, by number.
    pub said: Vec<Said>,
    /// What is known of each client.
    pub clients: Vec<Known>,
    /// What any message between two healthy clients takes at most, in milliseconds.
    pub patience_ms: u64,
    /// Messages of QoS 1 and 2 that the broker may have under way to any client.
    pub inflight_max: u16,
    /// Whether little output may wait for a client, so that PINGRESP may come before what is retained.
    pub has_small_output: bool,
    /// Whether facts are printed as they happen.
    pub prints: bool,
    now_ms: u64,
}

/// What is known of a client before it does anything.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Its client identifier.
    pub name: String,
    /// Whether nothing bad happens to it: a slow client must not disturb it.
    pub is_steady: bool,
    /// The largest packet that it takes.
    pub packet_bytes_max: Option<u32>,
}

impl History {
    /// The time of what is noted next.
    pub fn set_now_ms(&mut self, ms: u64) {
        self.now_ms = ms;
    }

    /// The time.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Notes a fact.
    pub fn note(&mut self, fact: Fact) {
        let at = At {
            ms: self.now_ms,
            fact,
        };
        if self.prints {
            println!("{}", self.line(&at));
        }
        self.facts.push(at);
    }

    /// Numbers a message.
    pub fn say(&mut self, said: Said) -> MessageNo {
        self.said.push(said);
        self.said.len() as MessageNo - 1
    }

    /// A message by its number.
    pub fn message(&self, message: MessageNo) -> &Said {
        &self.said[message as usize]
    }

    /// A fact as a line of the trace.
    pub fn line(&self, at: &At) -> String {
        let seconds = at.ms / 1_000;
        format!(
            "{seconds:5}.{:03} {}",
            at.ms % 1_000,
            Words {
                history: self,
                fact: &at.fact
            }
        )
    }

    /// The lines about a message, or about a client where there is no message.
    pub fn lines_about(&self, message: Option<MessageNo>, client: Option<ClientNo>) -> Vec<String> {
        let about = |at: &&At| match message {
            Some(_) => at.fact.message() == message || at.fact.is_of_all(),
            None => at.fact.client() == client || at.fact.is_of_all(),
        };
        self.facts.iter().filter(about).map(|at| self.line(at)).collect()
    }

    /// Whether the broker has begun a new session for a client since that connection.
    pub(crate) fn began_anew_after(&self, of: ClientNo, since: ConnNo) -> bool {
        self.facts.iter().any(|at| {
            matches!(at.fact, Fact::BrokerAccepted { client, conn, session_present: false, .. } if client == of && conn > since)
        })
    }

    /// Whose connection a number is.
    pub fn clients_of_conns(&self) -> BTreeMap<ConnNo, ClientNo> {
        let of = |at: &At| match at.fact {
            Fact::Connecting { client, conn, .. } => Some((conn, client)),
            _ => None,
        };
        self.facts.iter().filter_map(of).collect()
    }

    fn name(&self, client: ClientNo) -> &str {
        self.clients.get(client).map_or("?", |known| &known.name)
    }
}

impl Fact {
    /// The message that it is about.
    pub fn message(&self) -> Option<MessageNo> {
        match self {
            Self::Published { message, .. }
            | Self::Acknowledged { message, .. }
            | Self::GivenUp { message, .. }
            | Self::Received { message, .. } => Some(*message),
            Self::Connecting { will, .. } => will.map(|will| will.message),
            _ => None,
        }
    }

    /// The client that it is about.
    pub fn client(&self) -> Option<ClientNo> {
        match self {
            Self::Connecting { client, .. }
            | Self::Connected { client, .. }
            | Self::Refused { client, .. }
            | Self::Published { client, .. }
            | Self::Acknowledged { client, .. }
            | Self::GivenUp { client, .. }
            | Self::Subscribing { client, .. }
            | Self::Subscribed { client, .. }
            | Self::Unsubscribing { client, .. }
            | Self::Unsubscribed { client, .. }
            | Self::Received { client, .. }
            | Self::Finished { client, .. }
            | Self::Read { client, .. }
            | Self::Leaving { client, .. }
            | Self::Dismissed { client, .. }
            | Self::Ended { client, .. }
            | Self::Nonsense { client, .. }
            | Self::BrokerAccepted { client, .. }
            | Self::BrokerExpired { client } => Some(*client),
            Self::BrokerEnded { client, .. } | Self::BrokerDropped { client, .. } => *client,
            Self::Cut { .. }
            | Self::Started { .. }
            | Self::Crashed { .. }
            | Self::NotStarted { .. }
            | Self::Store(_)
            | Self::Draining
            | Self::Rested { .. }
            | Self::Emptied { .. } => None,
        }
    }

    fn is_of_all(&self) -> bool {
        matches!(
            self,
            Self::Started { .. } | Self::Crashed { .. } | Self::Draining | Self::Rested { .. }
        )
    }
}

struct Words<'a> {
    history: &'a History,
    fact: &'a Fact,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = self.history;
        if let Some(client) = self.fact.client() {
            write!(f, "{:<10} ", history.name(client))?;
        } else {
            write!(f, "{:<10} ", "-")?;
        }
        match self.fact {
            Fact::Connecting {
                conn,
                clean_start,
                expiry_s,
                window,
                will,
                ..
            } => {
                write!(
                    f,
                    "#{conn} CONNECT clean={clean_start} expiry={expiry_s} window={window}"
                )?;
                match will {
                    Some(will) => write!(f, " will=m{} delay={}", will.message, will.delay_ms),
                    None => Ok(()),
                }
            }
            Fact::Connected {
                conn,
                session_present,
                ..
            } => write!(f, "#{conn} <- CONNACK present={session_present:?}"),
            Fact::Refused { conn, reason, .. } => write!(f, "#{conn} <- CONNACK {reason:?}"),
            Fact::Published {
                conn,
                message,
                dup,
                id,
                ..
            } => {
                let said = history.message(*message);
                write!(
                    f,
                    "#{conn} PUBLISH m{message} {} q{} id={id}",
                    said.topic, said.qos as u8
                )?;
                write!(f, "{}", if *dup { " dup" } else { "" })?;
                write!(f, "{}", if said.retain { " retain" } else { "" })?;
                write!(f, "{}", if said.clears { " empty" } else { "" })
            }
            Fact::Acknowledged {
                conn,
                message,
                step,
                reason,
                ..
            } => write!(f, "#{conn} <- {step:?} m{message} {reason:?}"),
            Fact::GivenUp { message, .. } => write!(f, "gives m{message} up"),
            Fact::Subscribing {
                conn, filter, qos, ..
            } => {
                write!(f, "#{conn} SUBSCRIBE {filter} q{}", *qos as u8)
            }
            Fact::Subscribed {
                conn, filter, reason, ..
            } => write!(f, "#{conn} <- SUBACK {filter} {reason:?}"),
            Fact::Unsubscribing { conn, filter, .. } => write!(f, "#{conn} UNSUBSCRIBE {filter}"),
            Fact::Unsubscribed {
                conn,
                filter,
                is_gone,
                ..
            } => write!(f, "#{conn} <- UNSUBACK {filter} gone={is_gone}"),
            Fact::Received {
                conn,
                message,
                topic,
                qos,
                retain,
                dup,
                id,
                is_new,
                ..
            } => {
                write!(f, "#{conn} <- PUBLISH m{message} {topic} q{} id={id}", *qos as u8)?;
                write!(f, "{}", if *dup { " dup" } else { "" })?;
                write!(f, "{}", if *retain { " retain" } else { "" })?;
                write!(f, "{}", if *is_new { "" } else { " (had it)" })
            }
            Fact::Finished { conn, id, .. } => write!(f, "#{conn} finishes id={id}"),
            Fact::Read { conn, .. } => write!(f, "#{conn} has read what is retained"),
            Fact::Leaving {
                conn, ends_session, ..
            } => {
                let how = if *ends_session { " expiry=0" } else { "" };
                write!(f, "#{conn} DISCONNECT{how}")
            }
            Fact::Dismissed { conn, reason, .. } => write!(f, "#{conn} <- DISCONNECT {reason:?}"),
            Fact::Ended { conn, .. } => write!(f, "#{conn} is over"),
            Fact::Cut { conn } => write!(f, "#{conn} is cut"),
            Fact::Nonsense { conn, what, .. } => write!(f, "#{conn} nonsense: {what}"),
            Fact::BrokerAccepted {
                conn,
                clean_start,
                session_present,
                ..
            } => write!(
                f,
                "#{conn} broker: accepted clean={clean_start} present={session_present}"
            ),
            Fact::BrokerEnded {
                conn, has_will, why, ..
            } => write!(f, "#{conn} broker: ended, will={has_will}: {why}"),
            Fact::BrokerDropped {
                topic, reason, count, ..
            } => {
                let topic = topic.as_deref().unwrap_or("?");
                write!(f, "broker: dropped {count} on {topic}: {reason}")
            }
            Fact::BrokerExpired { .. } => write!(f, "broker: session expired"),
            Fact::Started { shards, store } => write!(f, "broker: started, {shards} shards, {store} store"),
            Fact::Crashed {
                cuts_power: false, ..
            } => write!(f, "broker: crashed"),
            Fact::Crashed { .. } => write!(f, "broker: the power was cut"),
            Fact::NotStarted { what } => write!(f, "broker: cannot start: {what}"),
            Fact::Store(what) => write!(f, "store: {what}"),
            Fact::Draining => write!(f, "no faults any more"),
            Fact::Rested { is_quiet, why } => write!(f, "at rest: {is_quiet} {why}"),
            Fact::Emptied { rest } => write!(f, "all have left: {rest}"),
        }
    }
}
